"""The difference of two numbers of which only the intervals are known.

Called by work/portfolio.py for scorecards that do not hold the paired comparison itself. Where scores are at hand,
stats.paired_difference is narrower and right; this is what is left when a card is all there is.
"""

from __future__ import annotations

import math


def difference_of_intervals(
    ours: tuple[float, float, float], theirs: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Ours minus theirs; each side and the result as (value, low, high), low <= value <= high.

    Variance estimates are recovered from the limits (Newcombe, Statistics in Medicine 17, 1998, method 10; Zou and
    Donner, same journal 27, 2008). The two count as independent: on the same test items, where good methods are right
    on the same rows, the true interval is narrower.
    """
    (a, a_low, a_high), (b, b_low, b_high) = ours, theirs
    difference = a - b
    return (
        difference,
        difference - math.hypot(a - a_low, b_high - b),
        difference + math.hypot(a_high - a, b - b_low),
    )
