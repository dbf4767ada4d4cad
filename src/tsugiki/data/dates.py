"""Dates as people write them, in Japanese and English, and a column of them as an order in time.

Called by work/ for the time column that the user named, and to notice a column that holds dates. Understood are
2026-11-02, 2026/11/2, 2026.11.02, 20261102, 2026年11月2日, 令和8年11月2日 and R8.11.2, 2 Nov 2026 and Nov 2, 2026, each
with or without a weekday, a time of day and an offset from UTC; a month alone (2026-11, 2026年11月); and the number by
which a spreadsheet counts days (46328). What could mean two days is refused and never guessed: a year of two digits, a
day or month before the year (03/04/2026), a weekday or an era that contradicts the date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Literal

from tsugiki.data.rows import counted, shown
from tsugiki.errors import DataError

Precision = Literal["month", "day"]  # a day may have a time of day

LOOKED_AT = 200  # filled cells that tell whether a column holds dates
FIRST_YEAR, LAST_YEAR = 1900, 2199  # beyond them stand placeholders: 0001-01-01, 9999-12-31
FIRST_SERIAL, LAST_SERIAL = 20_000, 80_000  # spreadsheet days: October 1954 to January 2119
SERIAL_ORIGIN = datetime(1899, 12, 30)  # day 0 for every day after February 1900
ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}  # the year before the first one
ERA_LETTERS = {"M": "明治", "T": "大正", "S": "昭和", "H": "平成", "R": "令和"}
WEEKDAYS = ("月mon", "火tue", "水wed", "木thu", "金fri", "土sat", "日sun")  # Monday is 0, as in datetime
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
OFFSETS = {"Z": "+00:00", "UTC": "+00:00", "JST": "+09:00"}
DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-")

_ERA, _ERA_YEAR = f"{'|'.join(ERAS)}|[MTSHRmtshr]", r"元|\d{1,2}"
_HEAD = (
    rf"(?:(?P<year>\d{{4}})(?P<cut>年?\((?P<also_era>{_ERA})(?P<also_era_year>{_ERA_YEAR})年?\)年?|年|[-/.])"
    rf"|(?P<era>{_ERA})\.? ?(?P<era_year>{_ERA_YEAR})(?:年?\((?P<also_year>\d{{4}})年?\)年?|年|[-/.])) ?"
)
_REST = r"(?P<month>\d{1,2})(?:(?:月|[-/.]) ?(?P<day>\d{1,2})日?|月)?"
_NAMED = (
    r"(?:(?P<first_day>\d{1,2})(?:st|nd|rd|th)?[ -](?P<first_name>[A-Za-z]{3,9})\.?,?[ -](?P<first_year>\d{4})"
    r"|(?P<name>[A-Za-z]{3,9})\.? (?P<name_day>\d{1,2})(?:st|nd|rd|th)?,? (?P<name_year>\d{4}))"
)
_ENGLISH_WEEKDAY = r"(?:Mon|Tue(?:s)?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_WEEKDAY = rf"(?: ?\(?(?P<weekday>[月火水木金土日](?=曜|・|\))|{_ENGLISH_WEEKDAY})(?:曜日?)?(?:・?祝日?)?\)?)?"
_TIME = (
    r"(?:(?:T| |(?<=日)|(?<=\)))(?P<half>午前|午後)? ?(?P<hour>\d{1,2})"
    r"(?:[:時] ?(?P<minute>\d{1,2})(?:[:分] ?(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?秒?|分)?|時)"
    r"(?: ?(?P<meridiem>[AaPp][Mm]))?(?: ?(?P<zone>Z|UTC|JST|[-+]\d{2}:?\d{2}))?)?"
)
_LEADING_WEEKDAY = rf"(?:(?P<weekday>{_ENGLISH_WEEKDAY})\.?,? )?"
WRITTEN = re.compile(_HEAD + _REST + _WEEKDAY + _TIME)
ENGLISH = re.compile(_LEADING_WEEKDAY + _NAMED + _TIME.replace("T| |", "(?:T|,? )|"))
DIGITS = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?")
SERIAL = re.compile(r"\d{5}(?:\.\d+)?")
NOT_READ = (  # what is refused, and why
    (re.compile(r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}(?!\d).*"), "which could mean two days, since the year comes last"),
    (re.compile(r"'?\d{1,2}(?:[-/.]|年) ?\d{1,2}(?:[-/.]|月) ?\d{1,2}(?!\d).*"), "a year of two digits"),
    (re.compile(r"\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2}(?!\d).*"), "a year of two digits"),
    (re.compile(r"\d{6}"), "six digits, which may be a month or a day"),
    (re.compile(r"(?:午前|午後)? ?\d{1,2}[:時].*"), "a time without a day"),
    (re.compile(r"\d{1,2}[-/月] ?\d{1,2}日?"), "a day without a year"),
)
WRITE_SO = "Write dates as 2026-04-03, or leave --time-column out."


@dataclass(frozen=True)
class Moment:
    """`at` is in UTC where the text names an offset, as written otherwise; of a month, its beginning."""

    at: datetime
    precision: Precision
    zoned: bool = False


class NoDateError(ValueError):
    """Why a text is no date, as the end of a sentence that shows the text."""


def read_moment(text: str) -> Moment:
    """The moment a text names; NoDateError where it names none, or could name two."""
    plain = " ".join(unicodedata.normalize("NFKC", text).translate(DASHES).split())
    for form, build in ((WRITTEN, _written), (ENGLISH, _english), (DIGITS, _digits), (SERIAL, _serial)):
        if found := form.fullmatch(plain):
            return build(found)
    for form, why in NOT_READ:
        if form.fullmatch(plain):
            raise NoDateError(why)
    raise NoDateError("which is no date")


def read_moments(cells: Mapping[int, object], rows: Sequence[int], column: str) -> dict[int, datetime]:
    """Row number to moment, for the rows in use; `cells` as Table.column gives them.

    DataError where one cannot be read, or where two forms cannot be put in order (months beside days, offsets from UTC
    beside times without one).
    """
    found: dict[int, Moment] = {}
    faults: dict[int, str] = {}
    for row in rows:
        cell = cells.get(row)
        try:
            if not isinstance(cell, str) or not cell.strip():
                raise NoDateError("")
            found[row] = read_moment(cell)
        except NoDateError as fault:
            faults[row] = str(fault)
    if faults:
        raise _unreadable(cells, faults, column)
    months = {row: moment.precision == "month" for row, moment in found.items()}
    offsets = {row: moment.zoned for row, moment in found.items()}
    _refuse_two_forms(cells, months, column, "a month alone", "a day")
    _refuse_two_forms(cells, offsets, column, "an offset from UTC", "none")
    return {row: moment.at for row, moment in found.items()}


def holds_dates(cells: Iterable[object]) -> bool:
    """Whether the first filled cells are all written dates of more than one day, most of them filled.

    Bare numbers of days are not taken for dates here: an amount looks the same.
    """
    filled: list[str] = []
    blank = 0
    for cell in cells:
        if isinstance(cell, str) and cell.strip():
            filled.append(cell)
        elif cell is None or isinstance(cell, str):
            blank += 1
        else:
            return False
        if len(filled) >= LOOKED_AT or blank > LOOKED_AT:
            break
    if blank > len(filled) or any(map(_is_number_of_days, filled)):
        return False
    try:
        return len({read_moment(cell).at for cell in filled}) > 1
    except NoDateError:
        return False


def moment_text(moment: datetime) -> str:
    """2026-11-02, or 2026-11-02 08:00 where there is a time of day."""
    return moment.isoformat(" ", "minutes") if moment.time() != time.min else moment.date().isoformat()


def _is_number_of_days(cell: str) -> bool:
    return SERIAL.fullmatch(unicodedata.normalize("NFKC", cell).strip()) is not None


def _refuse_two_forms(cells: Mapping[int, object], has: Mapping[int, bool], column: str, one: str, other: str) -> None:
    first: dict[bool, int] = {}
    for row, side in has.items():
        first.setdefault(side, row)
    if len(first) == 2:
        texts = {side: shown(str(cells[row])) for side, row in first.items()}
        raise DataError(
            f"The time column {column!r} has {one} in row {first[True]} ({texts[True]}) and {other} in row "
            f"{first[False]} ({texts[False]}), which cannot be put in order.",
            fix="Write all rows in one form.",
        )


def _unreadable(cells: Mapping[int, object], faults: Mapping[int, str], column: str) -> DataError:
    row, why = next(iter(faults.items()))
    cell = cells.get(row)
    others = counted(len(faults) - 1, "other row")
    more = f", and {others} {'is' if len(faults) == 2 else 'are'} unreadable too" if len(faults) > 1 else ""
    if not isinstance(cell, str) or not cell.strip():
        return DataError(
            f"Row {row} has no date in the time column {column!r}{more}.",
            fix="Fill it in, or delete the row.",
        )
    return DataError(f"Row {row} says {shown(cell)} in the time column {column!r}, {why}{more}.", fix=WRITE_SO)


def _written(found: re.Match[str]) -> Moment:
    era, year = found["era"], found["year"]
    value = int(year) if year else _era_year(era, found["era_year"])
    also = int(found["also_year"]) if found["also_year"] else None
    if found["also_era"]:
        also = _era_year(found["also_era"], found["also_era_year"])
    if also is not None and also != value:
        raise NoDateError(f"whose years contradict each other ({value} and {also})")
    if found["day"] is None:
        if found["cut"] == "." or found["hour"] or found["weekday"]:  # 2026.1 may have been 2026.10
            raise NoDateError("which is no date")
        return Moment(_day(value, int(found["month"]), 1), "month")
    return _timed(_day(value, int(found["month"]), int(found["day"])), found)


def _english(found: re.Match[str]) -> Moment:
    name = (found["first_name"] or found["name"])[:3].lower()
    if name not in MONTHS:
        raise NoDateError("which is no date")
    day, year = found["first_day"] or found["name_day"], found["first_year"] or found["name_year"]
    return _timed(_day(int(year), MONTHS.index(name) + 1, int(day)), found)


def _digits(found: re.Match[str]) -> Moment:
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    return Moment(_at(_day(year, month, day), hour, minute, second), "day")


def _serial(found: re.Match[str]) -> Moment:
    days = float(found[0])
    if not FIRST_SERIAL <= days < LAST_SERIAL:
        raise NoDateError("which is no date")
    return Moment(SERIAL_ORIGIN + timedelta(seconds=round(days * 86_400)), "day")


def _era_year(era: str, year: str) -> int:
    return ERAS[ERA_LETTERS.get(era.upper(), era)] + (1 if year == "元" else int(year))


def _day(year: int, month: int, day: int) -> datetime:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise NoDateError("which looks like a placeholder, not like a date")
    try:
        return datetime(year, month, day)
    except ValueError:
        raise NoDateError("a day that no calendar has") from None


def _timed(day: datetime, found: re.Match[str]) -> Moment:
    weekday = found["weekday"]
    if weekday and not any(sign in WEEKDAYS[day.weekday()] for sign in (weekday[0], weekday[:3].lower())):
        raise NoDateError(f"but that day was a {day:%A}")
    if found["hour"] is None:
        return Moment(day, "day")
    half = {"午前": "am", "午後": "pm"}.get(found["half"] or "", (found["meridiem"] or "").lower())
    hour = int(found["hour"])
    if half and hour > 12:
        raise NoDateError("whose time of day contradicts itself")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    at = _at(day, hour, int(found["minute"] or 0), int(found["second"] or 0))
    at += timedelta(microseconds=int((found["fraction"] or "").ljust(6, "0")[:6]))
    zone = found["zone"]
    if zone is None:
        return Moment(at, "day")
    written = OFFSETS.get(zone, zone).replace(":", "")
    minutes = int(written[1:3]) * 60 + int(written[3:5])
    if minutes > 14 * 60:
        raise NoDateError("whose offset from UTC no place has")
    offset = timezone(timedelta(minutes=-minutes if written[0] == "-" else minutes))
    return Moment(at.replace(tzinfo=offset).astimezone(UTC).replace(tzinfo=None), "day", zoned=True)


def _at(day: datetime, hour: int, minute: int, second: int) -> datetime:
    try:
        return day.replace(hour=hour, minute=minute, second=second)
    except ValueError:
        raise NoDateError("a time that no clock shows") from None
