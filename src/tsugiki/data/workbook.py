"""XLSX: one sheet of a workbook as text, with the row numbers the spreadsheet shows.

Called by read.py. fastexcel reads the values; what it cannot tell (on which row the sheet begins, how a number is
shown, error cells) is read from the sheet's XML beside it. Nothing is evaluated: a formula counts as the value the
spreadsheet saved for it, and where none was saved that is told. Merged cells hold their text in the first cell only,
which is told as well; hidden rows are read like others.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO
from xml.etree import ElementTree  # expat limits entity expansion; what it refuses becomes a DataError

from tsugiki.data.cell_formats import (
    MAIN,
    Format,
    Shown,
    cell_formats,
    cell_text,
    format_notes,
    is_shown_otherwise,
    iso_text,
)
from tsugiki.data.rows import NAMED_ROWS, Records, Row, counted, header_names, title_above, trimmed
from tsugiki.errors import DataError

MAX_UNPACKED_BYTES = 1 << 30
MAX_EXPANSION = 400  # a sheet of one repeated sentence packs 100 to 1
MAX_SHEET_CELLS = 50_000_000  # the rectangle from row 1 to the last filled cell is held in memory
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
PACKAGE = "{http://schemas.openxmlformats.org/package/2006/relationships}"
CELL_NAME = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
DAMAGED = "Open it in a spreadsheet and save it again as .xlsx, or give CSV UTF-8."


@dataclass(frozen=True)
class Sheet:
    columns: tuple[str, ...]
    rows: list[Row]
    row_numbers: list[int]
    notes: tuple[str, ...]  # the sheet taken, what it shows otherwise than it is read, merged cells
    unsaved: Mapping[int, tuple[str, ...]]  # row number to the columns where a formula has no saved value
    others: tuple[str, ...]  # the sheets not read


@dataclass
class _Layout:
    """Where the filled cells of a sheet lie (counted from 1), and the cells whose text fastexcel does not give."""

    last_row: int = 0
    first_column: int = 0
    last_column: int = 0
    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    shown: Shown = field(default_factory=Shown)
    merged: list[str] = field(default_factory=list)  # B2:B5
    unsaved: list[tuple[int, int]] = field(default_factory=list)  # formulas without a saved value

    def include(self, row: int, column: int) -> None:
        self.last_row = max(self.last_row, row)
        self.first_column = min(self.first_column or column, column)
        self.last_column = max(self.last_column, column)

    def cells(self) -> int:
        return self.height() * (self.last_column - self.first_column + 1)

    def height(self) -> int:
        return max([self.last_row, *(row for row, _ in self.unsaved)])


def read_workbook(content: bytes, name: str, sheet: str | None) -> Sheet:
    """The sheet asked for, or the first that holds anything."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_bomb(archive, name)
            sheets = _sheets(archive)
            layouts = {title: _layout(archive, path) for title, path in sheets.items() if sheet in (None, title)}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError, EOFError):
        raise DataError(f"{name} is not an XLSX workbook, or it is damaged.", fix=DAMAGED) from None
    except (KeyError, ValueError, OverflowError, ElementTree.ParseError) as error:
        raise DataError(f"{name} is a zip archive, but not a sound XLSX workbook ({error}).", fix=DAMAGED) from None
    chosen = _choose(sheets, layouts, sheet, name)
    layout = layouts[chosen]
    if layout.cells() > MAX_SHEET_CELLS:
        raise DataError(
            f"The sheet {chosen!r} of {name} spans {layout.cells():,} cells, at most {MAX_SHEET_CELLS:,} are read.",
            fix="Delete the stray cells far from the table.",
        )
    grid = _grid(content, chosen, layout, name)
    columns, rows, numbers = _records(grid, {row for row, _ in layout.unsaved}, name)
    names = dict(enumerate(columns, start=layout.first_column))
    unsaved: dict[int, tuple[str, ...]] = {}
    for row, column in layout.unsaved:
        if column in names:
            unsaved[row] = (*unsaved.get(row, ()), names[column])
    others = tuple(title for title in sheets if title != chosen)
    notes = (*_sheet_note(chosen, others), *format_notes(layout.shown, names), *_merged_note(layout.merged))
    return Sheet(columns, rows, numbers, notes, unsaved, others)


def _refuse_bomb(archive: zipfile.ZipFile, name: str) -> None:
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > 50_000_000 and unpacked / packed > MAX_EXPANSION):
        raise DataError(
            f"{name} would unpack to {unpacked:,} bytes ({unpacked / packed:.0f} times its size); it looks like a zip "
            "bomb.",
            fix="Give the data as CSV UTF-8.",
        )
    # The sizes above are the archive's own claim. Reading each entry to its end checks it: zipfile stops at the
    # claimed size and then compares the checksum.
    for entry in entries:
        with archive.open(entry) as stream:
            while stream.read(1 << 20):
                pass


