"""CSV and TSV: quoted cells may hold separators, quotes and line ends; every row must be as wide as the header.

Called by read.py with decoded text. The standard csv reader in strict mode does the parsing, because only then are
ragged rows and row numbers exact; nothing is guessed about types.

A row is what a spreadsheet shows as one: a quoted cell over three lines is one row, a blank line is a row as well.
Blank rows inside the table stay (check.py lists them); blank rows before the header and after the last row do not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice

from tsugiki.data.rows import MAX_CELL_CHARACTERS, NAMED_ROWS, Row, counted, header_names, title_above, trimmed
from tsugiki.errors import DataError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
SNIFFED_RECORDS = 50


def parse_delimited(
    text: str, name: str, separator: str | None
) -> tuple[tuple[str, ...], list[Row], list[int], tuple[str, ...]]:
    """Columns, rows, row numbers and a note on the separator; `separator` None means: find it out."""
    chosen = separator or _sniff(text)
    columns: tuple[str, ...] = ()
    header: tuple[int, int] = (0, 0)  # its row and the number of its cells, unnamed ones too
    rows: list[Row] = []
    numbers: list[int] = []
    ragged: list[tuple[int, int]] = []
    last_filled = 0
    for number, cells in enumerate(_records(text, chosen, name), start=1):
        if not columns:
            columns = header_names(cells, name)
            header = number, len(cells)
            continue
        filled: list[str | None] = trimmed(cells, len(columns))
        if any(filled):
            if len(filled) != len(columns):
                ragged.append((number, len(filled)))
                continue
            last_filled = len(rows) + 1
        else:
            filled = [None] * len(columns)
        rows.append({column: cell or None for column, cell in zip(columns, filled, strict=True)})
        numbers.append(number)
    if ragged:
        even = sum(any(row.values()) for row in rows)
        if _is_title(len(columns), header[1], [width for _, width in ragged], even):
            also = "" if header[1] > 1 else f", or put cells that contain a {SEPARATORS[chosen]} in double quotes"
            raise title_above(name, header[0], len(columns), [number for number, _ in ragged], also)
        raise DataError(
            f"In {name} the header has {counted(len(columns), 'cell')}, but {_name_ragged(ragged)}.",
            fix=f"Put cells that contain a {SEPARATORS[chosen]} in double quotes, or fill the missing ones.",
        )
    note = () if separator else (f"The cells are separated by {SEPARATORS[chosen]}.",)
    return columns, rows[:last_filled], numbers[:last_filled], note


def _is_title(names: int, cells: int, widths: list[int], even: int) -> bool:
    """Whether the first row is a title above the table: narrower than the rest, with empty cells or a single one."""
    return min(widths) > names and (cells > names or (names == 1 and len(widths) > even))


def _sniff(text: str) -> str:
    """The separator that gives the most columns, among those for which the first 50 filled rows are equally wide.

    Where no separator gives equally wide rows, the one that cuts the header into most cells; a comma in the end.
    """
    even: dict[str, int] = {}
    header: dict[str, int] = {}
    for separator in SEPARATORS:
        try:
            sample = [cells for cells in islice(_records(text, separator, ""), SNIFFED_RECORDS) if any(cells)]
        except DataError:
            continue
        if not sample:
            continue
        header[separator] = len(sample[0])
        if len({len(cells) for cells in sample}) == 1:
            even[separator] = len(sample[0])
    for widths in (even, header):
        best = max(widths, key=lambda separator: widths[separator], default=",")
        if widths.get(best, 1) > 1:
            return best
    return ","


def _records(text: str, separator: str, name: str) -> Iterator[list[str]]:
    # newline="" keeps line ends inside quotes as they are while still ending rows at LF, CRLF and CR alike.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    previous = csv.field_size_limit()
    number = 0
    try:
        while True:
            # The limit is global to the process; it is ours only while a row is parsed.
            csv.field_size_limit(MAX_CELL_CHARACTERS)
            try:
                cells = next(reader)
            finally:
                csv.field_size_limit(previous)
            number += 1
            yield cells
    except StopIteration:
        return
    except csv.Error as error:
        raise _explained(str(error), number + 1, reader.line_num, name) from None


def _explained(message: str, row: int, line: int, name: str) -> DataError:
    where = f"Row {row} of {name} (line {line})"
    if "field larger" in message:
        return DataError(
            f"{where} has a cell of more than {MAX_CELL_CHARACTERS:,} characters.",
            fix="Shorten it, or look for a missing closing quote before it.",
        )
    if "unexpected end of data" in message:
        return DataError(
            f"Row {row} of {name} opens a double quote that is never closed.",
            fix='Close it; a quote inside a quoted cell is written twice ("").',
        )
    return DataError(
        f"{where} goes on after a closing double quote.", fix='A quote inside a quoted cell is written twice ("").'
    )


def _name_ragged(ragged: list[tuple[int, int]]) -> str:
    named = ", ".join(f"row {number} has {width}" for number, width in ragged[:NAMED_ROWS])
    more = len(ragged) - NAMED_ROWS
    if more <= 0:
        return named
    return f"{named} and {counted(more, 'more row')} {'differs' if more == 1 else 'differ'}"
