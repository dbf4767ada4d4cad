"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from tsugiki.report.figures import FORMS, Language, interval, shown


@pytest.mark.parametrize(
    ("value", "form", "ja", "en"),
    [
        (0.785, "percent", "78.5%", "78.5%"),
        (-0.005, "points", "−0.5ポイント", "−0.5 points"),
        (0.0, "points", "±0.0ポイント", "±0.0 points"),
        (0.0004, "share", "0.04%", "0.04%"),
        (0.035, "share", "3.5%", "3.5%"),
        (1.0, "chance", "99%超", "over 99%"),
        (0.004, "chance", "1%未満", "under 1%"),
        (0.986, "chance", "99%", "99%"),
        (1.0, "share", "100%", "100%"),
        (19_562_000, "bytes", "18.7 MiB", "18.7 MiB"),
        (2710 * 1024**2, "bytes", "2.6 GiB", "2.6 GiB"),
        (512, "bytes", "512 B", "512 B"),
        (0.84, "duration", "0.8秒", "0.8 s"),
        (59.6, "duration", "1分", "1 min"),
        (204.4, "duration", "3分24秒", "3 min 24 s"),
        (4350, "duration", "1時間12分", "1 h 12 min"),
        (3599.7, "duration", "1時間", "1 h"),
        (18.3, "ms", "18ミリ秒", "18 ms"),
        (4.12, "ms", "4.1ミリ秒", "4.1 ms"),
        (1482.0, "count", "1,482", "1,482"),
        (0.31, "ratio", "0.31倍", "0.31×"),
        ({"amount": 1234.4, "currency": "JPY"}, "money", "¥1,234", "¥1,234"),
        ({"amount": 0.0004, "currency": "USD"}, "money", "$0.0004", "$0.0004"),
        ({"amount": 12.5, "currency": "CHF"}, "money", "12.50 CHF", "12.50 CHF"),
        ({"amount": -1234.4, "currency": "JPY"}, "money", "−¥1,234", "−¥1,234"),
        ({"amount": -12.5, "currency": "CHF"}, "money", "−12.50 CHF", "−12.50 CHF"),
        ({"amount": 999_999, "currency": "JPY"}, "short_money", "¥999,999", "¥999,999"),
        ({"amount": -10_868_393, "currency": "JPY"}, "short_money", "−¥1,087万", "−¥10.9M"),
        ({"amount": 198_731_607, "currency": "JPY"}, "short_money", "¥1.99億", "¥199M"),
        ({"amount": 2_345_000_000, "currency": "CHF"}, "short_money", "23.4億 CHF", "2.35B CHF"),
        (4.21, "months", "4.2か月", "4.2 months"),
        (0.5, "months", "15日", "15 days"),
        (0.03, "months", "1日", "1 day"),
        (0.001, "months", "1日未満", "less than a day"),
        (-0.045, "signed_percent", "−4%", "−4%"),
        (0.0, "signed_percent", "±0%", "±0%"),
        (0.00002, "p", "p < 0.001", "p < 0.001"),
        (0.02, "gap", "2", "2"),
    ],
)
def test_forms(value: Any, form: str, ja: str, en: str) -> None:
    assert shown(value, form, "ja").replace("\N{NO-BREAK SPACE}", " ") == ja
    assert shown(value, form, "en").replace("\N{NO-BREAK SPACE}", " ") == en


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_what_is_missing_is_a_dash_and_never_a_zero(form: str, language: Language) -> None:
    assert shown(None, form, language) == "–"


def test_intervals() -> None:
    assert interval(0.723, 0.836, "percent", "ja") == "72.3〜83.6"
    assert interval(-0.019, 0.012, "points", "en") == "−1.9 to +1.2"
    assert interval(None, 0.8, "percent", "en") == "–"
