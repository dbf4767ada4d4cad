"""Which trials a study runs: methods × seeds, a search of the learning rate, and a learning curve, within a budget.

Called once per study, after the calibration; the result is kept in the study folder. A pure function: it starts
nothing, reads no file and no clock. What does not fit is cut in a fixed order; where a coarse cut leaves room, earlier
ones are taken back, the last first. Every cut is recorded with the minutes that it saves:

    1  sizes of the learning curve, smallest first, down to one      4  learning rates per method, down to one
    2  seeds of the learning curve, down to one                      5  seeds of the final trials, down to one
    3  the last size of the learning curve                           6  optimiser steps, down to the floor
                                                                     7  methods other than one small one and full

Never cut: the base and the k-shot prompt as references, lora (or the first small method that was asked for) and full
with one seed. Early stops and careful prices leave time at the end: seeds of these two that were cut are kept as
`spare`, and run then.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from tsugiki.config import Design, MethodName, Recipe
from tsugiki.errors import StudyError
from tsugiki.work.prior import Prior, prior_from_json

Kind = Literal["reference", "search", "train"]
Knob = Literal["curve_sizes", "curve_seeds", "tries", "seeds", "steps", "methods"]  # in the order of the cuts
Measurement = Literal["retention", "retention_before", "latency", "change"]

REFERENCE = "reference"  # the one trial without a method
STEP_FLOOR = 60  # below this a few hundred rows are not learned at the usual rates
FEWEST_STEPS = 300  # fewer than about 200 rows: count steps, not epochs (T-Few, arXiv 2205.05638)
STEPS_PER_EVALUATION = 20  # a short run spends its time on steps; its dev loss falls until the end anyway
SMALLEST_SIZE = 8  # a training set below one batch says nothing about the learning curve
CHANGES = 16  # times that adapters are attached or detached while the change cost is measured
ALL_MEASUREMENTS: tuple[Measurement, ...] = ("retention", "latency", "change")


@dataclass(frozen=True)
class Cost:
    """Seconds that one method takes on this machine, from the calibration."""

    start: float = 0.0  # a process of its own: imports, base, parts
    step: float = 0.0  # one optimiser step
    dev_loss: float = 0.0  # one pass over the dev set, the best parts kept
    checkpoint: float = 0.0
    answer: float = 0.0  # the whole test set
    shifted: float = 0.0  # all shifted rows, where there are any
    retention: float = 0.0
    speed: float = 0.0  # latency and change cost


@dataclass(frozen=True)
class Calibration:
    reference: float  # seconds that the reference trial took: it runs before the calibration
    methods: Mapping[MethodName, Cost]


def calibration_of(measured: Mapping[str, Any], reference: Mapping[str, Any]) -> Calibration:
    """From the results of the calibration and of the reference trial, which has answered the whole test set already.

    A method that did not fit costs nothing: it is not tried. Without a reference the answers are not counted.
    """
    opened = measured["wall_seconds"] - measured["inside"]
    took = reference.get("seconds", {})
    methods: dict[MethodName, Cost] = dict.fromkeys(measured["does_not_fit"], Cost())
    for method, one in measured["methods"].items():
        methods[method] = Cost(
            start=opened + one["plan"] + one["attach"],
            step=one["step"],
            dev_loss=measured["dev_loss"] + one["keep_best"],
            checkpoint=one["checkpoint"],
            answer=took.get("base", 0.0),
            shifted=took.get("shifted", 0.0),
            retention=took.get("retention", 0.0),
            speed=measured["latency"] + CHANGES * one["attach"],
        )
    return Calibration(reference=reference["wall_seconds"], methods=methods)


@dataclass(frozen=True)
class PlannedTrial:
    id: str
    kind: Kind
    seconds: float
    method: MethodName | None = None
    seed: int = 0
    rows: int | None = None  # None: all training rows
    steps: int = 0
    tries: int = 0
    measurements: tuple[Measurement, ...] = ()
    essential: bool = False  # runs even when the budget is used up


@dataclass(frozen=True)
class Cut:
    """`what` went from `before` to `after` (counts; for methods, how many), which saves `minutes`."""

    what: Knob
    before: int
    after: int
    minutes: float
    names: tuple[str, ...] = ()  # the methods that were cut


@dataclass(frozen=True)
class Schedule:
    trials: tuple[PlannedTrial, ...]
    cuts: tuple[Cut, ...]
    minutes: float  # predicted, all trials together
    budget_minutes: float  # what was left for the trials when the schedule was made
    allowed_minutes: float  # what the whole study may take
    steps: int
    curve_sizes: tuple[int, ...]
    prior: Prior
    spare: tuple[PlannedTrial, ...] = ()  # in the order in which they narrow the verdict, a seed of all methods at once

    @property
    def fits(self) -> bool:
        return self.minutes <= self.budget_minutes

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "fits": self.fits}


def read_schedule(path: Path) -> Schedule:
    """What was once designed is not designed again."""
    try:
        return _schedule_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        raise StudyError(
            f"{path} is not the schedule of a study of this version.", fix="Start the study again in another folder."
        ) from None


def _schedule_from_json(value: Mapping[str, Any]) -> Schedule:
    trials, spare = (
        tuple(PlannedTrial(**{**trial, "measurements": tuple(trial["measurements"])}) for trial in value[name])
        for name in ("trials", "spare")
    )
    cuts = tuple(Cut(**{**cut, "names": tuple(cut["names"])}) for cut in value["cuts"])
    rest = {name: value[name] for name in ("minutes", "budget_minutes", "allowed_minutes", "steps")}
    prior = prior_from_json(value["prior"])
    sizes = tuple(value["curve_sizes"])
    return Schedule(trials=trials, cuts=cuts, curve_sizes=sizes, prior=prior, spare=spare, **rest)


@dataclass(frozen=True)
class _Outline:
    """The knobs that the budget can turn."""

    methods: tuple[MethodName, ...]
    seeds: int
    curve_sizes: tuple[int, ...]
    curve_seeds: int
    tries: int
    steps: int


def design_study(
    design: Design, recipe: Recipe, prior: Prior, *, rows: int, calibration: Calibration, budget_minutes: float
) -> Schedule:
    """The trials in the order they run. `rows` is the full training size, `budget_minutes` what they may take."""
    whole = _Outline(
        methods=design.methods,
        seeds=design.seeds,
        curve_sizes=curve_sizes(rows, design.curve_sizes),
        curve_seeds=design.seeds if design.curve_sizes else 0,
        tries=prior.tries,
        steps=steps_for(rows, recipe.batch_size),
    )
    price = _Price(calibration, recipe)
    outline = _fit(whole, price, budget_minutes * 60)
    trials = tuple(_trials(outline, price))
    return Schedule(
        trials=trials,
        cuts=tuple(_cuts(whole, outline, price)),
        minutes=sum(trial.seconds for trial in trials) / 60,
        budget_minutes=budget_minutes,
        allowed_minutes=design.budget_minutes,
        steps=outline.steps,
        curve_sizes=outline.curve_sizes,
        prior=prior,
        spare=tuple(
            _final(outline, price, method, seed)
            for seed in range(outline.seeds, design.seeds)
            for method in _kept(outline.methods)
        ),
    )


def steps_for(rows: int, batch_size: int) -> int:
    """Optimiser steps: five passes over the first 500 rows, two over the rest, and never fewer than 300 steps."""
    examples_seen = 5 * min(rows, 500) + 2 * max(0, rows - 500)
    return max(FEWEST_STEPS, math.ceil(examples_seen / batch_size))


def search_steps(steps: int) -> int:
    """A try is a third of a final run: long enough to rank rates, too short to be a result."""
    return max(STEP_FLOOR // 2, steps // 3)


def evaluations_for(steps: int, asked: int) -> int:
    """Dev losses during a run of `steps`: as many as asked for; in a short run one per 20 steps, and two at least."""
    return min(asked, max(2, steps // STEPS_PER_EVALUATION))


def curve_sizes(rows: int, count: int) -> tuple[int, ...]:
    """Up to `count` sizes below `rows`, each half of the next: n/8, n/4, n/2."""
    halves = (rows // 2**power for power in range(count, 0, -1))
    return tuple(size for size in halves if size >= SMALLEST_SIZE)


@dataclass(frozen=True)
class _Price:
    """Seconds of a trial, from the calibration."""

    calibration: Calibration
    recipe: Recipe

    def search(self, method: MethodName, tries: int, steps: int) -> float:
        """Trying ranks takes a few dev losses more, less than the weak half saves by leaving early."""
        cost = self.calibration.methods[method]
        return cost.start + tries * self._training(cost, search_steps(steps))

    def train(self, method: MethodName, steps: int, measurements: tuple[Measurement, ...]) -> float:
        cost = self.calibration.methods[method]
        measuring = {"retention": cost.retention, "latency": cost.speed}
        measured = sum(measuring.get(one, 0.0) for one in measurements)
        return cost.start + self._training(cost, steps) + cost.answer + measured

    def _training(self, cost: Cost, steps: int) -> float:
        """An early stop saves time that is not counted on."""
        checkpoints = steps / self.recipe.checkpoint_every
        evaluations = evaluations_for(steps, self.recipe.evaluations)
        return steps * cost.step + evaluations * cost.dev_loss + checkpoints * cost.checkpoint

    def of(self, outline: _Outline) -> float:
        return sum(trial.seconds for trial in _trials(outline, self))


def _trials(outline: _Outline, price: _Price) -> Iterator[PlannedTrial]:
    """What decides comes first, so that a study that runs out of time has lost the least."""
    yield PlannedTrial(REFERENCE, "reference", price.calibration.reference, essential=True)
    if outline.tries > 1:
        for method in outline.methods:
            seconds = price.search(method, outline.tries, outline.steps)
            steps = search_steps(outline.steps)
            yield PlannedTrial(f"search-{method}", "search", seconds, method, steps=steps, tries=outline.tries)
    for seed in range(outline.seeds):
        for method in _kept_first(outline.methods):
            yield _final(outline, price, method, seed)
    for seed in range(outline.curve_seeds if outline.curve_sizes else 0):
        for size in outline.curve_sizes:
            method = curve_method(outline.methods)
            seconds = price.train(method, outline.steps, ())
            name = f"{method}-n{size}-s{seed}"
            yield PlannedTrial(name, "train", seconds, method, seed, size, outline.steps)


def _final(outline: _Outline, price: _Price, method: MethodName, seed: int) -> PlannedTrial:
    """Latency and change cost do not depend on the seed: they are measured once per method."""
    measurements: tuple[Measurement, ...] = ALL_MEASUREMENTS if seed == 0 else ("retention",)
    shifted = price.calibration.methods[method].shifted
    return PlannedTrial(
        id=f"{method}-s{seed}",
        kind="train",
        seconds=price.train(method, outline.steps, measurements) + shifted,
        method=method,
        seed=seed,
        steps=outline.steps,
        measurements=measurements,
        essential=seed == 0 and method in _kept(outline.methods),
    )


def curve_method(methods: tuple[MethodName, ...]) -> MethodName:
    """The one small method that every study of these keeps."""
    if "lora" in methods:
        return "lora"
    return next((method for method in methods if method != "full"), methods[0])


def _kept(methods: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
    """A candidate and its control: without either there is nothing to decide."""
    return tuple(method for method in methods if method in (curve_method(methods), "full"))


def _kept_first(methods: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
    return _kept(methods) + tuple(method for method in methods if method not in _kept(methods))


def _fit(whole: _Outline, price: _Price, budget: float) -> _Outline:
    """Cut in the fixed order until it fits, then turn back what fits all the same, the last cut first."""
    outline, turns = whole, []
    while price.of(outline) > budget:
        after = next(_possible_cuts(outline, price, budget), None)
        if after is None:
            return outline
        turns.append(_changed(after, outline))
        outline = after
    refused: set[str] = set()
    for turn in reversed(turns):
        if refused.isdisjoint(turn):
            back = replace(outline, **turn)
            if "steps" in turn and price.of(back) > budget:
                back = replace(back, steps=_most_steps(back, price, budget))
            if price.of(back) > budget:
                refused |= turn.keys()
            else:
                outline = back
    return outline


def _changed(after: _Outline, before: _Outline) -> dict[str, Any]:
    """The knobs that differ, as they were."""
    return {name: value for name, value in vars(before).items() if value != getattr(after, name)}


def _possible_cuts(outline: _Outline, price: _Price, budget: float) -> Iterator[_Outline]:
    """What can still be cut, in the fixed order; nothing at the floor."""
    if len(outline.curve_sizes) > 1:
        yield replace(outline, curve_sizes=outline.curve_sizes[1:])
    if outline.curve_sizes and outline.curve_seeds > 1:
        yield replace(outline, curve_seeds=outline.curve_seeds - 1)
    if outline.curve_sizes:
        yield replace(outline, curve_sizes=(), curve_seeds=0)
    if outline.tries > 1:
        yield replace(outline, tries=outline.tries - 1)
    if outline.seeds > 1:
        yield replace(outline, seeds=outline.seeds - 1)
    if outline.steps > STEP_FLOOR:
        yield replace(outline, steps=_most_steps(outline, price, budget))
    extra = [method for method in outline.methods if method not in _kept(outline.methods)]
    if extra:
        yield replace(outline, methods=tuple(method for method in outline.methods if method != extra[-1]))


def _most_steps(outline: _Outline, price: _Price, budget: float) -> int:
    """As many steps as fit, fewer than the outline has, and at least the floor; more steps never cost less."""
    fewer = range(STEP_FLOOR, outline.steps)
    fitting = bisect_right(fewer, budget, key=lambda steps: price.of(replace(outline, steps=steps)))
    return fewer[max(0, fitting - 1)]


def _cuts(whole: _Outline, fitted: _Outline, price: _Price) -> Iterator[Cut]:
    """One for each knob that was turned; what each saves is taken after those before it, so that they add up."""
    for what in get_args(Knob):
        before = getattr(whole, what)
        if before == getattr(fitted, what):
            continue
        after = replace(whole, **{what: getattr(fitted, what)})
        if not after.curve_sizes:
            after = replace(after, curve_seeds=fitted.curve_seeds)  # of no curve
        minutes = (price.of(whole) - price.of(after)) / 60
        names = tuple(method for method in whole.methods if method not in after.methods)
        yield Cut(what, _position(what, whole), _position(what, after), minutes, names)
        whole = after


def _position(what: str, outline: _Outline) -> int:
    value = getattr(outline, what)
    return value if isinstance(value, int) else len(value)
