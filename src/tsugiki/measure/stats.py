"""Numbers with their intervals, and paired comparisons on the same test items.

Called by metrics.py, curve.py and work/. Scores are sequences of floats, one per test item, one sequence per training
seed, whose mean is the number that is reported (metrics.comparable_scores); a reference without training has one. Too
few items, or a score that is not a number, gives None: never 0, and never an interval without width. It never decides
anything; work/verdict.py does.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tsugiki.measure.intervals import (
    RESAMPLES,
    Bounds,
    Floats,
    IntervalAt,
    Spread,
    bca_mean,
    level_at,
    number_groups,
    spread,
    tango,
    wilson,
)

FEWEST_UNITS = 5  # independent items (or groups of items) below which no interval is worth printing
MOST_ITEMS = 10_000  # a test set larger than this is no answer to "how many would decide?"

Scores = Sequence[Sequence[float]]
Groups = Sequence[Hashable] | None


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    n: int
    method: str

    def as_json(self, metric: str) -> dict[str, Any]:
        """The contract's "quality"."""
        return {"metric": metric, "estimate": self.value, "low": self.low, "high": self.high,
                "n": self.n, "method": self.method}  # fmt: skip


@dataclass(frozen=True)
class McNemar:
    """Items that only we had right (wins), that only they had right (losses), and two-sided p-values."""

    wins: int
    losses: int
    exact: float
    mid_p: float


@dataclass(frozen=True)
class NonInferiority:
    """`holds`: True = surely not worse by the margin, False = surely worse by more than it, None = cannot tell.

    `difference` is ours minus theirs with a two-sided interval; `holds` rests on the one-sided bound at the same
    confidence, `bound`; `p` is that of "worse by the margin or more".
    """

    difference: Estimate
    bound: float
    margin: float
    holds: bool | None
    p: float


def unmeasured(metric: str, reason: str, *, n: int = 0) -> dict[str, Any]:
    """The contract's "quality" for a number that could not be measured: null with the reason beside it."""
    return {"metric": metric, "estimate": None, "low": None, "high": None, "n": n, "method": "none", "reason": reason}


def mean_with_interval(scores: Scores, *, confidence: float, groups: Groups = None, seed: int = 0) -> Estimate | None:
    """Mean over items and seeds. Items of one group (a source document, a machine) count as one draw."""
    table = _table(scores)
    if table is None or not _enough(clusters := number_groups(groups, table.shape[1])):
        return None
    at, method = _mean_interval(table, clusters, seed)
    low, high = at(confidence)
    return Estimate(float(table.mean()), max(0.0, low), min(1.0, high), table.shape[1], method)


def paired_difference(
    ours: Scores, theirs: Scores, *, confidence: float, groups: Groups = None, seed: int = 0
) -> Estimate | None:
    """Ours minus theirs on the same items. The two sides may have different numbers of seeds, which are not paired."""
    pair = _pair(ours, theirs, groups)
    if pair is None:
        return None
    at, method = _difference_interval(pair, seed)
    return pair.estimate(at, confidence, method)


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> McNemar:
    """One seed of right/wrong scores on each side."""
    if len(ours) != len(theirs) or not set(ours) | set(theirs) <= {0, 1}:
        raise ValueError("McNemar's test needs right/wrong scores of the same items")
    wins = sum(a > b for a, b in zip(ours, theirs, strict=True))
    losses = sum(a < b for a, b in zip(ours, theirs, strict=True))
    if wins == losses:
        return McNemar(wins, losses, 1.0, 1.0)
    fewer, discordant = min(wins, losses), wins + losses
    exact = float(stats.binomtest(fewer, discordant).pvalue)
    return McNemar(wins, losses, exact, exact - float(stats.binom.pmf(fewer, discordant, 0.5)))


def superiority(ours: Scores, theirs: Scores, *, groups: Groups = None, seed: int = 0) -> float | None:
    """Two-sided p-value of "no difference": mid-p McNemar for one seed of right/wrong scores, else sign flips.

    Flipping tests over items (groups flip as one); with several seeds the p-value is weakened by what the seeds add
    to the variance, so that one lucky seed does not make a method better.
    """
    pair = _pair(ours, theirs, groups)
    if pair is None:
        return None
    if not pair.differences.any():
        return 1.0
    if pair.binary and pair.seeds == 1 and _count(pair.clusters) == pair.n:
        return mcnemar(ours[0], theirs[0]).mid_p
    flipped = _flip(np.bincount(pair.clusters, pair.differences).astype(np.float64), seed)
    sampling = pair.spread
    if pair.seeds == 1 or sampling.total == 0:
        return flipped
    deviate = float(stats.norm.isf(flipped / 2)) * math.sqrt(sampling.items / sampling.total)
    if sampling.items == 0:  # all items differ alike: what is left to doubt is the seeds
        deviate = abs(pair.value) / math.sqrt(sampling.total)
    return min(1.0, 2 * float(stats.t.sf(deviate, sampling.freedom)))


