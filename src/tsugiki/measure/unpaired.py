"""Differences between different items: shifted rows against test rows, a slice against the rest.

Called by slices.py, work/shift.py, work/verdict.py and, with the intervals of a card, work/portfolio.py. Two sets of
items that share no item are two independent draws, and nothing can be paired between them. An interval of the
difference is recovered from the intervals of both sides (MOVER: Zou and Donner, Statistics in Medicine 27, 2008; with
Wilson's intervals it is Newcombe's method 10, Statistics in Medicine 17, 1998), so that every side keeps its own kind:
score intervals for right and wrong, a bootstrap over groups for graded scores. Training seeds are in both sides; where
they move them alike the interval is too wide, never too narrow. Decides nothing.
"""

from __future__ import annotations

import math

from tsugiki.measure.stats import Estimate, Groups, Scores, paired_difference

METHOD = "MOVER, over two sets of items"


def unpaired_difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Ours minus theirs; both intervals must have the same confidence, which is that of the result."""
    sides = ((one.value, one.low, one.high) for one in (ours, theirs))
    return Estimate(*difference_of_intervals(*sides), ours.n + theirs.n, METHOD)


def difference_of_intervals(
    ours: tuple[float, float, float], theirs: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Ours minus theirs; each side and the result as (value, low, high).

    All that can be done where only a card is at hand; on the same items, where good methods are right on the same rows,
    the true interval is narrower.
    """
    (a, a_low, a_high), (b, b_low, b_high) = ours, theirs
    return a - b, a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def difference_in_differences(
    ours: tuple[Scores, Scores],
    theirs: tuple[Scores, Scores],
    *,
    confidence: float,
    groups: tuple[Groups, Groups] = (None, None),
    seed: int = 0,
) -> Estimate | None:
    """How much more our score changes from the first set of items to the second than theirs does.

    Each side gives its scores on both sets. On each set the two sides answered the same items and are paired; between
    the sets nothing is. From -2 to 2; None where a set cannot tell.
    """
    first, second = (
        paired_difference(ours[place], theirs[place], confidence=confidence, groups=groups[place], seed=seed)
        for place in (0, 1)
    )
    return None if first is None or second is None else unpaired_difference(second, first)
