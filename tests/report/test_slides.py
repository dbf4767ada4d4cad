"""The slides, opened again: six or seven, titled, inside their frames, editable, with the card's own numbers."""

from __future__ import annotations

import copy
import io
import itertools
import re
import zipfile
from typing import Any

import pytest
from lxml import etree
from pptx.oxml.ns import qn

from tests.report.cards import HOSTILE, does_not_fit_card, every_card, full_card, hostile_card, small_card
from tests.report.decks import (
    areas,
    charts,
    error_bars,
    notes,
    opened,
    overfull,
    referred,
    table,
    texts,
    titles,
    whole,
)
from tsugiki.report.slide_deck import add_page, new_deck
from tsugiki.report.slide_rows import write_rows
from tsugiki.report.slide_shapes import HEIGHT, JAPANESE, LATIN, WIDTH, Box
from tsugiki.report.slides import render_slides
from tsugiki.report.tables import Cell, Notes, Row
from tsugiki.report.words import say

DECISION, QUALITY, COST, DATA, MONEY = range(5)
RISKS, NEXT = -2, -1
JAPANESE_LETTER = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z-]+")
# What Japanese business prose writes in Latin letters, and what is data in these cards.
ALLOWED = {"LoRA", "MiB", "GiB", "KiB", "PoC", "smollm", "CPU", "JPY", "curve-sizes", "budget", "full-"}


def crowded_card(language: str) -> dict[str, Any]:
    """Everything long at once: purpose, people, base, reasons, risks, cuts, failures, reasons for missing numbers."""
    card = does_not_fit_card(language)
    card["study"] |= {
        "purpose": "用途の説明 and what for " * 80,
        "owner": "部署" * 100,
        "reviewer": "A. Reviewer " * 16,
    }
    card["study"]["base"]["name"] = "organisation/" + "model-name-" * 20
    card["verdict"]["reasons"] = [f"{number}. {'a long reason ' * 30}" for number in range(9)]
    card["study"]["design"]["cut"] *= 6
    card["failures"] = [{"trial": f"full-500-{seed}", "reason": "no memory left " * 20} for seed in range(9)]
    card["warnings"] = ["注意すべき点がある。" * 20] * 5
    for number, method in enumerate(card["methods"]):
        method["reasons"] = {name: f"{reason} {number}" for name, reason in method["reasons"].items()}
    return card


CARDS = every_card() | {f"{language}-crowded": crowded_card(language) for language in ("ja", "en")}


@pytest.fixture(scope="module", params=CARDS)
def named(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Any]:
    card = CARDS[request.param]
    return card, opened(card)


def test_six_slides_or_seven_with_money_and_a_title_each(named: tuple[dict[str, Any], Any]) -> None:
    card, deck = named
    found = titles(deck)
    count = 7 if card.get("money") else 6
    assert len(found) == count and all(found) and len(set(found)) == count
    assert (
        found[DECISION]
        == f"{say('page.verdict', card['language'])}\n{say('verdict.' + card['verdict']['value'], card['language'])}"
    )
    assert deck.slide_width / deck.slide_height == pytest.approx(16 / 9, abs=0.001)
    for slide in deck.slides:
        kinds = {shape.placeholder_format.type for shape in slide.placeholders}
        assert len(kinds) == 3  # title, footer, number
        assert slide.shapes[0] == slide.shapes.title or slide.shapes[0].name == "Block"


def test_nothing_leaves_the_slide_and_nothing_lies_on_something_else(named: tuple[dict[str, Any], Any]) -> None:
    for slide in named[1].slides:
        found = list(areas(slide))
        for area in found:
            assert area.left >= 0 and area.top >= 0, area
            assert area.right <= WIDTH + 0.001 and area.bottom <= HEIGHT + 0.001, area
        for one, other in itertools.combinations(found, 2):
            assert not one.overlaps(other, 0.03), f"{one} lies on {other}"


def test_every_text_fits_by_another_reckoning(named: tuple[dict[str, Any], Any]) -> None:
    for slide in named[1].slides:
        assert not list(overfull(slide))


