import io
import os
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from tsugiki.data import read
from tsugiki.data.read import read_table
from tsugiki.errors import DataError

ROWS = [{"質問": "部品00123は", "回答": "1.10"}, {"質問": "改行\nあり", "回答": "はい, そうです"}]
CSV = '質問,回答\n部品00123は,1.10\n"改行\nあり","はい, そうです"\n'
OLE2 = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)


def put(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def xlsx() -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet()
        for number, cells in enumerate([list(ROWS[0]), *(list(row.values()) for row in ROWS)]):
            sheet.write_row(number, 0, cells)
    return file.getvalue()


def parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(file)
    return file.getvalue()


def jsonl() -> str:
    return '{"質問": "部品00123は", "回答": 1.10}\n{"質問": "改行\\nあり", "回答": "はい, そうです"}\n'


@pytest.mark.parametrize(
    ("name", "content", "numbers", "encoding"),
    [
        ("a.csv", CSV, [2, 3], "UTF-8"),
        ("A.CSV", CSV.encode("cp932"), [2, 3], "CP932"),
        ("a.tsv", '質問\t回答\n部品00123は\t1.10\n"改行\nあり"\tはい, そうです\n', [2, 3], "UTF-8"),
        ("a.xlsx", xlsx(), [2, 3], None),
        ("a.jsonl", jsonl(), [1, 2], "UTF-8"),
        ("a.ndjson", jsonl(), [1, 2], "UTF-8"),
        ("a.json", "[" + jsonl().strip().replace("\n", ",") + "]", [1, 2], "UTF-8"),
        ("a.parquet", parquet(), [1, 2], None),
    ],
)
def test_all_formats_give_the_same_rows(
    tmp_path: Path, name: str, content: bytes | str, numbers: list[int], encoding: str | None
) -> None:
    table = read_table(put(tmp_path, name, content))
    assert list(table.rows) == ROWS
    assert list(table.row_numbers) == numbers
    assert table.columns == ("質問", "回答")
    assert table.encoding == encoding
    assert table.column("回答") == dict(zip(numbers, ["1.10", "はい, そうです"], strict=True))


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    first = read_table(put(tmp_path, "a.csv", CSV))
    second = read_table(put(tmp_path, "b.csv", CSV))
    other = read_table(put(tmp_path, "c.csv", CSV + "x,y\n"))
    assert first.digest == second.digest != other.digest
    assert first.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"a.csv is empty \(0 bytes\)"),
        ("a.csv", " \n\n", "a.csv is empty"),
        ("a.csv", "prompt,completion\n", "holds column names but no rows"),
        ("a.csv", "prompt,completion\n,\n\n", "holds column names but no rows"),
        ("a.xls", OLE2, "old Excel file"),
        ("a.xlsx", OLE2, "old Excel file"),
        ("a.xlsx", OLE2 + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        ("a.csv", b"PK\x03\x04rest", "zip archive or an Excel workbook, not .csv"),
        ("a.jsonl", b"PAR1rest", "is a Parquet file, not .jsonl"),
        ("a.xlsx", "prompt,completion\n", "not an XLSX workbook"),
        ("a.parquet", "prompt,completion\n", "not a Parquet file"),
        ("a.parquet", b"PAR1" + bytes(50) + b"PAR1", "cannot be read as Parquet"),
        ("a.docx", b"PK\x03\x04", "ends in .docx, which is no known data format"),
        ("data", "a,b\n1,2\n", "ends in nothing, which is no known data format"),
        ("a.jsonl", "\n\n", "a.jsonl is empty"),
        ("a.json", "[]", "has no columns"),
        ("a.jsonl", '{"a": "' + "x" * 1_000_001 + '"}', "Row 1 of a.jsonl has 1,000,001 characters in column 'a'"),
        ("a.jsonl", '{"a": ["' + "x" * 600_000 + '", "' + "x" * 600_000 + '"]}', "has 1,200,000 characters"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(put(tmp_path, name, content))
    assert caught.value.fix


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not a data file"):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"There is no file .*missing.csv"):
        read_table(tmp_path / "missing.csv")
    with pytest.raises(DataError, match="There is no file"):
        read_table(put(tmp_path, "a.csv", CSV) / "b.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / ("x" * 300 + ".csv"))
    with pytest.raises(DataError, match="cannot be read"):
        read_table("a\x00.csv")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "a.csv", CSV)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(_: Path) -> bytes:
            raise PermissionError

        monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="may not be read by this user"):
        read_table(path)


def test_a_file_beyond_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(read.MAX_FILE_BYTES + 1)  # a hole, not a gigabyte on disk
    with pytest.raises(DataError, match="1,073,741,825 bytes, at most 1 GiB"):
        read_table(path)


def test_a_sheet_of_something_that_has_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A sheet .* a.csv is not a workbook"):
        read_table(put(tmp_path, "a.csv", CSV), sheet="Data")


def test_an_unknown_column_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'x'.*'質問', '回答'"):
        read_table(put(tmp_path, "a.csv", CSV)).column("x")
