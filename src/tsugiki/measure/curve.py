"""How quality grows with the number of examples, how many would reach a target, and what more of them would give.

Called by work/ with the measured points of one method; report/ draws what `as_json` gives. The curve is not one formula
but all those that agree with the points (curve_shapes.py): power laws error = a + b n^-c, curves that rise late, curves
that saturate, and the flat line. What the points are known up to contains items and seeds; the part that comes from
the test items moves all sizes together, since all answer the same items. Intervals are of the true quality, the mean
over all items and seeds of this kind; one new measurement scatters more. It never reaches further than EXTRAPOLATION
times the largest size that was trained, and says None with a reason where the points cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tsugiki.measure.curve_shapes import FAMILIES, REACH, Curves, best_power_law, draw_curves
from tsugiki.measure.intervals import number_groups, seed_parts, spread
from tsugiki.measure.stats import Estimate, Groups, Scores

FEWEST_SIZES = 3
EXTRAPOLATION = REACH
FACTORS = (2, 4)  # of the present training data, for which a forecast is made
MOST_SHARED = 0.98  # of what the items contribute; equal answers at two sizes would leave nothing to weigh
METHOD = "learning curve"  # stands beside a forecast as "Wilson" beside a measured quality
LIKELY, UNLIKELY = 0.8, 0.2  # chances from which on more data is advised, or advised against

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    n: int  # training examples
    quality: Estimate
    scores: Scores | None = None  # per seed and test item; without them sizes move independently


@dataclass(frozen=True)
class LeastData:
    n: int
    low: int
    high: int


@dataclass(frozen=True)
class Forecast:
    """`reaches`: the chance that the true quality at `n` examples is at or above the target."""

    n: int
    factor: float
    quality: Estimate
    reaches: float


@dataclass(frozen=True)
class Backtest:
    """What the smaller sizes alone would have forecast for the largest one, beside what was measured there.

    The interval is that of the measurement: it contains its noise, less the luck of the test items, which is shared.
    """

    forecast: Estimate
    measured: float

    @property
    def holds(self) -> bool:
        return self.forecast.low <= self.measured <= self.forecast.high


@dataclass(frozen=True)
class Curve:
    method: str
    points: tuple[Point, ...]
    drawn: Curves | None
    reason: str | None  # why nothing is drawn
    covariance: Floats  # (point, point) of the measured qualities
    seed: int

    @property
    def furthest(self) -> int:
        return EXTRAPOLATION * self.points[-1].n

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        """(value, low, high) of the true quality at `n` examples; the value is the median of the curves."""
        assert self.drawn is not None, f"no curve: {self.reason}"
        assert n <= self.furthest, f"{n} examples are more than {EXTRAPOLATION} times the largest size"
        found = _estimate(self, self.drawn.at(np.array([float(n)]))[:, 0], confidence)
        return found.value, found.low, found.high

    def as_json(self, metric: str, target: float, *, confidence: float) -> dict[str, Any]:
        """The contract's "learning_curve", with the reason where fit or least data is null."""
        least, reason = least_data(self, target, confidence=confidence)
        forecasts, check = forecast(self, target, confidence=confidence), backtest(self, confidence=confidence)
        return {
            "method": self.method,
            "points": [{"n": point.n, "quality": point.quality.as_json(metric)} for point in self.points],
            "fit": self._fit_json(),
            "target": target,
            "least_data": least and {"n": least.n, "low": least.low, "high": least.high},
            "reason": reason,
            "forecast": forecasts
            and [
                {"n": one.n, "factor": one.factor, "quality": one.quality.as_json(metric), "reaches": one.reaches}
                for one in forecasts
            ],
            "forecast_reason": None if forecasts else self.reason,
            "advice": advice(self, target),
            "backtest": check
            and {"n": self.points[-1].n, "quality": check.forecast.as_json(metric), "measured": check.measured,
                 "holds": check.holds},
        }  # fmt: skip

    def _fit_json(self) -> dict[str, Any] | None:
        """How much each family of curves counts, and the power law that fits best; the latter null where none rises."""
        if self.drawn is None:
            return None
        sizes = np.array([point.n for point in self.points], dtype=np.float64)
        values = np.array([point.quality.value for point in self.points])
        law = best_power_law(sizes, values, self.covariance) or (None, None, None)
        shares = {name: self.drawn.share(kind) for kind, name in enumerate(FAMILIES)}
        return {"shares": shares, **dict(zip(("floor", "scale", "exponent"), law, strict=True))}


