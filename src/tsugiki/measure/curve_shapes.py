"""Which learning curves agree with a few measured points: whole curves, drawn from three families and the flat line.

Called by curve.py. A curve is quality(n) = top - gap * left(n), where left falls with n:

    power law    left = (n / smallest)^-exponent        error = a + b n^-c, the usual one (arXiv 2103.10948)
    late riser   left = 1 / (1 + (n / half)^slope)      Morgan-Mercer-Flodin, "MMF4": slow, then fast, then level
    saturating   left = 2^-((n / half)^slope)           Weibull, "WBL4"; the exponential curve for slope 1
    flat         gap = 0

These families extrapolate best on measured curves (LCDB: Mohr et al., ECML 2022; LCDB 1.1, arXiv 2505.15657), none of
them always, so all are kept with the weight that the points give them. For each drawn form of `left` the two numbers
that remain, the quality at the smallest and at the largest size, have an exact normal distribution; the prior on them
is flat, cut where the curve would leave 0 to 1 or fall. So nothing is optimised. Where few of the drawn forms pass
through the points, more are drawn; where none is likely to, since thousands of test items know the points better than
any formula knows a true curve, the points are taken to be known less well. The numbers below were chosen by
`make curves`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FAMILIES = ("flat", "power law", "late riser", "saturating")
FLAT, POWER, LATE, SATURATING = range(4)
PRIOR = (0.1, 0.15, 0.3, 0.45)  # of the families, in this order
EXPONENT = (0.05, 2.0)  # of the power law, even on a log scale
HALF = 8.0  # the half-way size lies between smallest / HALF and largest * HALF, even on a log scale
SLOPE = {LATE: (1.0, 0.4), SATURATING: (0.7, 0.35)}  # median, and standard deviation of the logarithm
STEEP = (0.25, 0.9)  # share of the slopes that are spread this much instead: some curves rise all at once
FORMS = (4_000, 25_000, 100_000)  # drawn per family; the next where fewer than ENOUGH count
ENOUGH = 100
LOOSE = (0.005, 0.01, 0.02)  # quality by which a true curve may stray from every form, where the most forms do not do
KEPT = 2000  # curves that stand for the distribution
REACH = 10  # times the largest size, up to which a power law stays below 1; nothing is asked of it beyond
STILL = 1e-3  # a form that moves less than this between smallest and largest size says nothing about the points


@dataclass(frozen=True)
class Curves:
    """Equally likely curves, one per place of the arrays.

    `half` is a number of examples; for the power law the one where the error above the floor is `gap`, and `slope` is
    its exponent.
    """

    family: NDArray[np.intp]
    top: Floats
    gap: Floats
    half: Floats
    slope: Floats

    def at(self, sizes: Floats) -> Floats:
        """(curve, size): quality."""
        left = _left(self.family, self.half, self.slope, sizes)
        return self.top[:, None] - self.gap[:, None] * left

    def first_size(self, quality: float, smallest: float) -> Floats:
        """Per curve the size at which it reaches `quality`; never below `smallest`, infinite where it never does."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            left = (self.top - quality) / self.gap  # what may be left there
            found = np.select(
                [self.family == POWER, self.family == LATE, self.family == SATURATING],
                [left ** (-1 / self.slope), (1 / left - 1) ** (1 / self.slope), (-np.log2(left)) ** (1 / self.slope)],
                np.inf,
            )
        found = np.where(left > 0, self.half * found, np.inf)
        there = self.at(np.array([smallest]))[:, 0] >= quality
        return np.where(there, smallest, np.maximum(np.nan_to_num(found, nan=np.inf, posinf=np.inf), smallest))

    def share(self, family: int) -> float:
        return float(np.mean(self.family == family))


def draw_curves(sizes: Floats, values: Floats, covariance: Floats, *, seed: int) -> Curves:
    """Curves through points (ascending sizes) that are known up to `covariance`."""
    ways = [(forms, 0.0) for forms in FORMS] + [(FORMS[-1], loose) for loose in LOOSE]
    for forms, loose in ways:
        curves, counting = _draw(forms, sizes, values, covariance + loose**2 * np.eye(len(sizes)), seed)
        if counting >= ENOUGH:
            break
    return curves


def _draw(forms: int, sizes: Floats, values: Floats, covariance: Floats, seed: int) -> tuple[Curves, float]:
    """KEPT curves, and how many of the drawn ones count: (sum of weights)^2 / sum of their squares."""
    rng = np.random.default_rng(seed)
    precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    family, half, slope = _forms(forms, sizes, rng)
    found, weights = _rising(family, half, slope, sizes, values, precision, rng)
    level, flat = _flat(forms, values, precision, rng)
    none = np.zeros(forms)
    columns = zip(
        (found.family, found.top, found.gap, found.half, found.slope),
        (np.full(forms, FLAT), level, none, none + 1, none + 1),
        strict=True,
    )
    family, top, gap, half, slope = (np.concatenate(pair) for pair in columns)
    logarithms = np.concatenate((weights, flat))
    weights = np.exp(logarithms - logarithms.max())
    place = _resampled(weights, rng)
    kept = Curves(family[place], top[place], gap[place], half[place], slope[place])
    return kept, float(weights.sum() ** 2 / (weights**2).sum())


