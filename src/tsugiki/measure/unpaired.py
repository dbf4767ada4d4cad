"""Differences between different items: shifted rows against test rows, a slice against the rest.

Called by slices.py, work/shift.py and work/verdict.py. Two sets of items that share no item are two independent draws,
and nothing can be paired between them. An interval of the difference is recovered from the intervals of both sides
(MOVER: Zou and Donner, Statistics in Medicine 27, 2008; with Wilson's intervals it is Newcombe's method 10, Statistics
in Medicine 17, 1998), so that every side keeps its own kind: score intervals for right and wrong, a bootstrap over
groups for graded scores. Training seeds are in both sides; where they move them alike the interval is too wide, never
too narrow. Decides nothing.
"""

from __future__ import annotations

import math

from tsugiki.measure.stats import Estimate, Groups, Scores, paired_difference

METHOD = "MOVER, over two sets of items"


def unpaired_difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Ours minus theirs; both intervals must have the same confidence, which is that of the result."""
    value = ours.value - theirs.value
    low = value - math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    high = value + math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    return Estimate(value, low, high, ours.n + theirs.n, METHOD)


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
