"""Which learning rate: the grid that is tried per method, and the pick after the search.

Called by `study` (the grid, the pick) and by `trial` (nothing else chooses). Every method gets the same number of
tries, each on its own grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tsugiki.config import LEARNING_RATES, MethodName


def learning_rates(method: MethodName, tries: int) -> tuple[float, ...]:
    """The declared rates first, then the grid is widened by factors of two, below and above in turn."""
    rates = list(LEARNING_RATES[method])
    while len(rates) < tries:
        below = len(rates) % 2 == 1
        rates.append(min(rates) / 2 if below else max(rates) * 2)
    return tuple(rates[:tries])


def best_try(tries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The try with the lowest dev loss; None when no try ended with a number."""
    ended = [one for one in tries if one["dev_loss"] is not None and math.isfinite(one["dev_loss"])]
    return min(ended, key=lambda one: one["dev_loss"], default=None)


def chosen_rate(search: Mapping[str, Any] | None, method: MethodName) -> float:
    """The rate for the final trials of `method`: the searched one, or the first of its grid where no search ended."""
    if search is not None and search["status"] == "done":
        return float(search["learning_rate"])
    return LEARNING_RATES[method][0]
