"""Our LoRA is peft's LoRA: the same losses and gradients for 20 steps, and each loads the other's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tsugiki.config import PlanSpec
from tsugiki.engine.adapter_files import load_adapter, save_adapter
from tsugiki.engine.attach import Trainable, attach, merge, unmerge
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.gated_mlp import keeping_less
from tsugiki.engine.loss import token_loss
from tsugiki.engine.lowrank import products_of
from tsugiki.engine.norms import keeping_inputs
from tsugiki.engine.peft_format import peft_tensor_name
from tsugiki.engine.plan import make_plan
from tsugiki.engine.rotary import rotating_back
from tsugiki.engine.shared_input import sharing
from tsugiki.errors import BaseModelError

PAIRS = [
    ("病名: 急性虫垂炎\nICD-10: ", "K35"),
    ("Part: Zener Diode, 2%\nClass: ", "Diode"),
    ("用語: サーバ\n標準表記: ", "サーバー"),
    ("Order code: ", "B-23"),
]


def peft_twin(base: Base, trainable: Trainable, **settings: Any) -> Any:
    """peft's model on a second copy of the base, starting from our A and B."""
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    spec = {"r": 4, "lora_alpha": 8.0, "lora_dropout": 0.0, "bias": "none", "task_type": "CAUSAL_LM"} | settings
    twin = get_peft_model(model, LoraConfig(target_modules="all-linear", **spec))
    own = {name.replace(".default", ""): parameter for name, parameter in twin.named_parameters()}
    with torch.no_grad():
        for name, parameter in trainable.trained.items():
            target = own.get(peft_tensor_name(name))
            (own[peft_tensor_name(name) + ".weight"] if target is None else target).copy_(parameter)
    return twin, {
        name: own.get(peft_tensor_name(name), own.get(peft_tensor_name(name) + ".weight")) for name in trainable.trained
    }


def plain_loss(model: Any, batch: Any) -> torch.Tensor:
    logits = model(input_ids=batch.ids_BT).logits.reshape(-1, model.config.vocab_size)[batch.positions_N]
    return functional.cross_entropy(logits, batch.targets_N)


@contextmanager
def as_in_training(trainable: Trainable) -> Iterator[None]:
    """All that `train` puts in the place of the architecture's own computation."""
    model, layers = trainable.model, trainable.low_rank_layers()
    plain = {name: layer for name, layer in layers.items() if not layer.part.dora}
    shared = sharing(model, plain, products_of, lambda layer: layer.part.dropout)
    with shared, keeping_inputs(model), rotating_back(model), keeping_less(model, torch.float32):
        yield


def twenty_steps(base: Base, settings: dict[str, bool], rate: float) -> None:
    """Packed rows on our side, padded ones on theirs; losses and gradients of every step."""
    spec = PlanSpec(rank=4, alpha=8.0, dropout=0.0, rslora="use_rslora" in settings, dora="use_dora" in settings)
    trainable = attach(base, make_plan(base.model, spec), seed=3)
    twin, theirs = peft_twin(base, trainable, **settings)
    loss, encoded = token_loss(trainable.model), encode(base.tokenizer, PAIRS, max_length=128)
    (packed,) = micro_batches(encoded, range(4), micro_tokens=4096, packed=True)
    (padded,) = micro_batches(encoded, range(4), micro_tokens=4096)
    ours_step = torch.optim.SGD(trainable.trained.values(), lr=rate)
    theirs_step = torch.optim.SGD(theirs.values(), lr=rate)
    first_loss = float(plain_loss(twin, padded).detach())
    for _ in range(20):
        ours_step.zero_grad()
        theirs_step.zero_grad()
        with as_in_training(trainable):
            our_loss = loss(packed) / len(packed.targets_N)
            our_loss.backward()
        their_loss = plain_loss(twin, padded)
        assert abs(our_loss.item() - their_loss.item()) < 1e-5
        their_loss.backward()
        for name, parameter in trainable.trained.items():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-5)
        ours_step.step()
        theirs_step.step()
    assert our_loss.item() < first_loss - 0.02, "twenty steps must have learnt something"
    trainable.detach()


SETTINGS = pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"]
)


@SETTINGS
def test_twenty_steps_equal_peft(tiny_bases: Base, settings: dict[str, bool]) -> None:
    twenty_steps(tiny_bases, settings, rate=0.01)


