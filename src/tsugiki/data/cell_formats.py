"""What a number format makes of the number in a sheet's cell: leading zeros, dates and times, percent signs, units.

Called by workbook.py. A cell holds a number and, apart from it, how it is shown: 45383 may be a date, 0.125 may be
shown as 12.5%. Leading zeros, dates and times are read as texts; for the rest the number is read and a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal
from xml.etree import ElementTree

from tsugiki.data.rows import counted, name_columns, name_rows, shown

Kind = Literal["zeros", "moment", "duration", "percent", "other"]

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
DAY = 86_400_000  # milliseconds
LAST_DAY = 2_958_466  # 10000-01-01
# Formats that files name by number only. 27 to 36 and 50 to 58 are the dates and times of Japanese and Chinese Excel;
# which unit a currency shows depends on the machine, that it shows one does not.
BUILT_IN = {
    **dict.fromkeys(map(str, (*range(14, 23), *range(27, 37), 45, 47, *range(50, 59))), "yyyy"),
    **{"1": "0", "2": "0.00", "3": "#,##0", "4": "#,##0.00", "9": "0%", "10": "0.00%", "11": "0.00E+00"},
    **{"12": "# ?/?", "13": "# ??/??", "37": "#,##0", "38": "#,##0", "39": "#,##0.00", "40": "#,##0.00"},
    **{"41": "#,##0", "43": "#,##0.00", "46": "[h]:mm:ss", "48": "##0.0E+0"},
    **dict.fromkeys(("5", "6", "7", "8", "42", "44"), '"¤"#,##0'),
}
LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]')  # quoted, escaped, currency
NOT_DIGITS = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')  # beside these: padding, filling, colours and conditions
ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
DATE_CODE = re.compile(r"[ymdhsg]|aaa|e(?![-+])", re.IGNORECASE)
PLAIN_DIGITS = re.compile(r"[#?0,]*(?:\.([#?0]*))?")


@dataclass(frozen=True)
class Format:
    code: str
    kind: Kind


@dataclass
class Shown:
    """Cells whose number is not what the sheet shows, as (row, column, number, format code)."""

    moments: list[tuple[int, int, str, str]] = field(default_factory=list)
    percents: list[tuple[int, int, str, str]] = field(default_factory=list)
    others: list[tuple[int, int, str, str]] = field(default_factory=list)


def cell_formats(styles: ElementTree.Element) -> dict[str, Format]:
    """Cell style to its number format; styles that show a number as it is are left out."""
    codes = {entry.get("numFmtId"): entry.get("formatCode") or "" for entry in styles.iter(f"{MAIN}numFmt")}
    cell_styles = styles.find(f"{MAIN}cellXfs")
    formats: dict[str, Format] = {}
    for index, entry in enumerate(cell_styles if cell_styles is not None else ()):
        number = entry.get("numFmtId") or "0"
        code = codes.get(number, BUILT_IN.get(number, ""))
        if (kind := _kind(code)) is not None:
            formats[str(index)] = Format(code, kind)
    return formats


def cell_text(number: str, format_: Format, since_1904: bool) -> str | None:
    """The text of a cell whose format is part of its value, None where the number itself is read."""
    if format_.kind == "zeros":  # part numbers are often kept as 123 and shown as 00123
        return number.zfill(len(format_.code)) if number.isdigit() else None
    if format_.kind == "moment":
        return _moment(float(number), since_1904)
    return _clock(round(float(number) * DAY)) if format_.kind == "duration" and float(number) >= 0 else None


def iso_text(written: str) -> str | None:
    """The text of a date that the file keeps as 2024-04-01T00:00:00."""
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    passed = moment.replace(tzinfo=None) - datetime(moment.year, moment.month, moment.day)
    return _date_and_clock(moment.date(), round(passed / timedelta(milliseconds=1)))


def is_shown_otherwise(number: str, format_: Format) -> bool:
    """Whether the sheet shows other characters than the number: 25 as 25mm, 1.234 as 1.2, 1200 as 1,200."""
    bare = NOT_DIGITS.sub("", _positive(format_.code)).strip()
    digits = PLAIN_DIGITS.fullmatch(bare)
    if _literals(format_.code) or digits is None:
        return True
    decimals = digits[1] or ""
    value = float(number)
    if "#" in decimals:  # up to so many decimals
        return round(value, len(decimals)) != value or ("," in bare and abs(value) >= 1000)
    return f"{value:{',' if ',' in bare else ''}.{len(decimals)}f}" != number


def format_notes(cells: Shown, columns: Mapping[int, str]) -> Iterator[str]:
    """What to tell the user; `columns` names the columns of the table by their place in the sheet."""
    if cells.moments:
        text = f"{_where(cells.moments, columns)}: read as 2024-04-01, 08:00 or both; the sheet may show it otherwise."
        yield f"{counted(len(cells.moments), 'date or time', 'dates or times')} {text}"
    if cells.percents:
        _, _, number, _ = cells.percents[0]
        text = f"the plain number is read, such as {number} for {_percent(number)}."
        yield f"{counted(len(cells.percents), 'percentage')} {_where(cells.percents, columns)}: {text}"
    if cells.others:
        _, _, number, code = cells.others[0]
        text = f"the plain number is read, such as {number} where the format is {shown(code)}."
        told = counted(len(cells.others), "number with a unit or a format", "numbers with a unit or a format")
        yield f"{told} {_where(cells.others, columns)}: {text}"


def _kind(code: str) -> Kind | None:
    bare = NOT_DIGITS.sub("", _positive(code)).strip()
    if re.fullmatch(r"0{2,}", code):
        return "zeros"
    if ELAPSED.search(code):
        return "duration"
    if "general" in bare.lower() or bare in ("", "@"):
        return "other" if _literals(code) and bare != "@" else None
    if "%" in bare:
        return "percent"
    return "moment" if DATE_CODE.search(bare) else "other"


def _positive(code: str) -> str:
    """A code may have parts for positive, negative and zero, with semicolons between them."""
    return code.split(";", maxsplit=1)[0]


def _literals(code: str) -> str:
    """Characters that a format adds: units, currency signs."""
    return "".join("".join(found) for found in LITERAL.findall(_positive(code))).strip()


def _moment(serial: float, since_1904: bool) -> str | None:
    days, passed = divmod(round(serial * DAY), DAY)
    if not 0 <= days < LAST_DAY - 1462 * since_1904:
        return None  # the sheet shows ####
    if days == 0 and not since_1904:
        return _clock(passed)
    # Excel counts a 29 February 1900 that never was: day 60.
    first = date(1904, 1, 1) if since_1904 else date(1899, 12, 31 if days < 60 else 30)
    return _date_and_clock(first + timedelta(days=days), passed)


def _date_and_clock(day: date, passed: int) -> str:
    return f"{day.isoformat()} {_clock(passed)}" if passed else day.isoformat()


def _clock(milliseconds: int) -> str:
    """08:00, 08:00:05, 36:30; seconds only where there are any."""
    seconds, fraction = divmod(milliseconds, 1000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    if seconds % 60 or fraction:
        text += f":{seconds % 60:02}"
    return f"{text}.{fraction:03}" if fraction else text


def _percent(number: str) -> str:
    return f"{float(number) * 100:.10g}%"


def _where(cells: list[tuple[int, int, str, str]], columns: Mapping[int, str]) -> str:
    named = [columns[column] for column in sorted({column for _, column, _, _ in cells}) if column in columns]
    within = f"in {name_columns(named)}, " if named else "in "
    return within + name_rows(sorted({row for row, _, _, _ in cells}))