def _sheets(archive: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name to its path in the archive, in the order of the tabs."""
    targets = {
        str(link.get("Id")): str(link.get("Target"))
        for link in _parse(archive.read("xl/_rels/workbook.xml.rels")).iter(f"{PACKAGE}Relationship")
    }
    found: dict[str, str] = {}
    for entry in _parse(archive.read("xl/workbook.xml")).iter(f"{MAIN}sheet"):
        target = targets[str(entry.get(RELATION))]
        path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
        if path.startswith("xl/worksheets/"):  # chart sheets hold no cells
            found[str(entry.get("name"))] = path
    if not found:
        raise ValueError("it has no worksheet")
    return found


def _layout(archive: zipfile.ZipFile, path: str) -> _Layout:
    formats: dict[str, Format] = {}
    if "xl/styles.xml" in archive.namelist():
        formats = cell_formats(_parse(archive.read("xl/styles.xml")))
    settings = _parse(archive.read("xl/workbook.xml")).find(f"{MAIN}workbookPr")
    since_1904 = settings is not None and settings.get("date1904") in ("1", "true")  # workbooks from a Mac
    layout = _Layout()
    with archive.open(path) as stream:
        for row, column, kind, style, value in _cells(stream, layout.merged):
            if kind == "unsaved":
                layout.unsaved.append((row, column))
                continue
            layout.include(row, column)
            if kind == "e":
                layout.texts[row, column] = value
            elif kind == "d" and (text := iso_text(value)) is not None:
                layout.texts[row, column] = text
                layout.shown.moments.append((row, column, value, ""))
            elif kind == "n" and value and style in formats:
                _note_format(layout, (row, column, value), formats[style], since_1904)
    return layout


def _note_format(layout: _Layout, cell: tuple[int, int, str], format_: Format, since_1904: bool) -> None:
    row, column, value = cell
    text = cell_text(value, format_, since_1904)
    if text is not None:
        layout.texts[row, column] = text
    if format_.kind in ("moment", "duration") and text is not None:
        layout.shown.moments.append((*cell, format_.code))
    elif format_.kind == "percent":
        layout.shown.percents.append((*cell, format_.code))
    elif format_.kind == "other" and is_shown_otherwise(value, format_):
        layout.shown.others.append((*cell, format_.code))


def _cells(stream: IO[bytes], merged: list[str]) -> Iterator[tuple[int, int, str, str, str]]:
    """Row, column (from 1), type, style and raw value of each filled cell; merged ranges are put into `merged`.

    A formula without a saved value has the type "unsaved"; one whose value is the empty text is an empty cell.
    """
    row = column = 0
    for event, element in ElementTree.iterparse(stream, events=("start", "end")):  # noqa: S314 (see the import)
        if element.tag == f"{MAIN}row":
            if event == "start":
                row, column = int(element.get("r") or row + 1), 0
            else:
                element.clear()  # keeps memory at one row
        elif element.tag == f"{MAIN}mergeCell" and event == "end":
            merged.append(element.get("ref") or "")
        elif element.tag == f"{MAIN}c" and event == "end":
            place = CELL_NAME.fullmatch(element.get("r") or "")
            column = _column_number(place[1]) if place else column + 1
            row = int(place[2]) if place else row
            value = element.findtext(f"{MAIN}v") or ""
            if value or element.find(f"{MAIN}is") is not None:
                yield row, column, element.get("t") or "n", element.get("s") or "", value
            elif element.find(f"{MAIN}f") is not None and element.get("t") != "str":
                yield row, column, "unsaved", "", ""


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _choose(sheets: dict[str, str], layouts: dict[str, _Layout], sheet: str | None, name: str) -> str:
    if sheet is not None and sheet not in sheets:
        raise DataError(f"{name} has no sheet {sheet!r}.", fix=f"Its sheets are: {', '.join(map(repr, sheets))}.")
    filled = [title for title in layouts if layouts[title].last_row]
    if not filled:
        what = f"The sheet {sheet!r} of {name}" if sheet else name
        raise DataError(f"{what} is empty.", fix="It needs a header and at least one row.")
    return filled[0]


def _sheet_note(chosen: str, others: tuple[str, ...]) -> tuple[str, ...]:
    left = ", ".join(map(repr, others))
    return (f"Read the sheet {chosen!r}; not read: {left} (choose with --sheet).",) if others else ()


def _merged_note(merged: list[str]) -> tuple[str, ...]:
    if not merged:
        return ()
    more = f" and {len(merged) - NAMED_ROWS} more" if len(merged) > NAMED_ROWS else ""
    named = f"({', '.join(merged[:NAMED_ROWS])}{more})"
    return (f"{counted(len(merged), 'range')} of merged cells {named}: only the first cell of each holds the text.",)


def _grid(content: bytes, sheet: str, layout: _Layout, name: str) -> list[list[str | None]]:
    """Every row from row 1 on, from the first filled column on."""
    import fastexcel

    try:
        loaded = fastexcel.read_excel(content).load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string")
        grid: list[list[str | None]] = [list(row) for row in loaded.to_polars().iter_rows()]
    except fastexcel.FastExcelError as error:
        raise DataError(f"{name} cannot be read as XLSX: {str(error).splitlines()[0]}.", fix=DAMAGED) from None
    for (row, column), text in layout.texts.items():
        grid[row - 1][column - layout.first_column] = text
    # fastexcel ends at the last filled cell; a row of formulas without values may stand below.
    return grid + [[None] * len(grid[0]) for _ in range(layout.height() - len(grid))]


def _records(grid: list[list[str | None]], unsaved: set[int], name: str) -> Records:
    first_row = next((number for number, cells in enumerate(grid, start=1) if any(cells)), 1)
    columns = header_names(grid[first_row - 1], name)
    rows: list[Row] = []
    numbers: list[int] = []
    wide: list[int] = []
    last_filled = 0
    for number, cells in enumerate(grid[first_row:], start=first_row + 1):
        if len(trimmed(cells, len(columns))) > len(columns):
            wide.append(number)
        rows.append({column: cell or None for column, cell in zip(columns, cells, strict=False)})
        numbers.append(number)
        if any(cells) or number in unsaved:
            last_filled = len(rows)
    if wide:
        raise title_above(name, first_row, len(columns), wide)
    return columns, rows[:last_filled], numbers[:last_filled]


def _parse(content: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(content)  # noqa: S314 (see the import)
