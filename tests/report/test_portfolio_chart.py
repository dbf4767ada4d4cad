"""The portfolio's chart: what is drawn where, what is not drawn, and numbers that do not run into each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.work.workspaces import card, paired, put, workspace
from tsugiki.report.figures import Language
from tsugiki.report.portfolio_chart import BOTTOM, LEFT, MOST_NUMBERED, RIGHT, TOP, WIDTH, value_chart
from tsugiki.work.portfolio import build_portfolio

TEXT = re.compile(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*font-weight="bold">(\d+)</text>')


def entry(rank: int, seconds: float | None, low: float, high: float, recommendation: str = "hold") -> dict[str, Any]:
    middle = (low + high) / 2
    return {
        "rank": rank,
        "recommendation": recommendation,
        "standing": {"estimate": middle, "low": low, "high": high},
        "cost": {"train_seconds": seconds},
    }


@pytest.mark.parametrize("language", ["ja", "en"])
def test_it_is_fit_for_a_page(language: Language, tmp_path: Path) -> None:
    found = build_portfolio([workspace(tmp_path)], language)
    chart = value_chart(found, language)
    assert chart is not None and chart == value_chart(found, language)
    assert chart.title and chart.note
    assert chart.svg.startswith('<svg role="img" aria-label="') and chart.svg.endswith("</svg>")
    assert "http" not in chart.svg and "xmlns" not in chart.svg and "nan" not in chart.svg
    assert set(TEXT.findall(chart.svg)) and {rank for *_, rank in TEXT.findall(chart.svg)} == {"1", "2", "3", "4"}


def test_marks_stand_where_the_numbers_say() -> None:
    studies = [entry(1, 60.0, -0.5, 0.5, "expand"), entry(2, 600.0, -2.0, -1.0, "stop"), entry(3, 6000.0, 1.0, 1.0)]
    svg = value_chart({"studies": studies}, "en").svg  # type: ignore[union-attr]
    circle = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    lines = [
        tuple(map(float, found))
        for found in re.findall(
            r'<line x1="([\d.]+)" x2="[\d.]+" y1="([\d.]+)" y2="([\d.]+)" stroke="#\w+" stroke-width="1.6"', svg
        )
    ]
    assert circle is not None and len(lines) == 3
    (first, top, bottom), (second, *_), (third, *_) = lines
    assert second - first == pytest.approx(third - second, abs=0.2)  # a factor of ten each
    third_of_scale = (BOTTOM - TOP) / 3
    assert (top, bottom) == (
        pytest.approx(TOP + 0.5 * third_of_scale, abs=0.1),
        pytest.approx(TOP + 1.5 * third_of_scale, abs=0.1),
    )
    assert float(circle[1]) == first and float(circle[2]) == pytest.approx(TOP + third_of_scale, abs=0.1)
    assert LEFT < first < third < WIDTH - RIGHT
    assert (
        svg.count("<polygon") == 2 and svg.count("<path") == 2 and svg.count("<circle") == 2
    )  # one each is the legend's


def test_studies_without_criteria_or_time_are_counted_not_drawn() -> None:
    missing = entry(2, None, 0, 1)
    unplaced = {**entry(3, 60.0, 0, 1), "standing": None}
    chart = value_chart({"studies": [entry(1, 60.0, 0, 1), missing, unplaced]}, "en")
    assert chart is not None and "not drawn for want of criteria or a training time: 2" in chart.note
    assert value_chart({"studies": [missing, unplaced]}, "en") is None


def test_numbers_do_not_run_into_each_other() -> None:
    crowd = [entry(rank, 100.0 + rank % 7, 0.1 * (rank % 5) - 0.05, 0.1 * (rank % 5) + 0.05) for rank in range(1, 200)]
    svg = value_chart({"studies": crowd}, "en").svg  # type: ignore[union-attr]
    places = [(float(x), float(y), 3.4 * len(rank)) for x, y, rank in TEXT.findall(svg)]
    assert 5 <= len(places) <= MOST_NUMBERED
    for number, (x, y, half) in enumerate(places):
        for other_x, other_y, other_half in places[:number]:
            assert abs(x - other_x) >= half + other_half - 0.2 or abs(y - other_y) >= 9.8


def test_equal_times_still_make_a_scale(tmp_path: Path) -> None:
    put(tmp_path / "a", paired(study__digest="a"))
    put(tmp_path / "b", card(study__digest="b"))
    chart = value_chart(build_portfolio([tmp_path], "en"), "en")
    assert chart is not None and ">3 min 24 s<" not in chart.svg and ">3\N{NO-BREAK SPACE}min<" not in chart.svg
    assert ">5\N{NO-BREAK SPACE}min<" in chart.svg
