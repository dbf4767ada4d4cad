"""One method on parts of the test set: how good on each slice, and on which it is surely worse than on the whole.

Called by work/slices.py with the items of each slice. Who looks at twenty slices finds a bad one in any noise. So all
intervals of a table of slices hold together (Bonferroni over the slices that are looked at: each at a confidence of
1 - (1 - c) / m), and a slice is called worse only where its whole interval lies below zero. With equal slices any of
them is called worse in less than (1 - c) / 2 of all studies. Slices may overlap; Bonferroni does not mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsugiki.measure.intervals import number_groups
from tsugiki.measure.stats import Estimate, Groups, Scores, mean_with_interval
from tsugiki.measure.unpaired import unpaired_difference

Members = NDArray[np.bool_]  # per item, whether it is in the slice

FEWEST_GROUPS = 10  # independent items in a slice; fewer are not looked at and do not widen the other intervals


@dataclass(frozen=True)
class SliceResult:
    """`quality` is None where the slice is too small, `difference` also where too little lies outside it."""

    n: int
    groups: int  # independent ones among the n items
    quality: Estimate | None
    difference: Estimate | None  # to the whole, of which the slice is a part

    @property
    def surely_worse(self) -> bool:
        return self.difference is not None and self.difference.high < 0


@dataclass(frozen=True)
class SliceTable:
    confidence: float  # of every interval here, so that all of them hold together
    looked_at: int  # slices that could have been called worse
    results: tuple[SliceResult, ...]

    @property
    def worst(self) -> int | None:
        """The place of the slice with the lowest quality among those that are surely worse than the whole."""
        worse = [
            (result.quality.value, place)
            for place, result in enumerate(self.results)
            if result.quality is not None and result.surely_worse
        ]
        return min(worse)[1] if worse else None


def compare_slices(
    scores: Scores, slices: Sequence[Sequence[int]], *, confidence: float, groups: Groups = None, seed: int = 0
) -> SliceTable:
    """`scores`: per seed and item, from 0 to 1; `slices`: the places of the items of each slice."""
    count = len(scores[0])
    clusters = number_groups(groups, count)
    inside = [np.isin(np.arange(count), places) for places in slices]
    sizes = [(len(set(clusters[part])), len(set(clusters[~part]))) for part in inside]
    looked_at = sum(min(pair) >= FEWEST_GROUPS for pair in sizes)
    together = 1 - (1 - confidence) / max(1, looked_at)

    def mean_in(part: Members, units: int) -> Estimate | None:
        enough = units >= FEWEST_GROUPS
        return mean_on(scores, part, confidence=together, groups=groups, seed=seed) if enough else None

    results = []
    for part, (within, outside) in zip(inside, sizes, strict=True):
        quality, rest = mean_in(part, within), mean_in(~part, outside)
        difference = None if quality is None or rest is None else _to_the_whole(quality, rest)
        results.append(SliceResult(int(part.sum()), within, quality, difference))
    return SliceTable(together, looked_at, tuple(results))


def mean_on(
    scores: Scores, part: Members, *, confidence: float, groups: Groups = None, seed: int = 0
) -> Estimate | None:
    """The mean over those items for which `part` is true."""
    places = np.flatnonzero(part).tolist()
    chosen = [[row[place] for place in places] for row in scores]
    kept = None if groups is None else [groups[place] for place in places]
    return mean_with_interval(chosen, confidence=confidence, groups=kept, seed=seed)


def _to_the_whole(inside: Estimate, rest: Estimate) -> Estimate:
    """The whole is both together, so slice minus whole is slice minus rest times the share of the rest."""
    share = rest.n / (inside.n + rest.n)
    found = unpaired_difference(inside, rest)
    return Estimate(found.value * share, found.low * share, found.high * share, found.n, found.method)