def test_footnotes_count_from_one_where_a_slide_shows_some_of_the_rows() -> None:
    """The page's notes count through all its rows; a gap would look like something lost."""
    page = add_page(new_deck("en", "footer"), eyebrow="eyebrow", title="title")
    reasons = Notes("en", ["of a row that is not shown", "it has no curve", "no price was given"])
    rows = [Row("one", (Cell("1.0"), Cell("–", note=3))), Row("two", (Cell("–", note=2), Cell("–", note=3)))]
    write_rows(page, Box(1, 1, 8, 4), ("", "a", "b"), rows, reasons, widths=(2, 1, 1), sizes=(12,))
    assert table(page.slide)[1:] == [["one", "1.0", "–2"], ["two", "–1", "–2"]]
    assert whole(page.slide).endswith("1) it has no curve\n2) no price was given")


def test_every_chart_and_table_says_what_it_shows(named: tuple[dict[str, Any], Any]) -> None:
    for slide in named[1].slides:
        for shape in slide.shapes:
            if shape.has_chart or shape.has_table:
                assert shape.name and len(shape._element._nvXxPr.cNvPr.get("descr")) > 10
            if shape.has_table:
                assert shape.table.first_row


def test_every_text_names_its_language_and_a_font_for_japanese(named: tuple[dict[str, Any], Any]) -> None:
    card, deck = named
    for slide in deck.slides:
        for run in slide._element.iter(qn("a:r")):
            properties = run.find(qn("a:rPr"))
            assert properties.get("lang") == {"ja": "ja-JP", "en": "en-US"}[card["language"]]
            assert properties.find(qn("a:latin")).get("typeface") == LATIN
            assert properties.find(qn("a:ea")).get("typeface") == JAPANESE
        for chart in charts(slide):
            for properties in chart._chartSpace.iter(qn("a:defRPr")):
                assert properties.find(qn("a:ea")).get("typeface") == JAPANESE


def test_the_notes_hold_the_rule_and_where_numbers_come_from(named: tuple[dict[str, Any], Any]) -> None:
    card, deck = named
    for slide in deck.slides:
        found = notes(slide)
        assert card["verdict"]["rule"].replace("\N{NO-BREAK SPACE}", " ") in found
        assert card["data"]["digest"] in found
        for trial in card.get("provenance", {}).get("methods.lora", ()):
            assert trial in found


@pytest.mark.parametrize("name", ["ja-adopt", "en-stop", "ja-crowded"])
def test_equal_cards_give_equal_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render_slides(CARDS[name])
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert render_slides(copy.deepcopy(CARDS[name])) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        core = archive.read("docProps/core.xml").decode()
    assert "2026-11-23T00:30:00Z" in core  # the study's own time
    assert CARDS[name]["data"]["digest"] in core


def test_another_number_gives_other_bytes() -> None:
    card = full_card("en")
    before = render_slides(card)
    card["methods"][1]["change"]["swap_ms"] = 7.7
    assert render_slides(card) != before


def test_the_decision_stands_on_the_first_slide() -> None:
    found = whole(opened(full_card("en")).slides[DECISION])
    for shown in ("Adopt", "Owner: Megumi Sato, Production Engineering", "Date: 2026-11-23", "Base: smollm2-135m"):
        assert shown in found
    assert "LoRA meets the criteria set beforehand." in found
    for number in (
        "78.5%",
        "72.3 to 83.6",
        "−0.5 points",
        "3 min 24 s · 905 MiB",
        "31% of the time, 33% of the memory",
    ):
        assert number in found
    assert found.count("surely better than every reference") == 1


def test_quality_is_drawn_and_tabled_with_intervals() -> None:
    card = full_card("en", "conditional")
    slide = opened(card).slides[QUALITY]
    entries = [*card["methods"], *card["reference"]]
    rows = table(slide)
    assert rows[0] == ["Method", "Exact match", "95% interval", "Against full", "Margin"]
    assert rows[1] == ["LoRA", "70.5%", "63.8 to 76.4", "−0.5 points (−1.9 to +1.2)", "open"]
    assert rows[4][:4] == ["Full fine-tuning", "79.0%", "72.9 to 84.1", "reference"]
    assert rows[8] == ["Majority answer", "31.0%", "25.0 to 37.7", "", ""]
    criterion, values = charts(slide)[0].plots[0].series
    assert list(values.values) == [entry["quality"]["estimate"] for entry in entries]
    assert list(charts(slide)[0].plots[0].categories) == [
        "LoRA", "Adapter", "Hybrid", "Full", "Base", "k-shot", "Copy", "Majority",
    ]  # fmt: skip
    assert set(criterion.values) == {0.65} and criterion.name == "criterion 65.0%"
    below, above = error_bars(values)
    for entry, down, up in zip(entries, below, above, strict=True):
        assert entry["quality"]["estimate"] - down == pytest.approx(entry["quality"]["low"])
        assert entry["quality"]["estimate"] + up == pytest.approx(entry["quality"]["high"])


