"""A budget in money: the minutes it buys, and refusals where there is nothing to reckon with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.measure.test_prices import table
from tests.work.fakes import FakeTrials, make_study, write_data
from tsugiki.config import Design
from tsugiki.errors import UsageError
from tsugiki.work.budget import check_budget, priced, within_money
from tsugiki.work.study import run_study

PRICES = table(wage_hour=3000, cpu_hour=1200)


def test_money_buys_minutes_and_never_more_than_the_time_allowed():
    for money, minutes in ((100.0, 5.0), (1e6, 60.0)):
        assert within_money(Design(budget_money=money), PRICES, "cpu").budget_minutes == pytest.approx(minutes)
    assert within_money(Design(), None, "gpu") == Design()


def test_the_cheapest_way_counts_unless_the_table_says_which():
    ways = {"cpu_hour": 1200, "cpu_reserved": {"month": 60_000, "hours": 100}}
    for paid, minutes in (("cheapest", 10.0), ("reserved", 10.0), ("hour", 5.0)):
        prices = table(**{**ways, "cpu_hour": 1200}, business_case={"training_paid": paid})
        design = within_money(Design(budget_money=100.0), prices, "cpu")
        assert design.budget_minutes == pytest.approx(minutes), paid


def test_money_without_a_price_is_refused():
    with pytest.raises(UsageError, match=r"A budget of 500 in money .* --prices"):
        check_budget(Design(budget_money=500), None)
    with pytest.raises(UsageError, match=r"no price for an hour of this machine \(gpu\).* gpu_hour"):
        within_money(Design(budget_money=500), PRICES, "gpu")
    with pytest.raises(UsageError, match="no price"):
        within_money(Design(budget_money=500), table(cpu_hour=0), "cpu")


def test_a_price_has_its_date_with_it():
    assert priced(1800.0, PRICES, "cpu") == {"amount": 600.0, "currency": "JPY", "date": PRICES.date}
    assert priced(1800.0, PRICES, "gpu") is None
    assert priced(1800.0, None, "cpu") is None


def test_a_study_is_cut_to_what_the_money_buys(tmp_path: Path):
    data = write_data(tmp_path / "data.csv")
    study = replace(make_study(data, budget_money=160.0), prices=PRICES)
    events: list[Any] = []
    card = run_study(study, tmp_path / "study", events.append, run_trial=FakeTrials()).scorecard
    plan = next(event for event in events if event["event"] == "schedule")
    assert plan["cuts"] and plan["allowed_minutes"] == pytest.approx(8.0)
    assert plan["cost"]["amount"] == pytest.approx(plan["minutes"] / 60 * 1200) and plan["cost"]["amount"] <= 160
    assert card["study"]["budget"]["money"] == 160.0
    assert card["study"]["budget"]["minutes"] == pytest.approx(8.0)
