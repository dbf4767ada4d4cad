"""Attention for training on a CPU: torch's fused forward, and a backward of plain matrix products.

On a CPU the fused kernel's backward is far slower than five matrix products (35 times on 45 tokens, twice on 296).
So only q, k and v are kept, and the backward takes the weights again, one layer at a time. Registered with transformers
under `NAME`; whatever this is not made for (no gradient, another device, dropout, a cache, biases) goes to
transformers' own function. B rows, H heads, T tokens, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

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
    masked = attention_mask is not None and attention_mask.dtype == torch.bool
    plain = (masked or (attention_mask is None and causal)) and query.shape[2] == key.shape[2] > 1
    if not learns or unusual or dropout or not plain or query.device.type != "cpu":
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **other
        )
        return result
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return causal_attention(query, key, value, attention_mask, scale), None


def causal_attention(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) v over what `mask` allows (boolean, broadcast to BHTT), or over the past without one.

    k and v may have fewer heads than q, each of them for as many of q's in a row. Returns BTHD.
    """
    y_BTHD: Tensor = _Attention.apply(q_BHTD, k_BGTD, v_BGTD, mask, scale)  # type: ignore[no-untyped-call]
    return y_BTHD


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        heads = q.shape[1] // k.shape[1]
        y_BHTD = functional.scaled_dot_product_attention(
            q, repeat_kv(k, heads), repeat_kv(v, heads), attn_mask=mask, is_causal=mask is None, scale=scale
        )
        y_BTHD = y_BHTD.transpose(1, 2).contiguous()  # what the next layer reads: kept once
        ctx.save_for_backward(q, k, v, mask, y_BTHD)
        ctx.scale = scale
        return y_BTHD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With p = softmax(s): dv = pᵀ dy, ds = p · (dy vᵀ - rowsum(dy · y)), dq = scale · ds k, dk = scale · dsᵀ q."""
        q, k_BGTD, v_BGTD, mask, y_BTHD = ctx.saved_tensors
        dy, y = gradients[0].transpose(1, 2), y_BTHD.transpose(1, 2)
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
        return ds_BHTT @ k, _over_groups(dk, heads), _over_groups(dv, heads), None, None


def _over_groups(gradient_BHTD: Tensor, heads: int) -> Tensor:
    """The gradient of a key or value that `heads` heads have read."""
    return gradient_BHTD if heads == 1 else gradient_BHTD.unflatten(1, (-1, heads)).sum(dim=2)