@pytest.mark.parametrize("name", ["en-adopt", "ja-does-not-fit"])
def test_charts_refer_to_their_own_workbook(name: str) -> None:
    count = 0
    for slide in opened(CARDS[name]).slides:
        for chart in charts(slide):
            for reference in chart._chartSpace.iter(qn("c:numRef"), qn("c:strRef")):
                cache = reference[1]
                shown: list[Any] = [None] * int(cache.find(qn("c:ptCount")).get("val"))
                for point in cache.findall(qn("c:pt")):
                    value = point.find(qn("c:v")).text
                    shown[int(point.get("idx"))] = value if reference.tag == qn("c:strRef") else float(value)
                cells = referred(chart, reference.find(qn("c:f")).text)
                for cell, cached in zip(cells, shown, strict=True):
                    assert cell == (cached if cached is None or isinstance(cached, str) else pytest.approx(cached))
                count += 1
    assert count > 20


def test_what_every_method_takes_is_a_table() -> None:
    slide = opened(full_card("en")).slides[COST]
    rows = {row[0]: row[1:] for row in table(slide)}
    assert rows["Measurement"] == ["LoRA", "Adapter", "Hybrid", "Full"]
    assert rows["Peak memory, training"] == ["905 MiB (33%)", "930 MiB (34%)", "1,020 MiB (38%)", "2.6 GiB"]
    assert rows["Training time"][0] == "3 min 24 s (31%)"
    assert rows["Stored size"][3] == "513 MiB"
    assert rows["Time to swap"] == ["4.1 ms", "3.2 ms", "12 ms", "1,810 ms"]
    assert rows["Per token"][:2] == ["18 ms merged", "25 ms unmerged"]
    assert rows["Cost of one training"][0] == "–1" and "1) no price per machine hour is set" in whole(slide)
    bars = charts(slide)[0].plots[0]
    assert list(bars.categories) == ["Memory", "Training time", "Stored size"]
    assert [series.name for series in bars.series] == ["LoRA", "Adapter", "Hybrid", "Full"]
    assert bars.series[0].values[0] == pytest.approx(905 / 2710)
    assert titles(opened(full_card("en")))[COST] == (
        "LoRA trains in 33% of the memory and 31% of the time of full fine-tuning"
    )


def test_the_learning_curve_is_a_chart_with_the_need_of_data() -> None:
    card = full_card("ja")
    slide = opened(card).slides[DATA]
    assert slide.shapes.title.text_frame.text == "必要な学習データは約212件。今回の500件で足りる"
    chart = charts(slide)[0]
    series = {one.name: one for one in chart.plots[0].series}
    measured = series["実測と95%区間"]
    assert list(measured.values) == [0.41, 0.56, 0.69, 0.785]
    assert [point.get("idx") for point in measured._element.find(qn("c:xVal")).iter(qn("c:pt"))] == list("0123")
    below, above = error_bars(measured)
    assert below[0] == pytest.approx(0.41 - 0.344) and above[3] == pytest.approx(0.836 - 0.785)
    need = series["必要データの推定 約212件"]
    assert list(need.values) == [0.65]
    assert error_bars(need) == ([42], [50])
    assert chart._chartSpace.find(f".//{qn('c:logBase')}").get("val") == "2"
    rows = dict(table(slide))
    assert rows["ファイルの行数"] == "803" and rows["除外した行"] == "3"
    assert rows["学習 / 調整 / 評価"] == "500 / 100 / 200"
    forecast = series["予測と区間"]
    assert list(forecast.values) == [0.842, 0.878]
    assert error_bars(forecast)[0] == [pytest.approx(0.842 - 0.79), pytest.approx(0.878 - 0.81)]
    assert "学習データを2倍の1,000件にした場合" in whole(slide)
    assert rows["成功基準に必要な学習件数（推定）"] == "212（170〜262）"


