"""How quality grows with the number of examples, and how many would reach a target.

Called by work/ with the measured points of one method; report/ draws what `as_json` gives. The curve is
error = a + b n^-c with a, b >= 0 (a floor that no data removes, and a power law above it), fitted by weighted least
squares. Its uncertainty comes from refitting redrawn points: each moves within its own interval, which contains items
and seeds, and the part that comes from the test items moves all sizes together, since all answer the same items. It
never reaches further than EXTRAPOLATION times the largest size that was trained, and says None with a reason where the
points cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tsugiki.measure.intervals import number_groups, spread
from tsugiki.measure.stats import Estimate, Groups, Scores

FEWEST_SIZES = 3
EXTRAPOLATION = 10
REDRAWS = 1000
EXPONENTS = np.geomspace(0.05, 3.0, 60)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    n: int  # training examples
    quality: Estimate
    scores: Scores | None = None  # per seed and test item; without them sizes move independently


@dataclass(frozen=True)
class Fit:
    """error(n) = floor + scale * n ** -exponent, and the same three for every redraw."""

    floor: float
    scale: float
    exponent: float
    redraws: Floats  # (redraw, 3)

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        """(value, low, high) on the curve."""
        drawn = 1 - self.redraws[:, 0] - self.redraws[:, 1] * n ** -self.redraws[:, 2]
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
        return 1 - self.floor - self.scale * n**-self.exponent, float(low), float(high)


@dataclass(frozen=True)
class LeastData:
    n: int
    low: int
    high: int


@dataclass(frozen=True)
class Curve:
    method: str
    points: tuple[Point, ...]
    fit: Fit | None
    reason: str | None  # why there is no fit

    def as_json(self, metric: str, target: float, *, confidence: float) -> dict[str, Any]:
        """The contract's "learning_curve", with the reason where fit or least data is null."""
        least, reason = least_data(self, target, confidence=confidence)
        fit = self.fit and {"floor": self.fit.floor, "scale": self.fit.scale, "exponent": self.fit.exponent}
        return {
            "method": self.method,
            "points": [{"n": point.n, "quality": point.quality.as_json(metric)} for point in self.points],
            "fit": fit,
            "target": target,
            "least_data": least and {"n": least.n, "low": least.low, "high": least.high},
            "reason": reason,
        }


def fit_curve(
    method: str, points: Sequence[Point], *, confidence: float, groups: Groups = None, seed: int = 0
) -> Curve:
    """`confidence` is that of the points' intervals; `groups` are those of the test items."""
    ordered = tuple(sorted(points, key=lambda point: point.n))
    sizes = np.array([point.n for point in ordered], dtype=np.float64)
    if len(set(sizes)) < FEWEST_SIZES:
        return Curve(method, ordered, None, "too_few_sizes")
    errors = np.array([1 - point.quality.value for point in ordered])
    reach = 2 * float(stats.norm.isf((1 - confidence) / 2))
    spreads = np.array([max(point.quality.high - point.quality.low, 1e-6) / reach for point in ordered])
    redrawn = np.clip(errors + spreads * _deviates(ordered, groups, seed), 0, 1)
    fits = _fit_all(sizes, np.vstack([errors, redrawn]), 1 / spreads**2)
    floor, scale, exponent = map(float, fits[0])
    return Curve(method, ordered, Fit(floor, scale, exponent, fits[1:]), None)


def _deviates(points: Sequence[Point], groups: Groups, seed: int) -> Floats:
    """(redraw, point) of standard deviates: what the test items contribute is drawn for all points at once."""
    rng = np.random.default_rng(seed)
    alone = rng.standard_normal((REDRAWS, len(points)))
    tables = [np.asarray(point.scores, dtype=np.float64) for point in points if point.scores is not None]
    if len(tables) < len(points):
        return alone
    clusters = number_groups(groups, tables[0].shape[1])
    count = int(clusters.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), REDRAWS)  # how often each item or group is drawn
    sizes = drawn @ np.bincount(clusters, minlength=count)
    for place, table in enumerate(tables):
        items = table.mean(axis=0)
        sampling = spread(items, clusters, (table,))
        if sampling.items == 0:
            continue
        means = drawn @ np.bincount(clusters, items - items.mean(), count) / sizes
        share = sampling.items / sampling.total
        alone[:, place] = np.sqrt(share) * -means / means.std() + np.sqrt(1 - share) * alone[:, place]
    return alone


def least_data(curve: Curve, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
    """Examples at which the curve reaches `target`, with an interval; or None and the reason.

    Reasons: too_few_sizes, no_gain_from_data (the points do not rise), out_of_reach (surely more than EXTRAPOLATION
    times the largest size), cannot_tell (perhaps within that, perhaps not).
    """
    if curve.fit is None:
        return None, curve.reason
    smallest, largest = curve.points[0].n, EXTRAPOLATION * curve.points[-1].n
    best = _first_size(np.array([[curve.fit.floor, curve.fit.scale, curve.fit.exponent]]), target, smallest)[0]
    if best > smallest and curve.fit.scale == 0:
        return None, "no_gain_from_data"
    drawn = _first_size(curve.fit.redraws, target, smallest)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")  # no arithmetic with infinity
    if low > largest:
        return None, "out_of_reach"
    if max(best, high) > largest:
        return None, "cannot_tell"
    return LeastData(math.ceil(best), math.floor(min(low, best)), math.ceil(max(high, best))), None


def _first_size(fits: Floats, target: float, smallest: int) -> Floats:
    """Size at which each fit reaches the target; never below the smallest size measured, infinite if it never does."""
    room = (1 - target) - fits[:, 0]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        size = np.where(room > 0, (fits[:, 1] / np.where(room > 0, room, 1)) ** (1 / fits[:, 2]), np.inf)
    size = np.where((fits[:, 1] == 0) & (room >= 0), smallest, size)
    return np.maximum(size, smallest)


def _fit_all(sizes: Floats, errors: Floats, weights: Floats) -> Floats:
    """(rows of errors, 3): for each exponent the best floor and scale >= 0 in closed form, then the best exponent.

    Two non-negative coefficients: either both are positive in the free solution, or the better of the two edges.
    """
    best = np.full((len(errors), 3), np.nan)
    least = np.full(len(errors), np.inf)
    for exponent in EXPONENTS:
        power = sizes**-exponent
        for floor, scale in _candidates(power, errors, weights):
            loss = ((errors - floor[:, None] - scale[:, None] * power) ** 2 * weights).sum(axis=1)
            better = (floor >= 0) & (scale >= 0) & (loss < least - 1e-12)
            least = np.where(better, loss, least)
            best[better] = np.stack([floor, scale, np.full(len(errors), exponent)], axis=1)[better]
    return best


def _candidates(power: Floats, errors: Floats, weights: Floats) -> list[tuple[Floats, Floats]]:
    """(floor, scale) of the flat line, of no floor, and of both free, for every row."""
    nothing = np.zeros(len(errors))
    total = weights.sum()
    mean_power, mean_error = (weights * power).sum() / total, (errors * weights).sum(axis=1) / total
    scale = ((errors - mean_error[:, None]) * weights * (power - mean_power)).sum(axis=1)
    scale = scale / (weights * (power - mean_power) ** 2).sum()
    alone = (errors * weights * power).sum(axis=1) / (weights * power**2).sum()
    return [(mean_error, nothing), (nothing, alone), (mean_error - scale * mean_power, scale)]
