"""What is said about the learning curve: least data, forecasts, the advice, the look back."""

from __future__ import annotations

import re

import pytest

from tests.report.cards import advised, full_card, small_card
from tsugiki.report.charts import curve_chart
from tsugiki.report.curve_words import advice_sentence, curve_sentences, short_forecasts
from tsugiki.report.figures import Language
from tsugiki.report.text import render_text

CHANCES = {"reached": (0.9, 0.97, 0.99, 1.0), "collect": (0.4, 0.85, 0.95, 0.99), "stages": (0.1, 0.35, 0.6, 0.75),
           "unlikely": (0.0, 0.02, 0.06, 0.12)}  # fmt: skip


def test_everything_that_was_estimated_is_told() -> None:
    said = " ".join(curve_sentences(full_card("en")))
    assert "About 212 training examples (170 to 262)" in said
    assert "With 2 times the training data (1,000 examples) the forecast is 84.2% (interval 79.0 to 88.6%)" in said
    assert "With 4 times the training data (2,000 examples)" in said
    assert "a new measurement scatters more widely" in said
    assert "77.1% (interval 69.0 to 85.0%) would have been forecast for 500 examples; the 78.5%" in said
    japanese = "".join(curve_sentences(full_card("ja")))
    assert "学習データを2倍の1,000件にした場合、品質は84.2%（区間 79.0〜88.6%）と予測され" in japanese
    assert "実測の78.5%はこの範囲に入りました" in japanese


def test_a_criterion_that_the_smallest_size_reaches_is_no_estimate_of_how_little_would_do() -> None:
    card = full_card("en")
    smallest = card["learning_curve"]["points"][0]["n"]
    card["learning_curve"]["least_data"] = {"n": smallest, "low": smallest, "high": smallest}
    assert "the smallest size measured" in curve_sentences(card)[0] and "fewer may do" in curve_sentences(card)[0]


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("code", CHANCES)
def test_the_advice_is_one_sentence_with_its_chances(code: str, language: Language) -> None:
    card = full_card(language)
    card["learning_curve"]["advice"] = advised(code, CHANCES[code])
    said = advice_sentence(card["learning_curve"], language)
    numbers = re.findall(r"([\d,]+)(?= ?%|%)", said)
    now, following, _, last = (f"{100 * chance:.0f}" for chance in CHANCES[code])
    expected = {"reached": {now}, "collect": {following}, "stages": {following, last}, "unlikely": {last}}
    assert expected[code] <= set(numbers)
    assert said in curve_sentences(card)
    assert said in render_text(card)


def test_a_forecast_that_failed_before_warns() -> None:
    card = full_card("en")
    card["learning_curve"]["backtest"] |= {"holds": False, "measured": 0.62}
    said = " ".join(curve_sentences(card))
    assert "the 62.0% that were measured lie outside, so read the forecasts with caution" in said


def test_without_a_curve_or_a_forecast_nothing_is_promised() -> None:
    assert len(curve_sentences(small_card("en"))) == 1
    assert list(short_forecasts(small_card("en")["learning_curve"], "en")) == []
    card = full_card("en")
    nothing = {"fit": None, "least_data": None, "forecast": None, "advice": None, "backtest": None}
    card["learning_curve"] |= {**nothing, "reason": "too_few_sizes", "forecast_reason": "too_few_sizes"}
    (said,) = curve_sentences(card)
    assert "Too few training sizes" in said
    assert "Forecast" not in render_text(card)
    chart = curve_chart(card)
    assert chart is not None and "forecast" not in chart.note


def test_a_card_of_an_earlier_version_has_no_forecast_and_still_renders() -> None:
    card = full_card("en")
    for name in ("forecast", "forecast_reason", "advice", "backtest"):
        del card["learning_curve"][name]
    assert "About 212" in curve_sentences(card)[0]
    assert curve_chart(card) is not None and render_text(card)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_chart_goes_on_to_what_is_forecast(language: Language) -> None:
    chart = curve_chart(full_card(language))
    assert chart is not None
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)
    assert {"1,000", "2,000", "84.2%", "87.8%"} <= set(texts)
    assert ("予測" if language == "ja" else "forecast") in chart.note
