"""Slices and shifted rows on the page, in the terminal and among the risks."""

from __future__ import annotations

import re

import pytest

from tests.report.cards import full_card
from tests.report.sliced import sliced_card
from tsugiki.report.findings import next_steps, risks
from tsugiki.report.html import render_html
from tsugiki.report.parts import shift_view, slices_view
from tsugiki.report.scorecard import check_scorecard
from tsugiki.report.slices import slice_name
from tsugiki.report.text import render_text


def told(card: dict) -> str:
    """The lines of the terminal without the space between labels and values."""
    return " ".join(render_text(card).split())


def test_the_weakest_slice_is_said_with_its_numbers_and_marked_in_the_table() -> None:
    view = slices_view(sliced_card("en"))
    assert view is not None
    assert view["texts"] == [
        "The weakest slice is Label “Conveying”: Exact match 35.0% (19.0 to 55.0), −36.0\N{NO-BREAK SPACE}points "
        "against all test rows (interval −55.0 to −15.0), more than chance.",
        "There the criterion of 65.0% is surely not met.",
    ]
    assert [row.name for group in view["groups"] for row in group.rows if row.emphasis] == ["Conveying"]
    assert "all of the 5 compared hold together at 95% confidence (Bonferroni)" in view["note"]


def test_a_slice_that_is_too_small_is_called_so_and_shows_no_number() -> None:
    view = slices_view(sliced_card("ja"))
    assert view is not None
    small = next(row for row in view["groups"][0].rows if row.name == "C")
    assert [cell.text for cell in small.cells] == ["3", "件数不足", "", "", ""]
    assert view["groups"][0].more == "ほか50種類（少数のため省略）"
    nearly_all = view["groups"][2].rows[0]
    assert nearly_all.cells[1].text == "70.0%" and nearly_all.cells[2].text == "件数が少なく推定できません"


def test_where_none_is_surely_worse_chance_is_named() -> None:
    card = sliced_card("en")
    card["slices"]["worst"] = None
    view = slices_view(card)
    assert view is not None and view["texts"][0].startswith("Of 5 slices none is surely worse")
    assert "Slices none of 5 is surely worse than the whole" in told(card)
    assert not any("Have a person check" in risk.text for risk in risks(card))
    card["slices"]["looked_at"] = 0
    view = slices_view(card)
    assert view is not None and view["texts"][0].startswith("No slice holds 10 independent rows")
    assert "Slices" not in render_text(card)


def test_a_weak_slice_is_a_risk_and_a_grave_one_below_the_criterion() -> None:
    card = sliced_card("en")
    found = next(risk for risk in risks(card) if "Have a person check" in risk.text)
    assert found.level == "high" and "Label “Conveying”" in found.text
    card["study"]["criteria"]["success"] = 0.5
    assert next(risk for risk in risks(card) if "Have a person check" in risk.text).level == "watch"
    card["slices"]["metric"] = "chrf"  # another metric than the criterion's says nothing about it
    card["study"]["criteria"]["success"] = 0.65
    assert next(risk for risk in risks(card) if "Have a person check" in risk.text).level == "watch"


def test_slices_of_macro_f1_say_by_what_they_are_scored() -> None:
    card = sliced_card("ja")
    card["task"]["metric"] = "macro_f1"
    view = slices_view(card)
    assert view is not None and view["note"].endswith("区分は正答率で比べています。")


@pytest.mark.parametrize(
    ("by", "one", "english", "japanese"),
    [
        ("length", {"from": 12.0, "to": 1388.0}, "12 to 1,388 characters", "12〜1,388文字"),
        ("length", {"from": 12.0, "to": 12.0}, "12 characters", "12文字"),
        (
            "period",
            {"from": "2026-01-01", "to": "2026-03-31"},
            "2026-01-01 to 2026-03-31",
            "2026-01-01〜2026-03-31の範囲",
        ),
        ("number", {"from": 1.5, "to": 1.5}, "1.5 only", "1.5のみ"),
        ("language", {"value": "ja"}, "Japanese", "日本語"),
        ("value", {"value": None}, "(blank)", "（空欄）"),
        ("value", {"value": "x" * 60}, "x" * 40 + "…", "x" * 40 + "…"),
    ],
)
def test_slices_have_names(by: str, one: dict, english: str, japanese: str) -> None:
    assert (slice_name(by, one, "en"), slice_name(by, one, "ja")) == (english, japanese)


def test_shifted_rows_stand_beside_the_test_rows() -> None:
    view = shift_view(sliced_card("ja"))
    assert view is not None
    lora, full, base = view["rows"]
    assert lora.emphasis and [cell.text for cell in lora.cells] == [
        "70.5%", "38.0%", "−32.5", "−20.0", "−30.0",
    ]  # fmt: skip
    assert (
        full.cells[1].text == "–"
        and full.cells[1].note == 1
        and view["footnotes"] == ["制限時間のため測定していません"]
    )
    assert [cell.text for cell in base.cells[2:]] == ["−2.0", "", ""]
    assert "変化後 38.0%（30.0〜47.0）、評価データとの差 −32.5ポイント（−44.0〜−20.0）" in told(sliced_card("ja"))


def test_the_step_after_a_shift_follows_its_cause() -> None:
    card = sliced_card("en")
    assert any("full fine-tuning and the hybrid as candidates" in step for step in next_steps(card))
    card["verdict"]["codes"] = [{"code": "shift_not_covered", "values": {}}, {"code": "shift_like_full", "values": {}}]
    assert any("Collect examples like the shifted rows" in step for step in next_steps(card))
    card["verdict"]["codes"] = [{"code": "shift_undecided", "values": {}}]
    assert any("more shifted rows (120 here)" in step for step in next_steps(card))
    card["verdict"]["codes"] = [{"code": "shift_unmeasured", "values": {}}]
    assert "Measure the quality on the shifted rows." in next_steps(card)


def test_how_the_rows_were_split_stands_in_the_appendix() -> None:
    card = sliced_card("ja")
    assert "列「工場」の指定どおり" in render_html(card)
    starts = {"dev_from": "2026-01-05", "test_from": "2026-02-01"}
    card["data_check"]["split"] = {"by": "time", "column": "受付日", **starts}
    assert "列「受付日」の時刻順（2026-01-05以降で調整、2026-02-01以降で評価）" in render_html(card)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_card_without_slices_has_no_section(language: str) -> None:
    card = full_card(language)  # type: ignore[arg-type]
    assert slices_view(card) is None and shift_view(card) is None
    card |= {"slices": None, "shift": None}
    page = render_html(card)
    assert not re.search("区分別の品質|Quality by slice|データの変化への対応|Under a shift", page)
    assert check_scorecard(sliced_card(language)) == []  # type: ignore[arg-type]


def test_values_of_strangers_stay_text() -> None:
    card = sliced_card("en")
    evil = "<script>alert(1)</script>\x1b[31m"
    for dimension in card["slices"]["dimensions"]:
        dimension["slices"][0]["value"] = evil if "value" in dimension["slices"][0] else None
    card["slices"]["worst"]["value"] = evil
    assert "<script" not in render_html(card) and "\x1b" not in render_text(card)
