"""What machine time costs in each way of paying for it.

Called by roi.py and work/. An hour of a bought machine is its purchase spread over the hours in which it will be used,
and the power of that hour; an hour of a reserved one is its month spread over the hours used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tsugiki.measure.prices import Amount, OnPremises, Paid, Prices, Reserved, Way

Machine = Literal["cpu", "gpu"]

HOURS_PER_YEAR = 8766.0  # 365.25 days
HOURS_PER_MONTH = HOURS_PER_YEAR / 12


@dataclass(frozen=True)
class Rate:
    """One way of paying for one machine, in the currency of the table."""

    way: Way
    hour: float  # of use
    month: float  # in which the machine is kept on, for one thing alone


def rates(prices: Prices, machine: Machine) -> list[Rate]:
    """The ways that the table has a price for."""
    found = []
    hour: Amount | None = getattr(prices, f"{machine}_hour")
    reserved: Reserved | None = getattr(prices, f"{machine}_reserved")
    bought: OnPremises | None = getattr(prices, f"{machine}_on_premises")
    if hour is not None:
        found.append(Rate("hour", hour.value, hour.value * HOURS_PER_MONTH))
    if reserved is not None:
        found.append(Rate("reserved", reserved.month.value / reserved.hours.value, reserved.month.value))
    if bought is not None:
        year, power = bought.purchase.value / bought.years.value, bought.power_kw.value * bought.kwh.value
        used = HOURS_PER_YEAR * bought.utilisation.value
        found.append(Rate("on_premises", year / used + power, year / 12 + power * HOURS_PER_MONTH))
    return found


def rate_for(prices: Prices, machine: Machine, paid: Paid, *, kept_on: bool = False) -> Rate | None:
    """The rate of that way; the cheapest of an hour of use, or of a month kept on. None where the table has none."""
    found = [rate for rate in rates(prices, machine) if paid in ("cheapest", rate.way)]
    return min(found, key=lambda rate: rate.month if kept_on else rate.hour, default=None)


def cost_of(seconds: float, rate: Rate | None) -> float | None:
    """Of this much machine time; None where it has no price."""
    return None if rate is None else seconds / 3600 * rate.hour
