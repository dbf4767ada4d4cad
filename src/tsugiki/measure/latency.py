"""How long until the first token, and for each one after it.

Called by work/ with a callable that generates once and returns when each new token was there; this file knows neither
models nor devices. The median over repeats is reported, since one run in many meets something else on the machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

TokenTimes = Sequence[float]  # seconds from the start of the call until token 1, 2, ... was there


@dataclass(frozen=True)
class Latency:
    """Medians in milliseconds; None where no run gave a first, or a second, token."""

    batch: int
    first_token_ms: float | None
    per_token_ms: float | None
    repeats: int

    def as_json(self, weights: str) -> dict[str, Any]:
        """One entry of the contract's "latency"; `weights`: merged or unmerged."""
        return {
            "batch": self.batch,
            "weights": weights,
            "first_token_ms": self.first_token_ms,
            "per_token_ms": self.per_token_ms,
            "repeats": self.repeats,
        }


def measure_latency(run: Callable[[], TokenTimes], *, batch: int, repeats: int = 5, warm_up: int = 1) -> Latency:
    """`per_token_ms` is the time between tokens of the whole batch, from the first to the last of each run."""
    for _ in range(warm_up):
        run()
    runs = [run() for _ in range(repeats)]
    first = [1000 * times[0] for times in runs if times]
    between = [1000 * (times[-1] - times[0]) / (len(times) - 1) for times in runs if len(times) > 1]
    return Latency(batch, _median(first), _median(between), repeats)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
