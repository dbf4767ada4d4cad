"""A gated MLP that takes its product again: the same numbers, and the product is not kept."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.gated_mlp import gated, keeping_less
from tsugiki.engine.loss import token_loss
from tsugiki.engine.plan import make_plan

PAIRS = [("部品: ", "B-23"), ("Class of a zener diode? ", "Diode")]
SPECS = {
    "lora": PlanSpec(rank=3, dropout=0.0),
    "dora": PlanSpec(rank=3, dropout=0.0, dora=True),
    "hybrid": PlanSpec(method="hybrid", rank=3, dropout=0.0, full_layers=("0",)),
    "adapter": PlanSpec(method="adapter", width=4, dropout=0.0),
    "full": PlanSpec(method="full"),
}


@pytest.mark.parametrize("activate", [functional.silu, functional.gelu])
def test_gradcheck(activate: Any) -> None:
    torch.manual_seed(0)
    gate, up = (torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)

    def output(gate: torch.Tensor, up: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return gated(gate, up, activate, lambda x: functional.linear(x, weight))

    assert torch.autograd.gradcheck(output, (gate, up, weight), atol=1e-6, rtol=0)


def test_the_product_is_not_kept() -> None:
    gate, up = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    weight = torch.randn(4, 5, requires_grad=True)
    seen = []

    def down(x: torch.Tensor) -> torch.Tensor:
        seen.append(weakref.ref(x))
        return functional.linear(x, weight)

    y = gated(gate, up, functional.silu, down)
    gc.collect()
    assert seen[0]() is None, "something still holds the product"
    y.sum().backward()
    expected = torch.autograd.grad(functional.linear(functional.silu(gate) * up, weight).sum(), (gate, up, weight))
    for ours, theirs in zip((gate.grad, up.grad, weight.grad), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_product_is_not_kept_in_three_dimensions_either() -> None:
    gate, up = torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 3, 5, requires_grad=True)
    weight, seen = torch.randn(4, 5, requires_grad=True), []

    def down(x: torch.Tensor) -> torch.Tensor:
        seen.append(weakref.ref(x))
        return functional.linear(x, weight)

    y = gated(gate, up, functional.silu, down)
    gc.collect()
    assert seen[0]() is None
    y.sum().backward()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_training_step_is_the_same(tiny_llama: Path, spec: PlanSpec, precision: str) -> None:
    base = load_base(BaseSpec(str(tiny_llama), precision, "cpu"))  # type: ignore[arg-type]
    trainable = attach(base, make_plan(base.model, spec), seed=0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    (batch,) = micro_batches(encode(base.tokenizer, PAIRS, max_length=64), range(2), micro_tokens=4096)
    loss = token_loss(trainable.model)
    parts = list(trainable.trained.values())
    plain = torch.autograd.grad(loss(batch), parts)
    mlps = [module for name, module in trainable.model.named_modules() if name.endswith(("mlp", "mlp.inner"))]
    with keeping_less(trainable.model, base.dtype):
        assert sum("forward" in vars(module) for module in mlps) == 2
        less = torch.autograd.grad(loss(batch), parts)
    assert not any("forward" in vars(module) for module in mlps)
    for one, other in zip(plain, less, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Gated(nn.Module):
    def __init__(self, factor: float = 1.0, dropout: float = 0.0, limit: float | None = None) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 4)
        self.act_fn = functional.silu
        self.factor, self.dropout, self.limit = factor, dropout, limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up = self.up_proj(x) if self.limit is None else self.up_proj(x).clamp(-self.limit, self.limit)
        product = functional.dropout(self.act_fn(self.gate_proj(x)) * up, self.dropout, self.training)
        return self.factor * self.down_proj(product)


@pytest.mark.parametrize("more", [{"factor": 2.0}, {"dropout": 0.5}, {"limit": 7.0}], ids=["scale", "dropout", "clamp"])
def test_an_mlp_that_does_more_keeps_its_own_forward(more: dict[str, float]) -> None:
    module, plain = Gated(**more), Gated()
    with keeping_less(nn.Sequential(module, plain), torch.float32):
        assert "forward" not in vars(module)
        assert "forward" in vars(plain)


def test_the_forward_comes_back_after_an_error() -> None:
    module = Gated()
    with pytest.raises(KeyError), keeping_less(nn.Sequential(module), torch.float32):
        raise KeyError
    assert "forward" not in vars(module)
