"""The model card says what is known, says that the rest is not, and lets no text of others become markup."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.work.provenances import FACTS, KNOWN
from tsugiki.report.model_card import render_card, safe
from tsugiki.report.words import LANGUAGES, table
from tsugiki.work.model_card import card_of
from tsugiki.work.provenance import Measured, Provenance

BARE = Provenance(
    replace(
        FACTS,
        base=replace(FACTS.base, name=None, licence=None, weights=None, template=None),
        files={"adapter_model.safetensors": FACTS.files["adapter_model.safetensors"]},
    )
)


def rows(text: str, label: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {label} |")]


def test_the_english_card_holds_the_facts_with_intervals() -> None:
    text = render_card(card_of(KNOWN), "en")
    assert "# hinshitsu-qa" in text and "base_model" not in text
    assert rows(text, "This adapter") == ["| This adapter | Exact match | 81.0% | 74.0 to 87.0% | 160 |"]
    assert rows(text, "Untouched base") == ["| Untouched base | Exact match | 12.0% | 8.0 to 18.0% | 160 |"]
    assert rows(text, "Version") == ["| Version | hinshitsu-qa@3 |"]
    assert rows(text, "Rows used for training") == ["| Rows used for training | 40 |"]
    assert rows(text, "Base") == ["| Base | apache-2.0 |"]
    assert "from 3.100 to 3.120 per token" in text
    assert "PeftModel.from_pretrained(base, 'ADAPTER')" in text
    assert "not known" not in text


def test_the_japanese_card_has_the_same_outline_and_numbers() -> None:
    english, japanese = (render_card(card_of(KNOWN), language) for language in ("en", "ja"))
    outline = [[re.match(r"#+ |\||- |```|", line)[0] for line in text.splitlines()] for text in (english, japanese)]  # type: ignore[index]
    assert outline[0] == outline[1]
    assert rows(japanese, "このアダプター") == ["| このアダプター | 正答率 | 81.0% | 74.0〜87.0% | 160 |"]
    assert rows(japanese, "検証の結論") == ["| 検証の結論 | 採用 |"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_known_is_said(language: Any) -> None:
    text = render_card(card_of(BARE), language)
    for key in ("unknown_results", "unknown_data", "limit_not_measured", "limit_base_licence", "limit_data_licence"):
        assert table()[f"card.{key}"][language] in text
    assert "base_model" not in text and "PeftModel" not in text
    assert table()["card.unknown"][language] in text


def test_a_base_on_a_hub_is_named_as_hubs_read_it() -> None:
    text = render_card(card_of(replace(KNOWN, facts=replace(FACTS, base=replace(FACTS.base, name="org/base-1")))), "en")
    assert "base_model: org/base-1" in text and "from_pretrained('org/base-1')" in text
    assert "from_pretrained('BASE')" in render_card(card_of(KNOWN), "en")


def test_text_of_others_is_no_markup() -> None:
    text = render_card(card_of(KNOWN), "en")
    assert "品質問い合わせ \\| への \\<b\\>回答\\</b\\>" in text
    assert safe("a\n# b `c` [x](y)") == "a \\# b \\`c\\` \\[x\\](y)"


def test_an_interval_that_overlaps_the_bases_is_a_limit() -> None:
    base = Measured("base", "exact_match", 0.78, 0.7, 0.85, 160)
    text = render_card(card_of(replace(KNOWN, measured=(KNOWN.measured[0], base))), "en")
    assert "overlaps that of the untouched base" in text
    assert "overlaps" not in render_card(card_of(KNOWN), "en")


def test_a_number_that_could_not_be_measured_gives_its_reason() -> None:
    missing = Measured("adapter", "chrf", None, None, None, 3, reason="too few rows to estimate")
    text = render_card(card_of(replace(KNOWN, measured=(missing,))), "en")
    assert rows(text, "This adapter") == ["| This adapter | chrF | too few rows to estimate | not known | 3 |"]


def test_equal_facts_give_equal_cards() -> None:
    assert render_card(card_of(KNOWN), "ja") == render_card(card_of(KNOWN), "ja")