def test_without_a_curve_the_slide_says_why() -> None:
    for language, reason in (("ja", "学習曲線は測定していません"), ("en", "No learning curve was measured")):
        slide = opened(small_card(language)).slides[DATA]
        assert not charts(slide) and reason in whole(slide)
        assert slide.shapes.title.text_frame.text == say("slide.data_unknown", language)
        assert ["1,240"] in [row[1:] for row in table(slide)]


def test_a_missing_number_is_a_dash_with_its_reason_and_a_gap_in_the_chart() -> None:
    card = does_not_fit_card("en")
    deck = opened(card)
    row = table(deck.slides[QUALITY])[4]
    assert row[:3] == ["Full fine-tuning", "–1", ""] and "0.0%" not in row
    reason = "did not fit into this machine's memory (estimated need 2.6 GiB)"
    assert reason in whole(deck.slides[QUALITY]) and reason in whole(deck.slides[COST])
    values = charts(deck.slides[QUALITY])[0].plots[0].series[1]
    assert values.values[3] is None and error_bars(values)[0][3] is None
    assert not charts(deck.slides[COST])  # nothing to compare with
    assert all(cells[4].startswith("–") for cells in table(deck.slides[COST])[1:3])


def test_money_is_an_account_with_its_prices_and_what_it_hangs_on() -> None:
    card = full_card("en")
    slide = opened(card).slides[MONEY]
    assert slide.shapes.title.text_frame.text == "Net value ¥95,359 a month (interval ¥67,583 to ¥118,207)"
    rows = {row[0]: row[1:] for row in table(slide)}
    assert rows["Putting wrong answers right"] == [
        "−⁠¥55,040",
        "−⁠¥70,912 to −⁠¥41,984",
    ]  # no line ends between sign and amount
    assert rows["Checking answers"] == ["–1", ""] and rows["Paid back after"][0] == "4.2 months"
    found = whole(slide)
    assert "1) not counted: minutes to check an answer (left blank)" in found
    assert "Prices of 2026-11, quotation 7, in JPY" in found and "comes back after about 4.2 months" in found
    low, high = charts(slide)[0].plots[0].series
    base = card["money"]["horizon"]["net"]["estimate"]
    assert list(low.values) == pytest.approx([bar["net_low"] - base for bar in card["money"]["tornado"]])
    assert list(high.values) == pytest.approx([bar["net_high"] - base for bar in card["money"]["tornado"]])
    assert charts(slide)[0].plots[0].categories[1] == "Wage of an hour\n¥1,600 to ¥4,800 (±50%)"
    assert "Time saved: ¥150,720 ¥138,816 to ¥160,512 1,200 cases × 78.5% right" in notes(slide)


def test_money_that_cannot_be_told_is_said_with_its_reason() -> None:
    card = full_card("ja")
    nothing = {"estimate": None, "low": None, "high": None}
    card["money"]["month"]["net"] = card["money"]["horizon"]["net"] = dict(nothing)
    card["money"]["reasons"] |= dict.fromkeys(("month.net", "horizon.net"), "人件費が分からないため計算できません")
    card["money"]["tornado"] = []
    slide = opened(card).slides[MONEY]
    assert slide.shapes.title.text_frame.text == "差し引きの効果はまだ示せない" and not charts(slide)
    assert "差し引きの効果は示せません（人件費が分からないため計算できません）。" in whole(slide)


def test_risks_come_with_the_grave_ones_first_then_what_was_cut() -> None:
    rows = table(opened(full_card("en")).slides[RISKS])
    assert [row[0] for row in rows] == ["Level", "Act", *["Watch"] * 5, "Note", "Note"]
    assert "phone number" in rows[1][1] and "3.214 to 3.255" in rows[2][1]
    assert rows[-2][1].startswith("Other programs used the CPU")
    assert "Left out for time: seeds on the learning curve: 1 instead of 3" in rows[-1][1]
    assert titles(opened(full_card("en")))[RISKS] == "Risks: 1 to act on, 5 to watch"


