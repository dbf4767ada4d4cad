"""Charts: the same bytes every time, text as text, nothing from outside, a description for those who cannot see."""

from __future__ import annotations

import re

import pytest

from tests.report.cards import HOSTILE, does_not_fit_card, full_card, small_card
from tsugiki.report.charts import Chart, cost_chart, curve_chart, quality_chart
from tsugiki.report.figures import Language


@pytest.mark.parametrize("draw", [quality_chart, curve_chart, cost_chart])
@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_chart_is_fit_for_a_page(draw, language: Language) -> None:  # type: ignore[no-untyped-def]
    card = full_card(language)
    chart = draw(card)
    assert isinstance(chart, Chart)
    assert chart == draw(card)
    assert chart.title and chart.note
    assert "http" not in chart.svg and "xmlns" not in chart.svg
    assert "<script" not in chart.svg and "<image" not in chart.svg
    assert chart.svg.startswith('<svg role="img" aria-label="')
    if language == "ja":
        assert re.search(r"<text[^>]*>[^<]*[\u3040-\u9fff]", chart.svg)


def test_the_numbers_drawn_are_the_numbers_of_the_card() -> None:
    svg = quality_chart(full_card("en")).svg
    assert _texts(svg) >= {
        "LoRA",
        "78.5%",
        "75.5%",
        "79.5%",
        "79.0%",
        "4.0%",
        "9.5%",
        "0.0%",
        "31.0%",
        "criterion 65.0%",
    }
    assert "LoRA: 78.5% (72.3 to 83.6)." in svg
    curve = curve_chart(full_card("en"))
    assert curve is not None
    assert _texts(curve.svg) >= {
        "63",
        "125",
        "250",
        "500",
        "41.0%",
        "56.0%",
        "69.0%",
        "78.5%",
        "estimated need: about 212",
    }
    cost = cost_chart(full_card("en"))
    assert cost is not None
    assert _texts(cost.svg) >= {"Memory", "33%", "31%", "3.6%", "100%"}


def test_what_was_not_measured_is_not_drawn() -> None:
    card = does_not_fit_card("en")
    assert "–" in _texts(quality_chart(card).svg)
    cost = cost_chart(card)
    assert cost is not None
    assert "Memory" not in _texts(cost.svg)
    assert cost_chart(small_card("en")) is None
    assert curve_chart(small_card("en")) is None


def test_a_curve_without_fit_is_drawn_without_a_line() -> None:
    card = full_card("en")
    card["learning_curve"] |= {"fit": None, "least_data": None}
    chart = curve_chart(card)
    assert chart is not None
    assert "fitted" not in chart.note and "estimated need" not in chart.svg


def test_a_hostile_method_name_stays_text() -> None:
    card = full_card("en")
    card["learning_curve"]["method"] = HOSTILE
    card["task"]["metric"] = HOSTILE
    for chart in (quality_chart(card), curve_chart(card)):
        assert chart is not None
        assert "<script" not in chart.svg and "<img" not in chart.svg


def _texts(svg: str) -> set[str]:
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
