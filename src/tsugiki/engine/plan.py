"""What is trained: for every linear layer frozen, low-rank or full; for every block whether a bottleneck follows.

LoRA, bottleneck adapters, hybrid and full fine-tuning are four plans for one engine. A plan names parts of one model
and holds no tensors; `attach` carries it out.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import nn

from tsugiki.config import MethodName, PlanSpec
from tsugiki.engine.structure import Block, Structure, is_plain_linear, structure_of
from tsugiki.errors import PlanError

AUTO = "auto"
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class LowRank:
    """y = W x + scale · B A dropout(x); with `dora` each output row is rescaled to a trained magnitude."""

    rank: int
    scale: float
    dropout: float = 0.0
    dora: bool = False


@dataclass(frozen=True)
class Bottleneck:
    """serial: y + f(y) behind a module; parallel: module(x) + f(x). f is down, GELU, up, with biases."""

    place: Literal["serial", "parallel"]
    width: int
    dropout: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Names are paths inside the model: of linear layers, of parameters (`full`) and of modules (`bottlenecks`)."""

    method: MethodName
    low_rank: Mapping[str, LowRank] = field(default_factory=dict)
    full: tuple[str, ...] = ()
    bottlenecks: Mapping[str, Bottleneck] = field(default_factory=dict)

    @property
    def mergeable(self) -> bool:
        """Low-rank and full parts can be folded into the weights; a bottleneck is not linear and cannot."""
        return not self.bottlenecks

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "low_rank": {name: asdict(part) for name, part in self.low_rank.items()},
            "full": list(self.full),
            "bottlenecks": {name: asdict(part) for name, part in self.bottlenecks.items()},
        }

    def describe(self) -> str:
        pieces = []
        if self.low_rank:
            ranks = sorted({part.rank for part in self.low_rank.values()})
            kind = "DoRA" if any(part.dora for part in self.low_rank.values()) else "low-rank"
            pieces.append(f"{kind} r={','.join(map(str, ranks))} on {len(self.low_rank)} linear layers")
        if self.bottlenecks:
            widths = sorted({part.width for part in self.bottlenecks.values()})
            places = sorted({part.place for part in self.bottlenecks.values()})
            pieces.append(
                f"{len(self.bottlenecks)} {'/'.join(places)} bottlenecks of width {','.join(map(str, widths))}"
            )
        if self.full:
            pieces.append(f"{len(self.full)} weights in full")
        return " + ".join(pieces)


def plan_from_json(value: Mapping[str, Any]) -> Plan:
    return Plan(
        method=value["method"],
        low_rank={name: LowRank(**part) for name, part in value["low_rank"].items()},
        full=tuple(value["full"]),
        bottlenecks={name: Bottleneck(**part) for name, part in value["bottlenecks"].items()},
    )


def make_plan(model: nn.Module, spec: PlanSpec) -> Plan:
    """Lay `spec` over the layers of `model`.

    Hybrid with `full_layers=("auto",)` must have been resolved to block numbers before (`gradients.choose_blocks`).
    Raises PlanError when a name or block number matches nothing, or when nothing would be trained.
    """
    structure = structure_of(model)
    if spec.method == "full":
        return Plan(method="full", full=tuple(name for name, _ in model.named_parameters()))
    if spec.method == "adapter":
        return Plan(method="adapter", bottlenecks=_bottlenecks(structure, spec))
    full_modules = _full_modules(model, structure, spec) if spec.method == "hybrid" else frozenset()
    low_rank = {name: _low_rank(spec) for name in _targets(model, structure, spec) if name not in full_modules}
    if not low_rank:
        raise PlanError(
            "No linear layer is left for a low-rank update.", fix="Name fewer full_layers, or use --method full."
        )
    full = (
        f"{module}.{name}"
        for module in sorted(full_modules)
        for name, _ in model.get_submodule(module).named_parameters()
    )
    return Plan(method=spec.method, low_rank=low_rank, full=tuple(dict.fromkeys(full)))


