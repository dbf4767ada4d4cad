"""Rotary positions: the forward pass untouched, the gradient that of autograd, and the module given back."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.loss import token_loss
from tsugiki.engine.plan import make_plan
from tsugiki.engine.rotary import NAME, rotating_back

PAIRS = [("部品: ", "B-23"), ("Class of a zener diode? ", "Diode")]


def place_of(base: Base) -> Any:
    return sys.modules[type(base.model).__module__]


def test_losses_are_the_same_bit_for_bit_and_gradients_agree(tiny_bases: Base) -> None:
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, PlanSpec(rank=3, dropout=0.0)), seed=0)
    for name, part in trainable.trained.items():
        if name.endswith("lora_B"):
            nn.init.normal_(part, std=0.1, generator=torch.Generator().manual_seed(1))
    (batch,) = micro_batches(encode(tiny_bases.tokenizer, PAIRS, max_length=64), range(2), micro_tokens=4096)
    loss = token_loss(trainable.model)
    theirs = getattr(place_of(tiny_bases), NAME)
    plain = loss(batch)
    wanted = torch.autograd.grad(plain, list(trainable.trained.values()))
    with rotating_back(tiny_bases.model):
        assert getattr(place_of(tiny_bases), NAME) is not theirs
        value = loss(batch)
        found = torch.autograd.grad(value, list(trainable.trained.values()))
    assert torch.equal(value, plain) and getattr(place_of(tiny_bases), NAME) is theirs
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_another_way_of_rotating_keeps_its_own_gradient(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(tiny_base)

    def interleaved(
        q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)

        def turned(x: torch.Tensor) -> torch.Tensor:
            return torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)

        return q * cos + turned(q) * sin, k * cos + turned(k) * sin

    monkeypatch.setattr(place, NAME, interleaved)
    with rotating_back(tiny_base.model):
        assert getattr(place, NAME) is interleaved


def test_the_function_comes_back_after_an_error(tiny_base: Base) -> None:
    theirs = getattr(place_of(tiny_base), NAME)
    with pytest.raises(ValueError, match="stop"), rotating_back(tiny_base.model):
        raise ValueError("stop")
    assert getattr(place_of(tiny_base), NAME) is theirs
