"""Linear layers that read the same input: found by looking, then computed together.

Called by `train`. q, k and v of an attention, gate and up of an MLP read one tensor; taken together they draw one
dropout mask, drop its inputs once and share their small products. Which layers these are is not told by their names but
seen in one forward pass. The model still calls layer after layer: the first of a group computes all, the others are
handed what is theirs. A layer that is called with another tensor than the group's computes for itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.engine.structure import decoder_of


class SharedInput:
    """Layers in the order of their calls, and a function from their common input to all their outputs."""

    def __init__(self, members: Sequence[nn.Module], compute: Callable[[Tensor], list[Tensor]]) -> None:
        self.members = tuple(members)
        self.compute = compute
        self.x: Tensor | None = None
        self.waiting: dict[nn.Module, Tensor] = {}

    def output(self, member: nn.Module, x: Tensor) -> Tensor:
        if self.x is not x or member not in self.waiting:
            self.x, self.waiting = x, dict(zip(self.members, self.compute(x), strict=True))
        y = self.waiting.pop(member)
        if not self.waiting:
            self.x = None  # nothing is held longer than it is needed
        return y


@contextmanager
def sharing(
    model: Any,
    layers: Mapping[str, Any],
    compute: Callable[[Sequence[Any], Tensor], list[Tensor]],
    alike: Callable[[Any], Any],
) -> Iterator[None]:
    """Inside, layers of `layers` that read one input and are `alike` are computed together by `compute`."""
    groups = [
        group
        for found in same_inputs(model, list(layers))
        for group in _by(lambda name: alike(layers[name]), found)
        if len(group) > 1
    ]
    for group in groups:
        members = [layers[name] for name in group]
        together = SharedInput(members, partial(compute, members))
        for member in members:
            member.shared = together
    try:
        yield
    finally:
        for group in groups:
            for name in group:
                layers[name].shared = None


def same_inputs(model: Any, names: Sequence[str]) -> list[list[str]]:
    """Names of modules that were given the very same tensor in a forward pass, in the order of their calls."""
    seen: dict[int, list[str]] = defaultdict(list)
    kept: list[Tensor] = []  # so that no address is used twice

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept.append(inputs[0])
            seen[id(inputs[0])].append(name)

        return hook

    hooks = [model.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids_BT = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
            decoder_of(model)(input_ids=ids_BT, use_cache=False)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return list(seen.values())


def _by(key: Callable[[str], Any], names: Sequence[str]) -> list[list[str]]:
    groups: dict[Any, list[str]] = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return list(groups.values())
