"""Put the parts of a plan onto a base, take them off again, merge and un-merge them.

`attach` wraps and never edits: frozen weights stay the same objects, and `detach` gives the base back bit for bit.
A weight that is trained in full is a copy in the base's place for as long as the plan is attached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from tsugiki.engine.base import Base
from tsugiki.engine.bottleneck import BottleneckAround
from tsugiki.engine.lowrank import LowRankLinear
from tsugiki.engine.plan import Plan
from tsugiki.engine.quantize import QuantizedLinear, dense, pack
from tsugiki.engine.structure import text_config
from tsugiki.errors import PlanError


@dataclass
class Trainable:
    """A base with the parts of a plan on it. `trained` maps the part's name to its parameter."""

    base: Base
    plan: Plan
    trained: dict[str, nn.Parameter] = field(default_factory=dict)
    wrapped: dict[str, nn.Module] = field(default_factory=dict)
    replaced: dict[str, nn.Parameter] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        return self.base.model

    @property
    def trainable_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.trained.values())

    @property
    def trainable_share(self) -> float:
        """Trained parameters relative to the base's own (1.0 for full fine-tuning)."""
        return self.trainable_parameters / self.base.identity.parameters

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self.trained

    def low_rank_layers(self) -> dict[str, LowRankLinear]:
        return {name: module for name, module in self.wrapped.items() if isinstance(module, LowRankLinear)}

    def detach(self) -> None:
        """Give the base back as it was before `attach`; the parts stay usable in this object's `trained`."""
        for name, parameter in self.replaced.items():
            _put_parameter(self.model, self.trained[name], parameter)
        for name, module in reversed(self.wrapped.items()):
            inner = module.base if isinstance(module, LowRankLinear) else module.inner
            assert isinstance(inner, nn.Module)
            self.model.set_submodule(name, inner)
        self.wrapped, self.replaced = {}, {}
        self.model.eval()


def attach(base: Base, plan: Plan, *, seed: int) -> Trainable:
    """Put the parts of `plan` onto `base`; equal seeds give equal parts. Nothing but the parts requires a gradient.

    Raises PlanError when the plan names something that the base does not have.
    """
    trainable = Trainable(base=base, plan=plan)
    try:
        _attach(trainable, torch.Generator().manual_seed(seed))
    except BaseException:
        trainable.detach()
        raise
    return trainable


def tied_weights(model: nn.Module) -> frozenset[str]:
    """Names of weights that stand in more than one place, such as an embedding that is the head as well."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return frozenset(name for group in names.values() if len(group) > 1 for name in group)


def tied_layers(trainable: Trainable) -> frozenset[str]:
    """Low-rank layers whose frozen weight stands in another place as well, such as a head that is the embedding."""
    held = [id(one) for module in trainable.model.modules() for one in module._parameters.values() if one is not None]
    return frozenset(
        name for name, layer in trainable.low_rank_layers().items() if held.count(id(layer.base.weight)) > 1
    )


def linear_layer(model: nn.Module, name: str) -> nn.Linear:
    """The linear layer of that name; raises PlanError for anything else."""
    found = _module(model, name)
    if not isinstance(found, nn.Linear):
        raise PlanError(f"{name} is a {type(found).__name__}, not a linear layer.", fix="Remove it from the plan.")
    return found


def _attach(trainable: Trainable, generator: torch.Generator) -> None:
    base, plan = trainable.base, trainable.plan
    for name in plan.full:
        _train_in_full(trainable, name)
    for name, low_rank in plan.low_rank.items():
        _wrap(trainable, name, LowRankLinear(linear_layer(base.model, name), low_rank, generator))
    for name, bottleneck in plan.bottlenecks.items():
        inner, weight = _module(base.model, name), next(base.model.parameters())
        size, dtype = text_config(base.model).hidden_size, torch.promote_types(base.dtype, torch.float32)
        _wrap(trainable, name, BottleneckAround(inner, bottleneck, size, weight.device, dtype, generator))


def merge(trainable: Trainable) -> float:
    """Fold low-rank parts into weights held as the base's are, so that inference pays nothing for them.

    Returns how far off the merged weights are, relative to the updates (Frobenius norms over all layers): rounding to
    the base's dtype, or to its few bits, where it can exceed 1. The frozen weights are kept beside the merged ones, so
    `unmerge` is exact. Raises PlanError for a bottleneck.
    """
    if not trainable.plan.mergeable:
        raise PlanError(
            "A bottleneck adapter is not linear in its input and cannot be merged.",
            fix="Serve it unmerged, or use lora.",
        )
    found = [_merge(layer) for layer in trainable.low_rank_layers().values()]
    lost, update = (math.sqrt(sum(squares)) for squares in zip(*found, strict=True)) if found else (0.0, 0.0)
    return lost / update if update > 0 else 0.0


def _merge(layer: LowRankLinear) -> tuple[float, float]:
    """Squared norms of what is lost and of the update."""
    wanted_OI, frozen_OI = layer.merged_weight(), layer.base.weight
    held_OI = wanted_OI.to(frozen_OI.dtype)
    layer.merged_OI = pack(held_OI, layer.base.kind) if isinstance(layer.base, QuantizedLinear) else held_OI
    lost, update = (wanted_OI - other_OI for other_OI in (dense(layer.merged_OI), frozen_OI))
    return float(lost.square().sum()), float(update.square().sum())


def unmerge(trainable: Trainable) -> None:
    for layer in trainable.low_rank_layers().values():
        layer.merged_OI = None


def _wrap(trainable: Trainable, name: str, wrapper: LowRankLinear | BottleneckAround) -> None:
    trainable.model.set_submodule(name, wrapper)
    wrapper.train(trainable.model.training)
    trainable.wrapped[name] = wrapper
    for part, parameter in wrapper.named_parameters(recurse=False):
        trainable.trained[f"{name}.{part}"] = parameter


def _train_in_full(trainable: Trainable, name: str) -> None:
    owner, _, leaf = name.rpartition(".")
    frozen = getattr(_module(trainable.model, owner), leaf, None)
    if isinstance(_module(trainable.model, owner), QuantizedLinear):
        raise PlanError(
            f"{name} is held in few bits and cannot be trained in full.",
            fix="Take lora or adapter, or --quantize none.",
        )
    if not isinstance(frozen, nn.Parameter):
        raise PlanError(f"The base has no weight {name}.", fix="Make the plan for this base.")
    if any(frozen is copy for copy in trainable.trained.values()):
        return  # tied to a weight that is trained already
    copy = nn.Parameter(frozen.detach().clone(), requires_grad=True)
    _put_parameter(trainable.model, frozen, copy)
    trainable.trained[name] = copy
    trainable.replaced[name] = frozen


def _put_parameter(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Replace `old` wherever it stands: tied weights (embedding and head) stay tied."""
    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is old:
                module._parameters[leaf] = new


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise PlanError(f"The base has no module {name}.", fix="Make the plan for this base.") from None
