"""Whether the saved minutes are worth the machine time: value, costs, break-even, and which inputs matter most.

Called by work/money.py with what a study observed and the user's table. Everything but the machines that are kept on
is linear in the share of right answers, so the interval of that share carries over end by end. A line that lacks an
input has no amount and names what it lacks; a cost that the user left out is not counted, and says so: never a zero
that nobody gave. Per month, with n cases, share right q, wage w per minute:

    saved     n q w (minutes saved)                        serving   machine time for n cases, or machines kept on
    checking  n w (minutes to look at each)                changes   updates a year / 12 × the cost of one
    wrong     n (1 − q) w (minutes to put one right)       upkeep    as given
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tsugiki.config import K, Knobs
from tsugiki.measure.cost import HOURS_PER_MONTH, Machine, Rate, rate_for
from tsugiki.measure.prices import Amount, BusinessCase, Positive, Prices

MINUTES, SECONDS, MONTHS = 60.0, 3600.0, 12.0  # of an hour, of an hour, of a year
HALF = 0.5  # a range that nobody gave: half as much to half as much again

Missing = Literal["lacks", "not_given", "never", "free"]
Range = Literal["given", "half", "capped", "interval"]


@dataclass(frozen=True)
class Observed:
    """What a study measured of one way of answering; None where it did not. Times in seconds, shares from 0 to 1."""

    machine: Machine
    share_right: float | None
    share_low: float | None
    share_high: float | None
    seconds_per_case: float | None
    training_seconds: float | None  # of one training in production; 0 where nothing is trained
    swap_seconds: float | None
    study_seconds: float


@dataclass(frozen=True)
class Line:
    """An amount, or why there is none: inputs it lacks, a cost that was not given, a point that is never reached, a
    share of costs where nothing is spent.
    """

    amount: float | None
    missing: Missing | None = None
    lacks: tuple[str, ...] = ()

    def per(self, divisor: float) -> Line:
        return self if self.amount is None else Line(self.amount / divisor)


@dataclass(frozen=True)
class Account:
    """Amounts as they are, in the currency of the table; `saved` counts for the net, every other line against it."""

    month: Mapping[str, Line]
    once: Mapping[str, Line]
    change: Mapping[str, Line]  # training, swap, labour and the cost, of one update
    serving: Mapping[str, Line]  # as_needed and kept_on, whichever counts; hours and machines of a month
    net_month: Line
    spent_once: Line
    months: Line  # until what was spent once has come back
    net_horizon: Line
    returned: Line  # net of the horizon per unit of money spent in it


@dataclass(frozen=True)
class Bar:
    """The net over the horizon when one input goes from `low` to `high` and all others stay."""

    input: str
    value: float
    low: float
    high: float
    range: Range
    net_low: float
    net_high: float


def account(seen: Observed, prices: Prices) -> Account:
    case, wage = prices.case, _value(prices.wage_hour)
    training = rate_for(prices, seen.machine, case.training_paid)
    serving, change = _serving(seen, prices), _change(seen, prices, training)
    month = _labour(seen, case, wage) | {
        "serving": serving[case.serving],
        "changes": _times(change["cost"], "changes_per_year", _value(case.changes_per_year)).per(MONTHS),
        "upkeep": _product("upkeep_month", upkeep_month=_value(case.upkeep_month)),
    }
    once = {
        "study": _machine_time(training, study_seconds=seen.study_seconds),
        "training": change["training"],
        "setup_labour": _product("setup_hours", setup_hours=_value(case.setup_hours), wage_hour=wage),
        "setup_cost": _product("setup_cost", setup_cost=_value(case.setup_cost)),
    }
    running = [line for name, line in month.items() if name != "saved"]
    net, spent_once, horizon = _sum([month["saved"]], running), _sum(once.values()), float(case.horizon_months)
    net_horizon = _sum([net.per(1 / horizon)], [spent_once])
    spent = _sum([_sum(running).per(1 / horizon), spent_once])
    return Account(
        month=month,
        once=once,
        change=change,
        serving=serving,
        net_month=net,
        spent_once=spent_once,
        months=_quotient(spent_once, net, "never"),
        net_horizon=net_horizon,
        returned=_quotient(net_horizon, spent, "free"),
    )


def break_even_cases(seen: Observed, prices: Prices) -> Line:
    """The least number of cases a month with which the net over the horizon is not negative."""

    def at(cases: float) -> Account:
        wanted = Positive.model_construct(value=cases, low=None, high=None)
        return account(seen, _copied(prices, business_case=_copied(prices.case, cases_per_month=wanted)))

    none, one = at(0), at(1)
    horizon = prices.case.horizon_months
    amounts = [line.amount for found in (none, one) for line in (found.net_horizon, found.month["serving"])]
    if amounts[0] is None or amounts[1] is None or amounts[2] is None or amounts[3] is None:
        return one.net_horizon
    fixed = -(amounts[0] + horizon * amounts[1])
    each = amounts[2] + horizon * amounts[3] + fixed
    if prices.case.serving == "as_needed":
        each -= horizon * amounts[3]
        return Line(max(0.0, fixed) / each) if each > 0 else Line(None, "never")
    machine = horizon * amounts[1]
    room = each * HOURS_PER_MONTH * SECONDS / seen.seconds_per_case - machine if seen.seconds_per_case else math.inf
    if each <= 0 or room <= 0:
        return Line(None, "never")
    machines = max(1, math.ceil(fixed / room))
    return Line(max(0.0, fixed + machines * machine) / each)


def tornado(seen: Observed, prices: Prices) -> list[Bar]:
    """One bar per input that moves the net over the horizon, the longest first; empty where there is no such net.

    A range is the one the user gave, the interval of the share of right answers, or half to one and a half times the
    value. The way of paying stays what it is at the value.
    """
    prices = _with_ways(prices, seen.machine)
    if account(seen, prices).net_horizon.amount is None:
        return []
    found = [*_bars_of_prices(seen, prices), *_bars_of_study(seen, prices)]
    moving = [bar for bar in found if bar.net_low != bar.net_high]
    return sorted(moving, key=lambda bar: (-abs(bar.net_high - bar.net_low), bar.input))


def _labour(seen: Observed, case: BusinessCase, wage: float | None) -> dict[str, Line]:
    n, right = _value(case.cases_per_month), seen.share_right
    wrong = None if right is None else 1 - right
    saved, look, repair = (_value(one) for one in (case.minutes_saved, case.minutes_to_check, case.minutes_per_wrong))
    found = {
        "saved": _product(cases_per_month=n, share_right=right, minutes_saved=saved, wage_hour=wage),
        "checking": _product("minutes_to_check", cases_per_month=n, minutes_to_check=look, wage_hour=wage),
        "wrong": _product(
            "minutes_per_wrong", cases_per_month=n, share_right=wrong, minutes_per_wrong=repair, wage_hour=wage
        ),
    }
    return {name: line.per(MINUTES) for name, line in found.items()}


def _serving(seen: Observed, prices: Prices) -> dict[str, Line]:
    case = prices.case
    used = rate_for(prices, seen.machine, case.serving_paid)
    kept = rate_for(prices, seen.machine, case.serving_paid, kept_on=True)
    hours = _product(
        cases_per_month=_value(case.cases_per_month), seconds_per_case=seen.seconds_per_case
    ).per(SECONDS)  # fmt: skip
    machines = hours if hours.amount is None else Line(float(max(1, math.ceil(hours.amount / HOURS_PER_MONTH))))
    return {
        "as_needed": _times(hours, "machine_price", None if used is None else used.hour, optional=False),
        "kept_on": _times(machines, "machine_price", None if kept is None else kept.month, optional=False),
        "hours": hours,
        "machines": machines,
    }


def _change(seen: Observed, prices: Prices, rate: Rate | None) -> dict[str, Line]:
    """A swap that was not measured is left out: it takes seconds where a training takes minutes."""
    hours = _value(prices.case.hours_per_change)
    found = {
        "training": _machine_time(rate, training_seconds=seen.training_seconds),
        "swap": _machine_time(rate, swap_seconds=seen.swap_seconds),
        "labour": _product("hours_per_change", hours_per_change=hours, wage_hour=_value(prices.wage_hour)),
    }
    counted = [line for name, line in found.items() if name != "swap" or line.amount is not None]
    return {**found, "cost": _sum(counted)}


def _machine_time(rate: Rate | None, **seconds: float | None) -> Line:
    return _product(**seconds, machine_price=None if rate is None else rate.hour).per(SECONDS)


def _product(optional: str | None = None, /, **factors: float | None) -> Line:
    """All factors multiplied; a cost whose `optional` factor was not given is not counted."""
    if optional is not None and factors[optional] is None:
        return Line(None, "not_given", (optional,))
    lacks = tuple(name for name, factor in factors.items() if factor is None)
    return Line(None, "lacks", lacks) if lacks else Line(math.prod(one for one in factors.values() if one is not None))


def _times(line: Line, name: str, factor: float | None, *, optional: bool = True) -> Line:
    """A line that is known already, once more multiplied."""
    if factor is None:
        return Line(None, "not_given", (name,)) if optional else Line(None, "lacks", (*line.lacks, name))
    return line if line.amount is None else Line(line.amount * factor)


def _sum(gains: Iterable[Line], costs: Iterable[Line] = ()) -> Line:
    """Gains less costs; what was not given is not counted, anything else that is missing makes the sum missing."""
    gains, costs = list(gains), list(costs)
    missing = [line for line in (*gains, *costs) if line.amount is None and line.missing != "not_given"]
    if missing:
        return Line(None, "lacks", tuple(dict.fromkeys(name for line in missing for name in line.lacks)))
    plus = [line.amount for line in gains if line.amount is not None]
    return Line(math.fsum([*plus, *(-line.amount for line in costs if line.amount is not None)]))


def _quotient(amount: Line, divisor: Line, otherwise: Missing) -> Line:
    if amount.amount is None or divisor.amount is None:
        return Line(None, "lacks", tuple(dict.fromkeys((*amount.lacks, *divisor.lacks))))
    return Line(amount.amount / divisor.amount) if divisor.amount > 0 else Line(None, otherwise)


def _value(amount: Amount | None) -> float | None:
    return None if amount is None else amount.value


def _with_ways(prices: Prices, machine: Machine) -> Prices:
    """The cheapest way by its name, so that it does not change while an input does."""
    case = prices.case
    training = rate_for(prices, machine, case.training_paid)
    serving = rate_for(prices, machine, case.serving_paid, kept_on=case.serving == "kept_on")
    named = {"training_paid": training, "serving_paid": serving}
    ways = {name: rate.way for name, rate in named.items() if rate is not None}
    return _copied(prices, business_case=_copied(case, **ways))


def _bars_of_prices(seen: Observed, prices: Prices) -> Iterator[Bar]:
    for path, amount in _amounts(prices):
        low, high, kind = _range(amount)
        nets = [_net(seen, _replaced(prices, path, end)) for end in (low, high)]
        yield Bar(path, amount.value, low, high, kind, *nets)


def _range(amount: Amount) -> tuple[float, float, Range]:
    if amount.low is not None and amount.high is not None:
        return amount.low, amount.high, "given"
    low, high = amount.value * (1 - HALF), amount.value * (1 + HALF)
    return (low, amount.MOST, "capped") if amount.MOST is not None and high > amount.MOST else (low, high, "half")


def _bars_of_study(seen: Observed, prices: Prices) -> Iterator[Bar]:
    if seen.share_right is not None and seen.share_low is not None and seen.share_high is not None:
        low, high = seen.share_low, seen.share_high
        nets = [_net(replace(seen, share_right=end), prices) for end in (low, high)]
        yield Bar("share_right", seen.share_right, low, high, "interval", *nets)
    timed: dict[str, tuple[float | None, Callable[[float], Observed]]] = {
        "seconds_per_case": (seen.seconds_per_case, lambda end: replace(seen, seconds_per_case=end)),
        "training_seconds": (seen.training_seconds, lambda end: replace(seen, training_seconds=end)),
    }
    for name, (seconds, with_seconds) in timed.items():
        if seconds is not None:
            low, high = seconds * (1 - HALF), seconds * (1 + HALF)
            yield Bar(name, seconds, low, high, "half", *(_net(with_seconds(end), prices) for end in (low, high)))


def _net(seen: Observed, prices: Prices) -> float:
    net = account(seen, prices).net_horizon.amount
    assert net is not None, "an input that moves cannot take the net away"
    return net


def _amounts(kind: Knobs, path: str = "") -> Iterator[tuple[str, Amount]]:
    """Every amount that was given, with the dotted path of its keys."""
    for name in type(kind).model_fields:
        found = getattr(kind, name)
        if isinstance(found, Amount):
            yield f"{path}{name}", found
        elif isinstance(found, Knobs):
            yield from _amounts(found, f"{path}{name}.")


def _replaced(kind: K, path: str, value: float) -> K:
    head, _, rest = path.partition(".")
    found = getattr(kind, head)
    return _copied(kind, **{head: _replaced(found, rest, value) if rest else _copied(found, value=value)})


def _copied(kind: K, **values: object) -> K:
    return kind.model_copy(update=values)
