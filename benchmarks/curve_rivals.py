"""Other ways to read a learning curve, to compare with: one power law by least squares, a straight line, no gain.

Called by benchmarks/curves.py. Each takes the measured points and answers the same three questions as measure/curve.py:
the quality at a size with its interval, the least data for a target, and the chance to reach it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tsugiki.measure.curve import EXTRAPOLATION, Curve, LeastData, Point, fit_curve, least_data

Floats = NDArray[np.float64]

REDRAWS = 1000
EXPONENTS = np.geomspace(0.05, 3.0, 60)


class Reading(Protocol):
    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]: ...

    def least(self, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]: ...

    def chance(self, n: float, target: float) -> float: ...


class Ours:
    def __init__(self, points: Sequence[Point], *, confidence: float, seed: int) -> None:
        self.curve: Curve = fit_curve("ours", points, confidence=confidence, seed=seed)

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        return self.curve.quality_at(n, confidence=confidence)

    def least(self, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
        return least_data(self.curve, target, confidence=confidence)

    def chance(self, n: float, target: float) -> float:
        assert self.curve.drawn is not None
        return float(np.mean(self.curve.drawn.at(np.array([float(n)]))[:, 0] >= target))


class OnePowerLaw:
    """error = a + b n^-c with a, b >= 0 by weighted least squares, refitted to points that are redrawn with their
    shared part (what the test items contribute) drawn for all sizes at once.
    """

    def __init__(self, points: Sequence[Point], *, confidence: float, seed: int) -> None:
        self.points, self.drawn = points, _redrawn(points, confidence, seed)
        sizes = np.array([point.n for point in points], dtype=np.float64)
        weights = 1 / np.diag(fit_curve("", points, confidence=confidence).covariance)
        self.fits = _fit_all(sizes, 1 - self.drawn, weights)

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        drawn = 1 - self.fits[:, 0] - self.fits[:, 1] * n ** -self.fits[:, 2]
        low, high = np.quantile(drawn[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(drawn[0]), float(low), float(high)

    def least(self, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
        smallest, largest = self.points[0].n, EXTRAPOLATION * self.points[-1].n
        needed = _first_size(self.fits, target, smallest)
        best, drawn = needed[0], needed[1:]
        if best > smallest and self.fits[0, 1] == 0:
            return None, "no_gain_from_data"
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
        if low > largest:
            return None, "out_of_reach"
        if max(best, high) > largest:
            return None, "cannot_tell"
        return LeastData(math.ceil(best), math.floor(min(low, best)), math.ceil(max(high, best))), None

    def chance(self, n: float, target: float) -> float:
        drawn = 1 - self.fits[1:, 0] - self.fits[1:, 1] * n ** -self.fits[1:, 2]
        return float(np.mean(drawn >= target))


class StraightLine:
    """quality = a + b log n, weighted least squares on redrawn points, cut at 1."""

    def __init__(self, points: Sequence[Point], *, confidence: float, seed: int) -> None:
        self.points = points
        sizes = np.log([point.n for point in points])
        design = np.stack([np.ones(len(sizes)), sizes], axis=1)
        covariance = fit_curve("", points, confidence=confidence).covariance
        precision = np.linalg.inv(covariance)
        solve = np.linalg.inv(design.T @ precision @ design) @ design.T @ precision
        self.fits = _redrawn(points, confidence, seed) @ solve.T

    def _at(self, n: float) -> Floats:
        return np.clip(self.fits[:, 0] + self.fits[:, 1] * np.log(n), 0, 1)

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        drawn = self._at(n)
        low, high = np.quantile(drawn[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(drawn[0]), float(low), float(high)

    def least(self, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
        smallest, largest = self.points[0].n, EXTRAPOLATION * self.points[-1].n
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            size = np.exp((target - self.fits[:, 0]) / self.fits[:, 1])
        size = np.where(self.fits[:, 1] > 0, size, np.where(self._at(smallest) >= target, smallest, np.inf))
        needed = np.maximum(size, smallest)
        tail = (1 - confidence) / 2
        low, high = np.quantile(needed[1:], [tail, 1 - tail], method="inverted_cdf")
        if low > largest:
            return None, "out_of_reach"
        if max(needed[0], high) > largest:
            return None, "cannot_tell"
        return LeastData(math.ceil(needed[0]), math.floor(low), math.ceil(high)), None

    def chance(self, n: float, target: float) -> float:
        return float(np.mean(self._at(n)[1:] >= target))


class LastPoint:
    """More data changes nothing."""

    def __init__(self, points: Sequence[Point], *, confidence: float, seed: int) -> None:
        self.points = points
        self.last = points[-1].quality

    def quality_at(self, n: float, *, confidence: float) -> tuple[float, float, float]:
        return self.last.value, self.last.low, self.last.high

    def least(self, target: float, *, confidence: float) -> tuple[LeastData | None, str | None]:
        return None, "cannot_tell"

    def chance(self, n: float, target: float) -> float:
        return float(self.last.value >= target)


RIVALS: dict[str, Callable[..., Reading]] = {
    "ours": Ours,
    "one power law": OnePowerLaw,
    "straight line": StraightLine,
    "last point": LastPoint,
}


def _redrawn(points: Sequence[Point], confidence: float, seed: int) -> Floats:
    """(1 + redraw, point): what was measured, and redraws of it."""
    values = np.array([point.quality.value for point in points])
    covariance = fit_curve("", points, confidence=confidence).covariance
    noise = np.random.default_rng(seed).standard_normal((REDRAWS, len(points))) @ np.linalg.cholesky(covariance).T
    return np.vstack([values, np.clip(values + noise, 0, 1)])


def _first_size(fits: Floats, target: float, smallest: int) -> Floats:
    room = (1 - target) - fits[:, 0]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        size = np.where(room > 0, (fits[:, 1] / np.where(room > 0, room, 1)) ** (1 / fits[:, 2]), np.inf)
    size = np.where((fits[:, 1] == 0) & (room >= 0), smallest, size)
    return np.maximum(size, smallest)


def _fit_all(sizes: Floats, errors: Floats, weights: Floats) -> Floats:
    """(rows of errors, 3): for each exponent the best floor and scale >= 0 in closed form, then the best exponent."""
    best = np.full((len(errors), 3), np.nan)
    least = np.full(len(errors), np.inf)
    total = weights.sum()
    for exponent in EXPONENTS:
        power = sizes**-exponent
        mean_power, mean_error = (weights * power).sum() / total, (errors * weights).sum(axis=1) / total
        slope = ((errors - mean_error[:, None]) * weights * (power - mean_power)).sum(axis=1)
        slope = slope / (weights * (power - mean_power) ** 2).sum()
        alone = (errors * weights * power).sum(axis=1) / (weights * power**2).sum()
        nothing = np.zeros(len(errors))
        for floor, scale in ((mean_error, nothing), (nothing, alone), (mean_error - slope * mean_power, slope)):
            loss = ((errors - floor[:, None] - scale[:, None] * power) ** 2 * weights).sum(axis=1)
            better = (floor >= 0) & (scale >= 0) & (loss < least - 1e-12)
            least = np.where(better, loss, least)
            best[better] = np.stack([floor, scale, np.full(len(errors), exponent)], axis=1)[better]
    return best
