"""The commands around exports: exit statuses, what they print, and JSON that other programs can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.work.adapters import adapter_of, tiny
from tsugiki.cli.export import check_command
from tsugiki.cli.main import status_of

app = typer.Typer()
app.command()(check_command)


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "hinshitsu-qa"
    adapter_of(tiny(tiny_llama), folder)
    return folder


def test_an_export_prints_what_it_wrote(
    adapter: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(adapter), "--to", "gguf", "--base", str(tiny_llama), "--out", str(tmp_path / "out")]
    assert status_of(arguments) == 0
    assert f"{tmp_path / 'out'}: {adapter} for gguf" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"adapter.gguf", "tsugiki-export.json"}
    assert status_of(arguments) == 2
    assert "out exists already. Name another folder with --out" in capsys.readouterr().err


def test_json_holds_the_record(
    adapter: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(adapter), "--to", "merged", "--base", str(tiny_llama), "--out", str(out), "--json"]
    assert status_of(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["merged"]["recovery"] == 1.0 and found["files"]["model.safetensors"].startswith("sha256:")


def test_an_engine_that_cannot_be_decided_on_ends_with_three(
    adapter: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(adapter), "--to", "vllm", "--base", str(tiny_llama), "--out", str(tmp_path / "out")]
    assert status_of(arguments) == 3
    assert "(licence): The base's licence is not known; say it with --licence." in capsys.readouterr().err
    assert status_of([*arguments, "--licence", "MIT"]) == 0
    assert "Served as hinshitsu-qa-" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--licence", "mit"], 0, "hinshitsu-qa: pass"),
        ([], 3, "hinshitsu-qa: undecidable"),
        (["--licence", "cc-by-nc-4.0"], 1, "does not permit use in a company"),
        (["--licence", "mit", "--quantization", "awq"], 1, "will hold it in awq"),
    ],
)
def test_the_check_ends_as_its_worst_answer(
    adapter: Path, tiny_llama: Path, options: list[str], status: int, says: str
) -> None:
    found = CliRunner().invoke(app, [str(adapter), "--target", "vllm", "--base", str(tiny_llama), *options])
    assert found.exit_code == status, found.output
    assert says in found.output


def test_the_check_without_a_base_on_this_machine_is_undecidable(adapter: Path) -> None:
    command = [str(adapter), "--target", "peft", "--target", "llama.cpp", "--json"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 3
    results = json.loads(found.output)["results"]
    assert {one["target"] for one in results} == {"peft", "llama.cpp"}
    assert {one["outcome"] for one in results if one["rule"].endswith("-base")} == {"undecidable"}
    unknown = CliRunner().invoke(app, [str(adapter), "--target", "tgi"])
    assert "No rule is known for the target 'tgi'" in str(unknown.exception)
    wrong = CliRunner().invoke(app, [*command, "--base", "nothing/here"])
    assert wrong.exit_code == 1 and wrong.exception is not None
