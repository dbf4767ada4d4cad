"""Low-rank updates of frozen linear layers: the layer, its hand-written autograd, merge and un-merge.

Shapes: N tokens (all leading dimensions), I inputs, O outputs, R rank.
The update is LoRA (arXiv 2106.09685, eq. 3): y = W x + scale · B A dropout(x), with A uniform in ±1/sqrt(I) and B zero.
Trained parts are float32; products run in the dtype of x. The frozen weight is never changed and nothing is stored for
it; x is kept by reference, so layers that share their input share the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.engine.plan import LowRank
from tsugiki.engine.quantize import FrozenWeight, dense, frozen_weight
from tsugiki.engine.shared_input import SharedInput


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
        self.merged_OI: FrozenWeight | None = None
        self.shared: SharedInput | None = None  # in training: the layers that read the same input

    def forward(self, x: Tensor) -> Tensor:
        if self.merged_OI is not None:
            return functional.linear(x, dense(self.merged_OI), self.base.bias)
        if self.magnitude is not None:
            return self._forward_dora(x, dropout_kept(x, self.part.dropout) if self.training else None)
        if self.shared is not None:
            return self.shared.output(self, x)
        return products_of([self], x)[0]

    def _forward_dora(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """y = m / ||W + scale·BA|| · (W x + scale · B A dropout(x)) + bias; the norm is a constant (DoRA, sec. 4.3)."""
        assert self.magnitude is not None
        sum_ = low_rank_linear(
            x, frozen_weight(self.base), None, self.lora_A, self.lora_B, self.part.scale, kept, self.part.dropout
        )
        y = sum_ * (self.magnitude / self._row_norms()).to(x.dtype)
        return y if self.base.bias is None else y + self.base.bias

    def merged_weight(self) -> Tensor:
        """The weight that gives the same output without the extra products, in the dtype of the parts; W stays."""
        with torch.no_grad():
            sum_OI = self._sum()
            return sum_OI if self.magnitude is None else sum_OI * (self.magnitude / self._row_norms())[:, None]

    def _sum(self) -> Tensor:
        return self.base.weight.to(self.lora_A.dtype) + self.part.scale * (self.lora_B @ self.lora_A)

    def _row_norms(self) -> Tensor:
        with torch.no_grad():
            norms_O = torch.linalg.vector_norm(self._sum(), dim=1)
            return norms_O.clamp_min(torch.finfo(norms_O.dtype).tiny)  # rows of zeros, as padded vocabularies have


def products_of(layers: Sequence[LowRankLinear], x: Tensor) -> list[Tensor]:
    """The outputs of layers that read the same x, which drop the same of its inputs; they have equal dropout."""
    dropout = layers[0].part.dropout
    kept = dropout_kept(x, dropout) if layers[0].training else None
    update = update_of(slice(None), slice(None), layers, kept)
    weights = [(frozen_weight(layer.base), layer.base.bias) for layer in layers]
    return low_rank_products(x, weights, [update], [(layer.lora_A, layer.lora_B) for layer in layers])


@dataclass(frozen=True)
class Update:
    """One adapter's part in the products of x_BTI: which rows and columns are its own, and how each layer is scaled.

    `kept` says which of its own inputs are not dropped; `scales` make up for those that are.
    """

    rows: slice
    columns: slice
    scales: tuple[float, ...]
    kept: Tensor | None = None

    def of(self, values_BTX: Tensor) -> Tensor:
        return values_BTX[self.rows, self.columns]

    def flat(self, values_BTX: Tensor) -> Tensor:
        return self.of(values_BTX).reshape(-1, values_BTX.shape[-1])

    def keep(self, dtype: torch.dtype) -> Tensor | None:
        """(N, I) of zeros and ones, the caller's own to write to; None where nothing is dropped.

        As numbers, since to multiply by them is three times faster on a CPU than to fill by a boolean mask.
        """
        return None if self.kept is None else self.kept.to(dtype).view(-1, self.kept.shape[-1])

    def add_to(self, y_BTO: Tensor, left_NR: Tensor, right_RO: Tensor, scale: float) -> None:
        """Add scale · left right to this update's part of y."""
        own = self.of(y_BTO)
        if own.is_contiguous():
            own.view(-1, own.shape[-1]).addmm_(left_NR, right_RO, alpha=scale)
        else:
            own.add_((left_NR @ right_RO).view(own.shape), alpha=scale)