def non_inferiority(
    ours: Scores, theirs: Scores, margin: float, *, confidence: float, groups: Groups = None, seed: int = 0
) -> NonInferiority | None:
    pair = _pair(ours, theirs, groups)
    if pair is None:
        return None
    at, method = _difference_interval(pair, seed)
    p = level_at(at, -margin)
    holds = True if p <= 1 - confidence else False if p >= confidence else None
    bound = max(-1.0, at(2 * confidence - 1)[0])
    return NonInferiority(pair.estimate(at, confidence, method), bound, margin, holds, p)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, largest = [0.0] * len(pvalues), 0.0
    for rank, index in enumerate(sorted(range(len(pvalues)), key=pvalues.__getitem__)):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[index]))
        adjusted[index] = largest
    return adjusted


def margin_for(full: float, base: float, *, points: float, gain_share: float) -> float:
    """Non-inferiority margin on the 0-to-1 scale: `points` percentage points, or a share of full's gain if larger."""
    return max(points / 100, gain_share * (full - base))


def needed_n(
    ours: Scores,
    theirs: Scores,
    *,
    threshold: float = 0.0,
    confidence: float,
    sides: int = 2,
    power: float = 0.8,
    groups: Groups = None,
) -> int | None:
    """Smallest number of test items at which "is ours minus theirs above `threshold`?" would be decided.

    With this power, at the distance observed. Conservative: the variance (for right/wrong scores the rate of discordant
    items) is raised to its upper 80 % bound, and below a negative threshold (a margin) a lead counts as a tie. None
    when no number of items would do: nothing separates the two, or the seeds alone blur more than the distance.
    """
    pair = _pair(ours, theirs, groups)
    if pair is None:
        return None
    value = min(pair.value, 0.0) if threshold < 0 else pair.value
    reach = (value - threshold) / _errors_apart(confidence, sides, power)
    return _until(reach, pair.spread, pair.n, pair.clusters)


def needed_n_alone(
    scores: Scores, threshold: float, *, confidence: float, power: float = 0.8, groups: Groups = None
) -> int | None:
    """The same for one reported number against a criterion."""
    table = _table(scores)
    if table is None or not _enough(clusters := number_groups(groups, table.shape[1])):
        return None
    reach = (float(table.mean()) - threshold) / _errors_apart(confidence, 2, power)
    return _until(reach, spread(table.mean(axis=0), clusters, (table,)), table.shape[1], clusters)


def _errors_apart(confidence: float, sides: int, power: float) -> float:
    """Standard errors between the threshold and a truth that is found with this power."""
    return float(stats.norm.isf((1 - confidence) / sides) + stats.norm.ppf(power))


def _until(reach: float, sampling: Spread, n: int, clusters: NDArray[np.intp]) -> int | None:
    """Items until the standard error is down to `reach`; more items do not make what the seeds add any smaller."""
    variance = sampling.items * n or 1 - 0.05 ** (1 / n)  # no spread seen: the rule of three
    return _items(variance, reach**2 - sampling.seeds, _count(clusters) - 1)


def _items(variance: float, largest: float, freedom: int) -> int | None:
    """Items until the variance of the mean is down to `largest`."""
    raised = variance * freedom / float(stats.chi2.ppf(0.2, freedom))
    if largest <= 0 or raised / largest > MOST_ITEMS:
        return None
    return max(FEWEST_UNITS, math.ceil(raised / largest))


@dataclass(frozen=True)
class _Pair:
    ours: Floats  # (seeds, items)
    theirs: Floats
    clusters: NDArray[np.intp]
    differences: Floats  # per item, averaged over seeds
    spread: Spread

    @property
    def value(self) -> float:
        return float(self.differences.mean())

    @property
    def n(self) -> int:
        return len(self.differences)

    @property
    def seeds(self) -> int:
        return max(len(self.ours), len(self.theirs))

    @property
    def binary(self) -> bool:
        return _is_binary(self.ours) and _is_binary(self.theirs)

    def estimate(self, at: IntervalAt, confidence: float, method: str) -> Estimate:
        low, high = at(confidence)
        return Estimate(self.value, max(-1.0, low), min(1.0, high), self.n, method)


