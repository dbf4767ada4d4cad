import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.work.fakes import write_data
from tsugiki.cli.data import check, plain
from tsugiki.errors import DataError, UsageError

app = typer.Typer()
app.command()(check)

CSV = (
    "質問,回答,担当\n"
    "設備の異音がする。連絡先は０９０ー１２３４ー５６７８です,軸受を交換する,山田\n"
    "[bold red]markup[/],=SUM(A1:A3),佐藤\n"
    ",空,鈴木\n"
    "esc\x1b[31mred\x1b]0;title\x07,y,鈴木\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "[red]data.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_people_read_what_was_found(file: Path) -> None:
    out = run(str(file), "--group-column", "担当")
    assert "[red]data.csv" in out  # markup in a name is not interpreted
    assert "Prompt is the column '質問', completion is '回答' (by their names)." in out
    assert "3 rows can be used, 1 excluded." in out
    assert "- row 4: the prompt is empty" in out
    assert "phone in the prompt: …備の異音がする。連絡先は[phone]です" in out.replace("\n", "")
    assert "１２３４" not in out
    assert "spreadsheet formula" in out


def test_lines_fit_into_80_columns(file: Path) -> None:
    from rich.cells import cell_len

    assert max(cell_len(line) for line in run(str(file)).splitlines()) <= 80


def test_programs_read_json_only(file: Path) -> None:
    result = json.loads(run(str(file), "--json"))
    assert result["file"] == "[red]data.csv"
    assert (result["format"], result["encoding"], result["columns"]) == ("csv", "UTF-8", ["質問", "回答"])
    assert (result["rows"], result["used"]) == (4, 3)
    assert result["excluded"] == [{"row": 4, "reason": "the prompt is empty"}]
    assert result["digest"].startswith("sha256:")
    assert {"control-character", "formula"} <= {concern["kind"] for concern in result["concerns"]}


def test_examples_are_shown_as_the_base_sees_them(file: Path, tiny_llama: Path) -> None:
    result = json.loads(run(str(file), "--base", str(tiny_llama), "--show", "1", "--json"))
    assert [example["row"] for example in result["shown"]] == [2]
    assert {piece["learned"] for piece in result["shown"][0]["pieces"]} == {True, False}
    assert result["tokens"]["n"] == 3
    out = run(str(file), "--base", str(tiny_llama), "--show", "3")
    assert "Example 3 (row 5; green is learned)" in out
    assert "tokens in all" in out
    assert "\x1b" not in out


def test_no_escape_sequence_reaches_the_terminal(file: Path) -> None:
    assert "\x1b" not in run(str(file)) + run(str(file), "--json")


def test_columns_can_be_named(file: Path) -> None:
    assert "(as asked)" in run(str(file), "--prompt-column", "回答", "--completion-column", "担当")


def test_mistakes_are_errors_of_ours(file: Path) -> None:
    with pytest.raises(UsageError, match="Name the base with --base"):
        run(str(file), "--show", "1")
    with pytest.raises(DataError, match="no column 'x'"):
        run(str(file), "--prompt-column", "x")


def test_without_a_base_it_says_that_tokens_were_not_counted(file: Path, tiny_llama: Path) -> None:
    assert "Tokens were not counted" in run(str(file)) and "--base" in run(str(file))
    assert any("--base" in note for note in json.loads(run(str(file), "--json"))["notes"])
    assert "Tokens were not counted" not in run(str(file), "--base", str(tiny_llama), "--json")


def test_rows_longer_than_max_length_are_listed(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_data(tmp_path / "reports.csv", rows=30)
    base = ("--base", str(tiny_llama), "--json")
    assert json.loads(run(str(path), *base))["excluded"] == []
    found = json.loads(run(str(path), *base, "--max-length", "8"))
    assert len(found["excluded"]) == 30 and found["excluded"][0]["reason"].endswith("tokens, the limit is 8")
    assert "--max-length" in found["concerns"][0]["message"]


def test_a_file_is_read_as_a_study_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,Group,part\nAB-0000-0,締結,x,train\n", encoding="utf-8")
    found = json.loads(run(str(path), "--split-column", "part", "--json"))
    assert found["columns"] == ["prompt", "completion", "Group"] and "a line end was put" in found["guess"]
    messages = [concern["message"] for concern in found["concerns"]]
    assert "The dev part has no usable rows." in messages[0]
    assert messages[1] == "A study takes 20 usable rows at least, 50 are recommended; there are 1."
    with pytest.raises(DataError, match="no column 'x'"):
        run(str(path), "--split-column", "x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a␛[31mb"),
        ("a\r\nb\tc", "a⏎b␉c"),
        ("\x7f\x9b\u202e\ud800\ufeff", "␡����"),
        ("[bold]日本[/]", "[bold]日本[/]"),
    ],
)
def test_plain_text_is_safe_to_print(text: str, shown: str) -> None:
    assert plain(text) == shown
