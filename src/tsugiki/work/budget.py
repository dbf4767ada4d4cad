"""What a study may take: minutes, or as many as an amount of money buys on this machine.

Called by study.py before anything is trained. The price is that of training in the user's own price table.
"""

from __future__ import annotations

from typing import Any

from tsugiki.config import Design
from tsugiki.errors import UsageError
from tsugiki.measure.cost import Machine, Rate, cost_of, rate_for
from tsugiki.measure.prices import Prices


def check_budget(design: Design, prices: Prices | None) -> None:
    """Raises UsageError when money is budgeted and there is no price to reckon with: before a base is loaded."""
    if design.budget_money is not None and prices is None:
        raise UsageError(
            f"A budget of {design.budget_money:g} in money needs to know what machine time costs.",
            fix="Give a price table with --prices, or a budget in minutes with --budget.",
        )


def within_money(design: Design, prices: Prices | None, machine: Machine) -> Design:
    """The design with the minutes that its money buys, where those are fewer than it may take.

    Raises UsageError when the table has no price for this machine.
    """
    if design.budget_money is None:
        return design
    rate = _rate(prices, machine)
    if rate is None or rate.hour <= 0:
        raise UsageError(
            f"The price table has no price for an hour of this machine ({machine}), so "
            f"{design.budget_money:g} buys no number of minutes.",
            fix=f"Fill in one of {machine}_hour, {machine}_reserved and {machine}_on_premises.",
        )
    minutes = min(design.budget_minutes, design.budget_money / rate.hour * 60)
    return design.model_copy(update={"budget_minutes": minutes})


def priced(seconds: float, prices: Prices | None, machine: Machine) -> dict[str, Any] | None:
    """What that much machine time costs, with the date of the price; None without one."""
    cost = cost_of(seconds, _rate(prices, machine))
    if cost is None or prices is None:
        return None
    return {"amount": cost, "currency": prices.currency, "date": prices.date}


def _rate(prices: Prices | None, machine: Machine) -> Rate | None:
    return None if prices is None else rate_for(prices, machine, prices.case.training_paid)
