"""The money section of a scorecard as work/money.py writes it, for a given quality; used by cards.py."""

from __future__ import annotations

from typing import Any

from tsugiki.report.figures import Language
from tsugiki.report.words import missing_sentence, say

CASES, MINUTES, WAGE, HOUR = 1200.0, 3.0, 3200.0, 60.0
WRONG = 4.0  # minutes
SERVING, ONCE = 320.0, 402_400.0
SOURCES = {"ja": "見積書 第7号", "en": "quotation 7"}


def money_of(language: Language, value: float, low: float, high: float) -> dict[str, Any]:
    never = missing_sentence("money_never", language)
    left_blank = missing_sentence("money_not_given", language, names=say("input.minutes_to_check", language))
    share = {"metric": "exact_match", "estimate": value, "low": low, "high": high, "n": 200, "method": "Wilson"}
    net = _ends(_net, value, low, high)
    months = {end: ONCE / amount if amount > 0 else None for end, amount in net.items()}
    months |= {"low": months["high"], "high": months["low"]}
    reasons = {"month.checking": left_blank, "once.setup_cost": left_blank, "change.labour": left_blank}
    reasons |= {"month.upkeep": left_blank}
    reasons |= {} if months["estimate"] is not None else {"break_even.months": never}
    reasons |= {} if months["high"] is not None else {"break_even.months.high": never}
    horizon = {end: 12 * amount - ONCE for end, amount in net.items()}
    return {
        "currency": "JPY",
        "date": "2026-11",
        "source": SOURCES[language],
        "method": "lora",
        "machine": "cpu",
        "confidence": 0.95,
        "table": {"wage_hour": WAGE, "cpu_hour": HOUR},
        "case": {
            "cases_per_month": {"value": CASES, "low": 1000.0, "high": 1300.0}, "minutes_saved": MINUTES,
            "minutes_per_wrong": WRONG, "changes_per_year": 4.0, "setup_hours": 125.0, "serving": "as_needed",
        },
        "rates": [{"way": "hour", "hour": HOUR, "month": HOUR * 730.5}],
        "paid": {"training": "hour", "serving": "hour"},
        "share_right": share,
        "seconds_per_case": 16.0,
        "study_seconds": 144_000.0,
        "training": {"rows": 500, "steps": 313, "seconds": 204.4, "cost": 3.4},
        "serving": {"as_needed": SERVING, "kept_on": 43_830.0, "hours": 5.3, "machines": 1.0, "counted": "as_needed"},
        "change": {"training": 3.4, "swap": 0.0001, "labour": None, "cost": 3.4},
        "month": {
            "saved": _ends(_saved, value, low, high),
            "checking": dict.fromkeys(("estimate", "low", "high")),
            "wrong": {**(found := _ends(_wrong, value, low, high)), "low": found["high"], "high": found["low"]},
            "serving": dict.fromkeys(("estimate", "low", "high"), SERVING),
            "changes": dict.fromkeys(("estimate", "low", "high"), 1.1),
            "upkeep": dict.fromkeys(("estimate", "low", "high")),
            "net": net,
        },
        "once": {"study": 2400.0, "training": 3.4, "setup_labour": 400_000.0, "setup_cost": None, "total": ONCE},
        "break_even": {"months": months, "cases_per_month": {"estimate": 412, "low": 355, "high": 499}},
        "horizon": {"months": 12, "net": horizon, "returned": {"estimate": 1.35, "low": 0.9, "high": 1.72}},
        "tornado": [
            _bar("business_case.minutes_saved", MINUTES, 1.5, 4.5, "half", -600_000.0, 1_700_000.0),
            _bar("wage_hour", WAGE, 1600.0, 4800.0, "half", 100_000.0, 1_000_000.0),
            _bar("business_case.cases_per_month", CASES, 1000.0, 1300.0, "given", 310_000.0, 690_000.0),
            _bar("share_right", value, low, high, "interval", 300_000.0, 700_000.0),
            _bar("cpu_hour", HOUR, 30.0, 90.0, "half", 560_000.0, 540_000.0),
        ],
        "alternatives": [
            _other("full", 0.79, 64_000.0, 6.3),
            _other("adapter", 0.755, 55_000.0, 7.3),
            _other("hybrid", 0.795, 66_000.0, 6.1),
            _other("k-shot", 0.095, -180_000.0, None) | {"reasons": {"months": never}},
            _other("base", 0.04, -230_000.0, None) | {"reasons": {"months": never}},
        ],
        "notes": [say("money.note_batches", language)],
        "reasons": reasons,
    }  # fmt: skip


def _saved(right: float) -> float:
    return CASES * right * MINUTES / 60 * WAGE


def _wrong(right: float) -> float:
    return CASES * (1 - right) * WRONG / 60 * WAGE


def _net(right: float) -> float:
    return _saved(right) - _wrong(right) - SERVING - 1.1


def _ends(of: Any, value: float, low: float, high: float) -> dict[str, Any]:
    return {"estimate": of(value), "low": of(low), "high": of(high)}


def _bar(
    name: str, value: float, low: float, high: float, kind: str, net_low: float, net_high: float
) -> dict[str, Any]:
    ends = {"value": value, "low": low, "high": high, "range": kind}
    return {"input": name, **ends, "net_low": net_low, "net_high": net_high}


def _other(name: str, right: float, net: float, months: float | None) -> dict[str, Any]:
    share = {"metric": "exact_match", "estimate": right, "low": right - 0.02, "high": right + 0.02, "n": 200}
    around = {"estimate": net, "low": net - 20_000, "high": net + 20_000}
    back = {"estimate": months, "low": months and months - 1, "high": months and months + 1}
    return {
        "name": name, "share_right": {**share, "method": "Wilson"}, "seconds_per_case": 15.0, "net_month": around,
        "months": back, "net_horizon": {end: 12 * amount for end, amount in around.items()}, "reasons": {},
    }  # fmt: skip
