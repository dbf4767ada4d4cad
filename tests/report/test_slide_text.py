"""How much room texts take: never less than they need, and nothing is lost without an ellipsis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.report.slide_text import ELLIPSIS, ems, fitted, line_height, lines_of, shortened_to

TEXTS = st.text(alphabet="aW i.、。長い文字MiB 12%–", max_size=300)


def test_a_short_text_takes_one_line_and_a_line_end_starts_another() -> None:
    assert lines_of("Adopt", 24, 4.0) == 1
    assert lines_of("", 24, 4.0) == 1
    assert lines_of("one\ntwo\n", 24, 4.0) == 3


def test_words_stay_whole_and_japanese_breaks_anywhere() -> None:
    assert lines_of("aaaa bbbb cccc", 72, ems("aaaa bbbb") + 0.01) == 2
    assert lines_of("aaaa bbbb cccc", 72, ems("aaaa bbb")) == 3
    assert lines_of("あ" * 20, 72, 11.0) == 2  # eleven ems, one of them kept for a mark that may not begin a line


def test_a_word_longer_than_the_line_is_broken_inside() -> None:
    assert lines_of("x" * 400, 12, 2.0) == pytest.approx(400 * 0.57 / (2.0 * 6), abs=1)


def test_the_largest_size_that_fits_is_taken() -> None:
    text = "A sentence that is a little too long for one line of this width."
    roomy, tight = fitted(text, 12.0, 1.0, (24, 18, 12)), fitted(text, 4.0, 0.5, (24, 18, 12))
    assert (roomy.size, roomy.cut) == (24, False)
    assert tight.size == 12 and tight.lines == 2 and not tight.cut and tight.text == text


def test_what_does_not_fit_is_cut_with_an_ellipsis() -> None:
    found = fitted("word " * 200, 3.0, 0.5, (14, 12))
    assert found.cut and found.text.endswith(ELLIPSIS) and found.size == 12
    assert found.height <= 0.5


@given(text=TEXTS, width=st.floats(0.5, 12), size=st.sampled_from((9, 12, 24)), lines=st.integers(1, 6))
def test_a_shortened_text_fits_and_is_a_beginning(text: str, width: float, size: float, lines: int) -> None:
    short = shortened_to(text, lines, size, width)
    assert short == text or (short.endswith(ELLIPSIS) and text.startswith(short.removesuffix(ELLIPSIS)))
    if "\n" not in text and width * 72 / size > 3:
        assert lines_of(short, size, width) <= lines


@given(text=TEXTS, width=st.floats(1, 12), height=st.floats(0.3, 3))
def test_a_fitted_text_stays_in_its_box(text: str, width: float, height: float) -> None:
    found = fitted(text, width, height, (20, 14, 10))
    assert found.height <= max(height, line_height(10)) + 1e-6
    assert found.cut == (found.text != text)


@given(text=TEXTS, width=st.floats(1, 12))
def test_a_wider_column_never_takes_more_lines(text: str, width: float) -> None:
    assert lines_of(text, 12, width * 1.5) <= lines_of(text, 12, width)
