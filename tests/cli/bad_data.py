"""Data files that cannot be used, as cases for the table of bad inputs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence

from tests.cli.bad_inputs import Case, Kit

GOOD = "prompt,completion\n" + "".join(f"question {number},answer {number % 3}\n" for number in range(40))
HUGE = f"prompt,completion\n{'x' * 2_000_000},b\n"
CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of old Excel files and of protected workbooks
PROTECTED = "EncryptedPackage".encode("utf-16-le")
ROW = '{"prompt": "a", "completion": "b"}\n'


def given(name: str, content: str | bytes, *options: str) -> Callable[[Kit], Sequence[str]]:
    return lambda kit: ["check", kit.file(name, content), *options]


def workbook(sheets: dict[str, list[list[str]]]) -> bytes:
    import xlsxwriter

    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        for title, rows in sheets.items():
            sheet = book.add_worksheet(title)
            for number, cells in enumerate(rows):
                sheet.write_row(number, 0, cells)
    return buffer.getvalue()


def parquet(columns: dict[str, list[object]]) -> bytes:
    import polars

    buffer = io.BytesIO()
    polars.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("notes.txt", "not a workbook")
    return buffer.getvalue()


CASES = (
    Case("file", "a path that does not exist", lambda kit: ["check", str(kit.folder / "no.csv")], 1, ("no file",)),
    Case("file", "a folder", lambda kit: ["check", str(kit.folder)], 1, ("folder", "one file")),
    Case("file", "an empty file", given("a.csv", ""), 1, ("0 bytes",)),
    Case("file", "only a byte order mark", given("a.csv", b"\xef\xbb\xbf"), 1, ("empty",)),
    Case("file", "an unknown ending", given("a.docx", "x"), 1, (".docx", ".xlsx")),
    Case("file", "no ending", given("data", "x"), 1, ("no known data format",)),
    Case("file", "an old Excel file", given("a.xls", CFB + b"\0" * 600), 1, (".xls",)),
    Case("file", "a workbook with a password", given("a.xlsx", CFB + PROTECTED), 1, ("password",)),
    Case("file", "a workbook named .csv", given("a.csv", archive()), 1, ("zip", "workbook")),
    Case("file", "a Parquet file named .csv", given("a.csv", b"PAR1xxxxPAR1"), 1, ("Parquet", ".parquet")),
    Case("file", "a sheet asked of a CSV file", given("a.csv", GOOD, "--sheet", "Q1"), 1, ("Q1", "workbook")),
    Case("encoding", "bytes of no encoding", given("a.csv", b"prompt,completion\nx,\xff\xfe\x80\n"), 1, ("UTF-8",)),
    Case("encoding", "ISO-2022-JP", given("a.csv", "質問,回答\n".encode("iso2022_jp")), 1, ("ISO-2022-JP", "line 1")),
    Case("encoding", "a NUL byte", given("a.csv", "prompt,completion\na,b\0c\n"), 1, ("NUL", "line 2")),
    Case(
        "encoding",
        "UTF-8 and Shift_JIS lines in one file",
        given("a.csv", "prompt,completion\n軸受の摩耗,故障\n".encode() + "弁の固着,故障\n".encode("cp932")),
        1,
        ("line",),
    ),
    Case("csv", "a header and no rows", given("a.csv", "prompt,completion\n"), 1, ("no rows",)),
    Case("csv", "one column only", given("a.csv", "prompt\na\nb\n"), 1, ("one column", "prompt")),
    Case("csv", "a column named twice", given("a.csv", "prompt,prompt\na,b\n"), 1, ("more than once",)),
    Case("csv", "a column without a name", given("a.csv", "prompt,,completion\na,b,c\n"), 1, ("Column 2",)),
    Case("csv", "a row with too many cells", given("a.csv", "prompt,completion\na,b\nc,d,e\n"), 1, ("header has 2",)),
    Case("csv", "a title above the table", given("a.csv", "Our data,,\nid,q,a\n1,b,c\n"), 1, ("row 1", "title rows")),
    Case("csv", "a quote that is never closed", given("a.csv", 'prompt,completion\na,"b\n'), 1, ("never closed",)),
    Case("csv", "text after a closing quote", given("a.csv", 'prompt,completion\n"a"x,b\n'), 1, ("closing double",)),
    Case(
        "csv",
        "a cell of two million characters",
        given("a.csv", HUGE),
        1,
        ("1,000,000 characters",),
    ),
    Case("columns", "names that tell nothing", given("a.csv", "foo,bar\na,b\n"), 1, ("foo", "--prompt-column")),
    Case("columns", "only one known name", given("a.csv", "No,内容欄,対応\n1,b,c\n"), 1, ("'対応'", "--prompt-column")),
    Case(
        "columns",
        "two possible completions",
        given("a.csv", "prompt,completion,output,input\na,b,c,d\n"),
        1,
        ("--prompt-column",),
    ),
    Case(
        "columns",
        "a missing prompt column",
        given("a.csv", GOOD, "--prompt-column", "q"),
        1,
        ("no column 'q'",),
    ),
    Case("columns", "a missing group column", given("a.csv", GOOD, "--group-column", "g"), 1, ("no column 'g'",)),
    Case(
        "columns",
        "one column for prompt and completion",
        given("a.csv", GOOD, "--prompt-column", "prompt", "--completion-column", "prompt"),
        1,
        ("prompt and completion at once",),
    ),
    Case("jsonl", "a line that is not JSON", given("a.jsonl", ROW + "{prompt: a}\n"), 1, ("not valid JSON",)),
    Case("jsonl", "a line that is no object", given("a.jsonl", ROW + "[1, 2]\n"), 1, ("not an object",)),
    Case("jsonl", "a key twice", given("a.jsonl", '{"prompt": "a", "prompt": "b"}\n'), 1, ("twice",)),
    Case("jsonl", "NaN", given("a.jsonl", '{"prompt": "a", "completion": NaN}\n'), 1, ("NaN",)),
    Case("jsonl", "200,000 nested lists", given("a.jsonl", '{"prompt": ' + "[" * 200_000 + "\n"), 1, ("deep",)),
    Case("json", "an object instead of an array", given("a.json", json.dumps({"rows": []})), 1, ("array",)),
    Case("json", "an empty array", given("a.json", "[]"), 1, ("a.json",)),
    Case("xlsx", "a zip that is no workbook", given("a.xlsx", archive()), 1, ("XLSX",)),
    Case("xlsx", "text named .xlsx", given("a.xlsx", "prompt,completion"), 1, ("not an XLSX",)),
    Case("xlsx", "a workbook without a filled sheet", given("a.xlsx", workbook({"Sheet1": []})), 1, ("empty",)),
    Case(
        "xlsx",
        "a sheet that is missing",
        given("a.xlsx", workbook({"Data": [["prompt", "completion"], ["a", "b"]]}), "--sheet", "Q1"),
        1,
        ("no sheet 'Q1'", "'Data'"),
    ),
    Case(
        "xlsx",
        "a title above the table",
        given("a.xlsx", workbook({"Data": [["Our data"], ["prompt", "completion"], ["a", "b"]]})),
        1,
        ("header", "title rows"),
    ),
    Case(
        "xlsx",
        "a cover sheet before the table",
        given("a.xlsx", workbook({"Cover": [["Our data"], ["2024"]], "Data": [["prompt", "completion"], ["a", "b"]]})),
        1,
        ("one column", "--sheet", "'Data'"),
    ),
    Case("parquet", "a file cut off", given("a.parquet", parquet({"prompt": ["a"]})[:-20]), 1, ("cut off",)),
    Case(
        "parquet",
        "a binary column",
        given("a.parquet", parquet({"prompt": ["a"], "completion": [b"\1"]})),
        1,
        ("binary",),
    ),
)
