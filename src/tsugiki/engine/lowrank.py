"""Low-rank updates of frozen linear layers: the layer, its hand-written autograd, merge and un-merge.

Shapes: N tokens (all leading dimensions), I inputs, O outputs, R rank.
The update is LoRA (arXiv 2106.09685, eq. 3): y = W x + scale · B A dropout(x), with A uniform in ±1/sqrt(I) and B zero.
Trained parts are float32; products run in the dtype of x. The frozen weight is never changed and nothing is stored for
it; x is kept by reference, so layers that share their input share the memory.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.engine.plan import LowRank


class LowRankLinear(nn.Module):
    """A frozen linear layer with a trained low-rank update beside it."""

    def __init__(self, base: nn.Linear, part: LowRank, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.part = part
        bound = 1 / math.sqrt(base.in_features)
        device, dtype = base.weight.device, _master_dtype(base.weight)
        start_RI = torch.empty(part.rank, base.in_features, dtype=dtype).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(start_RI.to(device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, part.rank, dtype=dtype, device=device))
        self.magnitude = nn.Parameter(self._row_norms()) if part.dora else None
        self.merged_OI: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged_OI is not None:
            return functional.linear(x, self.merged_OI, self.base.bias)
        drop = dropout_mask(x, self.part.dropout) if self.training else None
        if self.magnitude is None:
            return low_rank_linear(
                x, self.base.weight, self.base.bias, self.lora_A, self.lora_B, self.part.scale, drop, self.part.dropout
            )
        return self._forward_dora(x, drop)

    def _forward_dora(self, x: Tensor, drop: Tensor | None) -> Tensor:
        """y = m / ||W + scale·BA|| · (W x + scale · B A dropout(x)) + bias; the norm is a constant (DoRA, sec. 4.3)."""
        assert self.magnitude is not None
        sum_ = low_rank_linear(
            x, self.base.weight, None, self.lora_A, self.lora_B, self.part.scale, drop, self.part.dropout
        )
        y = sum_ * (self.magnitude / self._row_norms()).to(x.dtype)
        return y if self.base.bias is None else y + self.base.bias

    def merged_weight(self) -> Tensor:
        """The weight that gives the same output without the extra products, in the base's dtype; W itself stays."""
        with torch.no_grad():
            sum_OI = self._sum()
            if self.magnitude is not None:
                sum_OI = sum_OI * (self.magnitude / torch.linalg.vector_norm(sum_OI, dim=1))[:, None]
            return sum_OI.to(self.base.weight.dtype)

    def _sum(self) -> Tensor:
        return self.base.weight.to(self.lora_A.dtype) + self.part.scale * (self.lora_B @ self.lora_A)

    def _row_norms(self) -> Tensor:
        with torch.no_grad():
            return torch.linalg.vector_norm(self._sum(), dim=1)


def low_rank_linear(
    x: Tensor,
    weight_OI: Tensor,
    bias_O: Tensor | None,
    a_RI: Tensor,
    b_OR: Tensor,
    scale: float,
    drop: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """W x + bias + scale · B A dropout(x) for x of shape (..., I); the result has shape (..., O).

    dropout(x) is x with the inputs in `drop` (a boolean mask of x's shape, or None) set to zero and the rest divided by
    1 - dropout_rate(dropout). W and bias get no gradient.
    """
    inputs = (x, weight_OI, bias_O, a_RI, b_OR, scale, drop, dropout)
    y: Tensor = _LowRankLinear.apply(*inputs)  # type: ignore[no-untyped-call]
    return y


def dropout_mask(x: Tensor, dropout: float) -> Tensor | None:
    """A boolean mask of x's shape, true where an input is dropped; None for no dropout.

    One random byte decides one input, eight from each 64-bit draw, which is several times cheaper than a draw each. So
    the rate is a multiple of 1/256, `dropout_rate(dropout)`, and it is by this rate that what is left is scaled.
    """
    if dropout == 0:
        return None
    draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    return (draws.view(torch.uint8)[: x.numel()] < round(dropout_rate(dropout) * 256)).view(x.shape)


def dropout_rate(dropout: float) -> float:
    """The rate that is carried out for the rate that was asked for: the nearest of 1/256 … 255/256, or 0."""
    return 0.0 if dropout == 0 else min(max(round(dropout * 256), 1), 255) / 256


class _LowRankLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        a_RI: Tensor,
        b_OR: Tensor,
        scale: float,
        drop: Tensor | None,
        dropout: float,
    ) -> Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        scale = scale if drop is None else scale / (1 - dropout_rate(dropout))
        h_NR = _without(x_NI, drop) @ a_RI.to(x.dtype).T
        y_NO = functional.linear(x_NI, weight_OI, bias_O)
        y_NO.addmm_(h_NR, b_OR.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x, weight_OI, a_RI, b_OR, h_NR, drop)
        ctx.scale = scale
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_OI, a_RI, b_OR, h_NR, drop = ctx.saved_tensors
        dy_NO = gradients[0].reshape(-1, gradients[0].shape[-1])
        x_NI = x.reshape(-1, x.shape[-1])
        dh_NR = (dy_NO @ b_OR.to(x.dtype)).mul_(ctx.scale)
        db_OR = (dy_NO.T @ h_NR).to(b_OR.dtype).mul_(ctx.scale)
        da_RI = (dh_NR.T @ _without(x_NI, drop)).to(a_RI.dtype)
        dx = None
        if ctx.needs_input_grad[0]:
            dx_NI = dy_NO @ weight_OI
            if drop is None:
                dx_NI.addmm_(dh_NR, a_RI.to(x.dtype))
            else:
                dx_NI += (dh_NR @ a_RI.to(x.dtype)).masked_fill_(drop.view_as(dx_NI), 0)
            dx = dx_NI.view_as(x)
        return dx, None, None, da_RI, db_OR, None, None, None


def _without(x_NI: Tensor, drop: Tensor | None) -> Tensor:
    return x_NI if drop is None else x_NI.masked_fill(drop.view_as(x_NI), 0)


def _master_dtype(weight: Tensor) -> torch.dtype:
    """float32 for half-precision bases; float64 bases (gradient checks) keep float64."""
    return torch.promote_types(weight.dtype, torch.float32)
