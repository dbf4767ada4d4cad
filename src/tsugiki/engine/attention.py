"""Attention for packed rows, and for training on a CPU: torch's fused forward, a backward of plain matrix products.

On a CPU the fused kernel's backward is far slower than five matrix products (35 times on 45 tokens, twice on 296).
So only q, k and v are kept, and the backward takes the weights again, one layer at a time. Packed rows (`packing.py`)
are taken apart here and nowhere else. Registered with transformers under `NAME`; whatever this is not made for (no
gradient, another device, dropout, a cache, biases, windows) goes to transformers' own function, which obeys the mask.
B rows, H heads, T tokens, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tsugiki.engine.packing import KEYWORD, Rows

NAME = "tsugiki"


def register() -> str:
    """Make the function known to transformers; returns the name to load a model with."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    return NAME


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **other: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: q of shape BHTD, k and v with as many or fewer heads; returns BTHD."""
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    unusual = any(other.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    boolean = attention_mask is not None and attention_mask.dtype == torch.bool
    plain = (boolean or (attention_mask is None and causal)) and query.shape[2] == key.shape[2] > 1
    rows: Rows | None = other.pop(KEYWORD, None)
    if rows is not None and (unusual or not causal or not rows.are_all_that(attention_mask)):
        # A window, or a mask made without a look at the positions: obeyed over the whole pass, within the rows.
        attention_mask, rows = rows.borders(attention_mask, causal=causal), None
        plain = attention_mask.dtype == torch.bool and query.shape[2] == key.shape[2] > 1
    if not learns or unusual or dropout or not plain or query.device.type != "cpu":
        if rows is not None:
            query, key, value, attention_mask = rows.apart(query), rows.apart(key), rows.apart(value), None
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **other
        )
        return result if rows is None else (rows.together(result[0]), None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return causal_attention(query, key, value, attention_mask, scale, rows), None


def causal_attention(
    q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask: Tensor | None, scale: float, rows: Rows | None = None
) -> Tensor:
    """softmax(scale · q kᵀ) v over what `mask` allows (boolean, broadcast to BHTT), or over the past without one.

    With `rows`, each packed row sees its own past and `mask` is not looked at. k and v may have fewer heads than q,
    each of them for as many of q's in a row. Returns BTHD.
    """
    mask = mask if rows is None else None
    y_BTHD: Tensor = _Attention.apply(q_BHTD, k_BGTD, v_BGTD, mask, scale, rows)  # type: ignore[no-untyped-call]
    return y_BTHD


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, rows: Rows | None
    ) -> Tensor:
        heads = q.shape[1] // k.shape[1]
        own_q, own_k, own_v = (q, k, v) if rows is None else (rows.apart(q), rows.apart(k), rows.apart(v))
        y_BHTD = functional.scaled_dot_product_attention(
            own_q, repeat_kv(own_k, heads), repeat_kv(own_v, heads), attn_mask=mask, is_causal=mask is None, scale=scale
        )
        y_BTHD = y_BHTD.transpose(1, 2)
        y_BTHD = y_BTHD.contiguous() if rows is None else rows.together(y_BTHD)  # what the next layer reads: kept once
        ctx.save_for_backward(q, k, v, mask, y_BTHD)
        ctx.scale, ctx.rows = scale, rows
        return y_BTHD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With p = softmax(s): dv = pᵀ dy, ds = p · (dy vᵀ - rowsum(dy · y)), dq = scale · ds k, dk = scale · dsᵀ q."""
        q, k_BGTD, v_BGTD, mask, y_BTHD = ctx.saved_tensors
        dy, y, rows = gradients[0].transpose(1, 2), y_BTHD.transpose(1, 2), ctx.rows
        if rows is not None:
            q, k_BGTD, v_BGTD, dy, y = (rows.apart(packed) for packed in (q, k_BGTD, v_BGTD, dy, y))
        heads = q.shape[1] // k_BGTD.shape[1]
        k, v = repeat_kv(k_BGTD, heads), repeat_kv(v_BGTD, heads)
        exact = torch.promote_types(q.dtype, torch.float32)
        if mask is None:
            mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril_()
        s_BHTT = (q.to(exact) * ctx.scale) @ k.to(exact).transpose(-1, -2)
        p_BHTT = s_BHTT.masked_fill_(~mask, float("-inf")).softmax(dim=-1)
        row_BHT1 = (dy.to(exact) * y.to(exact)).sum(dim=-1, keepdim=True)
        dp_BHTT = (dy @ v.transpose(-1, -2)).to(exact)
        ds_BHTT = (dp_BHTT - row_BHT1).mul_(p_BHTT).mul_(ctx.scale).to(q.dtype)
        dv = p_BHTT.to(q.dtype).transpose(-1, -2) @ dy
        dk = ds_BHTT.transpose(-1, -2) @ q
        found = ds_BHTT @ k, _over_groups(dk, heads), _over_groups(dv, heads)
        if rows is not None:
            found = tuple(rows.together(one.transpose(1, 2)).transpose(1, 2) for one in found)
        return *found, None, None, None


def _over_groups(gradient_BHTD: Tensor, heads: int) -> Tensor:
    """The gradient of a key or value that `heads` heads have read."""
    return gradient_BHTD if heads == 1 else gradient_BHTD.unflatten(1, (-1, heads)).sum(dim=2)
