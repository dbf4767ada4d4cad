import pytest

from tsugiki.data.rows import check_cells, header_names, name_columns, name_rows, shown, trimmed
from tsugiki.errors import DataError


def test_header_names_are_trimmed_of_blanks_marks_and_empty_ends() -> None:
    assert header_names(["\ufeffprompt ", "a b", "", None], "a.csv") == ("prompt", "a b")


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["a", "a "], "names the column 'a' more than once"), ([None, "b"], "Column 1 of a.csv has no name")],
)
def test_headers_that_do_not_tell_columns_apart(cells: list[str | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        header_names(cells, "a.csv")


def test_only_empty_cells_are_trimmed() -> None:
    assert trimmed(["a", "b", "", None], 1) == ["a", "b"]
    assert trimmed(["a", "", ""], 2) == ["a", ""]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "row 3"), ([3, 5], "rows 3 and 5"), ([1, 2, 3], "rows 1, 2 and 3")],
)
def test_rows_are_named(numbers: list[int], text: str) -> None:
    assert name_rows(numbers) == text


def test_many_rows_are_counted() -> None:
    assert name_rows(range(1, 51)) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 40 more"


def test_columns_in_messages_are_quoted_and_counted() -> None:
    assert name_columns(["a", "b\x1b"]) == "'a', 'b�'"
    assert name_columns([str(number) for number in range(35)]).endswith("'29' and 5 more")


def test_values_in_messages_are_short_and_harmless() -> None:
    assert shown("a\x1b[31m\nb") == "'a�[31m�b'"
    assert shown("x" * 100) == repr("x" * 40 + "…")


def test_large_cells_count_their_leaves() -> None:
    with pytest.raises(DataError, match=r"Row 7 of a.jsonl has 1,000,005 characters in column 'm'"):
        check_cells([{"m": [{"role": "x"}, "y" * 1_000_000]}], [7], "a.jsonl")