@pytest.mark.slow
@SETTINGS
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_twenty_steps_equal_peft_on_a_real_model(name: str, settings: dict[str, bool]) -> None:
    try:
        base = load_base(BaseSpec(name, "float32", "cpu"))
    except BaseModelError as error:
        pytest.skip(str(error))
    twenty_steps(base, settings, rate=0.003)


def logits_in_peft(base: Base, adapter: Path, ids: torch.Tensor) -> torch.Tensor:
    """As peft gives them, which knows nothing but the two folders."""
    plain = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    with torch.no_grad():
        return PeftModel.from_pretrained(plain, adapter)(input_ids=ids).logits


def randomise(trainable: Trainable) -> None:
    """Give every part a value that matters, as training would."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            noise = torch.randn_like(parameter)
            parameter.add_(noise * 0.03)


@pytest.mark.parametrize(
    "spec",
    [
        PlanSpec(rank=4, dropout=0.0),
        PlanSpec(rank=6, rslora=True),
        PlanSpec(rank=4, dora=True),
        PlanSpec(rank=4, targets=("q_proj", "down_proj")),
        PlanSpec(method="hybrid", rank=4, full_layers=("1",)),
        PlanSpec(method="hybrid", rank=4, full_layers=("*.0.mlp.down_proj", "norm")),
    ],
    ids=["lora", "rslora", "dora", "targets", "hybrid-block", "hybrid-names"],
)
def test_peft_loads_our_folder_with_identical_logits(tiny_bases: Base, tmp_path: Path, spec: PlanSpec) -> None:
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, spec), seed=1)
    randomise(trainable)
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        ours = trainable.model(input_ids=ids).logits
    save_adapter(trainable, tmp_path / "adapter", {})
    trainable.detach()
    torch.testing.assert_close(ours, logits_in_peft(tiny_bases, tmp_path / "adapter", ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": "all-linear", "use_rslora": True},
        {"target_modules": "all-linear", "use_dora": True},
        {"target_modules": ["up_proj"], "rank_pattern": {"layers.1.mlp.up_proj": 2}, "alpha_pattern": {"up_proj": 5}},
        {"target_modules": r".*\.0\.self_attn\.(q|k)_proj", "modules_to_save": ["model.layers.1.mlp.down_proj"]},
        {"target_modules": ["o_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    ],
    ids=["qv", "rslora", "dora", "patterns", "regex", "layers"],
)
def test_we_load_a_peft_folder_with_identical_logits(
    tiny_bases: Base, tmp_path: Path, settings: dict[str, Any]
) -> None:
    twin = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_bases.folder, dtype=torch.float32),
        LoraConfig(r=3, lora_alpha=7, task_type="CAUSAL_LM", **settings),
    )
    torch.manual_seed(2)
    with torch.no_grad():
        for _, parameter in twin.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    twin.eval()
    twin.save_pretrained(tmp_path / "theirs")
    ids = torch.arange(40).reshape(2, 20)
    trainable = load_adapter(tiny_bases, tmp_path / "theirs")
    with torch.no_grad():
        torch.testing.assert_close(trainable.model(input_ids=ids).logits, twin(input_ids=ids).logits, rtol=0, atol=1e-5)
    trainable.detach()


@pytest.mark.parametrize("dora", [False, True])
def test_merged_and_unmerged_agree_and_unmerge_is_exact(tiny_bases: Base, dora: bool) -> None:
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        untouched = tiny_bases.model(input_ids=ids).logits
        trainable = attach(tiny_bases, make_plan(tiny_bases.model, PlanSpec(rank=4, dora=dora)), seed=1)
        randomise(trainable)
        apart = trainable.model(input_ids=ids).logits
        merge(trainable)
        torch.testing.assert_close(trainable.model(input_ids=ids).logits, apart, rtol=0, atol=1e-4)
        unmerge(trainable)
        assert torch.equal(trainable.model(input_ids=ids).logits, apart)
        assert not torch.allclose(apart, untouched, atol=1e-2)
        trainable.detach()
        assert torch.equal(tiny_bases.model(input_ids=ids).logits, untouched)


def test_the_parity_fixture_is_loaded_in_float32(tiny_llama: Path) -> None:
    assert load_base(BaseSpec(str(tiny_llama), "float32")).dtype == torch.float32
