"""The arithmetic under stats.py: how far a mean over test items, and over training seeds, could be from the truth.

Called by stats.py, macro_f1.py and curve.py only; nothing here knows what a metric, a method or a verdict is.

Right/wrong scores get score intervals (Wilson for a mean, Tango for a paired difference), which hold their coverage
for 30 items and near 0 and 1, where a bootstrap does not and where a sample of equal values has no spread to resample.
Graded scores get the BCa bootstrap over items, or over groups of items, stretched by Student's critical value over the
normal one, without which it covers too little where items are few. Seeds enter through the variance components of
the crossed design seeds x items: a score interval shrinks or grows with the effective number of items, a bootstrap
interval is stretched. Three seeds say little about the variance between seeds, so the critical value is then Student's
with Satterthwaite's degrees of freedom. Resampling three seeds with replacement would understate their variance by a
third and count the seed x item noise twice.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

RESAMPLES = 4999
ROUNDING = 1e-24  # a variance below this is what is left of equal scores in floating point

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
Statistic = Callable[..., Floats]  # vectorised over all axes but `axis`
IntervalAt = Callable[[float], Bounds]  # confidence -> (low, high)


@dataclass(frozen=True)
class Spread:
    """Variance of a mean: what the items contribute, what the seeds add to it, and how well that is known."""

    items: float
    seeds: float
    freedom: float

    @property
    def total(self) -> float:
        return self.items + self.seeds

    def critical(self, confidence: float) -> float:
        return float(stats.t.isf((1 - confidence) / 2, self.freedom))


def spread(item_values: Floats, clusters: NDArray[np.intp], seed_tables: Sequence[Floats]) -> Spread:
    """`item_values`: one value per item (averaged over seeds); `clusters`: group number of each item;
    `seed_tables`: the (seeds, items) scores that went into the averages, one table per side.
    """
    n = len(item_values)
    count = int(clusters.max()) + 1
    deviations = np.bincount(clusters, item_values - item_values.mean(), count)
    items = float(count / (count - 1) * np.sum(deviations**2) / n**2)
    parts = [seed_parts(table) for table in seed_tables if len(table) > 1]
    if items < ROUNDING:
        items = 0.0
    seeds = sum(max(0.0, excess) for excess, _, _ in parts)
    uncertainty = items**2 / (count - 1) + sum(size**2 / freedom for _, size, freedom in parts)
    exact = count == n and not parts  # one seed, independent items: the plain score or bootstrap interval
    freedom = math.inf if exact or items + seeds == 0 else (items + seeds) ** 2 / uncertainty
    return Spread(items, seeds, freedom)


def seed_parts(table: Floats) -> tuple[float, float, int]:
    """(variance that seeds add to the grand mean, the mean square it was taken from on that scale, its freedom).

    The first may come out negative, where seeds agree more than chance lets them.
    """
    seeds, n = table.shape
    seed_means = table.mean(axis=1)
    between = n * float(np.var(seed_means, ddof=1))
    residual = table - seed_means[:, None] - table.mean(axis=0)[None, :] + table.mean()
    within = float(np.sum(residual**2)) / ((seeds - 1) * (n - 1))
    return (between - within) / (n * seeds), between / (n * seeds), seeds - 1


def number_groups(groups: Sequence[Hashable] | None, n: int) -> NDArray[np.intp]:
    """Groups as numbers from 0 in order of appearance; an item without a group (None) stands alone."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} items")
    numbers: dict[Hashable, int] = {}
    keys = [("alone", row) if group is None else ("group", group) for row, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def wilson(mean: float, n: float, critical: float) -> Bounds:
    """Wilson's score interval; `n` may be an effective, fractional number of items."""
    square = critical**2
    centre = (mean + square / (2 * n)) / (1 + square / n)
    half = critical / (1 + square / n) * math.sqrt(mean * (1 - mean) / n + square / (4 * n**2))
    low = 0.0 if mean == 0 else max(0.0, centre - half)
    high = 1.0 if mean == 1 else min(1.0, centre + half)
    return low, high


def tango(wins: float, losses: float, n: float, critical: float) -> Bounds:
    """Tango's score interval for a paired difference of proportions (Statistics in Medicine 17, 1998)."""
    difference = (wins - losses) / n
    edge = 1 - 1e-9

    def beyond(delta: float, bound: float) -> float:
        return _tango_statistic(wins, losses, n, delta) - bound

    # So few seeds that the critical value is beyond what any difference can reach: the interval is everything.
    open_below = difference <= -edge or beyond(-edge, critical) <= 0
    open_above = difference >= edge or beyond(edge, -critical) >= 0
    low = -1.0 if open_below else optimize.brentq(beyond, -edge, difference, args=(critical,), xtol=1e-12)
    high = 1.0 if open_above else optimize.brentq(beyond, difference, edge, args=(-critical,), xtol=1e-12)
    return float(low), float(high)


def _tango_statistic(wins: float, losses: float, n: float, delta: float) -> float:
    """Standardised distance of the observed difference from `delta`, with the likelihood maximised under `delta`."""
    b = (2 * n - wins + losses) * delta - wins - losses
    c = -losses * delta * (1 - delta)
    loss_rate = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * loss_rate + delta * (1 - delta))
    distance = wins - losses - n * delta
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def bca(
    data: tuple[NDArray[np.generic], ...], statistic: Statistic, value: float, sampling: Spread, seed: int
) -> tuple[IntervalAt, str]:
    """Bootstrap over items or groups (the entries of `data`, drawn together), stretched for few items and for seeds.

    The resamples are drawn once, for all confidences. Where BCa has no answer the percentiles are taken, and named so.
    """

    def resample(method: str, confidence: float, earlier: object | None = None) -> object:
        with warnings.catch_warnings():  # scipy warns where BCa has no answer and returns NaN, which is handled below
            warnings.simplefilter("ignore")
            return stats.bootstrap(
                data, statistic, paired=True, vectorized=True, method=method, confidence_level=confidence, batch=1000,
                n_resamples=0 if earlier else RESAMPLES, bootstrap_result=earlier, rng=np.random.default_rng(seed),
            )  # fmt: skip

    drawn = resample("percentile", 0.95)
    usable = math.isfinite(resample("BCa", 0.95, drawn).confidence_interval.low)  # type: ignore[attr-defined]
    method = "BCa" if usable else "percentile"
    widening = math.sqrt(sampling.total / sampling.items)
    sampling = replace(sampling, freedom=min(sampling.freedom, len(data[0]) - 1))

    def at(confidence: float) -> Bounds:
        found = resample(method, confidence, drawn).confidence_interval  # type: ignore[attr-defined]
        stretch = widening * sampling.critical(confidence) / float(stats.norm.isf((1 - confidence) / 2))
        return value - (value - float(found.low)) * stretch, value + (float(found.high) - value) * stretch

    return at, f"{method} bootstrap"


