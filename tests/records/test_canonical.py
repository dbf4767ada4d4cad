from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.records.canonical import canonical_bytes, parse

KEYS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_the_standard_library_writes_what_rfc_8785_asks_for(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)
    assert parse(canonical_bytes(value)) == value


@pytest.mark.parametrize(
    "value", ['\x00\x1f\x7f\u2028"\\/', "é\u0301😀", {"é": 1, "z": 2, "\uffff": 3, "": 4}, -0, 10**15]
)
def test_awkward_texts_and_numbers(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a": 1}', b'{"a":1} ', b' {"a":1}', b'{"a":1}{}', b"", b"{",
        b'"\\u00e9"', b'"\\/"', b"1.0", b"1e3", b"-0", b"NaN", b"Infinity", b"9007199254740992", b"9" * 5000,
        b'"\\ud800"', b"\xff", b"\xef\xbb\xbf1", '"é"'.encode("utf-16"), b"[" * 100_000, b'"\t"', b"01",
    ],
)  # fmt: skip
def test_anything_but_the_one_form_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse(content)


@pytest.mark.parametrize("value", [0.5, float("nan"), 2**53, -(2**53), "\ud800", {1: 2}, {"😀": 1}, {"a": {1}}, b"x"])
def test_what_an_event_may_not_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_bytes(value)


def test_nesting_ends() -> None:
    value: list[object] = []
    for _ in range(33):
        value = [value]
    with pytest.raises(ValueError, match="deeper than 32"):
        canonical_bytes(value)
