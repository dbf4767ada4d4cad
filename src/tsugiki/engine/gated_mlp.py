"""Gated MLPs that keep less for the backward pass: gate and up are kept, their product is taken again.

Called by `train`. down(act(gate(x)) · up(x)) would keep the activated gate and the product as well, a quarter of all
that a block keeps, for one elementwise product. Works for whatever stands in the place of the three layers. An MLP
that does anything else than this formula keeps its own forward; whether it does is tried, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tsugiki.engine.device import draws_numbers

Activation = Callable[[Tensor], Tensor]
_Activated = tuple[Tensor, Tensor]  # a gate by itself and its activation, with the graph between them
PARTS = ("gate_proj", "up_proj", "down_proj", "act_fn")


@contextmanager
def keeping_less(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside, every MLP of `model` that is down(act(gate(x)) · up(x)) takes its product again in the backward pass.

    `dtype` is that of the hidden states.
    """
    changed = [module for module in model.modules() if _is_gated(module, dtype)]
    for mlp in changed:
        mlp.forward = _forward_of(mlp)
    try:
        yield
    finally:
        for mlp in changed:
            del mlp.forward  # the class's own again


def gated(gate: Tensor, up: Tensor, activate: Activation, down: Callable[[Tensor], Tensor]) -> Tensor:
    """down(activate(gate) · up), for tensors of one shape; `gate` and `up` are all that is kept of the product."""
    again: list[_Activated] = []  # in the backward pass: from taking the product again to the gradients behind it
    product: Tensor = _GatedProduct.apply(gate, up, activate, again)  # type: ignore[no-untyped-call]
    kept_gate, kept_up = gate.detach(), up.detach()
    place, count = product.data_ptr(), product.numel()  # not the tensor itself, which the hooks would keep

    def pack(tensor: Tensor) -> Tensor | torch.Size:
        return tensor.shape if tensor.data_ptr() == place and tensor.numel() == count else tensor

    def unpack(packed: Tensor | torch.Size) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        again[:] = [_activated(kept_gate, activate)]
        return (again[0][1].detach() * kept_up).view(packed)

    with saved_tensors_hooks(pack, unpack):
        return down(product)


def _activated(gate: Tensor, activate: Activation) -> _Activated:
    with torch.enable_grad():
        alone = gate.detach().requires_grad_(True)
        return alone, activate(alone)


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activate: Activation, again: list[_Activated]) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activate, ctx.again = activate, again
        return activate(gate) * up

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        alone, activation = ctx.again.pop() if ctx.again else _activated(gate, ctx.activate)
        dup = gradients[0] * activation.detach()
        (dgate,) = torch.autograd.grad(activation, alone, gradients[0] * up)
        return dgate, dup, None, None


def _forward_of(mlp: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: gated(mlp.gate_proj(x), mlp.up_proj(x), mlp.act_fn, mlp.down_proj)


def _is_gated(module: Any, dtype: torch.dtype) -> bool:
    """Has the parts, takes one tensor, and is the formula: tried on two tokens, small and large, in training.

    Both are given the same random numbers, so an MLP that drops something of its own draws others or more of them.
    """
    inner = next((child for child in module.modules() if isinstance(child, nn.Linear)), None)
    if not all(hasattr(module, name) for name in PARTS) or "forward" in vars(module) or inner is None:
        return False
    device = next(inner.parameters()).device
    small = torch.linspace(-1, 1, 2 * inner.in_features, device=device).view(1, 2, -1)
    try:
        if draws_numbers(device, lambda: module.act_fn(small.to(dtype))):  # it would draw others when taken again
            return False
        return all(_agree(module, x_BTI.to(dtype)) for x_BTI in (small, 100 * small))
    except (RuntimeError, TypeError):  # another shape of input, or more than one
        return False


def _agree(module: Any, x_BTI: Tensor) -> bool:
    found = []
    was_training = module.training
    module.train()
    try:
        for forward in (_formula(module), module):
            with torch.no_grad(), torch.random.fork_rng(devices=[x_BTI.device] if x_BTI.is_cuda else []):
                torch.manual_seed(0)
                found += [forward(x_BTI), torch.rand(4, device=x_BTI.device)]
    finally:
        module.train(was_training)
    return torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])


def _formula(module: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: module.down_proj(module.act_fn(module.gate_proj(x)) * module.up_proj(x))
