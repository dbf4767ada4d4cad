import datetime
import io

import polars as pl
import pytest

from tsugiki.data import parquet
from tsugiki.data.parquet import read_parquet
from tsugiki.errors import DataError


def stored(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def test_every_type_becomes_text_and_chats_stay_lists() -> None:
    frame = pl.DataFrame(
        {
            "text": ["00123"],
            "whole": [2**53 + 1],
            "part": [0.1],
            "yes": [True],
            "day": [datetime.date(2026, 1, 2)],
            "none": pl.Series([None], dtype=pl.String),
            "messages": [[{"role": "user", "content": "質問"}, {"role": "assistant", "content": "回答"}]],
        }
    )
    _, rows, numbers = read_parquet(stored(frame), "a.parquet")
    assert numbers == [1]
    assert rows == [
        {
            "text": "00123",
            "whole": "9007199254740993",
            "part": "0.1",
            "yes": "true",
            "day": "2026-01-02",
            "none": None,
            "messages": [{"role": "user", "content": "質問"}, {"role": "assistant", "content": "回答"}],
        }
    ]


def test_limits_are_checked_before_anything_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(pl.DataFrame({"a": ["x" * 100] * 50}))
    monkeypatch.setattr(parquet, "MAX_TEXT_BYTES", 4_999)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_parquet(content, "a.parquet")
    monkeypatch.setattr(parquet, "MAX_ROWS", 49)
    with pytest.raises(DataError, match="has 50 rows, at most 49"):
        read_parquet(content, "a.parquet")


def test_binary_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 'b' of a.parquet is binary"):
        read_parquet(stored(pl.DataFrame({"a": ["x"], "b": [b"\x00"]})), "a.parquet")


def test_a_cut_file_is_refused() -> None:
    content = stored(pl.DataFrame({"a": ["x"]}))
    with pytest.raises(DataError, match="not a Parquet file or was cut off"):
        read_parquet(content[:-1], "a.parquet")
