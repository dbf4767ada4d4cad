"""The money section: its sentences, its lines with their footnotes, its chart, on the page and on the terminal."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from tests.report.cards import HOSTILE, full_card
from tests.report.money_card import ONCE
from tsugiki.measure.prices import BusinessCase, OnPremises, Prices, Reserved
from tsugiki.report.figures import Language
from tsugiki.report.html import render_html
from tsugiki.report.inputs import input_name, input_value
from tsugiki.report.money import alternatives, money_groups, money_lead, money_notes
from tsugiki.report.scorecard import check_scorecard
from tsugiki.report.tables import Notes, Row
from tsugiki.report.text import render_money, render_prices, render_text
from tsugiki.report.tornado import tornado_chart
from tsugiki.report.words import table

LANGUAGES: tuple[Language, ...] = ("ja", "en")


def plain(text: str) -> str:
    return unescape(text).replace("\N{NO-BREAK SPACE}", " ")


def rows(card: dict[str, Any], notes: Notes | None = None) -> dict[str, Row]:
    return {row.name: row for _, found in money_groups(card, notes or Notes(card["language"])) for row in found}


def test_the_lead_says_what_it_comes_to() -> None:
    first, second, third = money_lead(full_card("en"))
    # 1,200 cases: 78.5 % × 160 less 21.5 % × 213.33 each, less 321.1 in all.
    assert first == (
        "With 1,200 cases a month, LoRA is worth ¥95,359 a month after its costs (95% interval ¥67,583 to ¥118,207)."
    )
    back = "comes back after about 4.2 months (interval 3.4 months to 6.0 months)."
    assert plain(second) == f"What is spent once, ¥{ONCE:,.0f}, {back}"
    assert third == "To break even within 12 months it takes at least 412 cases a month."
    assert money_lead(full_card("ja"))[0] == (
        "月1,200件をLoRAに任せると、差し引き月¥95,359（95%区間 ¥67,583〜¥118,207）の効果が見込まれます。"
    )


def test_what_comes_back_at_once_is_said_without_an_interval() -> None:
    card = full_card("en")
    card["money"]["break_even"]["months"] = {"estimate": 0.002, "low": 0.001, "high": 0.003}
    assert plain(money_lead(card)[1]).endswith("comes back in less than a day.")


def test_an_interval_across_zero_is_no_gain() -> None:
    card = full_card("en")
    card["money"]["month"]["net"] |= {"low": -10.0}
    assert "a gain is not certain" in money_lead(card)[0]
    card["money"]["month"]["net"] |= {"estimate": -200.0, "low": -300.0, "high": -100.0}
    card["money"]["break_even"]["months"] = {"estimate": None, "low": None, "high": None}
    first, second, *_ = money_lead(card)
    assert "costs more than it saves: −¥200 a month (95% interval −¥300 to −¥100)" in first
    assert second.endswith("does not come back.")


def test_without_a_net_value_the_reason_is_said() -> None:
    card = full_card("ja")
    card["money"]["month"]["net"] = {"estimate": None, "low": None, "high": None}
    card["money"]["reasons"]["month.net"] = "1か月の件数が分からないため計算できません"
    assert money_lead(card) == ["差し引きの効果は示せません（1か月の件数が分からないため計算できません）。"]


def test_a_table_without_a_business_case_shows_what_it_can() -> None:
    card, notes = full_card("en"), Notes("en")
    money = card["money"]
    money["case"], money["tornado"] = {"serving": "as_needed"}, []
    money["month"] = {name: dict.fromkeys(("estimate", "low", "high")) for name in money["month"]}
    money["reasons"] |= {f"month.{name}": "not known: cases a month" for name in money["month"]}
    for other in money["alternatives"]:
        other["net_month"] = dict.fromkeys(("estimate", "low", "high"))
    found = rows(card, notes)
    assert "Time saved" not in found and "This study" in found and alternatives(card, notes) == []
    assert [head for head, lines in money_groups(card, notes) if not lines] == ["Every month"]
    assert "Every month" not in render_html(card) and "Every month" not in render_money(card)
    assert money_lead(card) == ["The net value cannot be told (not known: cases a month)."]
    assert "How it comes about" in render_html(card) and "The same case with other methods" not in render_html(card)
    assert "The same case with other methods" not in render_money(card)
    money["once"], money["change"] = dict.fromkeys(money["once"]), dict.fromkeys(money["change"])
    money["break_even"] = {name: dict(money["month"]["net"]) for name in money["break_even"]}
    money["horizon"] |= {name: dict(money["month"]["net"]) for name in ("net", "returned")}
    assert '<table class="money">' not in render_html(card)  # prices of the other machine only


def test_costs_are_taken_off_and_what_was_left_blank_is_a_dash_with_a_note() -> None:
    card, notes = full_card("en"), Notes("en")
    found = rows(card, notes)
    wrong = found["Putting wrong answers right"]
    assert wrong.cells[0].text == "−¥55,040" and wrong.cells[1].text == "−¥70,912 to −¥41,984"
    assert plain(wrong.cells[2].text) == "1,200 cases × 21.5% wrong × 4 min × ¥3,200 an hour"
    served = found["Machine time for answers"]
    assert (served.cells[0].text, served.cells[1].text) == ("−¥320", "")
    checking = found["Checking answers"]
    assert checking.cells[0].text == "–" and checking.cells[0].note == 1
    assert notes.texts == ["not counted: minutes to check an answer (left blank)"]
    assert [row.name for row in found.values() if row.emphasis] == [
        "Net value a month", "Spent once, in all", "Net value, 12 months",
    ]  # fmt: skip


def test_a_machine_kept_on_is_described_as_one() -> None:
    card = full_card("en")
    card["money"]["serving"]["counted"] = "kept_on"
    assert rows(card)["Machine time for answers"].cells[2].text == "machines kept on for this alone: 1, by the hour"


def test_an_end_that_is_never_reached_is_said() -> None:
    card = full_card("en")
    card["money"]["break_even"]["months"]["high"] = None
    assert plain(rows(card)["Paid back after"].cells[1].text) == "3.4 months to never"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_has_the_section_with_date_and_source(language: Language) -> None:
    card = full_card(language)
    page = plain(render_html(card))
    for text in (*money_lead(card), *money_notes(card), card["money"]["source"], "¥95,359"):
        assert plain(text) in page
    assert '<figure class="tornado">' in page
    line = {"ja": "差し引き 月¥95,359（¥67,583〜¥118,207）", "en": "net ¥95,359 a month (¥67,583 to ¥118,207)"}
    assert line[language] in page and plain(page).count(card["money"]["source"]) >= 3


def test_a_study_without_prices_says_how_to_add_them() -> None:
    card = full_card("en")
    card["money"] = None
    page = render_html(card)
    assert "`tsugiki money` adds them" in page and 'figure class="tornado"' not in page
    card.pop("money")
    assert "tsugiki money" not in render_html(card)


def test_under_another_verdict_than_adopt_the_amounts_are_no_advice() -> None:
    assert "not that it is advised" in money_notes(full_card("en", "stop"))[0]
    assert all("advised" not in note for note in money_notes(full_card("en", "adopt")))


def test_alternatives_begin_with_the_method_in_question() -> None:
    first, *others = alternatives(full_card("en"), notes := Notes("en"))
    assert first.name == "LoRA" and first.emphasis and first.cells[0].text == "78.5%"
    assert [row.name for row in others][-2:] == ["k-shot prompt", "Untouched base"] and others[-1].reference
    assert others[-1].cells[4].note == 1 and "never" in notes.texts[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tornado_draws_the_longest_bars_with_their_ranges(language: Language) -> None:
    card = full_card(language)
    chart = tornado_chart(card)
    assert chart is not None and chart == tornado_chart(card)
    texts = [plain(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)]
    wanted = {
        "ja": ("1件で減る作業時間", "1分30秒〜4分30秒（±50%と仮定）", "1,000〜1,300（記入）", "72.3%〜83.6%（区間）"),
        "en": ("Minutes saved by a right answer", "1 min 30 s to 4 min 30 s (±50%)", "1,000 to 1,300 (given)"),
    }
    assert set(wanted[language]) <= set(texts)
    assert {"−¥600,000", "0", {"ja": "¥170万", "en": "¥1.70M"}[language]} <= set(texts)
    assert card["money"]["source"] in chart.note and "2026-11" in chart.note
    assert chart.svg.startswith('<svg role="img" aria-label="') and "http" not in chart.svg


def test_no_more_than_eight_bars_are_drawn_and_none_without_a_net_value() -> None:
    card = full_card("en")
    card["money"]["tornado"] = [{**card["money"]["tornado"][0], "input": f"x.input{number}"} for number in range(12)]
    chart = tornado_chart(card)
    assert chart is not None and chart.svg.count("Input") >= 8 and "Input8<" not in chart.svg
    card["money"]["tornado"] = []
    assert tornado_chart(card) is None


def test_a_hostile_source_stays_text() -> None:
    card = full_card("en")
    card["money"] |= {"source": HOSTILE, "currency": "<b>x</b>"}
    chart = tornado_chart(card)
    assert chart is not None and "<b>" not in chart.svg and "<script" not in chart.svg
    assert "<script" not in render_html(card) and "<b>x</b>" not in render_html(card)


def test_the_terminal_says_it_in_a_line_and_in_full() -> None:
    card = full_card("en")
    line = next(line for line in plain(render_text(card)).splitlines() if line.startswith("Money"))
    assert line.endswith(
        "net ¥95,359 a month (¥67,583 to ¥118,207), paid back after 4.2 months (prices of 2026-11, quotation 7)"
    )
    full = plain(render_money(card))
    assert full.startswith("Prices of 2026-11, quotation 7, in JPY\nby the hour: ¥60 an hour of use")
    assert "(1) not counted: minutes to check an answer (left blank)" in full
    assert all(character == "\n" or character.isprintable() for character in render_money(card))
    card["money"]["month"]["net"] = {"estimate": None, "low": None, "high": None}
    card["money"]["reasons"]["month.net"] = "not known: cases a month"
    assert "¥3 per training (prices of 2026-11, quotation 7)" in plain(render_text(card))


def test_a_price_table_in_a_few_lines() -> None:
    rate = {"way": "reserved", "hour": 125.0, "month": 20_000.0}
    about = {"currency": "JPY", "date": "2026-11", "source": "見積書"}
    summary = {**about, "machines": {"cpu": [rate], "gpu": []}, "lacks": ["wage_hour", "minutes_saved"]}
    text = render_prices(summary, "ja")
    assert "月額予約: 使用1時間 ¥125、常時稼働なら月¥20,000" in text and "単価は未記入です" in text
    assert "未記入です: 1時間の人件費、1件で減る作業時間。" in text
    assert "A net value can be reckoned" in render_prices({**summary, "lacks": []}, "en")


def test_the_card_of_these_tests_keeps_the_contract() -> None:
    assert check_scorecard(full_card("en")) == []


@pytest.mark.parametrize("kind", [Prices, Reserved, OnPremises, BusinessCase])
def test_every_amount_of_the_table_has_a_name_for_readers(kind: Any) -> None:
    for name, field in kind.model_fields.items():
        if re.search("Amount|Positive|Share|HoursOfMonth", str(field.annotation)):
            for language in LANGUAGES:
                assert input_name(f"section.{name}", language) != name, name


def test_inputs_carry_their_units() -> None:
    assert plain(input_value("business_case.minutes_saved", 1.5, "JPY", "en")) == "1 min 30 s"
    assert plain(input_value("seconds_per_case", 0.16, "JPY", "en")) == "160 ms"
    assert input_value("gpu_on_premises.utilisation", 0.25, "JPY", "en") == "25%"
    assert input_value("gpu_on_premises.kwh", 31.0, "USD", "en") == "$31.00"
    assert "input.machine_hour" in table()
