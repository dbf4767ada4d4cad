"""The page: complete, self-contained, escaped, in one language, with the card's own numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.report.cards import HOSTILE, does_not_fit_card, every_card, full_card, hostile_card, small_card
from tsugiki.report.html import render_html

VOID = {"meta", "br", "link", "img", "input", "hr"}
LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z-]+")
# Names and units that Japanese business prose writes in Latin letters, and what is data in these cards.
ALLOWED = {
    *("JPY", "LoRA", "MiB", "GiB", "KiB", "JSON", "IP", "CPU", "scorecard", "json", "Wilson", "BCa", "bootstrap"),
    *(
        "smollm",
        "lora",
        "alpha",
        "all-linear",
        "houlsby",
        "width",
        "all",
        "weights",
        "block",
        "full",
        "others",
        "float",
    ),
    *("Linux", "python", "torch", "transformers", "tsugiki", "Intel", "Xeon", "Gold", "avx"),
}


class Page(HTMLParser):
    """Text by section, attributes, and whether every tag was closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append((tuple(self.open), " ".join(data.split())))

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.texts)


@pytest.mark.parametrize("name", every_card())
def test_every_card_is_one_well_formed_page_that_loads_nothing(name: str) -> None:
    card = every_card()[name]
    source = render_html(card)
    page = Page(source)
    assert page.open == []
    assert ("html", "lang", card["language"]) in page.attributes
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    urls = [value for _, name, value in page.attributes if name in ("href", "src", "srcset", "action", "xlink:href")]
    assert all(url.startswith("#") for url in urls)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    style = source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert source == render_html(card)
    assert "None" not in page.text and "nan" not in page.text.split()


@pytest.mark.parametrize("name", every_card())
def test_ids_are_unique_and_footnotes_lead_somewhere(name: str) -> None:
    page = Page(render_html(every_card()[name]))
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, attribute, value in page.attributes if attribute == "href"} <= set(ids)


def test_the_numbers_are_those_of_the_card() -> None:
    card = full_card("en")
    text = Page(render_html(card)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("Adopt · Adoption scorecard")
    for reason in card["verdict"]["reasons"]:
        assert reason.replace("\N{NO-BREAK SPACE}", " ") in text
    for shown in (
        "78.5%",
        "72.3 to 83.6",
        "−0.5 points",
        "3.5%",
        "18.7 MiB",
        "905 MiB",
        "3 min 24 s",
        "2.6 GiB",
        "10 min 55 s",
    ):
        assert shown in text
    for shown in ("3.214 → 3.255", "3 of 200", "0.001 (3 tries)", "1,482", "41 ms", "4.1 ms", "0.412", "134,515,008"):
        assert shown in text
    for trial in ("lora-500-2", "kshot-0"):
        assert trial in text


def test_every_excluded_row_is_listed_with_its_reason() -> None:
    text = Page(render_html(full_card("ja"))).text
    for row, reason in (
        ("17", "正解が空です"),
        ("203", "8行目と同じ内容です"),
        ("388", "1,024トークンあり、上限の512トークンを超えています"),
    ):
        assert f"{row}\n{reason}" in text


def test_a_missing_number_is_a_dash_with_its_reason() -> None:
    card = does_not_fit_card("ja")
    page = Page(render_html(card))
    full_row = page.text.partition("\nフルファインチューニング\n")[2].partition("元のモデル（学習なし）")[0]
    assert full_row.count("–") == 4  # quality, memory, time, per token
    assert "0.0%" not in full_row
    assert card["methods"][3]["quality"]["reason"] in page.text
    assert "メモリ不足のため学習できませんでした" in page.text


def test_sections_without_data_say_so_or_stay_away() -> None:
    text = Page(render_html(small_card("ja"))).text
    assert "学習曲線は測定していません" in text
    assert "回答例" not in text and "検証の設定" not in text
    assert "言語モデルの業務適応に関する検証" in text


@pytest.mark.parametrize("language", ["ja", "en"])
def test_hostile_strings_stay_text(language: str) -> None:
    source = render_html(hostile_card(language))
    page = Page(source)
    assert "<script" not in source and "<img" not in source
    assert "49" not in page.texts[0][1] and "{{ 7*7 }}" in page.text
    assert page.text.count(" ".join(HOSTILE.split())) >= 8
    assert "&lt;script&gt;" in source


@pytest.mark.parametrize("verdict", ["adopt", "conditional", "stop", "undecidable"])
def test_a_japanese_page_has_no_english_words(verdict: str) -> None:
    page = Page(render_html(full_card("ja", verdict)))
    prose = " ".join(text for path, text in page.texts if "code" not in path)
    prose += " ".join(value for _, name, value in page.attributes if name in ("aria-label", "title"))
    prose = re.sub(r"sha256:[0-9a-f]+", "", prose)
    assert set(LATIN_WORD.findall(prose)) <= ALLOWED


def test_an_english_page_has_no_japanese() -> None:
    card = full_card("en")
    assert not re.search("[\u3040-\u30ff\u3400-\u9fff]", Page(render_html(card)).text)


def test_the_verdict_word_is_in_its_own_class() -> None:
    for value in ("adopt", "conditional", "stop", "undecidable"):
        source = render_html(full_card("en", value))
        assert f'<div class="verdict {value}">' in source


def test_a_long_purpose_is_set_smaller() -> None:
    card = full_card("ja")
    card["study"]["purpose"] = "報告書を読み、" * 40
    assert '<h1 class="long">' in render_html(card)


def test_every_cut_of_the_design_is_said() -> None:
    card = full_card("ja")
    card["study"]["design"]["cut"] = [
        {
            "what": what,
            "before": 4,
            "after": 2,
            "minutes": 3.0,
            "names": ["adapter", "hybrid"] if what == "methods" else [],
        }
        for what in ("curve_sizes", "curve_seeds", "tries", "seeds", "steps", "methods")
    ]
    text = Page(render_html(card)).text
    assert "方式を4通りから2通りに減らしました（アダプター、ハイブリッドを省略、約3分の短縮）。" in text
    assert text.count("減らしました") == 6