def bca_mean(item_values: Floats, clusters: NDArray[np.intp], sampling: Spread, seed: int) -> tuple[IntervalAt, str]:
    """Groups are drawn whole, so the mean is a ratio of the drawn sums and sizes."""
    count = int(clusters.max()) + 1
    sums, sizes = np.bincount(clusters, item_values, count), np.bincount(clusters, minlength=count).astype(np.float64)

    def ratio(sums: Floats, sizes: Floats, axis: int = -1) -> Floats:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    return bca((sums, sizes), ratio, float(item_values.mean()), sampling, seed)


def level_at(interval_at: IntervalAt, threshold: float) -> float:
    """One-sided p-value against "the truth is at or below `threshold`": the level whose lower bound just meets it.

    A lower bound at level p is the low end of the two-sided interval with confidence 1 - 2p, or, for p above one
    half, the high end of the one with confidence 2p - 1.
    """

    def bound(p: float) -> float:
        return interval_at(1 - 2 * p)[0] if p < 0.5 else interval_at(2 * p - 1)[1]

    low, high = 1e-6, 1 - 1e-6
    if bound(low) > threshold:
        return low
    if bound(high) < threshold:
        return high
    while high - low > 1e-10:
        middle = (low + high) / 2
        if middle == 0.5:  # a confidence of 0 is no interval
            middle -= 1e-9
        low, high = (low, middle) if bound(middle) > threshold else (middle, high)
    return high
