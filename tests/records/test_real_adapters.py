"""Folders that the real peft and our own engine write are accepted, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tsugiki.config import PlanSpec
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_tree
from tsugiki.records.adapter_folder import MANIFEST, read_adapter_folder
from tsugiki.records.versions import tree_digest

PEFT: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "all layers": {"target_modules": "all-linear"},
    "a pattern": {"target_modules": r".*\.(q|v)_proj"},
    "some blocks": {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    "rank-stabilised": {"target_modules": ["q_proj"], "use_rslora": True},
    "DoRA": {"target_modules": ["q_proj"], "use_dora": True},
    "biases of B": {"target_modules": ["q_proj"], "lora_bias": True},
    "ranks of layers": {
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"v_proj": 2, r"^model\.layers\.0\.self_attn\.q_proj": 8},
        "alpha_pattern": {r"layers\.[01]\.self_attn\.v_proj": 3},
    },
    "whole modules": {"target_modules": ["q_proj"], "modules_to_save": ["norm", "lm_head"]},
    "an embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "new tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [3, 5]},
    "replicated blocks": {"target_modules": ["q_proj"], "layer_replication": [[0, 2], [0, 2]]},
    "excluded": {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
    "orthogonal": {"target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
    "not zero": {"target_modules": ["q_proj"], "init_lora_weights": False},
}


@pytest.mark.filterwarnings("ignore")  # peft warns of what it cannot merge
@pytest.mark.parametrize("kind", PEFT)
def test_what_peft_writes_is_accepted(kind: str, tiny_llama_untied: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama_untied)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **PEFT[kind]})
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    found = read_adapter_folder(tmp_path / "adapter")
    assert found.config is not None
    assert found.config.r == 4
    assert found.manifest is None
    assert tree_digest(found.digests) == digest_tree(tmp_path / "adapter")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_of_peft_is_accepted(dtype: str, tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=getattr(torch, dtype))
    config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    adapted.save_pretrained(tmp_path / "adapter")
    tensors = read_adapter_folder(tmp_path / "adapter").tensors
    assert {one.dtype for one in tensors} == {{"bfloat16": "BF16", "float16": "F16"}[dtype]}


def test_a_class_to_import_is_refused_with_the_way_out(tiny_llama: Path, tmp_path: Path) -> None:
    """PEFT writes auto_mapping for an adapter that has no task."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    with pytest.raises(RecordsError, match="sets 'auto_mapping'") as refused:
        read_adapter_folder(tmp_path / "adapter")
    assert "Save the adapter with a task_type" in refused.value.fix


OWN: dict[str, Callable[[], PlanSpec]] = {
    "lora": lambda: PlanSpec(method="lora", rank=4),
    "DoRA": lambda: PlanSpec(method="lora", rank=4, dora=True),
    "rank-stabilised": lambda: PlanSpec(method="lora", rank=4, rslora=True),
    "adapter": lambda: PlanSpec(method="adapter", width=3),
    "hybrid": lambda: PlanSpec(method="hybrid", rank=4, full_layers=("0",)),
    "hybrid with a tied head": lambda: PlanSpec(method="hybrid", rank=4, full_layers=("*embed_tokens",)),
    "full": lambda: PlanSpec(method="full"),
}


@pytest.mark.parametrize("kind", OWN)
def test_what_the_engine_writes_is_accepted(kind: str, tiny_base: Any, tmp_path: Path) -> None:
    from tsugiki.config import Recipe
    from tsugiki.engine.adapter_files import save_adapter
    from tsugiki.engine.attach import attach
    from tsugiki.engine.plan import make_plan

    plan = make_plan(tiny_base.model, OWN[kind]())
    manifest = {"recipe": Recipe().model_dump(mode="json"), "template": "chat", "train_rows": [1], "seen": ["a"]}
    save_adapter(attach(tiny_base, plan, seed=0), tmp_path / "adapter", manifest)
    found = read_adapter_folder(tmp_path / "adapter")
    assert found.manifest is not None
    assert found.manifest.plan.method == plan.method
    assert found.manifest.base.digest == tiny_base.identity.digest
    assert found.rank == (4 if plan.low_rank else 0)
    assert MANIFEST in found.digests
