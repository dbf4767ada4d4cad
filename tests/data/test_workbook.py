import datetime
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tsugiki.data.read import read_table
from tsugiki.data.shapes import to_examples
from tsugiki.data.workbook import read_workbook
from tsugiki.errors import DataError


def workbook(fill: Callable[[Any], None]) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    fill(book)
    book.close()
    return file.getvalue()


def sheet_with(rows: list[list[str]], *, first_row: int = 0, first_column: int = 0) -> bytes:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        for row, cells in enumerate(rows, start=first_row):
            for column, cell in enumerate(cells, start=first_column):
                if cell:
                    sheet.write_string(row, column, cell)

    return workbook(fill)


def test_every_cell_is_the_text_the_sheet_shows() -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        five_digits, date = book.add_format({"num_format": "00000"}), book.add_format({"num_format": "yyyy/mm/dd"})
        for column, name in enumerate(["text", "padded", "number", "date", "formula", "error", "yes"]):
            sheet.write_string(0, column, name)
        sheet.write_string(1, 0, "00123")
        sheet.write_number(1, 1, 123, five_digits)
        sheet.write_number(1, 2, 1234567890123456)
        sheet.write_datetime(1, 3, datetime.datetime(2026, 1, 2), date)
        sheet.write_formula(1, 4, "=1+2", None, 3)
        sheet.write_formula(1, 5, "=NA()", None, "#N/A")
        sheet.write_boolean(1, 6, True)

    sheet = read_workbook(workbook(fill), "a.xlsx", None)
    assert sheet.rows == [
        {
            "text": "00123",
            "padded": "00123",
            "number": "1234567890123456",
            "date": "2026-01-02",
            "formula": "3",
            "error": "#N/A",
            "yes": "true",
        }
    ]
    text = "1 date or time in 'date', row 2: read as 2024-04-01, 08:00 or both; the sheet may show it otherwise."
    assert sheet.notes == (text,)


@pytest.mark.parametrize(("first_row", "first_column"), [(0, 0), (2, 1), (7, 3)])
def test_row_numbers_are_those_of_the_sheet(first_row: int, first_column: int) -> None:
    cells = [["prompt", "completion"], ["a", "b"], ["", ""], ["c\nd", ""], ["", ""]]
    content = sheet_with(cells, first_row=first_row, first_column=first_column)
    sheet = read_workbook(content, "a.xlsx", None)
    assert sheet.columns == ("prompt", "completion")
    assert [row - first_row for row in sheet.row_numbers] == [2, 3, 4]
    assert [row["prompt"] for row in sheet.rows] == ["a", None, "c\nd"]


def test_sheets_are_chosen_by_name_and_the_choice_is_said() -> None:
    def fill(book: Any) -> None:
        book.add_worksheet("空")
        for name in ("一", "二"):
            sheet = book.add_worksheet(name)
            sheet.write_column(0, 0, ["a", f"in {name}"])

    content = workbook(fill)
    sheet = read_workbook(content, "a.xlsx", None)
    assert sheet.rows == [{"a": "in 一"}]
    assert sheet.others == ("空", "二")
    assert sheet.notes == ("Read the sheet '一'; not read: '空', '二' (choose with --sheet).",)
    assert read_workbook(content, "a.xlsx", "二").rows == [{"a": "in 二"}]
    with pytest.raises(DataError, match=r"no sheet '三'.* '空', '一', '二'"):
        read_workbook(content, "a.xlsx", "三")
    with pytest.raises(DataError, match=r"The sheet '空' of a.xlsx is empty"):
        read_workbook(content, "a.xlsx", "空")


def test_cells_right_of_the_header_are_named_by_row() -> None:
    content = sheet_with([["不具合一覧"], ["prompt", "completion"], ["a", "b"]])
    with pytest.raises(DataError, match=r"names 1 column, but rows 2 and 3 hold more.*title rows"):
        read_workbook(content, "a.xlsx", None)


def without_values(content: bytes, value: str) -> bytes:
    """The workbook as a program writes it that does not calculate: formulas whose saved value was `value` have none."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(file, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name).replace(f"<v>{value}</v>".encode(), b"<v></v>"))
    return file.getvalue()


def test_formulas_without_a_saved_value_are_told_also_below_the_last_value(tmp_path: Path) -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        sheet.write_row(0, 0, ["prompt", "completion", "note"])
        sheet.write_column(1, 0, ["q", "r"])
        for row, column in [(1, 2), (2, 1), (3, 0), (3, 1)]:
            sheet.write_formula(row, column, "=1+1", None, 987)
        sheet.write_string(1, 1, "a")

    path = tmp_path / "a.xlsx"
    path.write_bytes(without_values(workbook(fill), "987"))
    sheet = read_workbook(path.read_bytes(), "a.xlsx", None)
    assert sheet.unsaved == {2: ("note",), 3: ("completion",), 4: ("prompt", "completion")}
    examples, guess = to_examples(read_table(path))
    assert [example.row for example in examples] == [2]  # the column 'note' is not used
    assert [(exclusion.row, exclusion.reason) for exclusion in guess.excluded] == [
        (3, "the formula in column 'completion' has no saved value; open the file in Excel and save it"),
        (4, "the formula in column 'prompt' has no saved value; open the file in Excel and save it"),
    ]


def test_merged_cells_are_told() -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        sheet.write_row(0, 0, ["prompt", "completion"])
        sheet.write_column(1, 0, ["q", "r"])
        sheet.merge_range("B2:B3", "a")

    sheet = read_workbook(workbook(fill), "a.xlsx", None)
    assert [row["completion"] for row in sheet.rows] == ["a", None]
    assert sheet.notes == ("1 range of merged cells (B2:B3): only the first cell of each holds the text.",)


def test_a_zip_bomb_is_not_unpacked() -> None:
    file = io.BytesIO(sheet_with([["a"], ["b"]]))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/zeros.bin", b"\0" * 60_000_000)
    with pytest.raises(DataError, match="looks like a zip bomb"):
        read_workbook(file.getvalue(), "a.xlsx", None)


def test_a_size_that_lies_is_found_out() -> None:
    content = bytearray(sheet_with([["a"], ["b"]]))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = b"xl/worksheets/sheet1.xml"
        size = archive.getinfo(name.decode()).file_size
    entry = content.rindex(name) - 46  # the central directory is last
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 24 : entry + 28] = (size // 2).to_bytes(4, "little")
    with pytest.raises(DataError, match="damaged"):
        read_workbook(bytes(content), "a.xlsx", None)


def test_a_stray_cell_far_away_does_not_fill_the_memory() -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        sheet.write_column(0, 0, ["a", "b"])
        sheet.write_string(1_048_575, 16_383, "stray")

    with pytest.raises(DataError, match="spans 17,179,869,184 cells"):
        read_workbook(workbook(fill), "a.xlsx", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"prompt,completion\n", "not an XLSX workbook, or it is damaged"),
        (lambda content: content[: len(content) // 2], "not an XLSX workbook, or it is damaged"),
    ],
)
def test_what_is_no_workbook_is_refused(change: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_workbook(change(sheet_with([["a"], ["b"]])), "a.xlsx", None)


def test_another_zip_archive_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(DataError, match="zip archive, but not a sound XLSX"):
        read_workbook(file.getvalue(), "a.xlsx", None)