def fit_curve(
    method: str, points: Sequence[Point], *, confidence: float, groups: Groups = None, seed: int = 0
) -> Curve:
    """`confidence` is that of the points' intervals; `groups` are those of the test items."""
    ordered = tuple(sorted(points, key=lambda point: point.n))
    covariance = _covariance(ordered, confidence, groups)
    if len({point.n for point in ordered}) < FEWEST_SIZES:
        return Curve(method, ordered, None, "too_few_sizes", covariance, seed)
    sizes = np.array([point.n for point in ordered], dtype=np.float64)
    values = np.array([point.quality.value for point in ordered])
    return Curve(method, ordered, draw_curves(sizes, values, covariance, seed=seed), None, covariance, seed)


def least_data(curve: Curve, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
    """Examples at which the curve reaches `target`, with an interval; or None and the reason.

    Reasons: too_few_sizes, no_gain_from_data (the points do not rise), out_of_reach (surely more than EXTRAPOLATION
    times the largest size), cannot_tell (perhaps within that, perhaps not).
    """
    if curve.drawn is None:
        return None, curve.reason
    needed = curve.drawn.first_size(target, curve.points[0].n)
    tail = (1 - confidence) / 2
    low, best, high = np.quantile(needed, [tail, 0.5, 1 - tail], method="inverted_cdf")  # no arithmetic with infinity
    if best > curve.points[0].n and _slope(curve) <= 0:
        return None, "no_gain_from_data"
    if low > curve.furthest:
        return None, "out_of_reach"
    if high > curve.furthest:
        return None, "cannot_tell"
    return LeastData(math.ceil(best), math.floor(low), math.ceil(high)), None


def forecast(curve: Curve, target: float, *, confidence: float) -> tuple[Forecast, ...] | None:
    """What FACTORS times the present training data would give; None, for the curve's reason, without a curve."""
    if curve.drawn is None:
        return None
    found = []
    for factor in FACTORS:
        n = factor * curve.points[-1].n
        quality = _estimate(curve, curve.drawn.at(np.array([float(n)]))[:, 0], confidence)
        found.append(Forecast(n, factor, quality, _chance(curve, n, target)))
    return tuple(found)


def advice(curve: Curve, target: float) -> dict[str, Any] | None:
    """Whether to invest in more data, as a code with what it stands on; None without a curve.

    reached   the target is reached with the present data, with a chance of LIKELY or more
    collect   it is with FACTORS[0] times as much
    stages    it may be: collect FACTORS[0] times as much, then decide again
    unlikely  even at EXTRAPOLATION times as much the chance is below UNLIKELY, or the points do not rise
    """
    if curve.drawn is None:
        return None
    present = curve.points[-1].n
    factors = (1, *FACTORS, EXTRAPOLATION)
    chances = [{"n": factor * present, "factor": factor, "reaches": _chance(curve, factor * present, target)}
               for factor in factors]  # fmt: skip
    now, next_stage, last = chances[0]["reaches"], chances[1]["reaches"], chances[-1]["reaches"]
    code = "stages"
    if now >= LIKELY:
        code = "reached"
    elif next_stage >= LIKELY:
        code = "collect"
    elif last < UNLIKELY or _slope(curve) <= 0:
        code = "unlikely"
    return {"code": code, "chances": chances}


def backtest(curve: Curve, *, confidence: float) -> Backtest | None:
    """The forecast for the largest size from the smaller ones alone; None where these are too few."""
    before = curve.points[:-1]
    if len({point.n for point in before}) < FEWEST_SIZES:
        return None
    known, across = curve.covariance[:-1, :-1], curve.covariance[-1, :-1]
    sizes = np.array([point.n for point in curve.points], dtype=np.float64)
    values = np.array([point.quality.value for point in curve.points])
    qualities = draw_curves(sizes[:-1], values[:-1], known, seed=curve.seed).at(sizes)
    pull = np.linalg.solve(known, across)
    left = math.sqrt(max(0.0, float(curve.covariance[-1, -1] - across @ pull)))
    noise = left * np.random.default_rng(curve.seed).standard_normal(len(qualities))
    predicted = np.clip(qualities[:, -1] + (values[:-1] - qualities[:, :-1]) @ pull + noise, 0, 1)
    return Backtest(_estimate(curve, predicted, confidence), float(values[-1]))


def _estimate(curve: Curve, drawn: Floats, confidence: float) -> Estimate:
    low, value, high = np.quantile(drawn, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high), curve.points[-1].quality.n, METHOD)


