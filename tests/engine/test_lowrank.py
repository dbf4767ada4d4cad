"""The hand-written autograd against autograd itself and against finite differences, dropout on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.engine.lowrank import LowRankLinear, Update, dropout_kept, dropout_rate, low_rank_linear
from tsugiki.engine.plan import LowRank


def obvious(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scale: float,
    kept: Tensor | None,
    dropout: float,
) -> Tensor:
    """The slow twin: LoRA's equation, written down."""
    rate = dropout_rate(dropout)
    dropped = x if kept is None else x * kept / (1 - rate)
    return functional.linear(x, weight, bias) + scale * (dropped @ a.T) @ b.T


def numbers(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("bias", [True, False])
def test_gradcheck_with_dropout(dropout: float, bias: bool) -> None:
    torch.manual_seed(0)
    x, a, b = numbers(2, 3, 5), numbers(2, 5), numbers(4, 2)
    weight, offset = numbers(4, 5, grad=False), numbers(4, grad=False) if bias else None
    kept = dropout_kept(x, dropout)
    assert torch.autograd.gradcheck(
        lambda x, a, b: low_rank_linear(x, weight, offset, a, b, 1.7, kept, dropout), (x, a, b), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_equals_the_obvious_twin(dropout: float) -> None:
    torch.manual_seed(1)
    x, a, b = numbers(3, 7, 6), numbers(2, 6), numbers(5, 2)
    weight, bias, kept = numbers(5, 6, grad=False), numbers(5, grad=False), dropout_kept(x, dropout)
    seen = []
    for function in (low_rank_linear, obvious):
        y = function(x, weight, bias, a, b, 0.5, kept, dropout)
        seen.append((y, *torch.autograd.grad(y.square().sum(), (x, a, b))))
    for ours, theirs in zip(*seen, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def layer(part: LowRank, dtype: torch.dtype = torch.float64) -> LowRankLinear:
    torch.manual_seed(2)
    linear = nn.Linear(6, 5, dtype=dtype).requires_grad_(False)
    wrapped = LowRankLinear(linear, part, torch.Generator().manual_seed(0))
    with torch.no_grad():
        wrapped.lora_B.normal_()
        if wrapped.magnitude is not None:
            wrapped.magnitude.mul_(1.3)
    return wrapped


def test_gradcheck_of_dora_with_dropout() -> None:
    wrapped = layer(LowRank(2, 0.7, 0.3, dora=True))
    x = numbers(4, 6)
    kept = dropout_kept(x, 0.3)
    norms = wrapped._row_norms()  # a constant of the DoRA gradient, so finite differences must not move it
    wrapped._row_norms = lambda: norms  # type: ignore[method-assign]

    def output(x: Tensor, a: Tensor, b: Tensor, magnitude: Tensor) -> Tensor:
        named = {"lora_A": a, "lora_B": b, "magnitude": magnitude}
        wrapped.forward = lambda x: wrapped._forward_dora(x, kept)  # type: ignore[method-assign]
        return torch.func.functional_call(wrapped, named, (x,))

    assert wrapped.magnitude is not None
    assert torch.autograd.gradcheck(output, (x, wrapped.lora_A, wrapped.lora_B, wrapped.magnitude), atol=1e-6, rtol=0)


def test_dropout_is_on_in_training_only_and_follows_the_seed() -> None:
    wrapped, x = layer(LowRank(2, 1.0, 0.5)), numbers(4, 6)
    wrapped.eval()
    assert torch.equal(wrapped(x), wrapped(x))
    wrapped.train()
    torch.manual_seed(3)
    first = wrapped(x)
    assert not torch.equal(first, wrapped(x))
    torch.manual_seed(3)
    assert torch.equal(first, wrapped(x))


def test_dropout_keeps_the_expected_value() -> None:
    wrapped, x = layer(LowRank(2, 1.0, 0.25)), torch.ones(1, 6, dtype=torch.float64)
    wrapped.train()
    torch.manual_seed(0)
    mean = torch.stack([wrapped(x) for _ in range(4000)]).mean(dim=0)
    wrapped.eval()
    torch.testing.assert_close(mean, wrapped(x), rtol=0.05, atol=0.05)


def test_a_fresh_layer_changes_nothing_and_leaves_the_weight_alone() -> None:
    linear = nn.Linear(6, 5).requires_grad_(False)
    before = linear.weight.clone()
    wrapped = LowRankLinear(linear, LowRank(3, 2.0), torch.Generator().manual_seed(0))
    x = torch.randn(4, 6)
    assert torch.equal(wrapped(x), linear(x))
    wrapped(x).sum().backward()
    assert torch.equal(linear.weight, before) and linear.weight.grad is None
    assert float(wrapped.lora_A.detach().abs().max()) <= 6**-0.5


def test_a_half_precision_base_has_float32_parts_and_half_precision_products() -> None:
    wrapped = layer(LowRank(2, 1.0), dtype=torch.bfloat16)
    y = wrapped(torch.randn(3, 6, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16 and wrapped.lora_A.dtype == torch.float32
    y.float().sum().backward()
    assert wrapped.lora_B.grad is not None and wrapped.lora_B.grad.dtype == torch.float32


def test_rank_scale_reaches_the_output() -> None:
    x = numbers(1, 6)
    small, large = layer(LowRank(2, 1.0)), layer(LowRank(2, 3.0))
    frozen = small.base(x)
    torch.testing.assert_close(large(x) - frozen, 3 * (small(x) - frozen))


@pytest.mark.parametrize(
    ("asked", "rate"), [(0.0, 0.0), (0.05, 13 / 256), (0.5, 0.5), (1e-9, 1 / 256), (0.9999, 255 / 256)]
)
def test_the_mask_drops_at_the_rate_that_the_scale_assumes(asked: float, rate: float) -> None:
    assert dropout_rate(asked) == rate
    torch.manual_seed(0)
    kept = dropout_kept(torch.empty(1000, 1003), asked)
    if asked == 0:
        assert kept is None
        return
    assert kept is not None and kept.shape == (1000, 1003) and kept.dtype == torch.uint8
    assert set(kept.unique().tolist()) == {0, 1}
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        keep = Update(slice(None), slice(None), (1.0,), kept).keep(dtype)
        assert keep is not None and keep.dtype == dtype and torch.equal(keep, kept.to(dtype))
    torch.manual_seed(0)
    draws = torch.empty(1000 * 1003 // 8, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    assert torch.equal(kept.flatten() == 1, draws >= 256 * rate)
    dropped = kept == 0
    assert float(dropped.double().mean()) == pytest.approx(rate, abs=2e-3)
    assert float((dropped[:, 1:] & dropped[:, :-1]).double().mean()) == pytest.approx(rate * rate, abs=2e-3)


def test_dora_on_a_row_of_zeros_is_zero_and_no_nan() -> None:
    linear = nn.Linear(6, 5, bias=False).requires_grad_(False)
    linear.weight.data[3] = 0
    wrapped = LowRankLinear(linear, LowRank(2, 1.0, dora=True), torch.Generator().manual_seed(0))
    y = wrapped(torch.randn(4, 6))
    assert torch.isfinite(y).all() and not y[:, 3].any()
    assert torch.isfinite(wrapped.merged_weight()).all()
