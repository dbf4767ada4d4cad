"""Dates in every form that is read, and the forms that are refused because they could mean two days."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.dates import NoDateError, holds_dates, moment_text, read_moment, read_moments
from tsugiki.data.read import read_table
from tsugiki.errors import DataError

READ = {
    "2026-11-02": "2026-11-02",
    "2026/11/2": "2026-11-02",
    "2026.11.02": "2026-11-02",
    "２０２６／１１／０２": "2026-11-02",
    " 2026‐11‐02 ": "2026-11-02",
    "20261102": "2026-11-02",
    "20261102083000": "2026-11-02 08:30",
    "2026年11月2日": "2026-11-02",
    "2026年 11月 2日": "2026-11-02",
    "2026年11月2日(月)": "2026-11-02",
    "2026年11月3日（火・祝）": "2026-11-03",
    "2026/11/02 月曜日": "2026-11-02",
    "令和8年11月2日": "2026-11-02",
    "㋿8年11月2日": "2026-11-02",
    "令和元年5月1日": "2019-05-01",
    "平成31年5月7日": "2019-05-07",
    "昭和64年1月7日": "1989-01-07",
    "令和8年（2026年）11月2日": "2026-11-02",
    "2026（令和8）年11月2日": "2026-11-02",
    "R8.11.2": "2026-11-02",
    "h30/4/1": "2018-04-01",
    "2026-11-02T08:05:09": "2026-11-02 08:05",
    "2026-11-02 8:05": "2026-11-02 08:05",
    "2026/11/02 3:15 PM": "2026-11-02 15:15",
    "2026/11/02 12:00 AM": "2026-11-02",
    "2026年11月2日午後3時15分": "2026-11-02 15:15",
    "2026年11月2日(月) 8時": "2026-11-02 08:00",
    "2026-11-02T08:00:00Z": "2026-11-02 08:00",
    "2026-11-02T08:00:00+09:00": "2026-11-01 23:00",
    "2026-11-02 08:00 JST": "2026-11-01 23:00",
    "2026-11-02T08:00:00.123456-0530": "2026-11-02 13:30",
    "2 Nov 2026": "2026-11-02",
    "02-Nov-2026": "2026-11-02",
    "Nov 2, 2026": "2026-11-02",
    "November 2nd, 2026 08:30": "2026-11-02 08:30",
    "Mon, 2 Nov 2026 08:30": "2026-11-02 08:30",
    "2026-11-05 Thursday": "2026-11-05",
    "46328": "2026-11-02",
    "46328.5": "2026-11-02 12:00",
    "2026-11": "2026-11-01",
    "2026年11月": "2026-11-01",
    "令和8年11月": "2026-11-01",
    "2024-02-29": "2024-02-29",
}
REFUSED = {
    "26/11/02": "a year of two digits",
    "26-11-02 08:00": "a year of two digits",
    "8年11月2日": "a year of two digits",
    "'26.11.2": "a year of two digits",
    "2-Nov-26": "a year of two digits",
    "261102": "six digits",
    "03/04/2026": "two days",
    "25.12.2026": "two days",
    "11月2日": "a day without a year",
    "08:30": "a time without a day",
    "2026年11月2日(火)": "but that day was a Monday",
    "Tue, 2 Nov 2026": "but that day was a Monday",
    "令和8年(2025年)11月2日": "whose years contradict each other (2026 and 2025)",
    "2026-02-30": "a day that no calendar has",
    "2026-13-01": "a day that no calendar has",
    "2025-02-29": "a day that no calendar has",
    "2026-11-02 25:00": "a time that no clock shows",
    "2026-11-02 13:00 PM": "whose time of day contradicts itself",
    "2026-11-02T08:00:00+29:00": "whose offset from UTC no place has",
    "9999-12-31": "a placeholder",
    "0001-01-01": "a placeholder",
    "2026.1": "which is no date",
    "2 Xyz 2026": "which is no date",
    "unknown": "which is no date",
    "2026-11-02 Monitor": "which is no date",
    "12345": "which is no date",
    "123456789": "which is no date",
}


@pytest.mark.parametrize(("written", "meant"), READ.items())
def test_a_form_is_read(written: str, meant: str) -> None:
    assert moment_text(read_moment(written).at) == meant


@pytest.mark.parametrize(("written", "why"), REFUSED.items())
def test_what_could_mean_two_days_or_none_is_refused_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(NoDateError) as fault:
        read_moment(written)
    assert why in str(fault.value)


@given(st.dates(date(1950, 1, 1), date(2117, 12, 31)))  # 令和99年
def test_every_form_of_a_day_is_that_day(day: date) -> None:
    japanese = "月火水木金土日"[day.weekday()]
    era = f"令和{day.year - 2018}" if day.year > 2019 else f"平成{day.year - 1988}" if day.year > 1989 else None
    forms = [
        day.isoformat(), f"{day:%Y/%m/%d}", f"{day.year}.{day.month}.{day.day}", f"{day:%Y%m%d}",
        f"{day.year}年{day.month}月{day.day}日（{japanese}）", f"{day:%a, %d %b %Y}", f"{day:%B} {day.day}, {day.year}",
        *([f"{era}年{day.month}月{day.day}日"] if era else []),
        *([str((day - date(1899, 12, 30)).days)] if day >= date(1954, 10, 3) else []),
    ]  # fmt: skip
    for form in forms:
        assert read_moment(form).at == datetime(day.year, day.month, day.day), form


@given(st.text(max_size=20))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        assert 1900 <= (read_moment(text).at + timedelta(days=1)).year <= 2200
    except NoDateError as fault:
        assert str(fault)


def test_dates_of_a_workbook_come_as_the_sheet_shows_them(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["when", "as text"])
        formats = ("yyyy/mm/dd", "[$-411]ggge年m月d日", "d-mmm-yy", "yyyy-mm-dd hh:mm")
        for row, form in enumerate(formats, start=1):
            sheet.write_datetime(row, 0, datetime(2026, 11, 2, 8), book.add_format({"num_format": form}))
            sheet.write_string(row, 1, "令和8年11月2日")
    path = tmp_path / "a.xlsx"
    path.write_bytes(buffer.getvalue())
    table = read_table(path)
    rows = list(table.row_numbers)
    assert set(read_moments(table.column("when"), rows, "when").values()) == {datetime(2026, 11, 2, 8)}
    assert set(read_moments(table.column("as text"), rows, "as text").values()) == {datetime(2026, 11, 2)}


def test_a_column_in_which_days_have_times_now_and_then_is_one_form() -> None:
    found = read_moments({2: "2026-11-02", 3: "2026-11-02 08:00", 4: "令和8年11月3日"}, [2, 3, 4], "when")
    assert found[2] < found[3] < found[4]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({2: "2026-11-02", 3: None}, "Row 3 has no date in the time column 'when'. Fill it in"),
        (
            {2: "2026-11-02", 3: " ", 4: "x"},
            "Row 3 has no date in the time column 'when', and 1 other row is",
        ),
        (
            {2: "26/11/02", 3: "26/11/03", 4: "26/11/04"},
            "Row 2 says '26/11/02' in the time column 'when', a year of",
        ),
        ({2: "2026-11-02", 3: ["x"]}, "Row 3 has no date"),
        ({2: "2026-11", 3: "2026-11-02"}, "has a month alone in row 2 ('2026-11') and a day in row 3 ('2026-11-02')"),
        (
            {2: "2026-11-02 08:00", 3: "2026-11-02T08:00Z"},
            "has an offset from UTC in row 3 ('2026-11-02T08:00Z') and none in row 2",
        ),
    ],
)
def test_a_column_that_gives_no_order_is_one_clear_sentence(cells: dict[int, object], says: str) -> None:
    with pytest.raises(DataError) as fault:
        read_moments(cells, list(cells), "when")
    assert says in str(fault.value)


def test_only_the_rows_in_use_are_looked_at() -> None:
    assert set(read_moments({2: "2026-11-02", 3: "?"}, [2], "when")) == {2}


@pytest.mark.parametrize(
    ("cells", "holds"),
    [
        (["2026-11-02", "2026-11-03", None], True),
        (["令和8年4月1日", "2026/4/2"], True),
        (["2026-11-02", "2026-11-02"], False),  # one day tells no time
        (["2026-11-02", "later"], False),
        (["46328", "46329"], False),  # amounts look the same
        (["2026-11-02", "46329"], False),
        ([None, None, "2026-11-02", "2026-11-03", None], False),
        ([], False),
        ([["2026-11-02"], "2026-11-03"], False),
        (["A-1", "A-2"], False),
    ],
)
def test_a_column_of_dates_is_noticed(cells: list[object], holds: bool) -> None:
    assert holds_dates(cells) is holds
