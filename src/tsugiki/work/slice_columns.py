"""The columns of the user's file by which the test rows are cut into slices, kept in the study folder.

Called by `prepare`, which writes data/slices.json, and by `slices`, which reads it. Columns that the user named come
first; taken without being asked for are a column whose name says that it holds the source of a row, and the column of
dates, whose slices are periods. None of them is shown to a model, and which ones there are is locked with the study:
slices that are chosen after the results are known would find a weakness in any noise.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tsugiki.data.column_names import SOURCE_NAMES
from tsugiki.data.dates import NoDateError, holds_dates, moment_text, read_moment
from tsugiki.data.keys import text_key
from tsugiki.data.read import Table
from tsugiki.errors import DataError, StudyError
from tsugiki.files import write_json

SLICES = "data/slices.json"
MOST_VALUES = 12  # a column of more different numbers is cut into thirds, of other texts the most frequent are taken

Kind = Literal["value", "number", "period"]


@dataclass(frozen=True)
class SliceColumn:
    """`cells`: row number to the text of the cell (a period's as 2026-11-02), None where it is empty."""

    name: str
    kind: Kind
    cells: Mapping[int, str | None]


def named_columns(table: Table, given: Sequence[str]) -> tuple[str, ...]:
    """The columns that the user named; a comma separates names, unless the whole is a name."""
    names: list[str] = []
    for text in given:
        names += [text] if text in table.columns else [part for part in map(str.strip, text.split(",")) if part]
    for name in names:
        _refuse_lists(table, name)
    return tuple(dict.fromkeys(names))


def slice_columns_of(
    table: Table,
    rows: Sequence[int],
    *,
    named: Sequence[str],
    unused: Sequence[str],
    time_column: str | None = None,
    split_column: str | None = None,
) -> list[SliceColumn]:
    """`rows` are those that are tested; `unused` the columns that make neither prompt nor completion nor group."""
    found = [name for name in unused if name != split_column and text_key(name).casefold() in SOURCE_NAMES]
    wanted = dict.fromkeys([*named, *found, *([time_column] if time_column is not None else [])])
    columns = [_column(table, name, rows, is_time=name == time_column) for name in wanted]
    return [column for column in columns if column is not None]


def write_slice_columns(folder: Path, columns: Sequence[SliceColumn]) -> None:
    write_json(folder / SLICES, {"columns": [asdict(column) for column in columns]})


def read_slice_columns(folder: Path) -> tuple[SliceColumn, ...]:
    """Empty for a folder without such a file."""
    path = folder / SLICES
    if not path.is_file():
        return ()
    try:
        columns = json.loads(path.read_text(encoding="utf-8"))["columns"]
        return tuple(
            SliceColumn(one["name"], one["kind"], {int(row): cell for row, cell in one["cells"].items()})
            for one in columns
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise StudyError(
            f"{path} is damaged: it does not hold the columns of the slices.",
            fix="Put the file back, or start the study again in another folder.",
        ) from None


def number(text: str) -> float | None:
    """1,200 and １２００ are numbers; 1200円 is none."""
    try:
        value = float(unicodedata.normalize("NFKC", text).replace(",", "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _column(table: Table, name: str, rows: Sequence[int], *, is_time: bool) -> SliceColumn | None:
    """None for a column that was not asked for and holds lists."""
    everything = table.column(name)
    if any(isinstance(cell, list | dict) for cell in everything.values()):
        return None
    cells = {row: _filled(everything.get(row)) for row in rows}
    if is_time or holds_dates(everything.values()):
        return SliceColumn(name, "period", {row: _moment(cell) for row, cell in cells.items()})
    filled = [cell for cell in cells.values() if cell is not None]
    numbers = [number(cell) for cell in filled]
    many = len({text_key(cell) for cell in filled}) > MOST_VALUES
    return SliceColumn(name, "number" if many and None not in numbers else "value", cells)


def _filled(cell: Any) -> str | None:
    return cell if isinstance(cell, str) and cell.strip() else None


def _moment(cell: str | None) -> str | None:
    try:
        return None if cell is None else moment_text(read_moment(cell).at)
    except NoDateError:
        return None


def _refuse_lists(table: Table, name: str) -> None:
    nested = next((row for row, cell in table.column(name).items() if isinstance(cell, list | dict)), None)
    if nested is not None:
        raise DataError(
            f"Row {nested} has a list or an object in the slice column {name!r}, which names no slice.",
            fix="Take a column of texts, numbers or dates.",
        )