def _low_rank(spec: PlanSpec) -> LowRank:
    if isinstance(spec.rank, str):
        raise PlanError("rank is still 'auto'.", fix="Choose it first (work/choose.chosen_rank), then make the plan.")
    scale = spec.alpha / (math.sqrt(spec.rank) if spec.rslora else spec.rank)
    return LowRank(rank=spec.rank, scale=scale, dropout=spec.dropout, dora=spec.dora)


def _bottlenecks(structure: Structure, spec: PlanSpec) -> dict[str, Bottleneck]:
    place: Literal["serial", "parallel"] = "parallel" if spec.bottleneck == "parallel" else "serial"
    part = Bottleneck(place=place, width=spec.width, dropout=spec.dropout)
    blocks = _chosen_blocks(structure, spec)
    names = [block.mlp for block in blocks]
    if spec.bottleneck == "houlsby":
        names = [name for block in blocks for name in (block.attention, block.mlp)]
    return dict.fromkeys(names, part)


def _targets(model: nn.Module, structure: Structure, spec: PlanSpec) -> list[str]:
    """Linear layers by name ending; 'all-linear' is every linear layer of the blocks (the head only by name).

    Of the layers inside blocks, those in the chosen blocks.
    """
    chosen: list[str] = []
    left_out = set(structure.linears) - {name for block in _chosen_blocks(structure, spec) for name in block.linears}
    candidates = [name for name, module in model.named_modules() if is_plain_linear(module)]
    for target in spec.targets:
        found = structure.linears if target == ALL_LINEAR else [n for n in candidates if _ends_with(n, target)]
        if not found:
            endings = sorted({name.rsplit(".", 1)[-1] for name in candidates})
            raise PlanError(
                f"targets: no linear layer of {type(model).__name__} ends with {target!r}.",
                fix=f"Use 'all-linear' or some of: {', '.join(endings)}.",
            )
        chosen.extend(found)
    return [name for name in dict.fromkeys(chosen) if name not in left_out]


def _chosen_blocks(structure: Structure, spec: PlanSpec) -> tuple[Block, ...]:
    """The blocks that `spec.blocks` names, in the order of the model."""
    count = len(structure.blocks)
    chosen: set[int] = set()
    for entry in spec.blocks:
        last = entry.removeprefix("last:")
        if entry == "all":
            chosen.update(range(count))
        elif last != entry and last.isdigit() and 1 <= int(last) <= count:
            chosen.update(range(count - int(last), count))
        elif entry.lstrip("-").isdigit():
            chosen.add(_block_index(entry, count, "blocks"))
        else:
            raise PlanError(
                f"blocks: {entry!r} names no blocks of a base that has {count}.",
                fix=f"Use 'all', block numbers 0 to {count - 1}, or 'last:1' to 'last:{count}'.",
            )
    return tuple(block for block in structure.blocks if block.index in chosen)


def _ends_with(name: str, ending: str) -> bool:
    return name == ending or name.endswith("." + ending)


def _full_modules(model: nn.Module, structure: Structure, spec: PlanSpec) -> frozenset[str]:
    """The smallest modules with parameters of their own below every chosen block or matching every name pattern."""
    owners = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
    chosen: set[str] = set()
    for entry in spec.full_layers:
        if entry == AUTO:
            raise PlanError(
                "full_layers is still 'auto'.",
                fix="Choose the blocks first (gradients.choose_blocks), then make the plan.",
            )
        if entry.lstrip("-").isdigit():
            prefix = structure.blocks[_block_index(entry, len(structure.blocks), "full_layers")].name + "."
            chosen.update(name for name in owners if name.startswith(prefix))
            continue
        found = [name for name in owners if fnmatch.fnmatchcase(name, entry) or _ends_with(name, entry)]
        if not found:
            raise PlanError(
                f"full_layers: no layer of {type(model).__name__} matches {entry!r}.",
                fix=f"Use a block number 0 to {len(structure.blocks) - 1}, 'auto', "
                "or a pattern such as '*.mlp.down_proj'.",
            )
        chosen.update(found)
    return frozenset(chosen)


def _block_index(entry: str, count: int, knob: str) -> int:
    index = int(entry)
    if not -count <= index < count:
        raise PlanError(
            f"{knob}: there is no block {index}; the base has blocks 0 to {count - 1}.",
            fix="Choose a block in that range (negative numbers count from the end).",
        )
    return index % count
