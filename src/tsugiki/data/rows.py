"""What all formats share: the shape of a row, the header's rules and the largest cell.

Called by the format readers (delimited, workbook, json_records, parquet) and by read.py. Never reads a file.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tsugiki.errors import DataError

Row = dict[str, Any]  # column name to text, None, or (JSON, Parquet) a list or object whose leaves are text
Records = tuple[tuple[str, ...], list[Row], list[int]]  # columns, rows, row numbers

MAX_ROWS = 5_000_000
MAX_CELL_CHARACTERS = 1_000_000
NAMED_COLUMNS = 30
NAMED_ROWS = 10  # rows named one by one in a message; the rest is counted


def header_names(cells: Sequence[str | None], name: str) -> tuple[str, ...]:
    """Column names without surrounding blanks and stray byte order marks; unnamed cells at the end are cut off."""
    names = [(cell or "").replace("\ufeff", "").strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    for position, column in enumerate(names, start=1):
        if not column:
            raise DataError(
                f"Column {position} of {name} has no name.",
                fix="Name it in the header, delete it, or delete title rows above the header.",
            )
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{name} names the column {twice[0]!r} more than once.", fix="Give each column its own name.")
    return tuple(names)


def title_above(name: str, header_row: int, columns: int, wide: Sequence[int], also: str = "") -> DataError:
    """The first filled row is narrower than the rows below it; `also` is what else could help."""
    return DataError(
        f"In {name} the header (row {header_row}) names {counted(columns, 'column')}, but {name_rows(wide)} "
        f"{'holds' if len(wide) == 1 else 'hold'} more.",
        fix=f"The first filled row must hold the column names: delete title rows above it, name every column{also}.",
    )


def trimmed(cells: Sequence[str | None], width: int) -> list[str | None]:
    """Empty cells beyond the header are not data: spreadsheets write them for columns that once were used."""
    cut = list(cells)
    while len(cut) > width and not cut[-1]:
        cut.pop()
    return cut


def name_rows(numbers: Iterable[int]) -> str:
    """`row 3`, `rows 3, 5 and 8`, `rows 1, 2, ... and 40 more`."""
    known = list(numbers)
    if len(known) == 1:
        return f"row {known[0]}"
    if len(known) <= NAMED_ROWS:
        return f"rows {', '.join(map(str, known[:-1]))} and {known[-1]}"
    return f"rows {', '.join(map(str, known[:NAMED_ROWS]))} and {len(known) - NAMED_ROWS} more"


def name_columns(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - NAMED_COLUMNS} more" if len(columns) > NAMED_COLUMNS else ""
    return ", ".join(map(shown, columns[:NAMED_COLUMNS])) + more


def counted(number: int, thing: str, things: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,200 rows`; `things` is the plural where it does not just end in s."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def check_cells(rows: Sequence[Row], numbers: Sequence[int], name: str) -> None:
    for number, row in zip(numbers, rows, strict=True):
        for column, cell in row.items():
            size = len(cell) if isinstance(cell, str) else _size(cell)
            if size > MAX_CELL_CHARACTERS:
                raise DataError(
                    f"Row {number} of {name} has {size:,} characters in column {shown(column)}, at most "
                    f"{MAX_CELL_CHARACTERS:,} are read.",
                    fix="Shorten the cell, or look for a missing closing quote before it.",
                )


def shown(value: str, limit: int = 40) -> str:
    """A value from the file inside a message: one line, short, nothing a terminal would obey."""
    line = "".join("�" if unicodedata.category(character)[0] == "C" else character for character in value[: limit + 1])
    return repr(line[:limit] + "…") if len(line) > limit else repr(line)


def _size(cell: Any) -> int:
    if isinstance(cell, str):
        return len(cell)
    if isinstance(cell, list):
        return sum(_size(item) for item in cell)
    if isinstance(cell, dict):
        return sum(len(key) + _size(item) for key, item in cell.items())
    return 0
