import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.json_records import parse_json, parse_json_lines
from tsugiki.errors import DataError

ROWS = st.lists(st.dictionaries(st.text(min_size=1), st.one_of(st.none(), st.text()), min_size=1), min_size=1)


@given(ROWS, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_lines_come_back(rows: list[dict[str, str | None]], line_end: str, ascii_only: bool) -> None:
    text = line_end.join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    columns, records, numbers = parse_json_lines(text, "a.jsonl")
    assert records == rows
    assert set(columns) == {key for row in rows for key in row}
    step = 2 if line_end == "\n\n" else 1
    assert numbers == [1 + step * place for place in range(len(rows))]


def test_old_mac_line_ends_and_a_mark_at_a_seam() -> None:
    assert parse_json_lines('{"a":"1"}\r{"a":"2"}', "a.jsonl")[1] == [{"a": "1"}, {"a": "2"}]
    assert parse_json_lines('{"a":"1"}\n\ufeff{"a":"2"}', "a.jsonl")[1] == [{"a": "1"}, {"a": "2"}]


def test_numbers_keep_their_written_form_at_every_depth() -> None:
    line = '{"a": 1.10, "b": 123456789012345678901234567890, "c": [true, 2.50, {"d": 1e3}], "e": null}'
    assert parse_json_lines(line, "a.jsonl")[1] == [
        {"a": "1.10", "b": "123456789012345678901234567890", "c": ["true", "2.50", {"d": "1e3"}], "e": None}
    ]


def test_an_array_counts_records_and_a_json_file_may_hold_lines() -> None:
    assert parse_json('[{"a": "x"},\n {"b": "y"}]', "a.json") == (("a", "b"), [{"a": "x"}, {"b": "y"}], [1, 2])
    assert parse_json('{"a": "x"}\n{"a": "y"}\n', "a.json")[2] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": }\n', "Line 3 of a.jsonl is not valid JSON: Expecting value at character 7"),
        ('{"a": 00123}', "Line 1 of a.jsonl is not valid JSON"),
        ('{"a": 1, "a": 2}', "Line 1 of a.jsonl names the key 'a' twice"),
        ('{"a": NaN}', "Line 1 of a.jsonl holds NaN"),
        ('"text"', "Line 1 of a.jsonl holds the value 'text', not an object"),
        ("[1]", "holds a list"),
        ("null", "holds null"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"a": "line\nbreak"}', "Line 1 of a.jsonl is not valid JSON"),
    ],
)
def test_a_broken_line_is_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_json_lines(text, "a.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": []}', "a.json holds one object, not an array"),
        ('[{"a": 1}, 2]', "Record 2 of a.json holds the value '2'"),
        ("[" * 100_000, "nested too deep"),
        ('[{"a": 1},\n{"a": }]', "at line 2"),
    ],
)
def test_a_broken_array_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_json(text, "a.json")
