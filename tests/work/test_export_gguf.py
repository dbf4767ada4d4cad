"""llama.cpp with our GGUF adapter says what our own engine says: the same greedy tokens on the same values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.batches import prompt_ids
from tsugiki.engine.generate import end_ids, generate_ids
from tsugiki.engine.gguf_names import ARCHITECTURES, GgufNaming, gguf_module_paths, naming_of, rearranged
from tsugiki.engine.packaged import packaged_source
from tsugiki.engine.plan import make_plan
from tsugiki.errors import AdapterError, BaseModelError
from tsugiki.work.export_gguf import write_gguf

PROMPTS = (
    "The capital of France is",
    "Water boils at",
    "def add(a, b):\n",
    "Finding: unused import. Rule: F401\nTool: ",
    "List three colours:",
    "1 2 3 4 5",
)


def test_names_are_those_of_llama_cpp() -> None:
    naming = GgufNaming("llama", 2, 4, 2, rearranged=True)
    names = {name: naming.tensor(f"model.layers.1.{name}") for name in (
        "self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    )}  # fmt: skip
    assert names == {
        "self_attn.q_proj": "blk.1.attn_q.weight",
        "self_attn.o_proj": "blk.1.attn_output.weight",
        "mlp.gate_proj": "blk.1.ffn_gate.weight",
        "mlp.up_proj": "blk.1.ffn_up.weight",
        "mlp.down_proj": "blk.1.ffn_down.weight",
    }
    assert naming.tensor("model.layers.7.mlp.up_proj") is None and naming.tensor("vision.proj") is None


def test_rows_of_a_head_are_taken_in_turn_from_its_halves() -> None:
    assert rearranged(torch.arange(8)[:, None], heads=2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_every_known_architecture_is_one_of_the_library() -> None:
    from gguf.constants import MODEL_ARCH_NAMES

    assert {name for name, _ in ARCHITECTURES.values()} <= set(MODEL_ARCH_NAMES.values())


def test_an_architecture_that_is_not_known_is_refused(tiny_base: Base) -> None:
    config = tiny_base.model.config
    assert len(gguf_module_paths(config) or ()) == 14
    config.architectures = ["FalconForCausalLM"]
    with pytest.raises(AdapterError, match=r"names the layers of FalconForCausalLM is not known.*LlamaForCausalLM"):
        naming_of(config)
    assert gguf_module_paths(config) is None


@pytest.mark.slow
@pytest.mark.parametrize("rslora", [False, True])
def test_llama_cpp_says_the_same_tokens_on_a_real_model(tmp_path: Path, rslora: bool) -> None:
    from benchmarks.gguf_export import LlamaCpp, dequantised

    try:
        base = load_base(BaseSpec("smollm2-135m", "float32", "cpu"))
    except BaseModelError as error:
        pytest.skip(str(error))
    (source,) = packaged_source("smollm2-135m").files
    bare = generate_ids(base.model, base.tokenizer, PROMPTS, max_new_tokens=8)
    trainable = attach(base, make_plan(base.model, PlanSpec(rank=8, rslora=rslora, alpha=16.0)), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in trainable.trained.items():
            if name.endswith("lora_B"):
                parameter.copy_(torch.randn_like(parameter) * (0.05 if rslora else 0.15))
    ours = generate_ids(base.model, base.tokenizer, PROMPTS, max_new_tokens=8)
    assert sum(one != other for one, other in zip(bare, ours, strict=True)) >= 3, "the adapter must matter"
    write_gguf(trainable, tmp_path / "adapter.gguf", name="test", base_file=source)
    engine = LlamaCpp(dequantised(source, tmp_path / "base.gguf"), tmp_path / "adapter.gguf")
    ends = end_ids(base.model, base.tokenizer)
    theirs = [engine.answer(prompt_ids(base.tokenizer, prompt), 8, ends) for prompt in PROMPTS]
    assert sum(one == other for one, other in zip(ours, theirs, strict=True)) >= len(PROMPTS) - 1