def _pair(ours: Scores, theirs: Scores, groups: Groups) -> _Pair | None:
    left, right = _table(ours), _table(theirs)
    if left is None or right is None:
        return None
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"a paired comparison needs the same items, got {left.shape[1]} and {right.shape[1]}")
    clusters = number_groups(groups, left.shape[1])
    if not _enough(clusters):
        return None
    differences = left.mean(axis=0) - right.mean(axis=0)
    return _Pair(left, right, clusters, differences, spread(differences, clusters, (left, right)))


def _table(scores: Scores) -> Floats | None:
    """(seeds, items), or None where a score is missing or not a number."""
    if not scores or len({len(row) for row in scores}) > 1:
        return None
    table = np.asarray(scores, dtype=np.float64)
    return table if table.size > 0 and np.isfinite(table).all() else None


def _mean_interval(table: Floats, clusters: NDArray[np.intp], seed: int) -> tuple[IntervalAt, str]:
    mean, n, items = float(table.mean()), table.shape[1], table.mean(axis=0)
    sampling = spread(items, clusters, (table,))
    if not _is_binary(table) and sampling.items > 0:
        at, method = bca_mean(items, clusters, sampling, seed)
        return at, named(method, len(table), clusters)
    effective = _effective(mean * (1 - mean) / (n - 1), sampling, clusters, table.size)
    return lambda confidence: wilson(mean, effective, sampling.critical(confidence)), named(
        "Wilson", len(table), clusters
    )


def _difference_interval(pair: _Pair, seed: int) -> tuple[IntervalAt, str]:
    if pair.binary:
        return _tango_interval(pair), named("Tango", pair.seeds, pair.clusters)
    if pair.spread.items > 0:
        at, method = bca_mean(pair.differences, pair.clusters, pair.spread, seed)
        return at, named(method, pair.seeds, pair.clusters)

    def around_constant(confidence: float) -> Bounds:
        critical = pair.spread.critical(confidence)
        reach = max(tango(0, 0, _count(pair.clusters), critical)[1], critical * math.sqrt(pair.spread.seeds))
        return pair.value - reach, pair.value + reach

    return around_constant, named("no item differs, as Tango", pair.seeds, pair.clusters)


def _tango_interval(pair: _Pair) -> IntervalAt:
    ours, theirs = pair.ours.mean(axis=0), pair.theirs.mean(axis=0)
    wins, losses = float(np.mean(ours * (1 - theirs))), float(np.mean(theirs * (1 - ours)))  # over all pairs of seeds
    plain = (wins + losses - pair.value**2) / (pair.n - 1)
    n = _effective(plain, pair.spread, pair.clusters, pair.n * pair.seeds)
    return lambda confidence: tango(wins * n, losses * n, n, pair.spread.critical(confidence))


def _effective(plain: float, sampling: Spread, clusters: NDArray[np.intp], most: int) -> float:
    """How many independent items of one seed would know the mean as well; `plain`: its variance if each item were one.

    Where the items show no spread, the independent items alone count.
    """
    n = len(clusters)
    if plain <= 0 or sampling.items == 0:
        return min(_count(clusters), n * plain / sampling.seeds) if plain > 0 < sampling.seeds else _count(clusters)
    return min(n * plain / sampling.total, most)


def _flip(sums: Floats, seed: int) -> float:
    """Two-sided p-value of the sum under random signs; exact for few items, where scipy enumerates all signs.

    Signs drawn at random cannot show less than 2 / (RESAMPLES + 1). Beyond that the normal limit of the same
    distribution counts, which errs on the careful side: sums of random signs have lighter tails.
    """
    found = stats.permutation_test(
        (sums, np.zeros_like(sums)), lambda left, right, axis: np.sum(left - right, axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(seed),
    )  # fmt: skip
    drawn = 2 ** len(sums) > RESAMPLES
    if drawn and found.pvalue <= 2 / (RESAMPLES + 1):
        return min(float(found.pvalue), 2 * float(stats.norm.sf(abs(sums.sum()) / math.sqrt((sums**2).sum()))))
    return float(found.pvalue)


def _is_binary(table: Floats) -> bool:
    return bool(np.isin(table, (0.0, 1.0)).all())


def _count(clusters: NDArray[np.intp]) -> int:
    return int(clusters.max()) + 1


def _enough(clusters: NDArray[np.intp]) -> bool:
    return _count(clusters) >= FEWEST_UNITS


def named(method: str, seeds: int, clusters: NDArray[np.intp]) -> str:
    """How an interval was made, as it stands beside the number."""
    over = "items" if _count(clusters) == len(clusters) else "groups of items"
    return f"{method}, over {over}" + (f" and {seeds} seeds" if seeds > 1 else "")
