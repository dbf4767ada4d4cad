"""A study with shifted rows, from the split column to the scorecard, with the fake trials."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.work.fakes import FakeTrials, make_study, write_data
from tsugiki.config import Criteria
from tsugiki.errors import DataError
from tsugiki.report.scorecard import check_scorecard, contract
from tsugiki.work.assemble import write_scorecard
from tsugiki.work.examples import read_examples
from tsugiki.work.prepare import SHIFT, DataSpec
from tsugiki.work.spec import TrialSpec, read_result
from tsugiki.work.study import Study, run_study

PARTS = ("train",) * 60 + ("dev",) * 20 + ("test",) * 60 + ("シフト",) * 60


def with_parts(path: Path, parts: tuple[str, ...] = PARTS) -> Path:
    """The rows of write_data with a column of parts."""
    text = write_data(path, rows=len(parts)).read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*rows[0], "part"])
        writer.writerows([*row, part] for row, part in zip(rows[1:], parts, strict=True))
    return path


def study_of(path: Path, **design: Any) -> Study:
    knobs = {"methods": ("lora", "full"), "curve_sizes": 1, "tries": 1, **design}
    return replace(make_study(path, **knobs), data=DataSpec(path, split_column="part"))


def run(folder: Path, trials: FakeTrials | None = None, **design: Any) -> dict[str, Any]:
    path = with_parts(folder.parent / f"{folder.name}.csv")
    run_study(study_of(path, **design), folder, lambda event: None, run_trial=trials or FakeTrials())
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))


def codes(card: Mapping[str, Any]) -> set[str]:
    return {one["code"] for one in card["verdict"]["codes"]}


def test_final_trials_and_the_reference_answer_the_shifted_rows_and_no_other_trial_does(tmp_path: Path):
    asked: dict[str, str | None] = {}

    def note(spec: TrialSpec, folder: Path) -> None:
        asked[spec.id] = spec.shift

    run(tmp_path / "study", FakeTrials(before=note), tries=2)
    answered = {name for name, shift in asked.items() if shift is not None}
    assert answered == {"reference", *(f"{method}-s{seed}" for method in ("lora", "full") for seed in range(3))}
    assert {"inspection", "calibration", "search-lora", "lora-n30-s0"} <= set(asked)
    found = read_result(tmp_path / "study", "lora-s2")
    assert found is not None
    rows = [example.row for example in read_examples(tmp_path / "study" / SHIFT)]
    assert [one["row"] for one in found["shifted"]["predictions"]] == rows == list(range(142, 202))


def test_a_shift_that_holds_leaves_the_verdict_as_it_is(tmp_path: Path):
    card = run(tmp_path / "study")
    assert "shift_covered" in codes(card)
    assert card["task"] == {"kind": "labels", "metric": "exact_match", "train": 60, "dev": 20, "test": 60, "shift": 60}
    assert card["shift"]["rows"] == 60 and card["shift"]["column"] == "part"
    lora = card["shift"]["methods"][0]
    assert lora["name"] == "lora" and lora["shifted"]["estimate"] == pytest.approx(54 / 60)
    assert lora["test"]["estimate"] == pytest.approx(round(0.9 * 60 * 60 / 70) / 60)
    assert lora["change"]["estimate"] == pytest.approx(lora["shifted"]["estimate"] - lora["test"]["estimate"])
    assert lora["against_full"]["estimate"] == 0 and card["shift"]["methods"][1]["against_full"] is None
    assert card["shift"]["reference"][0]["change"]["estimate"] == 0
    jsonschema.validate(card, contract())
    assert check_scorecard(card) == []


def test_a_shift_that_small_parts_do_not_cover_is_in_the_verdict_with_its_cause(tmp_path: Path):
    fallen = {"lora": 0.2, "full": 0.9, "base": 0.0}
    card = run(tmp_path / "study", FakeTrials(on_shift=fallen))
    assert card["verdict"]["value"] == "conditional"
    assert {"shift_not_covered", "shift_more_than_full"} <= codes(card)
    lora = card["shift"]["methods"][0]
    assert lora["against_full"]["high"] < 0 and lora["against_full"]["low"] < lora["against_full"]["estimate"]
    page = (tmp_path / "study" / "scorecard.html").read_text(encoding="utf-8")
    assert "LoRA alone does not cover the shift" in page and "Under a shift of the data" in page
    alike = run(tmp_path / "alike", FakeTrials(on_shift={"lora": 0.2, "full": 0.2, "base": 0.0}))
    assert {"shift_not_covered", "shift_like_full"} <= codes(alike)


def test_shifted_rows_do_not_count_among_the_examples_that_would_decide(tmp_path: Path):
    """140 rows stand in train, dev and test, 60 of them in test; the 60 shifted ones decide nothing."""
    path = with_parts(tmp_path / "data.csv")
    study = study_of(path)
    near = Criteria(success=0.7, withdraw=0.2)  # lora is at 0.77, and as low as 0.64
    run_study(replace(study, intake=study.intake.model_copy(update={"criteria": near})), tmp_path / "study",
              lambda event: None, run_trial=FakeTrials())  # fmt: skip
    verdict = json.loads((tmp_path / "study" / "scorecard.json").read_text(encoding="utf-8"))["verdict"]
    assert verdict["value"] == "undecidable"
    (wanted,) = (one["values"] for one in verdict["codes"] if one["code"] == "needs_examples")
    assert verdict["needed_examples"] == wanted["examples"] == math.ceil(wanted["test_items"] * 140 / 60)


def test_answers_that_are_missing_or_of_other_rows_are_no_cover(tmp_path: Path):
    run(tmp_path / "study")
    path = tmp_path / "study" / "trials" / "lora-s1.json"
    whole = path.read_text(encoding="utf-8")
    found = json.loads(whole)
    del found["shifted"]
    path.write_text(json.dumps(found), encoding="utf-8")
    card = write_scorecard(tmp_path / "study")
    assert "shift_unmeasured" in codes(card) and card["verdict"]["value"] != "adopt"
    entry = card["shift"]["methods"][0]
    assert entry["shifted"]["estimate"] is None and entry["shifted"]["reason"]
    found = json.loads(whole)
    found["shifted"]["digest"] = "sha256:00"
    path.write_text(json.dumps(found), encoding="utf-8")
    assert "shift_unmeasured" in codes(write_scorecard(tmp_path / "study"))


def test_a_study_without_shifted_rows_says_nothing_about_a_shift(tmp_path: Path):
    study = make_study(write_data(tmp_path / "a.csv"), methods=("lora", "full"), curve_sizes=0, tries=1)
    card = run_study(study, tmp_path / "study", lambda event: None, run_trial=FakeTrials()).scorecard
    assert card["shift"] is None and not any(code.startswith("shift") for code in codes(card))
    assert not (tmp_path / "study" / SHIFT).exists() and "shift" not in card["task"]


def test_too_few_shifted_rows_are_refused_before_anything_is_trained(tmp_path: Path):
    path, trials = with_parts(tmp_path / "a.csv", (*PARTS[:140], *("shift",) * 4)), FakeTrials()
    with pytest.raises(DataError, match=r"The shift part has 4 rows in 4 groups.*Name more rows shift"):
        run_study(study_of(path), tmp_path / "study", lambda event: None, run_trial=trials)
    assert trials.ran == []


def test_general_ability_is_measured_for_every_seed_or_it_is_not_known(tmp_path: Path):
    card = run(tmp_path / "study")
    for method in card["methods"]:
        assert [one["loss_after"] for one in method["by_seed"]] == [pytest.approx(3.51)] * 3
        assert method["retention"]["loss_after"] == pytest.approx(3.51)
    path = tmp_path / "study" / "trials" / "lora-s2.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["general"]
    path.write_text(json.dumps(found), encoding="utf-8")
    card = write_scorecard(tmp_path / "study")
    assert "retention_unmeasured" in codes(card) and card["methods"][0]["retention"] is None
