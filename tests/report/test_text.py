"""The terminal summary."""

from __future__ import annotations

import pytest

from tests.report.cards import every_card, full_card
from tsugiki.report.text import render_text


def test_it_says_the_verdict_first_and_then_the_numbers() -> None:
    lines = render_text(full_card("ja")).splitlines()
    assert lines[0] == "結論: 採用"
    assert "品質    正答率 78.5%（72.3〜83.6）、元のモデル 4.0%" in lines
    assert "学習    3分24秒、最大メモリ 905 MiB" in lines
    english = render_text(full_card("en", "stop")).splitlines()
    assert english[0] == "Verdict: Stop"
    assert "Size          3.5% of the parameters trained, 18.7 MiB stored" in english


@pytest.mark.parametrize("name", every_card())
def test_every_card_renders_without_control_characters(name: str) -> None:
    text = render_text(every_card()[name])
    assert text.endswith("\n")
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "None" not in text


def test_control_characters_of_the_card_stay_out() -> None:
    card = full_card("en")
    card["verdict"]["reasons"] = ["\x1b[2J\x1b]0;owned\x07 red\u202e"]
    assert "\x1b" not in render_text(card) and "\u202e" not in render_text(card)
