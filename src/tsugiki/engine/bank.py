"""A bank: several low-rank adapters on the same layers of one frozen base, each for its own rows of a batch.

Called by `train` to train candidates (ranks, learning rates, seeds) side by side. The product with a frozen weight is
taken once for all rows; each candidate adds its own update to its own rows, with its own dropout stream, and receives
gradients from these rows alone. So what a candidate computes is what it would compute alone, up to rounding.
Shapes as in lowrank.py, with B rows of all candidates together, T the width of the widest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tsugiki.engine.attach import Trainable, linear_layer
from tsugiki.engine.base import Base
from tsugiki.engine.batches import Batch
from tsugiki.engine.device import draws_numbers
from tsugiki.engine.lowrank import LowRankLinear, Update, dropout_kept, low_rank_products, update_of
from tsugiki.engine.plan import Plan
from tsugiki.engine.quantize import frozen_weight
from tsugiki.engine.shared_input import SharedInput
from tsugiki.engine.structure import structure_of
from tsugiki.errors import PlanError


@dataclass(frozen=True)
class Share:
    """The part of a joint batch that is one candidate's: rows of their own where they are padded, else columns."""

    candidate: int
    rows: slice
    columns: slice


@dataclass
class Bank:
    """`candidates` are views, one per plan: what they hold trains, saves and restores like a plan attached alone."""

    base: Base
    candidates: tuple[Trainable, ...] = ()
    generators: tuple[torch.Generator, ...] = ()
    layers: dict[str, BankLinear] = field(default_factory=dict)

    def take(self, shares: Sequence[Share]) -> None:
        """Say whose rows the next forward pass holds."""
        for layer in self.layers.values():
            layer.shares = tuple(shares)

    def detach(self) -> None:
        """Give the base back as it was; the candidates' parts stay usable in their `trained`."""
        for name, layer in self.layers.items():
            self.base.model.set_submodule(name, layer.base)
        self.layers = {}
        self.base.model.eval()


class BankLinear(nn.Module):
    """A frozen linear layer with one low-rank update per candidate."""

    def __init__(self, base: nn.Linear, members: Sequence[LowRankLinear], generators: Sequence[torch.Generator]):
        super().__init__()
        self.base = base
        self.members = nn.ModuleList(members)
        self.generators = tuple(generators)
        self.shares: tuple[Share, ...] = ()
        self.shared: SharedInput | None = None

    def forward(self, x_BTI: Tensor) -> Tensor:
        if self.shared is not None:
            return self.shared.output(self, x_BTI)
        return bank_products([self], x_BTI)[0]

    def member(self, candidate: int) -> LowRankLinear:
        found = self.members[candidate]
        assert isinstance(found, LowRankLinear)
        return found


def bank_products(layers: Sequence[BankLinear], x_BTI: Tensor) -> list[Tensor]:
    """The outputs of layers of one bank that read the same x; each candidate drops the same of its inputs in all."""
    first = layers[0]
    updates: list[Update] = []
    factors: list[tuple[Tensor, Tensor]] = []
    for share in first.shares:
        members = [layer.member(share.candidate) for layer in layers]
        own, dropout = x_BTI[share.rows, share.columns], members[0].part.dropout
        kept = dropout_kept(own, dropout, first.generators[share.candidate]) if first.training else None
        updates.append(update_of(share.rows, share.columns, members, kept))
        factors += [(member.lora_A, member.lora_B) for member in members]
    return low_rank_products(
        x_BTI, [(frozen_weight(layer.base), layer.base.bias) for layer in layers], updates, factors
    )


def attach_bank(base: Base, plans: Sequence[Plan], *, seeds: Sequence[int]) -> Bank:
    """Put all plans onto `base` at once; each candidate starts as `attach` with its seed would start it.

    Raises PlanError for a plan that holds more than low-rank updates of the blocks, and for plans on different layers.
    """
    names = tuple(plans[0].low_rank)
    for plan in plans:
        if (fault := why_alone(base, plan)) is not None:
            raise PlanError(f"{fault}, so it cannot share a bank.", fix="Train it alone.")
        if tuple(plan.low_rank) != names:
            raise PlanError("The plans of a bank name different layers.", fix="Use the same targets for all of them.")
    starts = [torch.Generator().manual_seed(seed) for seed in seeds]
    bank = Bank(
        base=base,
        candidates=tuple(Trainable(base=base, plan=plan) for plan in plans),
        generators=tuple(torch.Generator(device=base.device).manual_seed(seed) for seed in seeds),
    )
    linears = {name: linear_layer(base.model, name) for name in names}  # all of them before the first is wrapped
    for name, linear in linears.items():
        members = [LowRankLinear(linear, plan.low_rank[name], start) for plan, start in zip(plans, starts, strict=True)]
        layer = BankLinear(linear, members, bank.generators)
        base.model.set_submodule(name, layer)
        bank.layers[name] = layer
        for candidate, member in zip(bank.candidates, members, strict=True):
            for part, parameter in member.named_parameters(recurse=False):
                candidate.trained[f"{name}.{part}"] = parameter
    return bank


