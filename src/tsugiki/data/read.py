"""A data file becomes a Table: named columns of text, with the row numbers its owner sees, and a digest of its bytes.

Called by the study and by `tsugiki check`. Never changes a character of a cell, never drops a row that holds anything:
a file that cannot be read exactly is refused with the line at fault.

Every cell is text in its written form (00123 stays 00123, 1.10 stays 1.10) or None where it is empty; JSON and Parquet
may also hold lists and objects (chats), whose leaves are text likewise. Row numbers:

    CSV, TSV, XLSX   the row a spreadsheet shows: the header usually is row 1, the first data row 2
    JSONL, NDJSON    the line
    JSON, Parquet    the record, counted from 1
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsugiki.data.delimited import parse_delimited
from tsugiki.data.encodings import decode
from tsugiki.data.json_records import parse_json, parse_json_lines
from tsugiki.data.parquet import read_parquet
from tsugiki.data.rows import MAX_ROWS, Row, check_cells, name_columns
from tsugiki.data.workbook import read_workbook
from tsugiki.errors import DataError

MAX_FILE_BYTES = 1 << 30
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
OLE2 = bytes.fromhex("d0cf11e0a1b11ae1")  # old Office files, and new ones behind a password


@dataclass(frozen=True)
class Table:
    path: Path
    format: str
    encoding: str | None  # None for XLSX and Parquet, which carry their own
    columns: tuple[str, ...]
    rows: Sequence[Row]
    row_numbers: Sequence[int]
    digest: str
    notes: tuple[str, ...] = ()  # what was decided while reading: separator, sheet, dates, merged cells
    unsaved: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # row number to its formulas without a value
    other_sheets: tuple[str, ...] = ()  # of the workbook; they were not read

    def column(self, name: str) -> dict[int, Any]:
        """Row number to the cell in column `name`."""
        if name not in self.columns:
            raise DataError(
                f"{self.path.name} has no column {name!r}.", fix=f"Its columns are: {name_columns(self.columns)}."
            )
        return {number: row.get(name) for number, row in zip(self.row_numbers, self.rows, strict=True)}


def read_table(path: Path | str, *, sheet: str | None = None) -> Table:
    """Read one data file; the ending of its name decides the format, `sheet` picks one of a workbook."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    content = _content(path)
    _refuse_disguise(content, path, kind)
    if kind is None:
        raise DataError(
            f"{path.name} ends in {path.suffix or 'nothing'}, which is no known data format.",
            fix=f"Use one of {', '.join(FORMATS)}.",
        )
    if sheet is not None and kind != "xlsx":
        raise DataError(f"A sheet ({sheet!r}) was asked for, but {path.name} is not a workbook.", fix="Leave it out.")
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    unsaved: Mapping[int, tuple[str, ...]] = {}
    others: tuple[str, ...] = ()
    if kind == "xlsx":
        read = read_workbook(content, path.name, sheet)
        columns, rows, numbers, notes = read.columns, read.rows, read.row_numbers, read.notes
        unsaved, others = read.unsaved, read.others
    elif kind == "parquet":
        columns, rows, numbers = read_parquet(content, path.name)
    else:
        text, encoding = decode(content, path.name)
        if not text.strip("\r\n\t \ufeff"):
            raise DataError(f"{path.name} is empty.", fix="It needs a header and at least one row.")
        if kind == "jsonl":
            columns, rows, numbers = parse_json_lines(text, path.name)
        elif kind == "json":
            columns, rows, numbers = parse_json(text, path.name)
        else:
            columns, rows, numbers, notes = parse_delimited(text, path.name, "\t" if kind == "tsv" else None)
    _refuse_unusable(columns, rows, numbers, path.name)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return Table(path, kind, encoding, columns, rows, numbers, digest, notes, unsaved, others)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a data file.", fix="Name one file inside it.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path.name} has {size:,} bytes, at most 1 GiB is read.", fix="Take a part of its rows.")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"There is no file {path}.", fix="Check the path and its spelling.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user.", fix="Ask its owner for read permission.") from None
    except (OSError, ValueError) as error:  # a name too long or with a NUL, a broken disk
        raise DataError(f"{str(path)!r} cannot be read: {error}.", fix="Check the path and the disk.") from None
    if not content:
        raise DataError(f"{path.name} is empty (0 bytes).", fix="It needs a header and at least one row.")
    return content


def _refuse_disguise(content: bytes, path: Path, kind: str | None) -> None:
    """The first bytes say what a file is; say it plainly instead of failing somewhere inside a parser."""
    if content.startswith(OLE2):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise DataError(f"{path.name} is protected by a password.", fix="Save a copy without a password.")
        raise DataError(f"{path.name} is an old Excel file (.xls).", fix="Save it as .xlsx or as CSV UTF-8.")
    if kind not in ("xlsx", None) and content.startswith(b"PK\x03\x04"):
        raise DataError(
            f"{path.name} is a zip archive or an Excel workbook, not {path.suffix}.",
            fix="Rename it to .xlsx if it is a workbook, or unpack it.",
        )
    if kind not in ("parquet", None) and content.startswith(b"PAR1"):
        raise DataError(f"{path.name} is a Parquet file, not {path.suffix}.", fix="Rename it to .parquet.")


def _refuse_unusable(columns: tuple[str, ...], rows: Sequence[Row], numbers: Sequence[int], name: str) -> None:
    if not columns:
        raise DataError(f"{name} has no columns.", fix="The first row must hold the column names.")
    if not rows:
        raise DataError(f"{name} holds column names but no rows.", fix="Add at least one row below the header.")
    if len(rows) > MAX_ROWS:
        raise DataError(f"{name} has {len(rows):,} rows, at most {MAX_ROWS:,} are read.", fix="Take a part of them.")
    check_cells(rows, numbers, name)
