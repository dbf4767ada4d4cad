from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tsugiki import __version__
from tsugiki.cli import main
from tsugiki.errors import DataError, UsageError

COMMANDS = (
    "demo",
    "check",
    "poc",
    "scorecard",
    "train",
    "evaluate",
    "estimate",
    "templates",
    "portfolio",
    "lessons",
    "prices",
    "money",
)


def test_help_names_every_command(capsys: Any):
    assert main.status_of(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f" {name} " in said for name in COMMANDS)


def test_without_arguments_it_shows_the_help(capsys: Any):
    assert main.status_of([]) == 0
    assert "Commands" in capsys.readouterr().out


def test_the_version_needs_no_command(capsys: Any):
    assert main.status_of(["--version"]) == 0
    assert capsys.readouterr().out == f"tsugiki {__version__}\n"


def test_a_japanese_intake_can_be_written(tmp_path: Path):
    path = tmp_path / "intake.yaml"
    assert main.status_of(["poc", "--write-intake", str(path), "--language", "ja"]) == 0
    text = path.read_text(encoding="utf-8")
    assert "language: ja\n" in text and "成功基準" in text


def test_signs_that_the_terminal_lacks_are_escaped(tmp_path: Path):
    (tmp_path / "a.csv").write_text("prompt,completion\n弁—😀 a@b.example,締結\n", encoding="utf-8")
    for encoding in ("cp932", "ascii"):
        ran = subprocess.run(
            [sys.executable, "-m", "tsugiki", "check", "a.csv"],
            cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 1, "a study of one row would be refused"
        assert "\\U0001f600" in ran.stdout.decode(encoding)
    ran = subprocess.run(
        [sys.executable, "-m", "tsugiki", "check", "😀.csv"],
        env={**os.environ, "PYTHONIOENCODING": "cp932"}, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1 and b"There is no file \\U0001f600.csv" in ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command: str, capsys: Any):
    assert main.status_of([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["frobnicate"], 2, "No such command 'frobnicate'."),
        (["check"], 2, "Missing argument"),
        (["check", "nowhere.csv"], 1, "There is no file nowhere.csv."),
        (["check", "--colour", "x"], 2, "No such option: --colour."),
        (["train", "x.csv", "--base", "b", "--out", "o", "--method", "qlora"], 2, "'qlora' is not one of 'lora'"),
        (["train", "x.csv", "--base", "b", "--out", "o", "--rank", "many"], 2, "rank must be a whole number"),
        (["evaluate", "a", "b", "--metric", "bleu"], 2, "'bleu' is not one of"),
        (["demo", "--language", "de"], 2, "'de' is not one of"),
        (["scorecard", "nowhere"], 1, "nowhere holds no study"),
    ],
)
def test_mistakes_get_one_line_and_their_status(
    arguments: list[str], status: int, words: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main.status_of(arguments) == status
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("tsugiki: ") and words in said.err
    assert "Value error" not in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(("error", "status"), [(DataError, 1), (UsageError, 2)])
def test_a_message_with_line_ends_is_still_one_line(error: Any, status: int, monkeypatch: Any, capsys: Any):
    def fail(*_: Any, **__: Any) -> None:
        raise error("first\nsecond", fix="third")

    monkeypatch.setattr(main, "app", fail)
    assert main.status_of(["x"]) == status
    assert capsys.readouterr().err == "tsugiki: first second third\n"


def test_our_own_bugs_keep_their_traceback(monkeypatch: Any):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("of our own")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(RuntimeError, match="of our own"):
        main.status_of(["x"])


class OutOfMemoryError(RuntimeError):
    """As torch names its own on a GPU."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_anywhere_is_one_sentence(error: Exception, monkeypatch: Any, capsys: Any):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.status_of(["x"]) == 1
    assert capsys.readouterr().err.startswith("tsugiki: Out of memory. Close other programs")


def test_an_interruption_is_a_failure(monkeypatch: Any):
    monkeypatch.setattr(main, "app", lambda *_, **__: 130)
    assert main.status_of(["x"]) == 1


def test_a_closed_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen([sys.executable, "-m", "tsugiki", "--help"], stdout=write, stderr=subprocess.PIPE) as started:
        os.close(write)
        _, said = started.communicate()
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("sqlalchemy", ["registry", "list", "--registry", "nowhere"], "registry"),
        ("cryptography", ["registry", "init", "--admin", "花子", "--registry", "new"], "registry"),
        ("numpy", ["check", "rows.csv"], "study"),
        ("torch", ["estimate", "rows.csv", "--base", "base"], "engine"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(
    missing: str, arguments: list[str], extra: str, tmp_path: Path
):
    (tmp_path / "rows.csv").write_text("prompt,completion\n" + "".join(f"a{n},b\n" for n in range(60)))
    script = f"import sys; sys.modules[{missing!r}] = None; from tsugiki.cli.main import run; run()"
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == (
        f"tsugiki: This command needs {missing}, which is not installed. Run: pip install 'tsugiki[{extra}]'\n"
    )


@pytest.mark.parametrize("extra", main.EXTRAS)
def test_the_modules_of_an_extra_are_those_that_it_installs(extra: str):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["optional-dependencies"][extra]
    assert len(wanted) == len(main.EXTRAS[extra])
    for requirement, module in zip(wanted, main.EXTRAS[extra], strict=True):
        assert requirement.startswith(module.replace("_", "-"))
