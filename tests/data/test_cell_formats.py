import datetime
import io
from typing import Any
from xml.etree import ElementTree

import pytest
import xlsxwriter

from tsugiki.data.cell_formats import MAIN, Format, cell_formats, cell_text, is_shown_otherwise, iso_text
from tsugiki.data.workbook import read_workbook


def format_of(code: str) -> Format | None:
    escaped = code.replace('"', "&quot;")
    styles = ElementTree.fromstring(
        f'<styleSheet xmlns="{MAIN[1:-1]}"><numFmts><numFmt numFmtId="170" formatCode="{escaped}"/></numFmts>'
        '<cellXfs><xf numFmtId="170"/></cellXfs></styleSheet>'
    )
    return cell_formats(styles).get("0")


@pytest.mark.parametrize(
    ("code", "number", "text"),
    [
        ("yyyy/mm/dd", "45383", "2024-04-01"),
        ('ggge"年"m"月"d"日"', "45383", "2024-04-01"),
        ("[$-411]ge.m.d;@", "45383", "2024-04-01"),
        ("yyyy/mm/dd hh:mm", "45383.333333333336", "2024-04-01 08:00"),
        ("h:mm", "0.33333333333333331", "08:00"),
        ("h:mm:ss AM/PM", "0.33339120370370373", "08:00:05"),
        ("mm:ss.0", "5.7870370370370373E-6", "00:00:00.500"),
        ("[h]:mm", "1.5208333333333333", "36:30"),
        ("yyyy/mm/dd", "1", "1900-01-01"),
        ("yyyy/mm/dd", "61", "1900-03-01"),
        ("yyyy/mm/dd", "-1", None),
        ("yyyy/mm/dd", "2958466", None),
        ("00000", "123", "00123"),
        ("0.0%", "0.125", None),
        ("0.00E+00", "12000", None),
    ],
)
def test_dates_times_and_leading_zeros_are_texts(code: str, number: str, text: str | None) -> None:
    found = format_of(code)
    assert found is not None
    assert cell_text(number, found, since_1904=False) == text


def test_workbooks_may_count_from_1904() -> None:
    assert cell_text("43921.5", Format("yyyy", "moment"), since_1904=True) == "2024-04-01 12:00"


def test_dates_written_as_text() -> None:
    assert iso_text("2024-04-01T00:00:00") == iso_text("2024-04-01") == "2024-04-01"
    assert iso_text("2024-04-01T08:00:05") == "2024-04-01 08:00:05"
    assert iso_text("soon") is None


@pytest.mark.parametrize("code", ["General", "@", "", "General;@"])
def test_formats_that_show_the_number_itself(code: str) -> None:
    assert format_of(code) is None


@pytest.mark.parametrize(
    ("code", "number", "otherwise"),
    [
        ('0"mm"', "25", True),
        ('General"mm"', "25", True),
        ("0\\℃", "25", True),
        ("[$¥-411]#,##0", "25", True),
        ("0.00", "1.1", True),
        ("0.00", "1.25", False),
        ("0.0#", "1.234", True),
        ("0", "25", False),
        ("0_ ", "25", False),
        ("#,##0;[Red]-#,##0", "999", False),
        ("#,##0", "1200", True),
        ("# ?/?", "0.5", True),
        ("000-0000", "1234567", True),
    ],
)
def test_what_is_shown_otherwise(code: str, number: str, otherwise: bool) -> None:
    found = format_of(code)
    assert found is not None
    assert is_shown_otherwise(number, found) is otherwise


def test_a_sheet_tells_what_it_shows_otherwise() -> None:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet: Any = book.add_worksheet()
        sheet.write_row(0, 0, ["日付", "時刻", "率", "長さ"])
        formats = [book.add_format({"num_format": code}) for code in ("yyyy/m/d", "h:mm", "0.0%", '0"mm"')]
        for row in (1, 2):
            sheet.write_datetime(row, 0, datetime.datetime(2024, 4, row), formats[0])
            sheet.write_datetime(row, 1, datetime.time(8), formats[1])
        sheet.write_number(1, 2, 0.125, formats[2])
        sheet.write_number(2, 3, 25, formats[3])
    read = read_workbook(file.getvalue(), "a.xlsx", None)
    assert read.rows == [
        {"日付": "2024-04-01", "時刻": "08:00", "率": "0.125", "長さ": None},
        {"日付": "2024-04-02", "時刻": "08:00", "率": None, "長さ": "25"},
    ]
    assert read.notes == (
        "4 dates or times in '日付', '時刻', rows 2 and 3: read as 2024-04-01, 08:00 or both; the sheet may show it "
        "otherwise.",
        "1 percentage in '率', row 2: the plain number is read, such as 0.125 for 12.5%.",
        "1 number with a unit or a format in '長さ', row 3: the plain number is read, such as 25 where the format is "
        "'0\"mm\"'.",
    )
