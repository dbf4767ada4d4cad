import csv
import io

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tsugiki.data.delimited import parse_delimited
from tsugiki.errors import DataError

CELL = st.text(
    st.one_of(st.sampled_from(list('あ漢,;\t"\n\r =12')), st.characters(blacklist_characters="\x00")), max_size=12
).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)


@given(
    st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1)),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_csv_writer_wrote_comes_back(rows: list[list[str]], separator: str, line_end: str) -> None:
    assume(any(rows[-1]))  # empty rows at the end are not data
    columns = [f"column {number}" for number in range(len(rows[0]))]
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows([columns, *rows])
    names, records, numbers, _ = parse_delimited(file.getvalue(), "a.csv", separator)
    assert list(names) == columns
    assert [[record[name] for name in names] for record in records] == [[cell or None for cell in row] for row in rows]
    assert numbers == list(range(2, len(rows) + 2))


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1;5,2\n", ","),
        ("a;b\n1,5;2\n", ";"),
        ("a\tb\n1,5\t2;3\n", "\t"),
        ("a;b;c\n1,5;2,5;3,5\n", ";"),
        ('prompt,completion\n"a;b",c\n', ","),
    ],
)
def test_the_separator_that_gives_even_rows_is_taken(text: str, separator: str) -> None:
    columns, rows, _, note = parse_delimited(text, "a.csv", None)
    assert parse_delimited(text, "a.csv", separator)[:2] == (columns, rows)
    assert len(columns) > 1
    assert note == (f"The cells are separated by { {',': 'comma', ';': 'semicolon', chr(9): 'tab'}[separator] }.",)


def test_a_single_column_is_read_as_one() -> None:
    columns, rows, _, _ = parse_delimited("text\nfoo\nbar\n", "a.csv", None)
    assert columns == ("text",)
    assert rows == [{"text": "foo"}, {"text": "bar"}]


def test_row_numbers_are_those_of_a_spreadsheet() -> None:
    text = '\na,b\n"1\n2\n3",x\n\n4,y\n,\n\n'
    columns, rows, numbers, _ = parse_delimited(text, "a.csv", None)
    assert columns == ("a", "b")
    assert list(zip(numbers, rows, strict=True)) == [
        (3, {"a": "1\n2\n3", "b": "x"}),
        (4, {"a": None, "b": None}),
        (5, {"a": "4", "b": "y"}),
    ]


def test_written_forms_stay() -> None:
    _, rows, _, _ = parse_delimited("a,b\n00123,1.10\n  x , =1\n", "a.csv", None)
    assert rows == [{"a": "00123", "b": "1.10"}, {"a": "  x ", "b": " =1"}]


def test_empty_cells_beyond_the_header_are_no_data() -> None:
    columns, rows, _, _ = parse_delimited("a,b,,\n1,2,,\n3,4\n", "a.csv", ",")
    assert columns == ("a", "b")
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2,3\n1,2\n3\n", "header has 2 cells, but row 2 has 3, row 4 has 1"),
        ("a,b\n" + "1\n" * 15, "row 11 has 1 and 5 more rows differ"),
        ("a,b\n" + "1\n" * 11, "row 11 has 1 and 1 more row differs"),
        ("a\n1,2\n3\n4\n", "header has 1 cell, but row 2 has 2"),
        ("a,a\n1,2\n", "names the column 'a' more than once"),
        ("a,,b\n1,2,3\n", "Column 2 of a.csv has no name"),
        ('a,b\n"1"x,2\n', r"Row 2 of a.csv \(line 2\) goes on after a closing double quote"),
        ('a,b\n1,2\n"3,4\n5,6\n', "Row 3 of a.csv opens a double quote that is never closed"),
        ("a,b\n" + "x" * 1_000_001 + ",2\n", "cell of more than 1,000,000 characters"),
    ],
)
def test_broken_files_name_the_row(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_delimited(text, "a.csv", ",")


@pytest.mark.parametrize(
    ("title", "quotes"),
    [("不具合一覧 2024年度,,", False), ("不具合一覧,2024年度,", False), ("不具合一覧 2024年度", True)],
)
def test_a_title_above_the_table_is_told_as_in_a_workbook(title: str, quotes: bool) -> None:
    text = f"{title}\n\nNo,現象,対策\n1,異音,交換\n第二工場,,\n2,漏れ,\n"
    with pytest.raises(DataError, match=r"the header \(row 1\) names . columns?, but rows 3.* hold more") as caught:
        parse_delimited(text, "a.csv", ",")
    assert "delete title rows above it" in caught.value.fix
    assert ("double quotes" in caught.value.fix) is quotes


def test_the_csv_module_keeps_its_own_limit() -> None:
    before = csv.field_size_limit()
    parse_delimited("a,b\n" + "x" * 200_000 + ",2\n", "a.csv", ",")
    assert csv.field_size_limit() == before
