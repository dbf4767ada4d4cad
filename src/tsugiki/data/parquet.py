"""Parquet: the table polars reads, every value as text.

Called by read.py. Refuses what text cannot hold (binary columns) and files that unpack to far more than they weigh.
"""

from __future__ import annotations

import io
import json
from typing import Any

from tsugiki.data.rows import MAX_ROWS, Records, header_names
from tsugiki.errors import DataError

MAX_TEXT_BYTES = 1 << 30


def read_parquet(content: bytes, name: str) -> Records:
    """Row numbers are records, counted from 1."""
    import polars as pl
    from polars.exceptions import PolarsError

    if not (content.startswith(b"PAR1") and content.endswith(b"PAR1")):
        raise DataError(f"{name} is not a Parquet file or was cut off.", fix="Write it again, or give CSV or JSONL.")
    try:
        lazy = pl.scan_parquet(io.BytesIO(content))
        schema = lazy.collect_schema()
        height = int(lazy.select(pl.len()).collect().item())
        if height > MAX_ROWS:
            raise DataError(f"{name} has {height:,} rows, at most {MAX_ROWS:,} are read.", fix="Take a part of them.")
        texts = [column for column, kind in schema.items() if kind == pl.String]
        sizes = lazy.select(pl.col(texts).str.len_bytes().cast(pl.UInt64).sum()).collect().row(0) if texts else ()
        if sum(size or 0 for size in sizes) > MAX_TEXT_BYTES:
            raise DataError(f"{name} unpacks to more than 1 GiB of text.", fix="Take a part of its rows.")
        binary = [column for column, kind in schema.items() if kind == pl.Binary]
        if binary:
            raise DataError(f"The column {binary[0]!r} of {name} is binary.", fix="Store it as text or leave it out.")
        frame = lazy.collect()
    except (PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} cannot be read as Parquet: {reason}.", fix="Write it again, or give CSV.") from None
    columns = header_names(frame.columns, name)
    rows = [{column: _text(cell) for column, cell in zip(columns, row, strict=True)} for row in frame.iter_rows()]
    return columns, rows, list(range(1, len(rows) + 1))


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, float):
        return json.dumps(value)
    return str(value)
