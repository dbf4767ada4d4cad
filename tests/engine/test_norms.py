"""RMS norms with a backward of our own: the same numbers, and nothing kept but the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.loss import token_loss
from tsugiki.engine.norms import keeping_inputs
from tsugiki.engine.plan import make_plan

PAIRS = [("部品: ", "B-23"), ("Class of a zener diode? ", "Diode")]


def norm(kind: type[nn.Module], dtype: torch.dtype = torch.float32, size: int = 6) -> nn.Module:
    made = kind(size, eps=1e-3).to(dtype).requires_grad_(False)
    made.weight.copy_(torch.randn(size, generator=torch.Generator().manual_seed(0)) + 0.5)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
def test_forward_is_the_same_bit_for_bit_and_the_gradient_agrees(kind: type[nn.Module], dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    module, x = norm(kind, dtype), (3 * torch.randn(4, 5, 6)).to(dtype).requires_grad_(True)
    dy = torch.randn(4, 5, 6).to(dtype)
    plain = module(x)
    (wanted,) = torch.autograd.grad(plain, x, dy)
    kept: list[torch.Tensor] = []
    with keeping_inputs(module):
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda kept: kept):
            lean = module(x)
        (found,) = torch.autograd.grad(lean, x, dy)
    assert torch.equal(lean, plain) and kept[0].data_ptr() == x.data_ptr()
    assert [tensor.shape for tensor in kept[1:]] == [(4, 5, 1)]  # a number per token besides
    gap = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, wanted, rtol=gap, atol=gap)
    assert "forward" not in vars(module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
def test_the_scale_is_found_beside_very_large_ones(kind: type[nn.Module], dtype: torch.dtype) -> None:
    """Norms of Gemma 3 hold weights from -0.9 to above 1000; a wrong scale flips the small channels."""
    torch.manual_seed(1)
    module, x = norm(kind, dtype), torch.randn(3, 6).to(dtype).requires_grad_(True)
    module.weight.copy_(torch.tensor([1656.0, -0.9, -1.0, 0.01, -0.5, 300.0]))
    dy = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]).expand(3, 6).to(dtype)
    (wanted,) = torch.autograd.grad(module(x), x, dy)
    with keeping_inputs(module):
        assert "forward" in vars(module)
        (found,) = torch.autograd.grad(module(x), x, dy)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2 if dtype == torch.bfloat16 else 1e-5)


def test_a_norm_that_takes_more_than_its_input_is_left_alone_or_called_as_it_is() -> None:
    class Gated(LlamaRMSNorm):
        def forward(self, hidden_states: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
            return super().forward(hidden_states) * (1 if gate is None else gate)

    class Needy(LlamaRMSNorm):
        def forward(self, hidden_states: torch.Tensor, gate: Any = None) -> torch.Tensor:
            return super().forward(hidden_states) * gate.float()

    x = torch.randn(2, 6, requires_grad=True)
    gated, needy = norm(Gated), norm(Needy)
    with keeping_inputs(gated), keeping_inputs(needy):
        assert "forward" not in vars(needy)
        assert torch.equal(gated(x, torch.full((6,), 3.0)), 3 * gated(x))


def test_gradcheck() -> None:
    """In float64; transformers' Llama norm rounds to float32 on the way, so the formula stands in for it."""

    class Exact(nn.Module):
        eps = 0.1

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, dtype=torch.float64), requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    torch.manual_seed(0)
    module, x = Exact(), torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    with keeping_inputs(module):
        assert "forward" in vars(module)
        assert torch.autograd.gradcheck(module, (x,), atol=1e-6, rtol=0)


def test_what_is_no_frozen_rms_norm_keeps_its_own_backward() -> None:
    trained = norm(LlamaRMSNorm)
    trained.weight.requires_grad_(True)

    class Shifted(LlamaRMSNorm):
        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden_states) + 1

    shifted = norm(Shifted)
    layer = nn.LayerNorm(6).requires_grad_(False)
    for module in (trained, shifted, layer, nn.Linear(6, 6).requires_grad_(False)):
        with keeping_inputs(module):
            assert "forward" not in vars(module)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2", "tiny_gemma3"])
def test_a_training_step_is_the_same(kind: str, precision: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    base = load_base(BaseSpec(str(folder), precision, "cpu"))  # type: ignore[arg-type]
    trainable = attach(base, make_plan(base.model, PlanSpec(rank=3, dropout=0.0)), seed=0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.02)
    (batch,) = micro_batches(encode(base.tokenizer, PAIRS, max_length=64), range(2), micro_tokens=4096, packed=True)
    loss, parts = token_loss(trainable.model), list(trainable.trained.values())
    plain = torch.autograd.grad(loss(batch), parts)
    with keeping_inputs(trainable.model):
        changed = sum("forward" in vars(module) for module in trainable.model.modules())
        lean = torch.autograd.grad(loss(batch), parts)
    assert changed == sum("Norm" in type(module).__name__ for module in trainable.model.modules())
    gap = 1e-4 if precision == "float32" else 5e-2
    for one, other in zip(plain, lean, strict=True):
        assert float((one - other).abs().max()) <= gap * float(one.abs().max())
