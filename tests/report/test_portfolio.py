"""The page and the lines of a portfolio: complete, self-contained, escaped, in one language, the same every time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.cards import HOSTILE
from tests.report.test_html import LATIN_WORD, Page
from tests.work.workspaces import NET, card, money, paired, put, workspace
from tsugiki.report.figures import Language
from tsugiki.report.portfolio import RULES, render_portfolio, render_portfolio_text
from tsugiki.report.words import say
from tsugiki.work.portfolio import build_portfolio

LANGUAGES = pytest.mark.parametrize("language", ["ja", "en"])
# Names, units and data that a Japanese page shows in Latin letters.
ALLOWED = {"LoRA", "MiB", "GiB", "JSON", "scorecard", "json", "smollm", "chrF", "Expecting", "line", "lacks", "schema"}
ALLOWED |= {"property", "name", "enclosed", "in", "double", "quotes"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    workspace(tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    return Path("studies")


def test_the_page_holds_every_study_its_numbers_and_its_rule(place: Path) -> None:
    text = Page(render_portfolio(build_portfolio([place], "en"))).text.replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("Studies: 4. Expand 1, hold 2, stop 1 · Portfolio of studies")
    for shown in (
        *("Classes of reports", "Spelling of part names", "Answers to the manual", "Drafts"),
        *("+47.5 points", "over “Majority answer”, the best reference (+39.6 to +55.1)"),
        *("Exact match 78.5% (72.3 to 83.6)", "¥240,000 net per month (¥150,000 to ¥330,000)"),
        *("3 min 24 s", "905 MiB", "interval of 11.3 points", "seeds: 3, test rows: 200"),
        *("about 1,240 examples would decide (800 used)", "Missing: ", "three seeds"),
        *("studies/adopted/scorecard.json", "studies/broken/scorecard.json", "is not JSON"),
        *("scorecard lacks schema", "different metrics (chrF, Exact match)", "marked A (no. 1, 2)"),
    ):
        assert shown in text, shown
    assert all(say(f"allocation.{rule}", "en") in text for rule in RULES)


@LANGUAGES
def test_the_page_is_well_formed_and_loads_nothing(language: Language, place: Path) -> None:
    source = render_portfolio(build_portfolio([place], language))
    page = Page(source)
    assert page.open == [] and ("html", "lang", language) in page.attributes
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    assert not any(name.startswith("on") or name in ("href", "src") for _, name, _ in page.attributes)
    style = source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "None" not in page.text and "nan" not in page.text.split()
    assert source.count("<svg role") == 1 and page.tags.count("tr") == 1 + 4 + 1 + 2


def test_equal_workspaces_give_equal_bytes(place: Path) -> None:
    assert render_portfolio(build_portfolio([place], "ja")) == render_portfolio(build_portfolio([place], "ja"))


def test_a_japanese_page_has_no_english_prose(place: Path) -> None:
    page = Page(render_portfolio(build_portfolio([place], "ja")))
    titles = ("Classes of reports", "Spelling of part names", "Answers to the manual", "Drafts")
    prose = " ".join(text for path, text in page.texts if "code" not in path and text not in titles)
    prose = re.sub(r"Megumi Sato, Production Engineering", "", prose)
    assert set(LATIN_WORD.findall(prose)) <= ALLOWED


def test_an_english_page_has_no_japanese(place: Path) -> None:
    assert not re.search("[\u3040-\u30ff\u3400-\u9fff]", Page(render_portfolio(build_portfolio([place], "en"))).text)


@LANGUAGES
def test_hostile_names_stay_text(language: Language, tmp_path: Path) -> None:
    one = paired(study__purpose=HOSTILE, study__owner=HOSTILE, study__base__name=HOSTILE, study__created=HOSTILE)
    one["task"]["metric"] = HOSTILE
    put(tmp_path / "<script>alert(1)<" / "b", one)
    put(tmp_path / "<img src=x onerror=alert(1)>", "{")
    put(tmp_path / "c", '{"schema": "<script>alert(2)</script>"}')
    put(tmp_path / "d", paired(study__purpose="x", study__digest="d", money=money(NET, "<script>")))
    found = build_portfolio([tmp_path], language)
    source = render_portfolio(found)
    page = Page(source)
    assert "<script" not in source and "<img" not in source
    assert "{{ 7*7 }}" in page.text and "49" not in page.texts[0][1]
    assert page.open == []
    assert "<script" in render_portfolio_text(found)


def test_names_that_are_not_unicode_are_shown_and_written(tmp_path: Path) -> None:
    put(Path(str(tmp_path) + "/\udcff"), paired())
    found = build_portfolio([tmp_path], "en")
    render_portfolio(found).encode("utf-8")
    assert "\ufffd" in found["studies"][0]["path"]


@LANGUAGES
def test_the_terminal_gets_the_same_in_lines(language: Language, place: Path) -> None:
    text = render_portfolio_text(build_portfolio([place], language))
    assert text.count("\n1. ") == 1 and text.count("\n4. ") == 1
    for shown in ("Classes of reports", "studies/adopted/scorecard.json", "studies/broken/scorecard.json", "11.3"):
        assert shown in text
    assert say("allocation.all_shown", language) in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)


def test_a_workspace_of_one_kind_says_nothing_of_several(tmp_path: Path) -> None:
    put(tmp_path, paired())
    found = build_portfolio([tmp_path], "en")
    text = render_portfolio_text(found)
    for absent in (
        "different metrics",
        "currencies",
        "machines",
        "marked A",
        "wider than need be",
        "could not be used",
    ):
        assert absent not in text + Page(render_portfolio(found)).text, absent
    assert "Ranked by recommendation, then by standing" in text


def test_many_studies_are_listed_in_part_on_a_terminal_and_in_full_on_the_page(tmp_path: Path) -> None:
    for number in range(40):
        put(tmp_path / f"{number:02}", paired(study__digest=f"sha256:{number}"))
    found = build_portfolio([tmp_path], "en")
    text = render_portfolio_text(found)
    assert "\n30. " in text and "\n31. " not in text and "\n10 more are on the page" in text
    assert "marked A (no. 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …, 40)" in text
    assert render_portfolio(found).count("<tr") == 41


def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    one: dict[str, Any] = card("undecidable")
    one["methods"][0]["quality"] |= {"estimate": None, "low": None, "high": None, "reason": "failed"}
    put(tmp_path, one)
    text = Page(render_portfolio(build_portfolio([tmp_path], "en"))).text
    assert "\n–\n" in text and "0.0%" not in text
    assert "Chart of" not in text  # nothing to draw
