"""Learning curves whose truth is known: six shapes, with test items of their own difficulty, seeds and nested subsets.

Called by benchmarks/curves.py and by the tests of the curve. An item is right with the probability that its difficulty,
the size and the seed give it; averaged over items and seeds that is exactly the true curve. Two of the shapes
(`broken`, `kinked`) are in none of the families that are fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from tsugiki.measure.curve import EXTRAPOLATION, Point
from tsugiki.measure.stats import mean_with_interval

Quality = Callable[[float], float]
Rng = np.random.Generator
Ends = tuple[int, int]  # smallest and largest training size

LATER = (2, 4)
SEEDS = 3
DIFFICULTY = 0.6  # share of the variance of an answer that is the item's own
KEPT_LUCK = 0.5  # correlation of a seed's luck between neighbouring sizes, whose subsets are nested
SHARPNESS = 0.12  # of a seed's luck at half the full size, in standard deviations of an answer


@dataclass(frozen=True)
class World:
    """One study: the truth, what was measured, and the target with the size at which it is truly reached.

    `later` is what the same test items would give at LATER times the largest size.
    """

    name: str
    quality: Quality
    points: tuple[Point, ...]
    later: tuple[Point, ...]
    target: float
    least: float  # infinite where it is never reached

    @property
    def smallest(self) -> int:
        return self.points[0].n

    @property
    def largest(self) -> int:
        return self.points[-1].n


def worlds(name: str, count: int, seed: int, *, confidence: float) -> Iterator[World]:
    """`count` studies of one shape, each with its own curve, size, test set and target."""
    rng = np.random.default_rng([seed, SHAPES.index(name)])
    for _ in range(count):
        largest, items = int(rng.choice([120, 240, 480])), int(rng.choice([100, 200]))
        sizes = [largest // 8, largest // 4, largest // 2, largest]
        quality = _SHAPES[name](rng, (sizes[0], largest))
        target = target_for(rng, quality, largest)
        points = measured(rng, quality, [*sizes, *(factor * largest for factor in LATER)], items, confidence=confidence)
        least = least_size(quality, target, sizes[0], largest)
        yield World(name, quality, points[: len(sizes)], points[len(sizes) :], target, least)


def measured(rng: Rng, quality: Quality, sizes: list[int], items: int, *, confidence: float) -> tuple[Point, ...]:
    difficulty = rng.standard_normal(items)
    luck = rng.standard_normal(SEEDS)
    points = []
    for size in sizes:
        luck = KEPT_LUCK * luck + np.sqrt(1 - KEPT_LUCK**2) * rng.standard_normal(SEEDS)
        spread = SHARPNESS * (4 * sizes[0] / size) ** 0.3
        scores = answers(rng, quality(size), difficulty, spread, luck)
        found = mean_with_interval(scores.tolist(), confidence=confidence)
        assert found is not None
        points.append(Point(size, found, scores.tolist()))
    return tuple(points)


def answers(
    rng: Rng, quality: float, difficulty: NDArray[np.float64], spread: float, luck: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(seed, item) of right and wrong: right with probability `quality` over items, seeds and chance together."""
    ability = stats.norm.ppf(np.clip(quality, 1e-6, 1 - 1e-6)) * np.sqrt(1 + spread**2) + spread * luck
    chance = rng.standard_normal((len(luck), len(difficulty)))
    return (np.sqrt(DIFFICULTY) * difficulty + np.sqrt(1 - DIFFICULTY) * chance < ability[:, None]).astype(np.float64)


def target_for(rng: Rng, quality: Quality, largest: int) -> float:
    """A criterion that is reached somewhere from a third to eight times the data; of a flat curve, beside it."""
    flat = quality(8 * largest) - quality(largest / 8) < 0.005
    level = quality(largest * float(np.exp(rng.uniform(np.log(1 / 3), np.log(8)))))
    return level + float(rng.choice([-0.08, 0.08])) if flat else level


def least_size(quality: Quality, target: float, smallest: int, largest: int) -> float:
    if quality(smallest) >= target:
        return smallest
    furthest = 3 * EXTRAPOLATION * largest
    if quality(furthest) < target:
        return np.inf
    return float(np.exp(optimize.brentq(lambda log: quality(np.exp(log)) - target, np.log(smallest), np.log(furthest))))


def _power(rng: Rng, ends: Ends) -> Quality:
    floor, exponent, start = rng.uniform(0, 0.3), rng.uniform(0.25, 1.2), rng.uniform(0.05, 0.6)
    scale = max(0.05, 1 - floor - start)
    return lambda n: 1 - floor - scale * (n / ends[0]) ** -exponent


def _exponential(rng: Rng, ends: Ends) -> Quality:
    start, top = rng.uniform(0.05, 0.5), rng.uniform(0.6, 0.97)
    rate = np.log(2) / np.exp(rng.uniform(np.log(ends[0]), np.log(1.5 * ends[1])))
    return lambda n: top - (top - start) * np.exp(-rate * n)


def _late(rng: Rng, ends: Ends) -> Quality:
    """Gompertz in log n: nothing for long, then a steep rise whose middle lies between n/4 and 2n."""
    start, top, steep = rng.uniform(0, 0.15), rng.uniform(0.55, 0.97), rng.uniform(0.9, 2.0)
    middle = np.exp(rng.uniform(np.log(ends[1] / 4), np.log(2 * ends[1])))
    return lambda n: start + (top - start) * np.exp(-((n / middle) ** -steep))


def _flat(rng: Rng, _: Ends) -> Quality:
    level = rng.uniform(0.2, 0.9)
    return lambda _: level


def _broken(rng: Rng, ends: Ends) -> Quality:
    """Two skills: the form of the answer is learnt at once, the content slowly."""
    form, content = rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.5)
    exponent, pace = rng.uniform(0.3, 0.8), rng.uniform(0.5, 2) * ends[0]
    return lambda n: form * (1 - np.exp(-n / pace)) + content * (1 - (1 + n / ends[0]) ** -exponent) * 1.2


def _kinked(rng: Rng, ends: Ends) -> Quality:
    """Straight in log n up to a ceiling."""
    start, per_doubling, top = rng.uniform(0.1, 0.5), rng.uniform(0.02, 0.12), rng.uniform(0.7, 0.97)
    return lambda n: min(top, start + per_doubling * float(np.log2(n / ends[0])))


_SHAPES: dict[str, Callable[[Rng, Ends], Quality]] = {
    "power law": _power,
    "exponential": _exponential,
    "late": _late,
    "flat": _flat,
    "broken": _broken,
    "kinked": _kinked,
}
SHAPES = tuple(_SHAPES)
