"""Machine time in money, by hand-computed examples for every way of paying."""

from __future__ import annotations

import pytest

from tests.measure.test_prices import BOUGHT, table
from tsugiki.measure.cost import HOURS_PER_MONTH, cost_of, rate_for, rates


def test_an_hour_costs_the_hours_price_and_free_is_a_price() -> None:
    prices = table(cpu_hour=0, gpu_hour=3)
    assert cost_of(1800, rate_for(prices, "gpu", "cheapest")) == pytest.approx(1.5)
    assert cost_of(60, rate_for(prices, "cpu", "hour")) == 0.0
    assert rates(prices, "gpu")[0].month == pytest.approx(3 * 730.5)


def test_a_machine_without_a_price_has_no_cost() -> None:
    assert cost_of(60, rate_for(table(cpu_hour=1), "gpu", "cheapest")) is None
    assert rate_for(table(cpu_hour=1), "cpu", "reserved") is None


def test_a_reserved_month_is_spread_over_the_hours_used() -> None:
    (rate,) = rates(table(cpu_reserved={"month": 20_000, "hours": 160}), "cpu")
    assert (rate.way, rate.hour, rate.month) == ("reserved", 125.0, 20_000.0)


def test_a_bought_machine_is_written_off_and_draws_power() -> None:
    (rate,) = rates(table(gpu_on_premises=BOUGHT), "gpu")
    # 600,000 over 5 years is 120,000 a year; a quarter of 8,766 hours is 2,191.5; 0.3 kW at 30 are 9 an hour.
    assert rate.hour == pytest.approx(120_000 / 2191.5 + 9)
    assert rate.month == pytest.approx(10_000 + 9 * 730.5)


def test_a_bought_machine_in_use_all_the_time_costs_an_hour_of_the_kept_on_month() -> None:
    (rate,) = rates(table(gpu_on_premises={**BOUGHT, "utilisation": 1}), "gpu")
    assert rate.hour * HOURS_PER_MONTH == pytest.approx(rate.month)


def test_the_cheapest_way_depends_on_what_it_is_for() -> None:
    prices = table(cpu_hour=50, cpu_reserved={"month": 20_000, "hours": 160})
    used, kept = rate_for(prices, "cpu", "cheapest"), rate_for(prices, "cpu", "cheapest", kept_on=True)
    assert used is not None and kept is not None
    assert (used.way, kept.way) == ("hour", "reserved")  # 50 against 125 an hour, 36,525 against 20,000 a month
    named = rate_for(prices, "cpu", "reserved")
    assert named is not None and named.way == "reserved"