def test_a_kept_and_an_unmeasured_ability_are_said() -> None:
    card = full_card("en")
    card["methods"][0]["retention"] = {"loss_before": 3.2, "loss_after": 3.1}
    assert "Loss on general text (before → after): 3.200 → 3.100 (−0.100)" in whole(opened(card).slides[RISKS])
    unmeasured = whole(opened(full_card("en", "undecidable")).slides[RISKS])
    assert "Loss on general text (before → after): – (left out to stay within the time budget)" in unmeasured


@pytest.mark.parametrize(
    ("verdict", "states", "step", "data"),
    [
        (
            "adopt",
            ["Done", "Next", "Decided after the trial"],
            "Start in a limited area.",
            "800 examples of this study",
        ),
        (
            "conditional",
            ["Done", "Next, with conditions", "Decided after the trial"],
            "at least 3 seeds",
            "800 examples",
        ),
        ("stop", ["Done", "Not pursued", "Not pursued"], "Do not roll this version out", "800 examples"),
        ("undecidable", ["Again", "On hold", "On hold"], "Collect about 1,240 examples", "About 1,240 examples in all"),
    ],
)
def test_the_next_steps_follow_from_the_verdict(verdict: str, states: list[str], step: str, data: str) -> None:
    slide = opened(full_card("en", verdict)).slides[NEXT]
    assert slide.shapes.title.text_frame.text == say(f"slide.next_{verdict}", "en")
    stages = [
        shape.text_frame.text.split("\n") for shape in slide.shapes if shape.shape_type == 1 and shape.has_text_frame
    ]
    assert [stage for stage in stages if len(stage) == 2] == [
        ["Study (PoC)", states[0]], ["Limited trial", states[1]], ["Production", states[2]],
    ]  # fmt: skip
    found = whole(slide)
    assert step in found and data in found
    assert "On the next stage: Megumi Sato, Production Engineering\nReview of the evidence: Makoto Takahashi" in found
    assert "Success 65.0%, withdrawal 40.0%, margin 2 points" in found


def test_what_no_number_of_examples_decides_is_said() -> None:
    card = full_card("ja", "undecidable")
    card["verdict"] |= {"needed_examples": None, "codes": [{"code": "too_close_to_decide", "values": {}}]}
    assert "データを増やすだけでは判断できる見込みが立ちません" in whole(opened(card).slides[NEXT])


def test_what_was_too_long_is_whole_in_the_notes() -> None:
    card = crowded_card("en")
    deck = opened(card)
    assert card["study"]["purpose"].strip() not in whole(deck.slides[DECISION])
    assert card["study"]["purpose"].strip() in notes(deck.slides[DECISION])
    assert "more: see the notes" in whole(deck.slides[RISKS])
    for failure in card["failures"]:
        assert failure["reason"].strip() in notes(deck.slides[RISKS]) or failure["reason"].strip() in whole(
            deck.slides[RISKS]
        )


@pytest.mark.parametrize("name", [name for name in CARDS if "hostile" not in name and "crowded" not in name])
def test_a_deck_speaks_one_language(name: str) -> None:
    card, deck = CARDS[name], opened(CARDS[name])
    for slide in deck.slides:
        for text in texts(slide):
            if card["language"] == "en":
                assert not JAPANESE_LETTER.search(text), text
            else:
                assert set(LATIN_WORD.findall(text)) <= ALLOWED, text


@pytest.mark.parametrize("language", ["ja", "en"])
def test_hostile_strings_stay_text_and_nothing_points_outside(language: str) -> None:
    content = render_slides(hostile_card(language))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.namelist():
            if entry.endswith((".xml", ".rels")):
                etree.fromstring(archive.read(entry))
            if entry.endswith(".rels"):
                assert b"External" not in archive.read(entry), entry
    deck = opened(hostile_card(language))
    assert any(HOSTILE[:30] in text for slide in deck.slides for text in texts(slide))


def test_control_characters_do_not_break_the_file() -> None:
    card = full_card("ja")
    card["study"]["purpose"] = "用途\x00\x1b[31m\n第二行\ud800\uffff\u202e"
    found = texts(opened(card).slides[DECISION])
    assert any(text.startswith("用途") for text in found) and "第二行   " in [
        text for text in found if "第二行" in text
    ]


def test_a_time_that_is_none_is_not_the_clock_s() -> None:
    card = full_card("en")
    card["study"]["created"] = "yesterday"
    assert opened(card).core_properties.created.year == 2000
