"""Attention with a backward of our own against torch's, with and without a mask, heads shared or not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.engine import attention as attention_module
from tsugiki.engine.attention import NAME, attention, masked_attention
from tsugiki.engine.base import Base


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def window(tokens: int, width: int) -> Tensor:
    """A causal mask that reaches `width` tokens back, as sliding attention has it."""
    every = torch.ones(tokens, tokens, dtype=torch.bool)
    return (every.tril() & every.triu(1 - width))[None, None]


@pytest.mark.parametrize("mask", [None, window(5, 2)], ids=["causal", "window"])
def test_gradcheck(mask: Tensor | None) -> None:
    torch.manual_seed(0)
    q, k, v = (numbers(2, 2, 5, 3) for _ in range(3))
    assert torch.autograd.gradcheck(lambda q, k, v: masked_attention(q, k, v, mask, 0.7), (q, k, v), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mask", [None, window(5, 2)], ids=["causal", "window"])
def test_gradcheck_with_keys_that_several_heads_read(mask: Tensor | None) -> None:
    torch.manual_seed(0)
    q, k, v = numbers(2, 6, 5, 3), numbers(2, 2, 5, 3), numbers(2, 2, 5, 3)
    assert torch.autograd.gradcheck(lambda q, k, v: masked_attention(q, k, v, mask, 0.7), (q, k, v), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("tokens", [2, 17, 130])
def test_equals_torchs_own_backward(dtype: torch.dtype, gap: float, tokens: int) -> None:
    torch.manual_seed(1)
    q, k, v = (numbers(2, 3, tokens, 16, dtype=dtype) for _ in range(3))
    dy = torch.randn(2, 3, tokens, 16, dtype=dtype)
    ours = masked_attention(q, k, v, None, 0.25).transpose(1, 2)
    theirs = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.25)
    assert torch.equal(ours, theirs)
    for one, other in zip(
        torch.autograd.grad(ours, (q, k, v), dy), torch.autograd.grad(theirs, (q, k, v), dy), strict=True
    ):
        assert float((one - other).abs().max()) <= gap * float(other.abs().max())


@pytest.mark.parametrize("masked", [False, True])
def test_shared_heads_equal_transformers_own_function(masked: bool) -> None:
    torch.manual_seed(2)
    q, k, v = numbers(2, 4, 9, 8), numbers(2, 2, 9, 8), numbers(2, 2, 9, 8)
    module: Any = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    mask = window(9, 4).expand(2, 1, 9, 9) if masked else None
    seen = []
    for function in (attention, attention_module.sdpa_attention_forward):
        y, _ = function(module, q, k, v, mask, scaling=0.3)
        seen.append((y, *torch.autograd.grad(y.square().sum(), (q, k, v))))
    for ours, theirs in zip(*seen, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_bases_are_loaded_with_it(tiny_bases: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_bases.model.config._attn_implementation == NAME
    calls = []
    real = attention_module.masked_attention
    monkeypatch.setattr(attention_module, "masked_attention", lambda *given: calls.append(1) or real(*given))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        tiny_bases.model(input_ids=ids)
    assert not calls, "without a gradient torch's own kernel is the better one"
    tiny_bases.model.requires_grad_(True)
    tiny_bases.model(input_ids=ids).logits.sum().backward()
    assert len(calls) == 2, "once per block"
