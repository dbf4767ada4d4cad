"""The price table's values: plain or with a range, dated, and refused where they contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tsugiki.config import parse
from tsugiki.errors import UsageError
from tsugiki.measure.prices import BusinessCase, Prices

TABLE: dict[str, Any] = {"currency": "JPY", "date": "2026-11", "source": "quotation 7"}
BOUGHT = {"purchase": 600_000, "years": 5, "power_kw": 0.3, "kwh": 30, "utilisation": 0.25}


def table(**values: Any) -> Prices:
    return parse(Prices, {**TABLE, **values}, source="prices.yaml")


def test_an_amount_is_a_number_or_a_range() -> None:
    found = table(cpu_hour=30, wage_hour={"value": 3000, "low": 2500, "high": 4000})
    assert found.cpu_hour is not None and found.wage_hour is not None
    assert (found.cpu_hour.value, found.cpu_hour.low) == (30, None)
    assert (found.wage_hour.low, found.wage_hour.high) == (2500, 4000)


def test_a_table_round_trips_as_it_was_written() -> None:
    written = {
        **TABLE,
        "cpu_hour": 30.0,
        "gpu_on_premises": {**BOUGHT, "kwh": {"value": 30.0, "low": 20.0, "high": 45.0}},
        "business_case": {"cases_per_month": 1000.0, "serving": "kept_on"},
    }
    dumped = table(**written).model_dump(mode="json")
    assert parse(Prices, dumped, source="lock").model_dump(mode="json") == dumped
    assert dumped["cpu_hour"] == 30.0 and dumped["gpu_on_premises"]["kwh"] == {"value": 30.0, "low": 20.0, "high": 45.0}
    assert dumped["gpu_hour"] is None and dumped["business_case"]["horizon_months"] == 12


@pytest.mark.parametrize("date", ["2026-11", "2026-02-28", "2024-02-29"])
def test_a_month_or_a_day_is_a_date(date: str) -> None:
    assert table(date=date).date == date


@pytest.mark.parametrize("date", ["2026-13", "2026-02-30", "2026-W45-1", "20261105", "November", "2026", "２０２６-11"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(UsageError, match="date must be a month or a day") as error:
        table(date=date)
    assert date in error.value.problem


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cpu_hour": -1}, r"cpu_hour\.value: input should be greater than or equal to 0, got -1"),
        ({"cpu_hour": float("nan")}, "cpu_hour"),
        ({"cpu_hour": float("inf")}, "cpu_hour"),
        ({"cpu_hour": True}, "cpu_hour"),
        ({"cpu_hour": "cheap"}, "got 'cheap'"),
        ({"cpu_hour": {"value": 3, "low": 2}}, "both low and high"),
        (
            {"cpu_hour": {"value": 5, "low": 2, "high": 4}},
            r"cpu_hour: the value of a range must lie between low and high, got \{'value': 5, 'low': 2, 'high': 4\}",
        ),
        ({"cpu_hour": {"low": 2, "high": 4}}, r"cpu_hour\.value is missing"),
        ({"cpu_hour": {"value": 3, "most": 4}}, "most is not a known key"),
        ({"cpu_hours": 3}, "cpu_hours is not a known key"),
        ({"cpu_reserved": {"month": 1000}}, r"cpu_reserved\.hours is missing"),
        ({"cpu_reserved": {"month": 1000, "hours": 800}}, "744"),
        ({"cpu_reserved": 1000}, "cpu_reserved"),
        ({"gpu_on_premises": {**BOUGHT, "utilisation": 25}}, r"gpu_on_premises\.utilisation"),
        ({"gpu_on_premises": {**BOUGHT, "utilisation": 0}}, r"gpu_on_premises\.utilisation"),
        ({"gpu_on_premises": {**BOUGHT, "years": 0}}, r"gpu_on_premises\.years"),
        ({"gpu_on_premises": {**BOUGHT, "years": {"value": 3, "low": 0, "high": 5}}}, r"gpu_on_premises\.years\.low"),
        ({"business_case": {"cases_per_month": 0}}, "cases_per_month"),
        ({"business_case": {"right_score": 80}}, "right_score"),
        ({"business_case": {"serving": "always"}}, "serving"),
        ({"business_case": {"serving_paid": "free"}}, "serving_paid"),
        ({"business_case": {"training_rows": 0}}, "training_rows"),
        ({"business_case": {"horizon_months": 0}}, "horizon_months"),
        ({"currency": ""}, "currency"),
        ({"source": "x" * 201}, "source"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        table(**values)


def test_without_a_business_case_nothing_was_filled_in() -> None:
    assert table().case == BusinessCase()
    assert table(business_case={"minutes_saved": 3}).case.minutes_saved is not None
