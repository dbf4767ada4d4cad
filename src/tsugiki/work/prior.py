"""What a study expects before it has trained anything: learning rates in the order to try them, and ranks.

Called by `study` once per study; the result is kept in schedule.json. Rules from the literature stand in until there
are earlier studies nearby, from which `learned` takes over. Changes what is tried first and how much, never what is
measured: every choice is still made on the dev set of the study at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tsugiki.config import LEARNING_RATES, METHODS, Design, MethodName
from tsugiki.work.choose import learning_rates
from tsugiki.work.lessons import Features, Lesson, Nearby, nearby

USUAL_RANK = 16  # where no search runs
SMALLEST_LARGEST, LARGEST = 32, 256
HEADROOM = 4  # a search starts this much above what is thought to suffice
BITS_PER_PARAMETER, BITS_PER_TOKEN = 2, 1  # LoRA Without Regret (Thinking Machines, 2025)


@dataclass(frozen=True)
class Prior:
    rates: Mapping[MethodName, tuple[float, ...]]  # equally many for every method, the most promising first
    rank: int  # where none is searched
    largest_rank: int  # with which a search trains, before it sees how much of it is needed
    lessons: tuple[Mapping[str, Any], ...] = ()  # earlier studies that it rests on, nearest first; none: rules alone

    @property
    def tries(self) -> int:
        return max(map(len, self.rates.values()))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def prior_from_json(value: Mapping[str, Any]) -> Prior:
    rates = {method: tuple(rates) for method, rates in value["rates"].items()}
    return Prior(**{**value, "rates": rates, "lessons": tuple(value["lessons"])})


def make_prior(design: Design, features: Features, *, capacity: float, lessons: Sequence[Lesson]) -> Prior:
    """From earlier studies where some are near enough, else from rules.

    `capacity` is how many parameters one rank has over all layers that get a low-rank update.
    """
    near = nearby(features, lessons)
    rules = _rules(design, features, capacity)
    return learned(design, rules, near) if near else rules


def _rules(design: Design, features: Features, capacity: float) -> Prior:
    """Rank by information: as many bits in the parts as in the answers that are learned."""
    bits = BITS_PER_TOKEN * features.rows * features.completion_tokens
    needed = bits / (BITS_PER_PARAMETER * max(capacity, 1.0))
    return Prior(
        rates={method: learning_rates(method, design.tries) for method in METHODS},
        rank=min(LARGEST, max(USUAL_RANK, power_of_two(needed))),
        largest_rank=min(LARGEST, max(SMALLEST_LARGEST, power_of_two(HEADROOM * needed))),
    )


def learned(design: Design, rules: Prior, near: Sequence[Nearby]) -> Prior:
    """Rates by their weighted mean regret in the studies nearby; fewer tries the more such studies agree.

    Each study as near as can be saves a try, but rates that were best in one of them are all tried.
    """
    weight = sum(one.weight for one in near)
    best = {method: _best_rates(method, near) for method in design.methods}
    saved = max(1, design.tries - int(weight))
    tries = min(design.tries, max(saved, *(len(rates) for rates in best.values())))
    ranked = {method: _by_regret(method, near, tries) for method in METHODS}
    ranks = [(one.lesson.rank, one.weight) for one in near if one.lesson.rank is not None]
    if not ranks:
        return Prior(ranked, rules.rank, rules.largest_rank, _told(near))
    mean = math.exp(sum(math.log(rank) * share for rank, share in ranks) / sum(share for _, share in ranks))
    at_limit = any(one.lesson.rank == one.lesson.largest_rank for one in near)
    largest = rules.largest_rank if at_limit else power_of_two(HEADROOM * max(rank for rank, _ in ranks))
    largest = min(rules.largest_rank, max(2 * HEADROOM, largest))
    rank = min(largest, max(HEADROOM, 2 * power_of_two(mean)))
    return Prior(ranked, rank, largest, _told(near))


def power_of_two(value: float) -> int:
    """The smallest power of two that is not below `value`; 1 at least."""
    return 1 << max(0, math.ceil(math.log2(value))) if value > 1 else 1


def _best_rates(method: MethodName, near: Sequence[Nearby]) -> set[float]:
    found = (one.lesson.tries.get(method) for one in near)
    return {min(tries, key=tries.__getitem__) for tries in found if tries}


def _by_regret(method: MethodName, near: Sequence[Nearby], tries: int) -> tuple[float, ...]:
    """Known rates by mean regret (nats above the best of their study), then those that nobody has tried."""
    regrets: dict[float, list[tuple[float, float]]] = {}
    for one in near:
        tried = one.lesson.tries.get(method, {})
        for rate, loss in tried.items():
            regrets.setdefault(rate, []).append((loss - min(tried.values()), one.weight))
    mean = {
        rate: sum(regret * share for regret, share in found) / sum(share for _, share in found)
        for rate, found in regrets.items()
    }
    grid = learning_rates(method, max(tries, len(LEARNING_RATES[method])))
    ordered = sorted(mean, key=lambda rate: (mean[rate], rate)) + [rate for rate in grid if rate not in mean]
    return tuple(ordered[:tries])


def _told(near: Sequence[Nearby]) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"study": one.lesson.study, "folder": one.lesson.folder, "distance": one.distance, "weight": one.weight}
        for one in near
    )


def held_out(lessons: Sequence[Lesson]) -> list[dict[str, Any]]:
    """Each study judged by the others alone: what the first rate they suggest, and that of the rules, would have lost.

    Regrets are nats of dev loss above the best try of that study; None where the suggested rate was not tried there.
    """
    found: list[dict[str, Any]] = []
    for lesson in lessons:
        others = [other for other in lessons if other.study != lesson.study]
        design = Design(tries=max([1, *map(len, lesson.tries.values())]))
        near, rules = nearby(lesson.features, others), _rules(design, lesson.features, 0.0)
        prior = learned(design, rules, near) if near else rules
        for method, tried in lesson.tries.items():
            regret = {name: tried.get(one.rates[method][0]) for name, one in (("learned", prior), ("rules", rules))}
            found.append(
                {
                    "study": lesson.folder,
                    "method": method,
                    "best": min(tried, key=tried.__getitem__),
                    "suggested": prior.rates[method][0],
                    "from": len(near),
                    **{name: None if loss is None else loss - min(tried.values()) for name, loss in regret.items()},
                }
            )
    return found
