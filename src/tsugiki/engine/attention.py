"""Attention for packed rows, and for training on a CPU: torch's fused forward, a backward of plain matrix products.

On a CPU the fused kernel's backward is far slower than five matrix products (35 times on 45 tokens, twice on 296).
So only q, k and v are kept, and the backward takes the weights again, one layer at a time. Packed rows (`packing.py`)
are taken apart here and nowhere else, so that not even a number that is none gets from one row into another.
Registered with transformers under `NAME`; whatever this is not made for (no gradient, another device, dropout, a cache,
biases) goes to transformers' own function, which obeys the mask.
B rows, H heads (G of keys), T tokens, D head size.
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


def uses_ours(model: Any) -> bool:
    return bool(model.config._attn_implementation == NAME)


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
    rows: Rows | None = other.pop(KEYWORD, None)
    if rows is not None and (unusual or (attention_mask is not None and attention_mask.shape[1] != 1)):
        attention_mask, rows = rows.borders(attention_mask, causal=causal), None
    mask = attention_mask if rows is None else rows.mask_apart(attention_mask, causal=causal)
    usual_mask = (mask is None and causal) or (mask is not None and mask.dtype == torch.bool)
    plain = usual_mask and not unusual and not dropout and query.shape[2] == key.shape[2] > 1
    if not learns or not plain or query.device.type != "cpu":
        if rows is not None:
            query, key, value = rows.apart(query), rows.apart(key), rows.apart(value)
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, dropout, scaling, is_causal, **other
        )
        return result if rows is None else (rows.together(result[0].transpose(1, 2)), None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return masked_attention(query, key, value, mask, scale, rows), None


def masked_attention(
    q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask: Tensor | None, scale: float, rows: Rows | None = None
) -> Tensor:
    """softmax(scale · q kᵀ) v over what `mask` allows (boolean, broadcast to BHTT), or over the past without one.

    With `rows`, B is 1, the tensors hold packed rows, and `mask` is that of rows apart (`Rows.mask_apart`). k and v may
    have fewer heads than q, each of them for as many of q's in a row. Returns BTHD.
    """
    y_BTHD: Tensor = _Attention.apply(q_BHTD, k_BGTD, v_BGTD, mask, scale, rows)  # type: ignore[no-untyped-call]
    return y_BTHD


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, rows: Rows | None
    ) -> Tensor:
        repeats = q.shape[1] // k.shape[1]
        if rows is None:
            own_q, own_k, own_v = q, repeat_kv(k, repeats), repeat_kv(v, repeats)
        else:
            own_q, own_k, own_v = rows.apart(q), rows.apart(k, repeats), rows.apart(v, repeats)
        y_BHTD = functional.scaled_dot_product_attention(
            own_q, own_k, own_v, attn_mask=mask, is_causal=mask is None, scale=scale
        )
        # what the next layer reads: kept once
        y_BTHD = y_BHTD.transpose(1, 2).contiguous() if rows is None else rows.together(y_BHTD)
        ctx.save_for_backward(q, k, v, mask, y_BTHD)
        ctx.scale, ctx.rows = scale, rows
        return y_BTHD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With p = softmax(s): dv = pᵀ dy, ds = p · (dy vᵀ - rowsum(dy · y)), dq = scale · ds k, dk = scale · dsᵀ q.

        The heads that share a key stand below one another, so that each product sums over them: S = repeats · T.
        """
        q, k_BGTD, v_BGTD, mask, y_BTHD = ctx.saved_tensors
        dy, y, rows = gradients[0].transpose(1, 2), y_BTHD.transpose(1, 2), ctx.rows
        if rows is not None:
            q, k_BGTD, v_BGTD, y = (rows.apart(packed) for packed in (q, k_BGTD, v_BGTD, y))
            dy = rows.apart_over_zeros(dy)
        heads, tokens, size = q.shape[1:]
        groups = k_BGTD.shape[1]
        q_BGSD, dy_BGSD, y_BGSD = (one.reshape(-1, groups, heads // groups * tokens, size) for one in (q, dy, y))
        exact = torch.promote_types(q.dtype, torch.float32)
        if mask is None:
            mask = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril_()[None, None]
        s_BGSV = (q_BGSD.to(exact) @ k_BGTD.to(exact).transpose(-1, -2)).mul_(ctx.scale)
        s_BGSV.view(-1, groups, heads // groups, tokens, tokens).masked_fill_(~mask[:, :, None], float("-inf"))
        p_BGSV = s_BGSV.softmax(dim=-1)
        sum_BGS1 = (dy_BGSD.to(exact) * y_BGSD.to(exact)).sum(dim=-1, keepdim=True)
        dp_BGSV = (dy_BGSD @ v_BGTD.transpose(-1, -2)).to(exact)
        ds_BGSV = dp_BGSV.sub_(sum_BGS1).mul_(p_BGSV).mul_(ctx.scale).to(q.dtype)
        dv = p_BGSV.to(q.dtype).transpose(-1, -2) @ dy_BGSD
        dk = ds_BGSV.transpose(-1, -2) @ q_BGSD
        found = (ds_BGSV @ k_BGTD).view(-1, heads, tokens, size), dk, dv
        if rows is not None:
            found = tuple(rows.together(one).transpose(1, 2) for one in found)
        return *found, None, None, None
