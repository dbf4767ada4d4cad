"""Which learning rate, rank and method: the grid that is tried per method, and the picks after the search.

Called by `study` (the grid, the picks) and by `trial` (nothing else chooses). Every method gets the same number of
tries, each on its own grid. The rank is the smallest that suffices, since quality is flat in it over a wide range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from tsugiki.config import LEARNING_RATES, MethodName

LOSS_TOLERANCE = 0.01  # nats per token: what less may lose on dev (LoRA Without Regret; docs/decisions.md)
FEWEST_RANKS = 4
SIMPLEST_FIRST: tuple[MethodName, ...] = ("lora", "adapter", "hybrid")  # what may be chosen; full is the control


def learning_rates(method: MethodName, tries: int) -> tuple[float, ...]:
    """The declared rates first, then the grid is widened by factors of two, below and above in turn."""
    rates = list(LEARNING_RATES[method])
    while len(rates) < tries:
        below = len(rates) % 2 == 1
        rates.append(min(rates) / 2 if below else max(rates) * 2)
    return tuple(rates[:tries])


def best_try(tries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The try with the lowest dev loss; None when no try ended with a number."""
    return min(filter(_ended, tries), key=lambda one: one["dev_loss"], default=None)


def _ended(one: Mapping[str, Any]) -> bool:
    return one["dev_loss"] is not None and math.isfinite(one["dev_loss"])


def simplest_method(tries: Sequence[Mapping[str, Any]]) -> MethodName | None:
    """The method of the first of `tries`, simplest first, that is `good_enough`; None when no try ended."""
    return next((tries[place]["method"] for place in good_enough(tries)), None)


def good_enough(tries: Sequence[Mapping[str, Any]]) -> list[int]:
    """The places of those that lose to the best no more than LOSS_TOLERANCE or the standard error of the difference.

    The rule of one standard error (Breiman, Friedman, Olshen and Stone 1984, sec. 3.4.3) on paired rows. `tries` holds
    {dev_loss, row_losses}, the nats of each row of one dev set, and None where a try did not end.
    """
    best = best_try(tries)
    if best is None:
        return []
    return [
        place
        for place, one in enumerate(tries)
        if _ended(one) and one["dev_loss"] - best["dev_loss"] <= _noise(one, best)
    ]


def _noise(one: Mapping[str, Any], best: Mapping[str, Any]) -> float:
    """The standard error of the difference of two dev losses in nats per token, LOSS_TOLERANCE at least.

    Infinite with a single row.
    """
    apart = [ours - theirs for ours, theirs in zip(one["row_losses"], best["row_losses"], strict=True)]
    if len(apart) < 2:
        return math.inf
    rows_per_token = best["dev_loss"] / (mean(best["row_losses"]) or 1.0)  # nothing is lost at all
    return max(LOSS_TOLERANCE, stdev(apart) / math.sqrt(len(apart)) * rows_per_token)


def chosen_rate(search: Mapping[str, Any] | None, rates: Sequence[float]) -> float:
    """The rate for the final trials of a method: the searched one, or the first of `rates` where no search ended."""
    if search is not None and search["status"] == "done":
        return float(search["learning_rate"])
    return rates[0]


def ranks_to_try(largest: int) -> tuple[int, ...]:
    """Powers of two up to `largest`, which is one of them or comes last itself."""
    return (*(1 << power for power in range(largest.bit_length()) if 1 << power < largest), largest)


def sufficient_rank(losses: Sequence[Mapping[str, Any]]) -> int:
    """The smallest rank to which a trained update can be cut for LOSS_TOLERANCE; `losses` holds {rank, dev_loss}."""
    whole = max(losses, key=lambda one: one["rank"])
    enough = [one["rank"] for one in losses if one["dev_loss"] <= whole["dev_loss"] + LOSS_TOLERANCE]
    return int(min(enough, default=whole["rank"]))


def chosen_rank(search: Mapping[str, Any] | None, otherwise: int) -> int:
    """The rank for the final trials: twice what suffices after a search, as training finds its way with some room.

    `otherwise` where no search asked for it.
    """
    curve = search.get("rank_losses") if search is not None and search["status"] == "done" else None
    if not curve:
        return otherwise
    largest = max(one["rank"] for one in curve)
    return int(min(largest, max(FEWEST_RANKS, 2 * sufficient_rank(curve))))
