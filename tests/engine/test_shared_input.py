"""Layers that read one input: found by looking, computed together, equal to computing them one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.loss import token_loss
from tsugiki.engine.lowrank import LowRankLinear, Update, dropout_kept, low_rank_products, products_of
from tsugiki.engine.plan import LowRank, make_plan
from tsugiki.engine.shared_input import SharedInput, same_inputs, sharing

PAIRS = [("部品: ", "B-23"), ("Class of a zener diode? ", "Diode")]


def test_the_groups_of_a_decoder_are_seen_in_one_pass(tiny_bases: Base) -> None:
    plan = make_plan(tiny_bases.model, PlanSpec(targets=("all-linear", "lm_head")))
    groups = same_inputs(tiny_bases.model, list(plan.low_rank))
    endings = [[name.rsplit(".", 1)[-1] for name in group] for group in groups]
    block = [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]
    assert endings == block * 2
    assert not any(module._forward_pre_hooks for module in tiny_bases.model.modules())


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("bias", [True, False])
def test_gradcheck_of_a_group(dropout: float, bias: bool) -> None:
    torch.manual_seed(0)

    def numbers(*shape: int, grad: bool = True) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)

    x = numbers(2, 3, 5)
    layers = [(numbers(size, 5, grad=False), numbers(size, grad=False) if bias else None) for size in (4, 2)]
    factors = [numbers(3, 5), numbers(4, 3), numbers(1, 5), numbers(2, 1)]
    kept = dropout_kept(x, dropout)

    def outputs(x: torch.Tensor, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        update = Update(slice(None), slice(None), (1.7, 0.3), kept)
        return tuple(low_rank_products(x, layers, [update], [(flat[0], flat[1]), (flat[2], flat[3])]))

    assert torch.autograd.gradcheck(outputs, (x, *factors), atol=1e-6, rtol=0)


def group_of(*ranks: int) -> list[LowRankLinear]:
    torch.manual_seed(1)
    made = []
    for rank in ranks:
        layer = LowRankLinear(nn.Linear(6, 4).requires_grad_(False), LowRank(rank, 0.5), torch.Generator())
        layer.lora_B.data.normal_()
        made.append(layer)
    return made


def test_together_equals_one_by_one_and_nothing_is_held_afterwards() -> None:
    layers = group_of(2, 3)
    x, calls = torch.randn(2, 3, 6), []

    def compute(given: torch.Tensor) -> list[torch.Tensor]:
        calls.append(given)
        return products_of(layers, given)

    together = SharedInput(layers, compute)
    alone = [layer(x) for layer in layers]
    for layer in layers:
        layer.shared = together
    for layer, expected in zip(layers, alone, strict=True):
        torch.testing.assert_close(layer(x), expected)
    assert len(calls) == 1 and together.x is None and not together.waiting


def test_a_layer_called_with_another_tensor_computes_for_itself() -> None:
    layers = group_of(2, 3)
    together = SharedInput(layers, lambda x: products_of(layers, x))
    x, other = torch.randn(1, 6), torch.randn(1, 6)
    expected = [layers[0](x), layers[1](other)]
    for layer in layers:
        layer.shared = together
    torch.testing.assert_close(layers[0](x), expected[0])
    torch.testing.assert_close(layers[1](other), expected[1])
    torch.testing.assert_close(layers[1](other), expected[1])


def test_a_training_step_in_groups_equals_one_layer_by_layer(tiny_bases: Base) -> None:
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, PlanSpec(rank=3, dropout=0.0)), seed=0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    (batch,) = micro_batches(encode(tiny_bases.tokenizer, PAIRS, max_length=64), range(2), micro_tokens=4096)
    loss = token_loss(trainable.model)
    plain = torch.autograd.grad(loss(batch), list(trainable.trained.values()))
    layers = trainable.low_rank_layers()
    with sharing(trainable.model, layers, products_of, lambda layer: layer.part.dropout):
        assert sum(layer.shared is not None for layer in layers.values()) == 2 * 5
        grouped = torch.autograd.grad(loss(batch), list(trainable.trained.values()))
    assert not any(layer.shared for layer in layers.values())
    for one, other in zip(plain, grouped, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_only_layers_that_are_alike_share(tiny_base: Base) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=3))
    first = next(iter(plan.low_rank))
    low_rank = {**plan.low_rank, first: LowRank(3, 1.0, dropout=0.5)}
    trainable = attach(tiny_base, type(plan)("lora", low_rank), seed=0)
    layers = trainable.low_rank_layers()
    with sharing(trainable.model, layers, products_of, lambda layer: layer.part.dropout):
        assert layers[first].shared is None
        assert len(layers[first.replace("q_proj", "k_proj")].shared.members) == 2  # type: ignore[union-attr]
