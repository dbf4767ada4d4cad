"""The main job end to end on a tiny base, through the command line and real processes; then one adapter by itself."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.work.fakes import write_data
from tsugiki.report.scorecard import contract

INTAKE = "purpose: sort reports\nowner: A\nreviewer: B\ncriteria:\n  success: 0.6\n  withdraw: 0.2\n"
SMALL = ("--methods", "lora,full", "--seeds", "1", "--curve-sizes", "0", "--tries", "1", "--precision", "float32")
DECIDED = (0, 3)  # exit status of a study: a verdict, or "undecidable"


def tsugiki(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command: Sequence[str | Path] = [sys.executable, "-m", "tsugiki", *arguments]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}  # more threads than this model needs only wait for each other
    return subprocess.run(
        command, cwd=folder, env=quiet, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poc")
    write_data(folder / "reports.csv", rows=60)
    (folder / "intake.yaml").write_text(INTAKE, encoding="utf-8")
    return folder


def poc(place: Path, base: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return tsugiki("poc", "reports.csv", "--base", base, "--out", "study", *SMALL, *options, folder=place)


def test_from_a_data_file_to_a_decision(place: Path, tiny_llama: Path):
    ran = poc(place, tiny_llama, "--intake", "intake.yaml", "--json", "--slides", "study/deck.pptx")
    assert ran.returncode in DECIDED, ran.stderr
    card = json.loads(ran.stdout)
    jsonschema.validate(card, contract())
    study = place / "study"
    assert card == json.loads((study / "scorecard.json").read_text(encoding="utf-8"))
    assert ran.returncode == (3 if card["verdict"]["value"] == "undecidable" else 0)
    assert {path.stem for path in (study / "trials").iterdir()} == {"reference", "lora-s0", "full-s0"}
    assert {path.name for path in (study / "adapters").iterdir()} == {"lora-s0", "full-s0"}
    assert not list((study / "work").iterdir())
    assert "[3/3] full-s0 done" in ran.stderr and "Prompt is the column 'prompt'" in ran.stderr
    for method in card["methods"]:
        assert method["quality"]["n"] == card["task"]["test"] == 15
        assert set(method["reasons"]) <= {"cost"}  # everything was measured but the money
    _resumed(place, tiny_llama, study)
    _rebuilt(place, study)


def _resumed(place: Path, base: Path, study: Path) -> None:
    """The intake is in the study by now, and everything is done."""
    before = {path: path.stat().st_mtime_ns for path in (study / "trials").iterdir()}
    ran = poc(place, base, "--slides", "study/deck.pptx")  # the deck of this very study gives way
    assert ran.returncode in DECIDED, ran.stderr
    assert ran.stderr.count("was done before") == 3
    assert {path: path.stat().st_mtime_ns for path in (study / "trials").iterdir()} == before
    assert "scorecard.html" in ran.stdout and "Verdict:" in ran.stdout
    other = poc(place, base, "--rank", "4")
    assert other.returncode == 1 and "plans.lora.rank" in other.stderr
    assert other.stderr.count("\n") == other.stderr.count("Reading") + other.stderr.count("Prompt") + 1


def _rebuilt(place: Path, study: Path) -> None:
    before = {name: (study / name).read_bytes() for name in ("scorecard.json", "scorecard.html", "deck.pptx")}
    for name in before:
        (study / name).unlink()
    ran = tsugiki("scorecard", study, "--slides", study / "deck.pptx", folder=place)
    assert ran.returncode in DECIDED and "deck.pptx" in ran.stderr
    assert {name: (study / name).read_bytes() for name in before} == before


def test_one_adapter_trained_and_evaluated(place: Path, tiny_llama: Path):
    steps = ("--max-steps", "80", "--learning-rate", "0.002", "--precision", "float32")
    ran = tsugiki(
        "train", "reports.csv", "--base", tiny_llama, "--out", "one", "--method", "full", *steps, "--json", folder=place
    )
    assert ran.returncode == 0, ran.stderr
    trained = json.loads(ran.stdout)
    assert trained["training"]["steps"] <= 80 and trained["rows"]["train"] + trained["rows"]["dev"] == 60
    assert not list(place.glob(".one*"))
    ran = tsugiki("evaluate", "one", "reports.csv", "--base", tiny_llama, folder=place)
    assert ran.returncode == 1 and "60 were seen in training" in ran.stderr
    write_data(place / "later.csv", rows=90)  # the first 60 again, in a file with another digest
    ran = tsugiki("evaluate", "one", "later.csv", "--base", tiny_llama, "--json", folder=place)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["rows"] == {"tested": 30, "seen": 60, "excluded": 0}
    assert found["quality"]["estimate"] > found["base_quality"]["estimate"]
    assert found["difference"]["estimate"] > 0
    _sliced_by_line(place, tiny_llama)
    again = tsugiki("train", "reports.csv", "--base", tiny_llama, "--out", "one", folder=place)
    assert again.returncode == 2 and "one exists already." in again.stderr


def _sliced_by_line(place: Path, base: Path) -> None:
    """A column `line` beside the data: half of the rows that are tested have another answer than was learned."""
    with (place / "later.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    told = [(text, label, "old") for text, label in rows[:75]] + [(text, "zzz", "new") for text, _ in rows[75:]]
    with (place / "lines.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "completion", "line"), *told])
    command = ("evaluate", "one", "lines.csv", "--base", base, "--slice-column", "line")
    ran = tsugiki(*command, "--json", folder=place)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["slices"]
    (line,) = (one for one in found["dimensions"] if one["name"] == "line")
    assert {one["value"]: one["n"] for one in line["slices"]} == {"old": 15, "new": 15}
    assert {one["value"]: one["surely_worse"] for one in line["slices"]} == {"old": False, "new": True}
    assert found["worst"]["quality"]["adapter"]["estimate"] == 0.0, "the rows of `new`, which have a label of their own"
    shown = tsugiki(*command, folder=place).stdout
    assert "Column “line”: new, 15 rows: 0.000 (" in shown and "weakest     Label: zzz" in shown
    wrong_name = tsugiki(*command[:-1], "lime", folder=place)
    assert wrong_name.returncode == 1 and "lime" in wrong_name.stderr and "line" in wrong_name.stderr


def test_a_run_with_rank_auto_keeps_what_dev_shows_to_be_needed(place: Path, tiny_llama: Path):
    steps = ("--max-steps", "30", "--learning-rate", "0.002", "--precision", "float32", "--method", "auto")
    ran = tsugiki("train", "reports.csv", "--base", tiny_llama, "--out", "auto", *steps, "--json", folder=place)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [one["method"] for one in found["methods"]] == ["lora", "adapter", "hybrid"]
    best = min(one["dev_loss"] for one in found["methods"])
    simplest = next(one["method"] for one in found["methods"] if one["dev_loss"] <= best + 0.01)
    assert found["plan"]["spec"]["method"] == simplest
    ran = tsugiki(
        "train", "reports.csv", "--base", tiny_llama, "--out", "cut", *steps[:6], "--rank", "auto", folder=place
    )
    assert ran.returncode == 0, ran.stderr
    config = json.loads((place / "cut" / "adapter_config.json").read_text(encoding="utf-8"))
    assert f"rank {config['r']} of 32 kept: dev loss" in ran.stdout and config["r"] <= 32
    assert config["lora_alpha"] / config["r"] == 1.0, "the scale that it was trained with"
    ran = tsugiki("evaluate", "cut", "reports.csv", "--base", tiny_llama, folder=place)
    assert ran.returncode == 1 and "60 were seen in training" in ran.stderr


@pytest.mark.slow
def test_a_study_teaches_the_next_one(place: Path, tiny_llama: Path, tmp_path: Path):
    few = ("--methods", "lora,full", "--seeds", "1", "--curve-sizes", "0", "--tries", "2", "--precision", "float32")
    command = ("poc", place / "reports.csv", "--base", tiny_llama, "--intake", place / "intake.yaml", *few)
    ran = tsugiki(*command, "--out", "studies/one", folder=tmp_path)
    assert ran.returncode in DECIDED, ran.stderr
    lesson = json.loads((tmp_path / "studies" / "one" / "lesson.json").read_text(encoding="utf-8"))
    assert len(lesson["tries"]["lora"]) == len(lesson["tries"]["full"]) == 2 and 1 <= lesson["rank"] <= 32
    ran = tsugiki("lessons", "studies", folder=tmp_path)
    assert ran.returncode == 0 and f"rank {lesson['rank']} of 32 sufficed" in ran.stdout
    assert "no other study is near enough to say" in ran.stdout
    ran = tsugiki(*command, "--out", "studies/two", folder=tmp_path)
    assert ran.returncode in DECIDED, ran.stderr
    schedule = json.loads((tmp_path / "studies" / "two" / "schedule.json").read_text(encoding="utf-8"))
    best = min(lesson["tries"]["lora"], key=lambda one: one["dev_loss"])["learning_rate"]
    assert schedule["prior"]["rates"]["lora"] == [best] and schedule["prior"]["lessons"][0]["folder"] == "one"
    assert not any(trial["kind"] == "search" for trial in schedule["trials"]), "nothing is left to search"


def test_lessons_that_cannot_be_read_are_named(tmp_path: Path):
    (tmp_path / "studies" / "old").mkdir(parents=True)
    (tmp_path / "studies" / "old" / "lesson.json").write_text("{}", encoding="utf-8")
    ran = tsugiki("lessons", "studies", folder=tmp_path)
    assert ran.returncode == 0 and "lesson.json cannot be read and teaches nothing" in ran.stdout
    said = json.loads(tsugiki("lessons", "studies", "--json", folder=tmp_path).stdout)
    assert said["lessons"] == [] and said["unreadable"] == [str(Path("studies/old/lesson.json"))]


def test_estimate_says_what_every_method_takes(place: Path, tiny_llama: Path):
    ran = tsugiki("estimate", "reports.csv", "--base", tiny_llama, "--json", folder=place)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    share = {one["name"]: one["trainable_parameters"] / one["base_parameters"] for one in found["methods"]}
    assert set(share) == {"lora", "adapter", "hybrid", "full"} and share["full"] == 1 > share["lora"]
    assert found["steps"] == 300 and all(one["fits"] for one in found["methods"])


def test_estimate_ends_like_check_where_a_study_would_refuse_the_data(tmp_path: Path, tiny_llama: Path):
    write_data(tmp_path / "few.csv", rows=3)
    ran = tsugiki("estimate", "few.csv", "--base", tiny_llama, "--json", folder=tmp_path)
    assert ran.returncode == 1 and json.loads(ran.stdout)["refused"] is True
    said = tsugiki("estimate", "few.csv", "--base", tiny_llama, folder=tmp_path)
    assert said.returncode == 1 and "A study would refuse this file." in said.stdout and "GB at its peak" in said.stdout


def test_estimate_measures_a_few_steps_of_each_method(place: Path, tiny_llama: Path):
    command = ("estimate", "reports.csv", "--base", tiny_llama, "--methods", "lora,full", "--measure")
    found: dict[str, Any] = json.loads(tsugiki(*command, "--json", folder=place).stdout)
    for method in found["methods"]:
        assert method["measured"]["reason"] is None
        assert 0.3 < method["measured"]["peak_bytes"] / method["phases"]["train"]["total"] < 3
        assert 0 < method["measured"]["seconds"] < 3600
    ran = tsugiki(*command, folder=place)
    assert ran.stdout.count("GB in training, ") == 2 and "for all steps" in ran.stdout
    assert not list(place.glob("tsugiki-estimate-*"))


def test_estimate_leaves_out_rows_that_are_too_long_and_says_so(place: Path, tiny_llama: Path):
    rows = [f"question {number * 7919},P,{number // 2}\n" for number in range(60)]
    rows += [f"{number} {'pump no. ' * 200},P,x\n" for number in range(9)]
    (place / "long.csv").write_text("".join(["prompt,completion,customer\n", *rows]), encoding="utf-8")
    command = ("estimate", "long.csv", "--base", tiny_llama, "--group-column", "customer")
    ran = tsugiki(*command, folder=place)
    assert ran.returncode == 0, ran.stderr
    assert "60 usable rows, 38 to train on" in ran.stdout
    assert "9 rows are longer than 512 tokens (--max-length) and left out" in ran.stdout
    found: dict[str, Any] = json.loads(tsugiki(*command, "--max-length", "8", "--json", folder=place).stdout)
    assert found["rows"] == {"usable": 0, "train": 0, "too_long": 69}
    assert "--max-length" in found["concerns"][0]
