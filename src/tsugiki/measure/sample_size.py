"""How many test rows a study should have, from what it is meant to show, before there is a single score.

Called by work/kinds.py for the templates. stats.needed_n answers the same questions afterwards, from measured scores.
All three assume independent rows and scores from 0 to 1, and hold for right or wrong. A graded score with the same mean
never varies more (Bhatia and Davis, American Mathematical Monthly 107, 2000), so for graded ones they are upper bounds.
Confidence is two-sided for an interval and a criterion, one-sided for a margin, as in the verdict.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from tsugiki.measure.intervals import wilson

POWER = 0.8  # with which what is true is also found, as in stats.needed_n
_NORMAL = NormalDist()


def rows_for_interval(reach: float, *, value: float = 0.5, confidence: float) -> int:
    """Test rows with which Wilson's interval of a quality of `value` is at most 2 * `reach` wide; 0.5 is the worst."""
    if not 0 < reach < 0.5:
        raise ValueError(f"the reach of an interval must be between 0 and 0.5, got {reach}")
    critical = _NORMAL.inv_cdf((1 + confidence) / 2)

    def wide(n: int) -> bool:
        low, high = wilson(value, n, critical)
        return high - low > 2 * reach

    enough = 1
    while wide(enough):
        enough *= 2
    short = enough // 2  # too few, or none
    while enough - short > 1:
        middle = (enough + short) // 2
        short, enough = (middle, enough) if wide(middle) else (short, middle)
    return enough


def rows_to_reach(criterion: float, value: float, *, confidence: float, power: float = POWER) -> int:
    """Test rows with which a true quality of `value` puts the whole interval above `criterion`, with this power.

    The sample size of the score test (Fleiss, Statistical Methods for Rates and Proportions, 2.3), which Wilson's
    interval inverts.
    """
    if not 0 <= criterion < value <= 1:
        raise ValueError(f"the quality must be above the criterion, got {value} and {criterion}")
    spread = _NORMAL.inv_cdf((1 + confidence) / 2) * math.sqrt(criterion * (1 - criterion))
    spread += _NORMAL.inv_cdf(power) * math.sqrt(value * (1 - value))
    return max(1, math.ceil((spread / (value - criterion)) ** 2))


def rows_for_margin(margin: float, differing: float, *, confidence: float, power: float = POWER) -> int:
    """Test rows with which two equally good methods are shown to be within `margin` of each other, with this power.

    `differing`: the share of rows that one gets right and the other wrong; for graded scores the mean distance per row.
    """
    if not 0 < margin <= 1 or not 0 < differing <= 1:
        raise ValueError(f"margin and differing must be above 0 and at most 1, got {margin} and {differing}")
    apart = _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power)
    return math.ceil(differing * (apart / margin) ** 2)
