"""Turns of learners: whose step is next, the step itself, dev losses, and who leaves early.

Called by `train`. A learner alone takes every turn; those of a bank that stand at the same step take it together, in
joint passes through one base. An error ends a learner that is alone, and in a bank only the one that it belongs to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tsugiki.engine.bank import Bank, join
from tsugiki.engine.base import Base
from tsugiki.engine.batches import Batch, Encoded, micro_batches
from tsugiki.engine.device import tokens_per_pass
from tsugiki.engine.learner import Learner, Step
from tsugiki.engine.loss import ShareLosses
from tsugiki.errors import DoesNotFit, TrainingError

OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Passing:
    """How rows are passed through: the base with all that is attached, and whether it keeps packed rows apart."""

    base: Base
    bank: Bank | None
    losses: ShareLosses
    packed: bool

    def batches(self, encoded: Encoded, rows: Sequence[int], micro_tokens: int) -> list[Batch]:
        return micro_batches(encoded, rows, micro_tokens=micro_tokens, packed=self.packed)

    def joint_losses(self, parts: Sequence[tuple[int, Batch]]) -> list[torch.Tensor]:
        """Of batches, each with its candidate; sums over their completion tokens."""
        joint = join([(candidate, batch.to(self.base.device)) for candidate, batch in parts])
        if self.bank is not None:
            self.bank.take(joint.shares)
        return self.losses(joint.ids_BT, joint.lengths, joint.states_BTD, joint.labels)


def in_turn(learners: Sequence[Learner]) -> list[Learner]:
    """Who takes the next step: those that are furthest behind, which after a resume need not be all."""
    learning = [learner for learner in learners if learner.learns]
    behind = min((learner.progress.step for learner in learning), default=0)
    return [learner for learner in learning if learner.progress.step == behind]


def take_turn(passing: Passing, turn: list[Learner], train_set: Encoded, dev_set: Encoded, on_step: OnStep) -> None:
    started = time.perf_counter()
    taken = _one_step(passing, turn, train_set)
    seconds = time.perf_counter() - started
    turn = [learner for learner in turn if learner.error is None]
    every = sum(taken[learner.candidate][1] for learner in turn)
    for learner in turn:
        tokens = taken[learner.candidate][1]
        learner.count(tokens, seconds * tokens / every)
    due = [learner for learner in turn if learner.is_due]
    dev_losses = _dev_losses(passing, due, dev_set) if due else {}
    for learner in turn:
        with _a_bank_goes_on(learner, passing.bank):
            on_step(learner.note(taken[learner.candidate][0], dev_losses.get(learner.candidate)))


def _one_step(passing: Passing, turn: Sequence[Learner], train_set: Encoded) -> dict[int, tuple[float, int]]:
    """One optimiser step of each learner; returns by candidate the loss per completion token and the tokens."""
    passing.base.model.train()
    batches = {
        learner.candidate: passing.batches(
            train_set,
            next(learner.order),
            tokens_per_pass(learner.recipe.micro_tokens, passing.base.device, passing.base.dtype),
        )
        for learner in turn
    }
    labels = {candidate: sum(len(batch.targets_N) for batch in found) for candidate, found in batches.items()}
    totals: dict[int, torch.Tensor | float] = dict.fromkeys(batches, 0.0)
    for number in range(max(map(len, batches.values()))):
        parts = [(candidate, found[number]) for candidate, found in batches.items() if number < len(found)]
        found = passing.joint_losses(parts)
        means = [loss / labels[candidate] for (candidate, _), loss in zip(parts, found, strict=True)]
        torch.stack(means).sum().backward()
        for (candidate, _), mean in zip(parts, means, strict=True):
            totals[candidate] += mean.detach()  # no look at its value before the step is done: a GPU would wait
    losses = {candidate: float(total) for candidate, total in totals.items()}
    for learner in turn:
        with _a_bank_goes_on(learner, passing.bank):
            learner.update(losses[learner.candidate])
    return {
        candidate: (losses[candidate], sum(batch.tokens for batch in found)) for candidate, found in batches.items()
    }


@contextmanager
def _a_bank_goes_on(learner: Learner, bank: Bank | None) -> Iterator[None]:
    """Alone, an error ends the run; in a bank it ends the candidate."""
    try:
        yield
    except DoesNotFit:
        raise
    except TrainingError as error:
        if bank is None:
            raise
        learner.fail(error)


def _dev_losses(passing: Passing, due: Sequence[Learner], dev_set: Encoded) -> dict[int, float]:
    """Nats per completion token of the dev set by candidate, without dropout; the memory of one batch for all."""
    passing.base.model.eval()
    micro_tokens = tokens_per_pass(due[0].recipe.micro_tokens, passing.base.device, passing.base.dtype) // len(due)
    totals = dict.fromkeys((learner.candidate for learner in due), 0.0)
    count = 0
    with torch.no_grad():
        for batch in passing.batches(dev_set, range(len(dev_set)), micro_tokens):
            found = passing.joint_losses([(candidate, batch) for candidate in totals])
            for candidate, loss in zip(totals, found, strict=True):
                totals[candidate] += float(loss)
            count += len(batch.targets_N)
    return {candidate: total / count for candidate, total in totals.items()}


def let_the_weak_leave(learners: Sequence[Learner], keep: Mapping[int, int]) -> None:
    """After the n-th evaluation of all that still learn, only the keep[n] with the best dev loss so far go on."""
    for evaluation, count in keep.items():
        there = [learner for learner in learners if not learner.error and not learner.progress.left]
        if any(learner.learns and len(learner.dev_losses) < evaluation for learner in there):
            continue
        ranked = sorted(there, key=lambda learner: min(learner.dev_losses[:evaluation]))
        for learner in ranked[count:]:
            if learner.learns:
                learner.leave()