def why_alone(base: Base, plan: Plan) -> str | None:
    """Why this plan cannot share a bank, or None; nothing may be attached to the base."""
    if plan.full or plan.bottlenecks or not plan.low_rank:
        return f"The {plan.method} plan trains more than low-rank updates"
    if any(part.dora for part in plan.low_rank.values()):
        return "DoRA rescales the frozen product for each candidate"
    if structure_of(base.model).head in plan.low_rank:
        return "The plan adapts the head"
    if draws_numbers(base.device, lambda: _in_training(base)):
        return "The base itself draws random numbers in training"
    return None


def _in_training(base: Base) -> None:
    base.model.train()
    try:
        with torch.no_grad():
            base.model(input_ids=torch.arange(8, device=base.device)[None], use_cache=False)
    finally:
        base.model.eval()


@dataclass(frozen=True)
class Joint:
    """Several batches as one: what of it is whose, and the labels of each as (positions_N, targets_N) in this one."""

    ids_BT: Tensor
    lengths: tuple[int, ...] | None
    states_BTD: Tensor | None
    shares: tuple[Share, ...]
    labels: tuple[tuple[Tensor, Tensor], ...]


def join(batches: Sequence[tuple[int, Batch]]) -> Joint:
    """One batch of several, all packed or all padded, given as (candidate, its batch); each keeps its rows together."""
    return _packed_together(batches) if batches[0][1].lengths is not None else _padded_together(batches)


def _packed_together(batches: Sequence[tuple[int, Batch]]) -> Joint:
    shares: list[Share] = []
    labels: list[tuple[Tensor, Tensor]] = []
    lengths: tuple[int, ...] = ()
    start = 0
    for candidate, batch in batches:
        assert batch.lengths is not None
        stop = start + batch.ids_BT.shape[1]
        shares.append(Share(candidate, slice(None), slice(start, stop)))
        labels.append((batch.positions_N + start, batch.targets_N))
        lengths += batch.lengths
        start = stop
    states = [found for _, batch in batches if (found := batch.entering()) is not None]
    return Joint(
        ids_BT=torch.cat([batch.ids_BT for _, batch in batches], dim=1),
        lengths=lengths,
        states_BTD=torch.cat(states, dim=1) if states else None,
        shares=tuple(shares),
        labels=tuple(labels),
    )


def _padded_together(batches: Sequence[tuple[int, Batch]]) -> Joint:
    """Each keeps its own padding."""
    width = max(batch.ids_BT.shape[1] for _, batch in batches)
    shares: list[Share] = []
    labels: list[tuple[Tensor, Tensor]] = []
    start = 0
    for candidate, batch in batches:
        count, own = batch.ids_BT.shape
        shares.append(Share(candidate, slice(start, start + count), slice(0, own)))
        row_N, column_N = batch.positions_N // own, batch.positions_N % own
        labels.append(((row_N + start) * width + column_N, batch.targets_N))
        start += count
    states = [found for _, batch in batches if (found := batch.entering()) is not None]
    return Joint(
        ids_BT=_side_by_side([batch.ids_BT for _, batch in batches], width),
        lengths=None,
        states_BTD=_side_by_side(states, width) if states else None,
        shares=tuple(shares),
        labels=tuple(labels),
    )


def _side_by_side(parts: Sequence[Tensor], width: int) -> Tensor:
    """Rows of all parts, filled up with zeros to `width` columns."""
    if len(parts) == 1:
        return parts[0]
    whole = parts[0].new_zeros(sum(map(len, parts)), width, *parts[0].shape[2:])
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return whole
