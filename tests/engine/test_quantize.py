"""A base in few bits: the formats against their definitions, and training against the same weights unpacked."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import tsugiki.engine.base as base_module
import tsugiki.engine.quantize as module
from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine.attach import attach, merge, unmerge
from tsugiki.engine.bank import attach_bank
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base
from tsugiki.engine.batches import Encoded, encode
from tsugiki.engine.footprint import Workload, estimate_footprint
from tsugiki.engine.generate import generate
from tsugiki.engine.lowrank import dropout_kept, low_rank_linear
from tsugiki.engine.plan import make_plan
from tsugiki.engine.quantize import (
    Packed,
    Quantization,
    QuantizedLinear,
    pack,
    packed_bytes,
    packed_linear,
    quantize_blocks,
)
from tsugiki.engine.structure import structure_of
from tsugiki.engine.train import train, train_bank
from tsugiki.errors import BaseModelError, PlanError

KINDS: tuple[Quantization, ...] = ("int8", "nf4")
# Quantiles of a normal distribution, scaled to ±1, with an exact zero (arXiv 2305.14314, appendix E).
NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
PAIRS = [(f"部品 {index} {'軸受 ' * (index % 4)}: ", f"B-{index}") for index in range(10)]
RECIPE = Recipe(max_steps=6, batch_size=4, evaluations=2, learning_rate=5e-3, patience=100, precision="float32")

shapes = st.tuples(st.integers(1, 40), st.integers(1, 70))


def weight_of(shape: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(0, 999))
def test_int8_rounds_to_the_nearest_step_of_its_row(shape: tuple[int, int], seed: int) -> None:
    weight = weight_of(shape, seed)
    packed = pack(weight, "int8")
    step_O = weight.abs().amax(dim=1) / 127
    assert ((packed.dense() - weight).abs() <= 0.5001 * step_O[:, None]).all()
    assert packed.codes.nbytes + packed.scales.nbytes == packed_bytes(weight.numel(), shape[0], "int8")


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(0, 999))
@example((5, 16), 0)  # rows that are not whole blocks: bitsandbytes itself reads wrong scales with AVX-512
@example((3, 80), 0)
@example((7, 33), 0)
def test_nf4_takes_the_nearest_level_of_its_block(shape: tuple[int, int], seed: int) -> None:
    weight = weight_of(shape, seed)
    packed = pack(weight, "nf4")
    levels, flat, dense = torch.tensor(NF4_LEVELS), weight.flatten(), packed.dense().flatten()
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        largest = block.abs().max()
        nearest = (block[:, None] / largest - levels).abs().min(dim=1).values * largest
        torch.testing.assert_close((dense[start : start + 64] - block).abs(), nearest, rtol=1e-4, atol=1e-6)
    assert packed.codes.nbytes + packed.scales.nbytes == packed_bytes(weight.numel(), shape[0], "nf4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_zeros_stays_zero(kind: Quantization) -> None:
    assert torch.equal(pack(torch.zeros(3, 64), kind).dense(), torch.zeros(3, 64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradcheck_with_dropout(kind: Quantization, dropout: float) -> None:
    torch.manual_seed(0)
    packed = pack(torch.randn(4, 6, dtype=torch.float64), kind)
    x, a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 6), (2, 6), (4, 2)))
    kept = dropout_kept(x, dropout)
    assert torch.autograd.gradcheck(
        lambda x, a, b: low_rank_linear(x, packed, None, a, b, 1.7, kept, dropout), (x, a, b), atol=1e-6, rtol=0
    )
    assert torch.autograd.gradcheck(lambda x: packed_linear(x, packed, None), (x,), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_unpacked_is_kept_for_the_backward_pass(kind: Quantization) -> None:
    packed = pack(torch.randn(4, 6), kind)
    x, a, b = (torch.randn(*shape, requires_grad=True) for shape in ((3, 6), (2, 6), (4, 2)))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = low_rank_linear(x, packed, None, a, b, 1.0)
    assert all(isinstance(weight, Packed) for weight in y.grad_fn.weights)  # type: ignore[union-attr]
    assert not any(torch.equal(tensor, packed.dense()) for tensor in kept if tensor.shape == (4, 6))


def test_nf4_unpacks_to_bfloat16_as_to_float32() -> None:
    weight = weight_of((48, 96), 3).bfloat16()
    exact, half = pack(weight.float(), "nf4").dense(), pack(weight, "nf4").dense()
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=1e-2, atol=1e-3)


def test_a_mixture_whose_experts_are_no_linear_layers_is_refused() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                           num_attention_heads=2, num_key_value_heads=1, num_local_experts=4)  # fmt: skip
    with pytest.raises(BaseModelError, match="would save little"):
        quantize_blocks(MixtralForCausalLM(config), "int8", torch.device("cpu"))


def test_layers_with_a_forward_of_their_own_stay_whole(tiny_llama: Path) -> None:
    class Router(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), x

    model = load(tiny_llama, "none").model
    block = structure_of(model).blocks[0]
    model.get_submodule(block.mlp).router = Router(4, 2)
    quantize_blocks(model, "int8", torch.device("cpu"))
    assert type(model.get_submodule(block.mlp).router) is Router
    assert isinstance(model.get_submodule(block.linears[0]), QuantizedLinear)


def load(folder: Path, kind: Any) -> Base:
    return load_base(BaseSpec(str(folder), "float32", quantize=kind))


def unpacked(folder: Path, kind: Quantization) -> Base:
    """The slow twin: a plain base whose weights are what the packed ones stand for."""
    plain = load(folder, "none")
    with torch.no_grad():
        for name in structure_of(plain.model).linears:
            weight = plain.model.get_submodule(name).weight
            weight.copy_(pack(weight, kind).dense())
    return plain


def data(base: Base) -> tuple[Encoded, Encoded]:
    return encode(base.tokenizer, PAIRS, max_length=64), encode(base.tokenizer, PAIRS[:4], max_length=64)


def course(base: Base, spec: PlanSpec) -> list[Any]:
    trainable = attach(base, make_plan(base.model, spec), seed=RECIPE.seed)
    return list(train(trainable, *data(base), RECIPE, on_step=lambda step: None).history)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spec",
    [PlanSpec(rank=4, dropout=0.2), PlanSpec(rank=4, dora=True), PlanSpec(rank=4, targets=("q_proj", "down_proj")),
     PlanSpec(method="adapter", width=8), PlanSpec(rank=4, blocks=("last:1",))],
    ids=["lora", "dora", "two layers", "adapter", "last block"],
)  # fmt: skip
def test_training_equals_that_on_the_unpacked_weights(tiny_gemma3: Path, kind: Quantization, spec: PlanSpec) -> None:
    ours, theirs = course(load(tiny_gemma3, kind), spec), course(unpacked(tiny_gemma3, kind), spec)
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bank_on_few_bits_equals_its_solo_runs(tiny_llama: Path, kind: Quantization) -> None:
    base = load(tiny_llama, kind)
    spec = PlanSpec(rank=4, dropout=0.2)
    alone = course(base, spec)
    base = load(tiny_llama, kind)
    bank = attach_bank(base, [make_plan(base.model, spec)] * 2, seeds=[RECIPE.seed] * 2)
    for found in train_bank(bank, *data(base), [RECIPE, RECIPE], on_step=lambda step: None):
        assert [entry["loss"] for entry in found.history] == pytest.approx(  # type: ignore[union-attr]
            [entry["loss"] for entry in alone], abs=1e-5
        )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_is_proven_to_be(tiny_llama: Path, kind: Quantization) -> None:
    base, plain = load(tiny_llama, kind), load(tiny_llama, "none")
    before = live_weights_digest(base)
    assert before == live_weights_digest(load(tiny_llama, kind)) != live_weights_digest(plain)
    assert base.identity == plain.identity  # the same base, held in another way
    course(base, PlanSpec(rank=4))
    assert live_weights_digest(base) == before
    layer = next(module for module in base.model.modules() if isinstance(module, QuantizedLinear))
    with torch.no_grad():
        layer.codes.view(-1)[0] += 1
    assert live_weights_digest(base) != before


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_unpacked_weights(tiny_qwen2: Path, kind: Quantization) -> None:
    ours, theirs = load(tiny_qwen2, kind), unpacked(tiny_qwen2, kind)
    prompts = [prompt for prompt, _ in PAIRS[:4]]
    found = [generate(base.model, base.tokenizer, prompts, max_new_tokens=6) for base in (ours, theirs)]
    assert found[0] == found[1]


def test_merging_into_few_bits_measures_what_is_lost(tiny_llama: Path) -> None:
    lost = {}
    ids = torch.arange(40).reshape(2, 20)
    for kind in ("none", *KINDS):
        base = load(tiny_llama, kind)
        trainable = attach(base, make_plan(base.model, PlanSpec(rank=4)), seed=1)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in trainable.trained.values():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
            apart = trainable.model(input_ids=ids).logits
            lost[kind] = merge(trainable)
            merged = trainable.model(input_ids=ids).logits
            unmerge(trainable)
            assert torch.equal(trainable.model(input_ids=ids).logits, apart)
        assert torch.allclose(merged, apart, atol=1e-4) == (kind == "none")
    assert lost["none"] < 1e-4 < lost["int8"] < lost["nf4"]


def test_untrained_parts_lose_nothing_when_merged(tiny_llama: Path) -> None:
    base = load(tiny_llama, "nf4")
    assert merge(attach(base, make_plan(base.model, PlanSpec(rank=4)), seed=1)) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_few_bits_are_not_trained_in_full(tiny_llama: Path, kind: Quantization) -> None:
    base = load(tiny_llama, kind)
    plan = make_plan(load(tiny_llama, "none").model, PlanSpec(method="full"))
    with pytest.raises(PlanError, match="held in few bits and cannot be trained in full"):
        attach(base, plan, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_counts_the_bytes_that_are_held(tiny_llama: Path, kind: Quantization) -> None:
    base = load(tiny_llama, kind)
    work = Workload(longest_example=32, longest_prompt=16, max_new_tokens=8)
    recipe = Recipe(quantize=kind, micro_tokens=64)
    found = estimate_footprint(load(tiny_llama, "none").model.config, PlanSpec(), recipe, work, dtype=torch.float32)
    layers = [layer for layer in base.model.modules() if isinstance(layer, QuantizedLinear)]
    largest = 4 * max(layer.in_features * layer.out_features for layer in layers)
    held = sum(parameter.nbytes for parameter in base.model.parameters())
    loading, training = found.phases[:2]
    assert (loading.name, loading.parts["weights"]) == ("load", 4 * base.identity.parameters)
    assert training.parts["weights"] == held + largest
    assert len(layers) == len(structure_of(base.model).linears)


def test_nf4_without_its_library_is_refused_before_anything_is_loaded(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(base_module, "_frozen_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(BaseModelError, match="needs the library bitsandbytes"):
        load(tiny_llama, "nf4")


def test_the_head_and_the_embedding_stay_whole(tiny_llama_untied: Path) -> None:
    base = load(tiny_llama_untied, "int8")
    head = base.model.get_output_embeddings()
    assert type(head) is nn.Linear and head.weight.dtype == torch.float32
    assert base.model.get_input_embeddings().weight.dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="the system does not say what a process has mapped")
@pytest.mark.parametrize("kind", KINDS)
def test_a_base_in_few_bits_lets_go_of_its_weight_file(tiny_llama: Path, tmp_path: Path, kind: Quantization) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_llama, folder)
    base = load_base(BaseSpec(str(folder), precision="float32", quantize=kind))
    assert base.identity.parameters > 0
    gc.collect()
    assert str(folder) not in Path("/proc/self/maps").read_text()
