"""RMS norms that keep their input as it came for the backward pass, not a float32 copy of it.

Called by `train`. transformers computes these norms in float32, and autograd then keeps float32 copies, a quarter of
what a bfloat16 block keeps. The forward pass stays the module's own, bit for bit; the gradient is written down here
(arXiv 1910.07467): with r = 1/sqrt(mean(x²) + eps), n = r x and g = w dy, dx = r (g - n mean(n g)). A norm that does
anything else, or that is trained itself, keeps its own backward; whether it does is tried, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.errors import out_of_memory

EPSILONS = ("variance_epsilon", "eps")
ROUNDING = 0.02  # two roundings to bfloat16 are 0.008


@dataclass(frozen=True)
class _Scaling:
    """How a norm scales what it has normed: by `scale_D`, before or after rounding to the dtype of its input.

    `exact`: our own forward gives bit for bit what the module's gives, so that it may stand for it.
    """

    scale_D: Tensor
    epsilon: float
    rounds_first: bool
    exact: bool = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and one over the root of the mean square."""
        x_exact = x.to(torch.promote_types(x.dtype, torch.float32))
        r = torch.rsqrt(x_exact.square().mean(dim=-1, keepdim=True) + self.epsilon)
        if self.rounds_first:
            return (x_exact * r).to(x.dtype) * self.scale_D.to(x.dtype), r
        return (x_exact * r * self.scale_D).to(x.dtype), r


@contextmanager
def keeping_inputs(model: nn.Module) -> Iterator[None]:
    """Inside, every frozen RMS norm of `model` keeps its input alone."""
    changed = [(module, scaling) for module in model.modules() if (scaling := _scaling_of(module)) is not None]
    for norm, scaling in changed:
        norm.forward = _lean(norm.forward, scaling)
    try:
        yield
    finally:
        for norm, _ in changed:
            del norm.forward  # the class's own again


def _lean(forward: Callable[..., Tensor], scaling: _Scaling) -> Callable[[Tensor], Tensor]:
    def lean(x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if rest or named:  # it does more than it did when it was tried
            return forward(x, *rest, **named)
        normed: Tensor = _RMSNorm.apply(x, forward, scaling)  # type: ignore[no-untyped-call]
        return normed

    return lean


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Callable[[Tensor], Tensor], scaling: _Scaling) -> Tensor:
        normed, r = scaling.forward(x)
        ctx.save_for_backward(x, r)
        ctx.scale_D = scaling.scale_D
        return normed if scaling.exact else forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, r = ctx.saved_tensors
        x_exact, g = x.to(r.dtype), gradients[0].to(r.dtype) * ctx.scale_D
        along = (g * x_exact).mean(dim=-1, keepdim=True) * r**3
        return g.mul_(r).addcmul_(x_exact, along, value=-1).to(x.dtype), None, None


def _scaling_of(module: Any) -> _Scaling | None:
    """None for what is no frozen RMS norm."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() != 1 or weight.requires_grad or _epsilon(module) is None:
        return None
    if "forward" in vars(module) or list(module.children()):
        return None
    spread = torch.linspace(-2, 3, 2 * len(weight), device=weight.device).view(2, -1).to(weight.dtype)
    try:
        with torch.no_grad():
            found = module(spread)
    except Exception as error:  # another shape of input, or more than one
        if out_of_memory(error) is not None:
            raise
        return None
    if found.shape != spread.shape:
        return None
    own = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    ways = [  # Llama's, Gemma's
        _Scaling(scale_D, _epsilon(module), rounds_first)
        for scale_D in (own, 1 + own)
        for rounds_first in (True, False)
    ]
    outputs = [way.forward(spread)[0] for way in ways]
    for way, output in zip(ways, outputs, strict=True):
        if torch.equal(output, found):
            return replace(way, exact=True)
    allowed = ROUNDING * found.abs() + 1e-5
    near = (way for way, output in zip(ways, outputs, strict=True) if bool(((found - output).abs() <= allowed).all()))
    return next(near, None)


def _epsilon(module: Any) -> Any:
    return next((getattr(module, name) for name in EPSILONS if isinstance(getattr(module, name, None), float)), None)
