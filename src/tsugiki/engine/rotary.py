"""The gradient of rotary positions written down: three operations for a tensor, where autograd takes nine.

Called by `train`. The forward pass stays the architecture's own, bit for bit. With halves a and b of a head,
y = (a cos - b sin, b cos + a sin), whose gradient is the rotation back. An architecture that rotates in another way
keeps autograd's; whether it does is tried, not assumed. While it is in place, other models of that architecture in this
process get the same gradient in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.engine.structure import structure_of

NAME = "apply_rotary_pos_emb"  # as transformers calls it in every architecture that has one

Rotate = Callable[..., tuple[Tensor, Tensor]]


@contextmanager
def rotating_back(model: nn.Module) -> Iterator[None]:
    """Inside, the attentions of `model` take the gradient of their rotary positions from here."""
    changed: list[tuple[ModuleType, Rotate]] = []
    for place in _modules(model):
        rotate = getattr(place, NAME, None)
        if callable(rotate) and _is_rotation_of_halves(rotate):
            changed.append((place, rotate))
            setattr(place, NAME, _with_gradient(rotate))
    try:
        yield
    finally:
        for place, rotate in changed:
            setattr(place, NAME, rotate)


def _modules(model: nn.Module) -> list[ModuleType]:
    """Where the classes of the attentions are defined."""
    names = (type(model.get_submodule(block.attention)).__module__ for block in structure_of(model).blocks)
    return [sys.modules[name] for name in dict.fromkeys(names)]


def _with_gradient(rotate: Rotate) -> Rotate:
    def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
        plain = cos.shape[-1] == sin.shape[-1] == q.shape[-1] == k.shape[-1] and not cos.requires_grad
        if not plain or not torch.is_grad_enabled():
            return rotate(q, k, cos, sin, unsqueeze_dim)
        found: tuple[Tensor, Tensor] = _Rotation.apply(rotate, q, k, cos, sin, unsqueeze_dim)  # type: ignore[no-untyped-call]
        return found

    return rotated


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rotate: Rotate, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        ctx.unsqueeze_dim = unsqueeze_dim
        return rotate(q, k, cos, sin, unsqueeze_dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = (one.unsqueeze(ctx.unsqueeze_dim) for one in ctx.saved_tensors)
        dq, dk = (_back(dy, cos, sin) for dy in gradients)
        return None, dq, dk, None, None, None


def _back(dy: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = dy.shape[-1] // 2
    dx = dy * cos
    dx[..., :half].addcmul_(dy[..., half:], sin[..., half:])
    dx[..., half:].addcmul_(dy[..., :half], sin[..., :half], value=-1)
    return dx


def _is_rotation_of_halves(rotate: Rotate) -> bool:
    """Tried on random numbers, cosines and sines among them, so that no accident of the angles hides a difference."""
    generator = torch.Generator().manual_seed(0)
    q, k, dq, dk = (torch.randn(1, heads, 3, 8, dtype=torch.float64, generator=generator) for heads in (2, 1, 2, 1))
    cos, sin = (torch.randn(1, 3, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    q.requires_grad_(True)
    k.requires_grad_(True)
    try:
        with torch.enable_grad():
            wanted = torch.autograd.grad(rotate(q, k, cos, sin), (q, k), (dq, dk))
    except Exception:  # other arguments, or other shapes
        return False
    found = (_back(dy, cos[:, None], sin[:, None]) for dy in (dq, dk))
    return all(torch.allclose(one, other, rtol=0, atol=1e-12) for one, other in zip(found, wanted, strict=True))