def best_power_law(sizes: Floats, values: Floats, covariance: Floats) -> tuple[float, float, float] | None:
    """(floor, scale, exponent) of error = floor + scale n^-exponent with the least misfit; None where none rises."""
    precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    found: list[tuple[float, tuple[float, float, float]]] = []
    for exponent in np.geomspace(*EXPONENT, 40):
        design = np.stack((np.ones(len(sizes)), sizes**-exponent), axis=1)
        weighted = design.T @ precision
        floor, scale = np.linalg.solve(weighted @ design, weighted @ (1 - values))
        if floor < 0:  # the edge: no floor
            floor, scale = 0.0, (weighted[1] @ (1 - values)) / (weighted[1] @ design[:, 1])
        if scale > 0:
            misfit = _misfit((1 - values - design @ (floor, scale))[None], precision)[0]
            found.append((float(misfit), (float(floor), float(scale), float(exponent))))
    return min(found)[1] if found else None


def _forms(count: int, sizes: Floats, rng: np.random.Generator) -> tuple[NDArray[np.intp], Floats, Floats]:
    """(family, half, slope) of every drawn form of a rising curve."""
    smallest, largest = sizes[0], sizes[-1]
    families, halves, slopes = [], [], []
    for family in (POWER, LATE, SATURATING):
        if family == POWER:
            half = np.full(count, smallest)
            flattest, steepest = map(float, np.log(EXPONENT))
            slope = np.exp(rng.uniform(flattest, steepest, count))
        else:
            half = np.exp(rng.uniform(np.log(smallest / HALF), np.log(largest * HALF), count))
            median, deviation = SLOPE[family]
            spread = np.where(rng.random(count) < STEEP[0], STEEP[1], deviation)
            slope = median * np.exp(spread * rng.standard_normal(count))
        families.append(np.full(count, family))
        halves.append(half)
        slopes.append(slope)
    return np.concatenate(families), np.concatenate(halves), np.concatenate(slopes)


def _rising(
    family: NDArray[np.intp],
    half: Floats,
    slope: Floats,
    sizes: Floats,
    values: Floats,
    precision: Floats,
    rng: np.random.Generator,
) -> tuple[Curves, Floats]:
    """One curve per form, and the logarithm of its weight: how likely the points are, whatever the two ends."""
    left = _left(family, half, slope, sizes)
    moves = left[:, 0] - left[:, -1] > STILL
    family, half, slope, left = family[moves], half[moves], slope[moves], left[moves]
    span = left[:, 0] - left[:, -1]
    first = (left - left[:, -1:]) / span[:, None]
    design = np.stack((first, 1 - first), axis=2)  # quality = design @ (quality at smallest, quality at largest)
    weighted = np.einsum("kpi,pq->kiq", design, precision)
    spread = np.linalg.inv(weighted @ design)
    ends = (spread @ (weighted @ values)[:, :, None])[:, :, 0]
    misfit = _misfit(values - (design @ ends[:, :, None])[:, :, 0], precision)
    drawn = ends + (np.linalg.cholesky(spread) @ rng.standard_normal((*ends.shape, 1)))[:, :, 0]
    gap = (drawn[:, 1] - drawn[:, 0]) / span
    top = drawn[:, 1] + gap * left[:, -1]
    power = family == POWER
    most = np.where(power, top - gap * _left(family, half, slope, REACH * sizes[-1:])[:, 0], top)
    allowed = (gap >= 0) & (most <= 1) & (power | (top - gap >= 0)) & (drawn[:, 0] >= 0)
    # The flat prior on the two ends has density 2 over rising pairs; 2 pi sqrt(det) integrates their likelihood.
    prior = np.log(np.asarray(PRIOR))[family]
    weights = prior + np.log(2 * 2 * np.pi) + np.log(np.linalg.det(spread)) / 2 - misfit / 2
    weights = np.where(allowed, weights, -np.inf)
    return Curves(family, top, gap, half, slope), weights


def _flat(count: int, values: Floats, precision: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Levels of flat lines, and the logarithms of their weights."""
    variance = 1 / precision.sum()
    mean = variance * (precision @ values).sum()
    level = np.clip(mean + np.sqrt(variance) * rng.standard_normal(count), 0, 1)
    misfit = _misfit((values - mean)[None], precision)
    return level, np.full(count, np.log(PRIOR[FLAT]) + np.log(2 * np.pi * variance) / 2 - misfit[0] / 2)


def _left(family: NDArray[np.intp], half: Floats, slope: Floats, sizes: Floats) -> Floats:
    """(form, size): the share of the gap that is left."""
    with np.errstate(over="ignore", under="ignore"):
        power = (sizes / half[:, None]) ** slope[:, None]
        kinds = [family[:, None] == kind for kind in (POWER, LATE, SATURATING)]
        return np.select(kinds, [1 / power, 1 / (1 + power), 2.0**-power], 0.0)


def _misfit(residuals: Floats, precision: Floats) -> Floats:
    return np.einsum("kp,pq,kq->k", residuals, precision, residuals)


def _resampled(weights: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Systematic resampling: KEPT places, each as often as its weight says, within one."""
    edges = np.cumsum(weights / weights.sum())
    edges[-1] = 1.0
    return np.searchsorted(edges, (rng.random() + np.arange(KEPT)) / KEPT)