def update_of(rows: slice, columns: slice, layers: Sequence[LowRankLinear], kept: Tensor | None) -> Update:
    share = 1.0 if kept is None else 1 - dropout_rate(layers[0].part.dropout)
    return Update(rows, columns, tuple(layer.part.scale / share for layer in layers), kept)


def low_rank_products(
    x_BTI: Tensor,
    layers: Sequence[tuple[FrozenWeight, Tensor | None]],
    updates: Sequence[Update],
    factors: Sequence[tuple[Tensor, Tensor]],
) -> list[Tensor]:
    """For each frozen (weight_OI, bias_O): W x + bias, plus scale · B A dropout(x) on the rows of each update.

    `factors` holds (a_RI, b_OR) for every update and within it for every layer. W and bias get no gradient. The outputs
    have x's leading dimensions.
    """
    flat = [tensor for pair in factors for tensor in pair]
    inputs = (x_BTI, tuple(layers), tuple(updates), *flat)
    outputs: tuple[Tensor, ...] = _LowRankProducts.apply(*inputs)  # type: ignore[no-untyped-call]
    return list(outputs)


def low_rank_linear(
    x: Tensor,
    weight_OI: FrozenWeight,
    bias_O: Tensor | None,
    a_RI: Tensor,
    b_OR: Tensor,
    scale: float,
    kept: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """W x + bias + scale · B A dropout(x) for x of shape (..., I); the result has shape (..., O).

    dropout(x) is x with the inputs that `kept` (`dropout_kept` of x, or None) leaves out set to zero and the rest
    divided by 1 - dropout_rate(dropout). W and bias get no gradient.
    """
    share = 1.0 if kept is None else 1 - dropout_rate(dropout)
    update = Update(slice(None), slice(None), (scale / share,), kept)
    return low_rank_products(x, [(weight_OI, bias_O)], [update], [(a_RI, b_OR)])[0]


def dropout_kept(x: Tensor, dropout: float, generator: torch.Generator | None = None) -> Tensor | None:
    """A byte for each element of x, 1 where it is kept and 0 where it is dropped; None for no dropout.

    A random byte decides one input, eight from each 64-bit draw, which is several times cheaper than a draw each. So
    the rate is a multiple of 1/256, `dropout_rate(dropout)`, and it is by this rate that what is left is scaled.
    """
    if dropout == 0:
        return None
    draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    return draws.view(torch.uint8)[: x.numel()].view(x.shape).ge_(round(dropout_rate(dropout) * 256))


def dropout_rate(dropout: float) -> float:
    """The rate that is carried out for the rate that was asked for: the nearest of 1/256 … 255/256, or 0."""
    return 0.0 if dropout == 0 else min(max(round(dropout * 256), 1), 255) / 256


class _LowRankProducts(torch.autograd.Function):
    """A of all layers stacked: one product each for what enters them, for their gradient and for that of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BTI: Tensor,
        layers: tuple[tuple[FrozenWeight, Tensor | None], ...],
        updates: tuple[Update, ...],
        *factors: Tensor,
    ) -> tuple[Tensor, ...]:
        y_each = tuple(functional.linear(x_BTI, dense(weight_OI), bias_O) for weight_OI, bias_O in layers)
        inner, stacked = [], []
        for update, pairs in zip(updates, _per_update(factors, len(layers)), strict=True):
            a_RI = _stacked(pairs, x_BTI.dtype)
            h_NR = _dropped(update.flat(x_BTI), update.keep(x_BTI.dtype)) @ a_RI.T
            for y_BTO, own_NR, (_, b_OR), scale in zip(y_each, _split(h_NR, pairs), pairs, update.scales, strict=True):
                update.add_to(y_BTO, own_NR, b_OR.to(x_BTI.dtype).T, scale)
            inner.append(h_NR)
            stacked.append(a_RI)
        # The masks go with the saved tensors, so that a block that is computed again does not keep them.
        ctx.save_for_backward(x_BTI, *factors, *inner, *stacked, *(update.kept for update in updates))
        ctx.weights = tuple(weight_OI for weight_OI, _ in layers)  # frozen: no version to keep watch over
        ctx.updates = tuple(replace(update, kept=None) for update in updates)
        return y_each

    @staticmethod
    def backward(ctx: Any, *dy_each: Tensor) -> tuple[Any, ...]:
        x_BTI, *saved = ctx.saved_tensors
        each = len(ctx.updates)
        count = 2 * len(ctx.weights) * each
        factors, inner, stacked, kept = (saved[:count], *(saved[count + at * each :][:each] for at in range(3)))
        updates = [replace(update, kept=own) for update, own in zip(ctx.updates, kept, strict=True)]
        dx_BTI = _input_gradient(dy_each, ctx.weights) if ctx.needs_input_grad[0] else None
        found: list[Tensor] = []
        for update, pairs, h_NR, a_RI in zip(
            updates, _per_update(factors, len(ctx.weights)), inner, stacked, strict=True
        ):
            dh_NR = torch.empty_like(h_NR)
            db_each = []
            for dy_BTO, own_NR, own_dh_NR, (_, b_OR), scale in zip(
                dy_each, _split(h_NR, pairs), _split(dh_NR, pairs), pairs, update.scales, strict=True
            ):
                dy_NO = update.flat(dy_BTO)
                own_dh_NR.addmm_(dy_NO, b_OR.to(dy_NO.dtype), beta=0, alpha=scale)
                db_OR = torch.empty_like(b_OR, dtype=dy_NO.dtype).addmm_(dy_NO.T, own_NR, beta=0, alpha=scale)
                db_each.append(db_OR.to(b_OR.dtype))
            keep_NI = update.keep(x_BTI.dtype)
            if dx_BTI is not None and keep_NI is None:
                update.add_to(dx_BTI, dh_NR, a_RI, 1.0)
            elif dx_BTI is not None:
                own = update.of(dx_BTI)
                own.addcmul_((dh_NR @ a_RI).view(own.shape), keep_NI.view(own.shape))
            da_RI = dh_NR.T @ _dropped(update.flat(x_BTI), keep_NI)
            for (own_RI, _), da_own, db_OR in zip(pairs, _split(da_RI, pairs, dim=0), db_each, strict=True):
                found += [da_own.to(own_RI.dtype), db_OR]
        return dx_BTI, None, None, *found


def _dropped(x_NI: Tensor, keep_NI: Tensor | None) -> Tensor:
    """Written over `keep_NI`."""
    return x_NI if keep_NI is None else keep_NI.mul_(x_NI)


def _input_gradient(dy_each: Sequence[Tensor], weights: Sequence[FrozenWeight]) -> Tensor:
    dx_NI = dy_each[0].reshape(-1, dy_each[0].shape[-1]) @ dense(weights[0])
    for dy, weight_OI in zip(dy_each[1:], weights[1:], strict=True):
        dx_NI.addmm_(dy.reshape(-1, dy.shape[-1]), dense(weight_OI))
    return dx_NI.view(*dy_each[0].shape[:-1], -1)


def _per_update(factors: Sequence[Tensor], layers: int) -> list[list[tuple[Tensor, Tensor]]]:
    pairs = list(zip(factors[::2], factors[1::2], strict=True))
    return [pairs[start : start + layers] for start in range(0, len(pairs), layers)]


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype) -> Tensor:
    """(sum of ranks, I)."""
    return pairs[0][0].to(dtype) if len(pairs) == 1 else torch.cat([a_RI for a_RI, _ in pairs]).to(dtype)


def _split(values: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], dim: int = 1) -> tuple[Tensor, ...]:
    return values.split([len(a_RI) for a_RI, _ in pairs], dim=dim)


def _master_dtype(weight: Tensor) -> torch.dtype:
    """float32 for half-precision bases; float64 bases (gradient checks) keep float64."""
    return torch.promote_types(weight.dtype, torch.float32)
