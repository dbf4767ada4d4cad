import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.profile import control_characters, half_character, is_formula, labels, language, spread


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_spread_agrees_with_numpy(values: list[int]) -> None:
    found = spread(values)
    assert found is not None
    assert (found.minimum, found.maximum, found.n) == (min(values), max(values), len(values))
    assert found.median == np.median(values)
    assert found.p95 == np.percentile(values, 95, method="inverted_cdf")


def test_nothing_has_no_spread() -> None:
    assert spread([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("軸受を交換する", "ja"),
        ("ＰＬＣのＣＰＵ unit を reset する", "ja"),
        ("ﾎﾟﾝﾌﾟ", "ja"),
        ("replace the bearing", "en"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "en"),
        ("замените подшипник", "other"),
        ("베어링 교체", "other"),
        ("12345 -> 678", "other"),
        ("", "other"),
        ("The word 軸受 means bearing, a part that carries a shaft", "en"),
    ],
)
def test_language_by_script(text: str, expected: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "=1+2",
        "=SUM(A1:A3)",
        "=A1",
        " =B2*3",
        '="x"&A1',
        "=cmd|' /C calc'!A0",
        "+A1+B2",
        "-A1*2",
        "@SUM(A1)",
        "＝SUM(A1)",
    ],
)
def test_formulas(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize(
    "text",
    ["-5", "-40℃", "+81-3-1234-5678", "- item", "@tanaka", "=> next", "== 章 ==", "-1.5e3", "+", "=", "−10", "a=b", ""],
)
def test_no_formulas(text: str) -> None:
    assert not is_formula(text)


def test_control_characters_are_named_once() -> None:
    assert control_characters("a\x1b[31m\ufeff\x1b\u202eb") == ("U+001B", "U+FEFF", "U+202E")
    assert control_characters("tab\t, line\r\n, family 👨‍👩‍👧, 日本") == ()
    assert control_characters("��") == ("U+FFFD",)


@pytest.mark.parametrize(
    "character",
    ["\ue000", "\uf8ff", "\U000f0000", "\u00ad", "\u3164", "\u200b", "\u200c", "\u200d", "\u2060", "\uffa0", "\u180e"],
)
def test_private_and_zero_width_characters_are_named(character: str) -> None:
    assert control_characters(f"高{character}橋") == (f"U+{ord(character):04X}",)


def test_characters_that_are_written_on_purpose_are_not_named() -> None:
    assert control_characters("👩‍🔬 ❤️‍🔥 می‌خواهم 葛\U000e0100 𠮷 é ㎜ ①") == ()


def test_half_characters() -> None:
    assert half_character("a\ud800b") == "U+D800"
    assert half_character("𠮷野家") is None


def test_labels_are_ranked_and_written_as_first_seen() -> None:
    found = labels(["ＯＫ", "OK", "NG"] * 3 + ["OK"])
    assert found.counts == (("ＯＫ", 7), ("NG", 3))
    assert found.majority_share == 0.7
    assert found.rare == ("NG",)
