"""Shifted rows and slices end to end, through the command line and real processes on a tiny base."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.cli.test_poc import DECIDED, INTAKE, SMALL, tsugiki
from tests.work.test_shift import with_parts
from tsugiki.report.scorecard import check_scorecard, contract

PARTS = ("train",) * 40 + ("dev",) * 10 + ("test",) * 24 + ("変化後",) * 16


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shifted")
    with_parts(folder / "reports.csv", PARTS)
    lines = (folder / "reports.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    assert lines[0] == "prompt,completion,part\n"
    (folder / "intake.yaml").write_text(INTAKE, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_shifted_rows_are_answered_by_real_trials(place: Path, tiny_llama: Path):
    command = ("poc", "reports.csv", "--base", tiny_llama, "--out", "study", "--split-column", "part", *SMALL)
    ran = tsugiki(*command, "--slice-column", "part", "--intake", "intake.yaml", "--json", folder=place)
    assert ran.returncode in DECIDED, ran.stderr
    card = json.loads(ran.stdout)
    jsonschema.validate(card, contract())
    assert check_scorecard(card) == []
    assert card["task"]["shift"] == card["shift"]["rows"] == 16
    for entry in (*card["shift"]["methods"], *card["shift"]["reference"]):
        assert entry["shifted"]["n"] == 16 and entry["test"]["n"] == 24
        assert entry["change"]["estimate"] == pytest.approx(entry["shifted"]["estimate"] - entry["test"]["estimate"])
    assert any(one["code"].startswith("shift_") for one in card["verdict"]["codes"])
    assert [one["by"] for one in card["slices"]["dimensions"]][-1] == "value"
    trial = json.loads((place / "study" / "trials" / "lora-s0.json").read_text(encoding="utf-8"))
    assert [one["row"] for one in trial["shifted"]["predictions"]] == list(range(76, 92))
    assert set(trial["general"]) == {"en", "ja"} and trial["answer_seconds"] > 0
    reference = json.loads((place / "study" / "trials" / "reference.json").read_text(encoding="utf-8"))
    assert reference["seconds"]["shifted"] > 0 and len(reference["shifted"]["predictions"]) == 16
    again = tsugiki(*command, "--slice-column", "part", folder=place)
    assert again.returncode == ran.returncode and again.stderr.count("was done before") == 3
    assert "Shifted rows" in again.stdout


@pytest.mark.slow
def test_check_suggests_the_time_column_and_shows_what_a_study_by_time_would_refuse(place: Path):
    rows = [f"question {row * 7919},answer {row % 3},2026-{1 + row // 28:02}-{1 + row % 28:02}\n" for row in range(40)]
    (place / "dated.csv").write_text("".join(["prompt,completion,received\n", *rows]), encoding="utf-8")
    assert "--time-column 'received'" in tsugiki("check", "dated.csv", folder=place).stdout
    by_time = tsugiki("check", "dated.csv", "--time-column", "received", folder=place)
    assert "--time-column" not in by_time.stdout and "would refuse" not in by_time.stdout
    (place / "dated.csv").write_text("".join(["prompt,completion,received\n", *rows, "q,a,26/1/1\n"]), encoding="utf-8")
    by_time = tsugiki("check", "dated.csv", "--time-column", "received", folder=place)
    assert "A study would refuse this file." in " ".join(by_time.stdout.split()) and "two digits" in by_time.stdout
