"""JSON that two readers could understand differently is refused; ordinary JSON is read as it is."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.errors import RecordsError
from tsugiki.records.strict_json import DEEPEST, read_object

BAD = {
    "no JSON": (b"hello", "expecting value at character 0"),
    "empty": (b"", "expecting value"),
    "two values": (b"{} {}", "extra data"),
    "byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "byte 0 is not UTF-8"),
    "Shift_JIS": ('{"a": "部品"}'.encode("shift_jis"), "not UTF-8"),
    "a list": (b"[]", "holds a JSON list"),
    "a text": (b'"a"', "holds a JSON str"),
    "NaN": (b'{"a": NaN}', "NaN is not JSON"),
    "Infinity": (b'{"a": -Infinity}', "-Infinity is not JSON"),
    "overflow": (b'{"a": 1e999}', "too large"),
    "huge whole number": (b'{"a": 1' + b"0" * 5000 + b"}", "beyond 2^53"),
    "beyond a double": (b'{"a": 9007199254740993}', "beyond 2^53"),
    "same key twice": (b'{"a": 1, "a": 2}', "'a' stands there twice"),
    "same key twice inside": (b'{"a": {"r": 1, "r": 2}}', "'r' stands there twice"),
    "same key written twice": (b'{"a": 1, "\\u0061": 2}', "'a' stands there twice"),
    "half a character": (b'{"a": "\\ud800"}', "half a character"),
    "half a key": (b'{"\\udc00": 1}', "half a character"),
    "deep": (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
    "very deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 32"),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "deeper than 32"),
    "control character": (b'{"a": "\x00"}', "invalid control character"),
    "single quotes": (b"{'a': 1}", "expecting property name"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_ambiguous_is_refused(kind: str) -> None:
    content, reason = BAD[kind]
    with pytest.raises(RecordsError) as refused:
        read_object(content, "x.json")
    assert reason in refused.value.problem
    assert refused.value.problem.startswith(("x.json cannot be read as JSON: ", "x.json holds"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(alphabet=st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_ordinary_json_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert read_object(json.dumps(value).encode(), "x.json") == value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with suppress(RecordsError):
        assert isinstance(read_object(content, "x.json"), dict)


def test_the_deepest_level_is_read() -> None:
    content = b'{"a":' * (DEEPEST - 1) + b"1" + b"}" * (DEEPEST - 1)
    assert "a" in read_object(content, "x.json")