def _chance(curve: Curve, n: int, target: float) -> float:
    assert curve.drawn is not None
    return float(np.mean(curve.drawn.at(np.array([float(n)]))[:, 0] >= target))


def _slope(curve: Curve) -> float:
    """Of the measured quality over the logarithm of the size, the surer points counting more."""
    sizes = np.log([point.n for point in curve.points])
    values = np.array([point.quality.value for point in curve.points])
    weights = 1 / np.diag(curve.covariance)
    around = sizes - np.average(sizes, weights=weights)
    return float((weights * around) @ values)


def _covariance(points: Sequence[Point], confidence: float, groups: Groups) -> Floats:
    """(point, point) of what the measured qualities are known up to.

    All sizes are taken to be measured equally well, and any two to share the same part of it: three seeds and a hundred
    items tell the variance of one size so badly that sizes which came out low would count too much.
    """
    tables = [np.asarray(point.scores, dtype=np.float64) for point in points if point.scores is not None]
    if not tables or len(tables) < len(points):
        return _apart(points, confidence)
    clusters = number_groups(groups, tables[0].shape[1])
    items = float(np.mean([spread(table.mean(axis=0), clusters, ()).items for table in tables]))
    parts = [seed_parts(table) for table in tables if len(table) > 1]
    seeds = max(0.0, float(np.mean([excess for excess, _, _ in parts]))) if parts else 0.0
    if items + seeds == 0:  # all right or all wrong at every size
        return _apart(points, confidence)
    uncertainty = items**2 / int(clusters.max())
    if parts:
        uncertainty += float(np.mean([size for _, size, _ in parts])) ** 2 / sum(freedom for *_, freedom in parts)
    tail = (1 - confidence) / 2
    few = float(stats.t.isf(tail, (items + seeds) ** 2 / uncertainty) / stats.norm.isf(tail))
    shared = items * _likeness(tables, clusters)
    return few**2 * ((items + seeds - shared) * np.eye(len(points)) + shared)


def _apart(points: Sequence[Point], confidence: float) -> Floats:
    """Each point as wide as its interval says, and none with another."""
    reach = 2 * float(stats.norm.isf((1 - confidence) / 2))
    return np.diag([(max(point.quality.high - point.quality.low, 1e-6) / reach) ** 2 for point in points])


def _likeness(tables: Sequence[Floats], clusters: NDArray[np.intp]) -> float:
    """Mean correlation of two sizes over the items, from nothing to nearly all."""
    deviations = [np.bincount(clusters, table.mean(axis=0) - table.mean()) for table in tables]
    rows = np.array([row / np.linalg.norm(row) for row in deviations if np.linalg.norm(row) > 0])
    pairs = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(np.clip(pairs.mean(), 0.0, MOST_SHARED)) if len(pairs) else 0.0
