from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tsugiki.cli.main import status_of
from tsugiki.work.intake import starter
from tsugiki.work.kinds import KINDS


def test_all_kinds_are_listed(capsys: Any):
    assert status_of(["templates"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert "start with 372 rows" in lines[0]
    assert status_of(["templates", "--language", "ja", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["says"]["title"] == "分類"


def test_one_kind_is_told_and_written(capsys: Any, tmp_path: Path):
    assert status_of(["templates", "extraction", "--language", "ja"]) == 0
    assert "項目の抽出" in capsys.readouterr().out
    assert status_of(["templates", "extraction", "--out", str(tmp_path / "papers"), "--json"]) == 0
    said = capsys.readouterr()
    assert [Path(path).name for path in json.loads(said.out)["files"]] == [
        "intake.yaml",
        "examples.csv",
        "evaluation.md",
    ]
    assert all((tmp_path / "papers" / name).is_file() for name in ("intake.yaml", "examples.csv", "evaluation.md"))
    assert said.err.count("\n") == 3
    assert status_of(["check", str(tmp_path / "papers" / "examples.csv")]) == 0
    assert "24 rows can be used, 0 excluded." in capsys.readouterr().out


def test_poc_writes_the_intake_of_a_kind(tmp_path: Path):
    path = tmp_path / "intake.yaml"
    assert status_of(["poc", "--write-intake", str(path), "--kind", "report-drafting", "--language", "ja"]) == 0
    text = path.read_text(encoding="utf-8")
    assert "metric: character_accuracy" in text and "報告文の下書き" in text
    plain = tmp_path / "plain.yaml"
    assert status_of(["poc", "--write-intake", str(plain)]) == 0
    assert plain.read_text(encoding="utf-8") == starter()
