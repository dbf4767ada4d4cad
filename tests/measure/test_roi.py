"""Value against cost: examples computed by hand, what must hold for any case, and what is missing or never reached."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.measure.test_prices import BOUGHT, table
from tsugiki.measure.cost import HOURS_PER_MONTH
from tsugiki.measure.prices import Prices
from tsugiki.measure.roi import Observed, account, break_even_cases, tornado

# With CASE and prices(): 1,000 cases, 80 % right, 3 minutes each at 3,000 an hour; 36 s of a machine at 50 an hour per
# case; a study of 2 hours.
SEEN = Observed(
    machine="cpu",
    share_right=0.8,
    share_low=0.7,
    share_high=0.9,
    seconds_per_case=36.0,
    training_seconds=1800.0,
    swap_seconds=3.6,
    study_seconds=7200.0,
)
CASE: dict[str, Any] = {"cases_per_month": 1000, "minutes_saved": 3}


def prices(*, wage: Any = 3000, hour: Any = 50, **case: Any) -> Prices:
    machine = {} if hour is None else {"cpu_hour": hour}
    return table(wage_hour=wage, **machine, business_case={**CASE, **case}) if wage is not None else table(
        **machine, business_case={**CASE, **case}
    )  # fmt: skip


def amounts(lines: Any) -> dict[str, Any]:
    return {name: line.amount for name, line in lines.items()}


def test_an_account_by_hand() -> None:
    found = account(SEEN, prices())
    # 1000 × 0.8 × 3 min = 40 h at 3,000; 1000 × 36 s = 10 h at 50; study 2 h and training half an hour at 50.
    assert amounts(found.month) == {
        "saved": pytest.approx(120_000), "checking": None, "wrong": None, "serving": pytest.approx(500),
        "changes": None, "upkeep": None,
    }  # fmt: skip
    assert amounts(found.once) == {"study": 100.0, "training": 25.0, "setup_labour": None, "setup_cost": None}
    assert found.net_month.amount == pytest.approx(119_500)
    assert found.spent_once.amount == pytest.approx(125)
    assert found.months.amount == pytest.approx(125 / 119_500)
    assert found.net_horizon.amount == pytest.approx(12 * 119_500 - 125)
    assert found.returned.amount == pytest.approx((12 * 119_500 - 125) / (12 * 500 + 125))


def test_every_cost_by_hand() -> None:
    found = account(
        SEEN,
        prices(
            minutes_to_check=0.6, minutes_per_wrong=6, changes_per_year=6, hours_per_change=4, setup_hours=40,
            setup_cost=50_000, upkeep_month=10_000, horizon_months=6,
        ),
    )  # fmt: skip
    # Checking 1000 × 0.6 min = 10 h; wrong 200 × 6 min = 20 h. A change: half an hour at 50, 3.6 s at 50, 4 h at 3,000.
    change = 25 + 0.05 + 12_000
    assert found.change["cost"].amount == pytest.approx(change)
    assert amounts(found.month) == {
        "saved": pytest.approx(120_000), "checking": pytest.approx(30_000), "wrong": pytest.approx(60_000),
        "serving": pytest.approx(500), "changes": pytest.approx(change / 2), "upkeep": 10_000,
    }  # fmt: skip
    net = 120_000 - 30_000 - 60_000 - 500 - change / 2 - 10_000
    assert found.net_month.amount == pytest.approx(net)
    assert found.spent_once.amount == pytest.approx(125 + 120_000 + 50_000)
    assert found.net_horizon.amount == pytest.approx(6 * net - 170_125)
    assert found.months.amount == pytest.approx(170_125 / net)


def test_a_machine_kept_on_costs_its_month_and_more_machines_when_one_is_too_slow() -> None:
    one = account(SEEN, prices(serving="kept_on"))
    assert one.month["serving"].amount == pytest.approx(50 * HOURS_PER_MONTH)
    assert one.serving["as_needed"].amount == pytest.approx(500)  # told as well, not counted
    busy = account(SEEN, prices(serving="kept_on", cases_per_month=73_051))  # 730.51 hours
    assert busy.serving["machines"].amount == 2
    assert busy.month["serving"].amount == pytest.approx(100 * HOURS_PER_MONTH)


def test_training_and_serving_may_be_paid_in_different_ways() -> None:
    both = table(
        wage_hour=3000, cpu_hour=50, cpu_on_premises=BOUGHT,
        business_case={**CASE, "training_paid": "hour", "serving_paid": "on_premises"},
    )  # fmt: skip
    found = account(SEEN, both)
    assert found.once["training"].amount == pytest.approx(25)
    assert found.month["serving"].amount == pytest.approx(10 * (120_000 / 2191.5 + 9))


@pytest.mark.parametrize(
    ("table_of", "seen", "lacks"),
    [
        (lambda: prices(wage=None), SEEN, ("wage_hour",)),
        (lambda: prices(hour=None), SEEN, ("machine_price",)),
        (lambda: table(wage_hour=3000, cpu_hour=50), SEEN, ("cases_per_month", "minutes_saved")),
        (prices, replace(SEEN, share_right=None), ("share_right",)),
        (prices, replace(SEEN, seconds_per_case=None), ("seconds_per_case",)),
    ],
)
def test_what_is_missing_is_named_and_is_not_zero(table_of: Any, seen: Observed, lacks: tuple[str, ...]) -> None:
    found = account(seen, table_of())
    assert found.net_month.amount is None and set(found.net_month.lacks) == set(lacks)
    assert found.net_horizon.amount is None and found.months.amount is None
    assert set(lacks) <= set(found.months.lacks)
    assert tornado(seen, table_of()) == []


def test_without_a_trained_model_there_is_no_net_over_the_horizon() -> None:
    found = account(replace(SEEN, training_seconds=None), prices())
    assert found.once["training"].lacks == ("training_seconds",) and found.net_horizon.amount is None
    assert found.net_month.amount == pytest.approx(119_500)


def test_a_cost_left_blank_is_not_counted_and_says_so() -> None:
    found = account(SEEN, prices())
    assert (found.month["wrong"].missing, found.month["wrong"].lacks) == ("not_given", ("minutes_per_wrong",))
    assert account(SEEN, prices(minutes_per_wrong=0)).month["wrong"].amount == 0  # a zero that somebody gave


def test_a_swap_that_was_not_measured_is_left_out() -> None:
    found = account(replace(SEEN, swap_seconds=None), prices(hours_per_change=1))
    assert found.change["swap"].lacks == ("swap_seconds",)
    assert found.change["cost"].amount == pytest.approx(25 + 3000)


def test_what_never_pays_has_no_break_even() -> None:
    found = account(SEEN, prices(minutes_per_wrong=12.5))  # 200 × 12.5 min are more than 800 × 3 min
    assert found.net_month.amount is not None and found.net_month.amount < 0
    assert found.months.missing == "never"
    assert break_even_cases(SEEN, prices(minutes_per_wrong=12.5)).missing == "never"


def test_nothing_spent_has_no_return() -> None:
    assert account(SEEN, prices(hour=0)).returned.missing == "free"


def test_break_even_cases_by_hand() -> None:
    # A case is worth 2.4 min at 50 less 0.5 of machine time: 119.5. Twelve months of them have to bring 125.
    assert break_even_cases(SEEN, prices()).amount == pytest.approx(125 / (12 * 119.5))
    kept = break_even_cases(SEEN, prices(serving="kept_on"))
    assert kept.amount == pytest.approx((125 + 12 * 50 * 730.5) / (12 * 120))


def test_break_even_may_take_more_machines_than_one() -> None:
    dear = prices(serving="kept_on", setup_cost=20_000_000, horizon_months=1, minutes_saved=1)
    found = break_even_cases(SEEN, dear)
    assert found.amount is not None and found.amount > 73_050 * 3
    at = account(SEEN, prices(serving="kept_on", setup_cost=20_000_000, horizon_months=1, minutes_saved=1,
                              cases_per_month=found.amount))  # fmt: skip
    assert at.net_horizon.amount == pytest.approx(0, abs=1)
    assert at.serving["machines"].amount is not None and at.serving["machines"].amount > 3


def test_the_tornado_names_its_ranges_and_starts_with_the_longest_bar() -> None:
    bars = tornado(SEEN, prices(minutes_saved={"value": 3, "low": 1, "high": 4}))
    by_name = {bar.input: bar for bar in bars}
    saved = by_name["business_case.minutes_saved"]
    assert (saved.low, saved.high, saved.range) == (1, 4, "given")
    assert saved.net_high == pytest.approx(12 * (160_000 - 500) - 125)
    share = by_name["share_right"]
    assert (share.low, share.high, share.range) == (0.7, 0.9, "interval")
    assert share.net_low == pytest.approx(12 * (105_000 - 500) - 125)
    cases = by_name["business_case.cases_per_month"]
    assert (cases.low, cases.high, cases.range) == (500, 1500, "half")
    swings = [abs(bar.net_high - bar.net_low) for bar in bars]
    assert swings == sorted(swings, reverse=True) and min(swings) > 0
    assert {bar.input for bar in bars[:2]} == {"business_case.minutes_saved", "wage_hour"}  # 120,000 a month each


def test_a_share_does_not_rise_above_all_of_it() -> None:
    bought = table(wage_hour=3000, cpu_on_premises={**BOUGHT, "utilisation": 0.8}, business_case=CASE)
    bar = next(bar for bar in tornado(SEEN, bought) if bar.input == "cpu_on_premises.utilisation")
    assert (bar.low, bar.high, bar.range) == (0.4, 1.0, "capped")


def test_the_price_of_the_other_machine_moves_nothing() -> None:
    with_gpu = table(wage_hour=3000, cpu_hour=50, gpu_hour=500, business_case=CASE)
    assert "gpu_hour" not in {bar.input for bar in tornado(SEEN, with_gpu)}


def test_the_way_of_paying_stays_while_its_price_moves() -> None:
    two = table(wage_hour=3000, cpu_hour=100, cpu_reserved={"month": 20_000, "hours": 160}, business_case=CASE)
    bars = {bar.input: bar for bar in tornado(SEEN, two)}
    assert "cpu_reserved.month" not in bars  # the hour is cheapest, and stays chosen at 150
    assert bars["cpu_hour"].net_high == pytest.approx(12 * (120_000 - 1500) - 2.5 * 150)


amount = st.floats(0, 1e6)
positive = st.floats(1e-3, 1e5)
share = st.floats(0, 1)
seen_by = st.builds(
    Observed, machine=st.just("cpu"), share_right=share, share_low=st.none(), share_high=st.none(),
    seconds_per_case=st.floats(1e-3, 1e4), training_seconds=amount, swap_seconds=amount, study_seconds=amount,
)  # fmt: skip
case_of = st.fixed_dictionaries(
    {"cases_per_month": positive, "minutes_saved": amount, "serving": st.sampled_from(["as_needed", "kept_on"])},
    optional={
        "minutes_to_check": amount, "minutes_per_wrong": amount, "changes_per_year": amount, "hours_per_change": amount,
        "setup_hours": amount, "setup_cost": amount, "upkeep_month": amount, "horizon_months": st.integers(1, 120),
    },
)  # fmt: skip


def known(line: Any) -> float:
    assert line.amount is not None
    return float(line.amount)


@given(seen=seen_by, case=case_of, more=st.floats(1, 100), wage=amount, hour=amount)
def test_more_cases_never_save_less(
    seen: Observed, case: dict[str, Any], more: float, wage: float, hour: float
) -> None:
    few = account(seen, prices(wage=wage, hour=hour, **case))
    many = account(seen, prices(wage=wage, hour=hour, **{**case, "cases_per_month": case["cases_per_month"] * more}))
    assert known(many.month["saved"]) >= known(few.month["saved"])
    assert known(many.month["serving"]) >= known(few.month["serving"])
    assert known(many.spent_once) == known(few.spent_once)


@given(seen=seen_by, case=case_of, better=share, wage=amount, hour=amount)
def test_better_answers_are_never_worth_less(
    seen: Observed, case: dict[str, Any], better: float, wage: float, hour: float
) -> None:
    table_of = prices(wage=wage, hour=hour, **case)
    low, high = sorted((seen.share_right or 0.0, better))
    worse, best = (account(replace(seen, share_right=one), table_of) for one in (low, high))
    assert known(best.net_month) >= known(worse.net_month) - 1e-6 * abs(known(worse.net_month)) - 1e-6


@given(seen=seen_by, case=case_of, wage=amount, hour=amount)
def test_the_lines_add_up(seen: Observed, case: dict[str, Any], wage: float, hour: float) -> None:
    found = account(seen, prices(wage=wage, hour=hour, **case))
    costs = sum(line.amount or 0.0 for name, line in found.month.items() if name != "saved")
    scale = 1e-9 * (known(found.month["saved"]) + costs + 1)
    assert known(found.net_month) == pytest.approx(known(found.month["saved"]) - costs, abs=scale)
    months = case.get("horizon_months", 12)
    total = months * known(found.net_month) - known(found.spent_once)
    assert known(found.net_horizon) == pytest.approx(total, abs=scale * months + 1e-9 * known(found.spent_once))


@given(seen=seen_by, case=case_of, wage=amount, hour=st.floats(0.01, 1e4))
def test_at_break_even_the_net_is_zero_and_below_it_negative(
    seen: Observed, case: dict[str, Any], wage: float, hour: float
) -> None:
    found = break_even_cases(seen, prices(wage=wage, hour=hour, **case))
    if found.amount is None:
        assert found.missing == "never"
        return
    if not 1e-3 < found.amount < 1e12:
        return
    at = account(seen, prices(wage=wage, hour=hour, **{**case, "cases_per_month": found.amount}))
    below = account(seen, prices(wage=wage, hour=hour, **{**case, "cases_per_month": found.amount * 0.9}))
    spent = sum(line.amount or 0.0 for line in (*at.month.values(),)) * case.get("horizon_months", 12)
    scale = 1e-6 * (spent + known(at.spent_once) + 1)
    assert abs(known(at.net_horizon)) <= scale
    assert known(below.net_horizon) <= scale


@given(seen=seen_by, case=case_of, wage=amount, hour=amount)
def test_every_bar_holds_the_value_it_starts_from(
    seen: Observed, case: dict[str, Any], wage: float, hour: float
) -> None:
    table_of = prices(wage=wage, hour=hour, **case)
    base = known(account(seen, table_of).net_horizon)
    for bar in tornado(seen, table_of):
        assert bar.low <= bar.value <= bar.high
        if case["serving"] == "kept_on":  # one machine more may make both ends worse
            continue
        low, high = sorted((bar.net_low, bar.net_high))
        slack = 1e-9 * (abs(low) + abs(high) + abs(base))
        assert low - slack <= base <= high + slack
