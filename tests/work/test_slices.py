"""How test rows are cut into slices, and what stands about them on the scorecard."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.work.fakes import FakeTrials, answered, make_study, write_data
from tsugiki.errors import DataError, StudyError, UsageError
from tsugiki.fingerprint import digest_file
from tsugiki.report.scorecard import check_scorecard, contract
from tsugiki.work.examples import read_examples
from tsugiki.work.prepare import DataSpec, read_source
from tsugiki.work.slice_columns import number, read_slice_columns
from tsugiki.work.slices import _by_value, _in_thirds
from tsugiki.work.spec import TrialSpec
from tsugiki.work.study import Study, run_study

COLUMNS: Mapping[str, Callable[[int, random.Random], str]] = {
    "region": lambda row, chance: ("east", "west", "")[row % 3],
    "拠点": lambda row, chance: f"plant {row % 2}",
    "age": lambda row, chance: f"{chance.randrange(1, 2000):,}",
    "received": lambda row, chance: f"令和8年{1 + row % 12}月{1 + row % 28}日",
    "ticket": lambda row, chance: f"T-{row}",
    "wide, name": lambda row, chance: ("a", "b")[row % 2],
}


def write(path: Path, rows: int = 200) -> Path:
    chance = random.Random(1)
    lines = list(csv.reader(io.StringIO(write_data(path, rows=rows).read_text(encoding="utf-8"), newline="")))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*lines[0], *COLUMNS])
        writer.writerows(
            [*line, *(make(row, chance) for make in COLUMNS.values())] for row, line in enumerate(lines[1:])
        )
    return path


class East(FakeTrials):
    """LoRA and full are right but where the rows come from the east."""

    def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        found = super()._train(spec, folder)
        test = read_examples(folder / spec.test)
        column = next(one for one in read_slice_columns(folder) if one.name == "region")
        predictions = answered(test, 1.0)["predictions"]
        for one in predictions:
            one["predicted"] = "?" if column.cells[one["row"]] == "east" else one["predicted"]
        return {**found, "predictions": predictions, "test_digest": digest_file(folder / spec.test)}


def study_of(path: Path, *columns: str, **design: Any) -> Study:
    knobs = {"methods": ("lora", "full"), "curve_sizes": 0, "tries": 1, **design}
    return replace(make_study(path, **knobs), data=DataSpec(path, slice_columns=columns))


def run(folder: Path, *columns: str, trials: FakeTrials | None = None, **design: Any) -> dict[str, Any]:
    study = study_of(write(folder.parent / "a.csv"), *columns, **design)
    run_study(study, folder, lambda event: None, run_trial=trials or FakeTrials())
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))


def dimension(card: Mapping[str, Any], by: str, name: str | None = None) -> dict[str, Any]:
    return next(one for one in card["slices"]["dimensions"] if (one["by"], one["name"]) == (by, name))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("slices") / "study", "region,age", "ticket", "wide, name", trials=East())


def test_the_weakest_slice_is_found_and_said_everywhere(card: dict[str, Any]):
    worst = card["slices"]["worst"]
    assert (worst["by"], worst["name"], worst["value"]) == ("value", "region", "east")
    assert worst["quality"]["lora"]["estimate"] == worst["quality"]["full"]["estimate"] == 0
    assert worst["difference"]["high"] < 0 and worst["surely_worse"] is True
    assert card["slices"]["whole"]["lora"]["n"] == card["task"]["test"] == 50
    assert card["slices"]["whole"]["lora"]["estimate"] == card["methods"][0]["quality"]["estimate"]
    assert set(card["slices"]["whole"]) == {"lora", "full", "base"}
    jsonschema.validate(card, contract())
    assert check_scorecard(card) == []


def test_every_cut_covers_the_test_rows_once(card: dict[str, Any]):
    cuts = [(one["by"], one["name"]) for one in card["slices"]["dimensions"]]
    assert cuts == [
        ("label", None), ("length", None), ("value", "region"), ("number", "age"), ("value", "ticket"),
        ("value", "wide, name"), ("value", "拠点"), ("period", "received"),
    ]  # fmt: skip
    for one in card["slices"]["dimensions"]:
        listed = sum(part["n"] for part in one["slices"])
        assert listed == 50 or (one["left_out"] and listed < 50), one


def test_slices_too_small_have_no_number(card: dict[str, Any]):
    tickets = dimension(card, "value", "ticket")
    assert len(tickets["slices"]) == 12 and tickets["left_out"] == 38
    for one in tickets["slices"]:
        assert one["too_small"] and one["n"] == 1 and one["surely_worse"] is None
        assert one["quality"]["lora"]["estimate"] is None and one["quality"]["lora"]["reason"]
        assert one["difference"]["estimate"] is None


def test_intervals_are_corrected_for_the_slices_that_were_looked_at(card: dict[str, Any]):
    found = card["slices"]
    compared = [one for cut in found["dimensions"] for one in cut["slices"] if one["surely_worse"] is not None]
    assert found["looked_at"] == len(compared) > 8 and found["correction"] == "bonferroni"
    assert found["corrected_confidence"] == pytest.approx(1 - 0.05 / len(compared))


def test_periods_and_numbers_are_thirds_and_blanks_are_a_slice(card: dict[str, Any]):
    periods = dimension(card, "period", "received")["slices"]
    assert len(periods) == 3 and all(one["from"] <= one["to"] for one in periods)
    assert periods[0]["to"] < periods[1]["from"] and periods[0]["from"].startswith("2026-01")
    ages = dimension(card, "number", "age")["slices"]
    assert [one["n"] for one in ages] == pytest.approx([50 / 3] * 3, abs=2) and isinstance(ages[0]["from"], float)
    assert {one["value"] for one in dimension(card, "value", "region")["slices"]} == {"east", "west", None}


def test_a_column_name_with_a_comma_is_one_name(tmp_path: Path):
    source = read_source(DataSpec(write(tmp_path / "a.csv"), slice_columns=("wide, name", "region, age", "region")))
    assert source.slice_columns == ("wide, name", "region", "age")
    assert source.as_lock()["slice_columns"] == ["wide, name", "region", "age"]


def test_the_columns_are_locked_with_the_study(tmp_path: Path):
    run(tmp_path / "study", "region")
    with pytest.raises(StudyError, match=r"locked with data\.slice_columns \['region'\], not \['age'\]"):
        run(tmp_path / "study", "age")


def test_a_column_that_is_not_there_or_holds_lists_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no column 'colour'"):
        read_source(DataSpec(write(tmp_path / "a.csv"), slice_columns=("region,colour",)))
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "completion": "b", "tags": ["x"]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"Row 1 has a list or an object in the slice column 'tags'"):
        read_source(DataSpec(path, slice_columns=("tags",)))


def test_macro_f1_is_broken_down_by_exact_match(tmp_path: Path):
    path = write(tmp_path / "a.csv")
    study = study_of(path, "region")
    criteria = study.intake.criteria.model_copy(update={"metric": "macro_f1"})
    study = replace(study, intake=study.intake.model_copy(update={"criteria": criteria}))
    card = run_study(study, tmp_path / "study", lambda event: None, run_trial=East()).scorecard
    assert card["slices"]["metric"] == "exact_match" and card["task"]["metric"] == "macro_f1"
    assert "slices are compared by exact match" in (tmp_path / "study" / "scorecard.html").read_text(encoding="utf-8")


def test_without_a_candidate_there_are_no_slices(tmp_path: Path):
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "no", "fix": "yes"} if spec.kind == "train" else None

    card = run(tmp_path / "study", trials=FakeTrials(before=fail))
    assert card["slices"] is None and check_scorecard(card) == []


def test_equal_values_stay_in_one_third():
    found = _in_thirds("length", None, [5.0] * 8 + [1.0, 9.0])
    assert [(one.start, one.end, len(one.items)) for one in found.slices] == [
        (1.0, 1.0, 1),
        (5.0, 5.0, 8),
        (9.0, 9.0, 1),
    ]
    assert [len(one.items) for one in _in_thirds("length", None, [float(n) for n in range(9)]).slices] == [3, 3, 3]
    blanks = _in_thirds("period", "when", [None, "2026-01-01", "2026-02-01", None])
    assert blanks.slices[-1].items == (0, 3) and blanks.slices[-1].value is None
    assert _in_thirds("period", "when", [None, None]).slices[0].items == (0, 1)


def test_values_differ_by_more_than_width_and_secrets_are_masked():
    found = _by_value("value", "x", ["Ａ", "A", "b", None])
    assert [(one.value, one.items) for one in found.slices] == [("Ａ", (0, 1)), ("b", (2,)), (None, (3,))]


@pytest.mark.parametrize(
    ("text", "value"), [("1,200", 1200.0), ("１２", 12.0), ("12円", None), ("nan", None), ("", None)]
)
def test_numbers(text: str, value: float | None):
    assert number(text) == value


def test_a_date_column_is_suggested_and_never_used(tmp_path: Path):
    path = write(tmp_path / "a.csv")
    source = read_source(DataSpec(path))
    assert source.suggestions == (
        "The column 'received' holds dates; --time-column 'received' would test on its newest rows.",
    )
    assert read_source(DataSpec(path, time_column="received")).suggestions == ()
    events: list[Mapping[str, Any]] = []
    run_study(study_of(path), tmp_path / "study", events.append, run_trial=FakeTrials())
    assert "--time-column" in next(event for event in events if event["event"] == "reading")["sentence"]
    check = json.loads((tmp_path / "study" / "data" / "check.json").read_text(encoding="utf-8"))
    assert check["split"] == {"by": "chance", "column": None} and "--time-column" in " ".join(check["notes"])


def test_a_split_by_time_tests_on_the_newest_rows(tmp_path: Path):
    path = write(tmp_path / "a.csv")
    study = replace(study_of(path), data=DataSpec(path, time_column="received"))
    card = run_study(study, tmp_path / "study", lambda event: None, run_trial=FakeTrials()).scorecard
    split = card["data_check"]["split"]
    assert split["by"] == "time" and split["column"] == "received" and split["dev_from"] < split["test_from"]
    moments = next(one for one in read_slice_columns(tmp_path / "study") if one.name == "received").cells
    rows = {example.row for example in read_examples(tmp_path / "study" / "data/test.jsonl")}
    older = {row for one in card["data_check"]["concerns"] if one["kind"] == "older" for row in one["rows"]}
    assert len(rows - older) > 20
    assert min(str(moments[row]) for row in rows - older) == split["test_from"]
    page = (tmp_path / "study" / "scorecard.html").read_text(encoding="utf-8")
    assert f"test from {split['test_from']}" in page
    with pytest.raises(StudyError, match=r"locked with data\.time_column 'received', not None"):
        run_study(study_of(path), tmp_path / "study", lambda event: None, run_trial=FakeTrials())


def test_a_split_column_beside_a_time_column_is_a_contradiction(tmp_path: Path):
    with pytest.raises(UsageError, match="both say which rows test"):
        read_source(DataSpec(write(tmp_path / "a.csv"), split_column="region", time_column="received"))
