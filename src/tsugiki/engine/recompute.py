"""Blocks that keep only what enters them, and compute the rest again in the backward pass.

Called by `train`. One more forward pass for a fraction of the activations: used when the estimate says that training
would not fit otherwise, or when it is asked for. Random numbers are drawn again as they were, so gradients are equal
bit for bit. Not for banks, whose streams of random numbers are their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tsugiki.engine.base import Base
from tsugiki.engine.device import free_memory_bytes
from tsugiki.engine.footprint import training_bytes
from tsugiki.engine.plan import Plan
from tsugiki.engine.structure import structure_of


def recomputes(base: Base, plan: Plan, choice: Literal["auto", "never", "always"], *, tokens: int) -> bool:
    """Whether to recompute in passes of `tokens` tokens; 'auto' compares the estimate with what is free now."""
    if choice != "auto":
        return choice == "always"
    return training_bytes(base, plan, tokens=tokens) > free_memory_bytes(base.device)


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Inside, every block of `model` keeps its input alone while gradients are recorded."""
    blocks = [model.get_submodule(block.name) for block in structure_of(model).blocks]
    for block in blocks:
        block.forward = _again(block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own again


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(forward, *inputs, use_reentrant=False, **named)

    return run
