"""What one method or reference did on a set of rows, as the verdict and the scorecard see it.

Made by `summary` from stored answers; plain values, no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tsugiki.measure.stats import Estimate, Scores


@dataclass(frozen=True)
class Measured:
    """`quality` is the reported metric (measure/metrics.quality)."""

    scores: Scores  # per seed, per item, in the order of the rows; their mean is the value of `quality`
    quality: Estimate | None
    test_digest: str  # of the rows it was measured on


@dataclass(frozen=True)
class Retention:
    """Loss on general text before and after training, in nats per token, averaged over seeds."""

    loss_before: float | None
    loss_after: float | None


def is_complete(measured: Measured, items: int) -> bool:
    """Every seed scored every item, and the reported quality is a number with an interval."""
    estimate = measured.quality
    if estimate is None or estimate.n != items:
        return False
    full = bool(measured.scores) and all(len(scores) == items for scores in measured.scores)
    values = [value for scores in measured.scores for value in scores]
    return full and all(map(math.isfinite, (*values, estimate.value, estimate.low, estimate.high)))
