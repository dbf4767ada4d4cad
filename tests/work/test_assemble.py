"""The scorecard of a study folder: the contract, equal bytes, and what it says when something is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.work.fakes import MACHINE, FakeTrials, make_study, write_data
from tsugiki.errors import StudyError
from tsugiki.measure.prices import Prices
from tsugiki.report.scorecard import contract
from tsugiki.work.assemble import write_scorecard
from tsugiki.work.spec import TrialSpec, read_result
from tsugiki.work.study import run_study

PRICES = Prices(currency="JPY", date="2026-11", source="quotation 7", cpu_hour=3600.0)


def study(folder: Path, trials: FakeTrials | None = None, **rest: Any) -> dict[str, Any]:
    prices, data = rest.pop("prices", None), folder.parent / f"{folder.name}.csv"
    wanted = replace(make_study(write_data(data), **rest), prices=prices)
    run_study(wanted, folder, lambda event: None, run_trial=trials or FakeTrials())
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "study"
    study(path)
    return path


@pytest.fixture
def card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))


def method(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in card["methods"] if one["name"] == name)


def test_the_contract_is_kept(card: dict[str, Any]):
    jsonschema.validate(card, contract())


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_page_is_in_the_language_of_the_intake(tmp_path: Path, language: str):
    card = study(tmp_path / "study", seeds=1, curve_sizes=0, language=language)
    assert card["language"] == language
    page = (tmp_path / "study" / "scorecard.html").read_text(encoding="utf-8")
    assert f'lang="{language}"' in page
    assert any("぀" < character < "ヿ" for character in card["verdict"]["rule"]) == (language == "ja")


def test_the_same_folder_gives_the_same_bytes_in_another_process(folder: Path):
    names = ("scorecard.json", "scorecard.html")
    before = [(folder / name).read_bytes() for name in names]
    other = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-m", "tsugiki", "scorecard", folder], check=True, env=other)
    assert [(folder / name).read_bytes() for name in names] == before


def test_every_number_says_which_trials_it_comes_from(card: dict[str, Any], folder: Path):
    assert card["provenance"]["methods.lora"] == ["lora-s0", "lora-s1", "lora-s2"]
    for trials in card["provenance"].values():
        assert all((folder / "trials" / f"{trial}.json").is_file() for trial in trials)


def test_quality_is_over_seeds_and_items(card: dict[str, Any]):
    lora = method(card, "lora")
    assert lora["seeds"] == [0, 1, 2] and [one["seed"] for one in lora["by_seed"]] == [0, 1, 2]
    assert lora["quality"]["estimate"] == pytest.approx(19 / 25) and lora["quality"]["n"] == 25
    assert lora["quality"]["low"] < 19 / 25 < lora["quality"]["high"]
    assert lora["against_full"]["difference"]["estimate"] == 0
    assert method(card, "adapter")["against_full"]["difference"]["estimate"] == pytest.approx((11 - 19) / 25)
    assert method(card, "full")["against_full"] is None


def test_references_stand_beside(card: dict[str, Any]):
    values = {one["name"]: one["quality"]["estimate"] for one in card["reference"]}
    assert set(values) == {"base", "k-shot", "copy", "majority"}
    assert values["base"] == values["copy"] == 0 and 0 < values["majority"] < 0.5 and values["k-shot"] == 2 / 25


def test_retention_is_the_mean_of_both_languages(card: dict[str, Any]):
    kept = method(card, "lora")["retention"]
    assert (kept["loss_before"], kept["loss_after"]) == (3.5, pytest.approx(3.51))
    assert kept["by_language"]["ja"] == {"loss_before": 4.0, "loss_after": pytest.approx(4.01)}


def test_the_learning_curve_has_every_size_and_a_fit(card: dict[str, Any]):
    curve = card["learning_curve"]
    assert (curve["method"], [point["n"] for point in curve["points"]]) == ("lora", [15, 30, 60])
    estimates = [point["quality"]["estimate"] for point in curve["points"]]
    assert estimates == sorted(estimates)
    assert "n^−" in curve["fit"]["formula"] and curve["fit"]["points"][-1]["n"] == 240


def test_the_learning_curve_is_forecast_with_advice(card: dict[str, Any], folder: Path):
    curve = card["learning_curve"]
    assert [(one["n"], one["factor"]) for one in curve["forecast"]] == [(120, 2), (240, 4)]
    for one in curve["forecast"]:
        assert one["quality"]["low"] <= one["quality"]["estimate"] <= one["quality"]["high"]
        assert 0 <= one["reaches"] <= 1
    assert curve["advice"]["code"] == "reached"
    assert curve["advice"]["sentence"] in (folder / "scorecard.html").read_text(encoding="utf-8")
    assert curve["backtest"] is None  # two sizes below the full one are too few to look back


def test_a_study_without_smaller_sizes_has_no_curve(tmp_path: Path):
    assert study(tmp_path / "study", curve_sizes=0, seeds=1)["learning_curve"] is None


def test_what_a_bottleneck_cannot_do_is_said(card: dict[str, Any]):
    adapter = method(card, "adapter")
    assert {one["weights"] for one in adapter["latency"]} == {"unmerged"}
    assert "merged" in adapter["reasons"]["merged"]


def test_money_needs_the_users_prices(card: dict[str, Any], tmp_path: Path):
    assert method(card, "lora")["cost"] is None and method(card, "lora")["reasons"]["cost"]
    cost = method(study(tmp_path / "study", prices=PRICES, seeds=1, curve_sizes=0), "lora")["cost"]
    assert cost == {
        "currency": "JPY", "source": "quotation 7", "date": "2026-11",
        "train": pytest.approx(20.0), "per_1000_answers": pytest.approx(160.0),
    }  # fmt: skip


def test_a_machine_kept_on_is_paid_for_as_the_month_is_cheapest(tmp_path: Path):
    """An hour of use is cheapest where it is paid by the hour, a whole month where it is reserved."""
    month = {"month": 73_050.0, "hours": 10.0}  # 7,305 an hour of use
    prices = Prices.model_validate(
        {**PRICES.model_dump(), "cpu_reserved": month, "business_case": {"serving": "kept_on"}}
    )
    kept = method(study(tmp_path / "study", prices=prices, seeds=1, curve_sizes=0), "lora")["cost"]
    assert kept["train"] == pytest.approx(20.0)
    assert kept["per_1000_answers"] == pytest.approx(160.0 * 7305 / 3600)


def test_a_missing_reference_is_a_null_with_a_reason_and_no_pass(tmp_path: Path):
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "no", "fix": "yes"} if spec.kind == "reference" else None

    card = study(tmp_path / "study", FakeTrials(before=fail))
    base = next(one for one in card["reference"] if one["name"] == "base")
    assert base["quality"]["estimate"] is None and base["quality"]["reason"]
    assert card["verdict"]["value"] == "undecidable"
    assert method(card, "lora")["retention"] is None and method(card, "lora")["reasons"]["retention"]
    jsonschema.validate(card, contract())


def test_without_any_result_nothing_can_be_judged(tmp_path: Path):
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "no", "fix": "yes"} if spec.kind == "train" else None

    card = study(tmp_path / "study", FakeTrials(before=fail), seeds=1)
    assert card["verdict"]["value"] == "undecidable" and card["verdict"]["code"] == "nothing_to_judge"
    assert len(card["failures"]) == 6
    jsonschema.validate(card, contract())


def test_results_of_another_test_set_are_not_compared(tmp_path: Path):
    study(tmp_path / "study", seeds=1, curve_sizes=0)
    path = tmp_path / "study" / "trials" / "lora-s0.json"
    path.write_text(path.read_text().replace('"test_digest": "sha256:', '"test_digest": "sha256:0'))
    card = write_scorecard(tmp_path / "study")
    assert card["verdict"]["codes"][0]["code"] == "stale"
    lora = method(card, "lora")
    assert lora["quality"]["estimate"] is None and lora["quality"]["reason"] == "measured on another test set"
    assert lora["against_full"] is None and lora["by_seed"] == []
    assert method(card, "full")["quality"]["estimate"] is not None
    jsonschema.validate(card, contract())


def test_a_test_set_that_was_cut_afterwards_is_said_to_be_one(tmp_path: Path):
    study(tmp_path / "study", seeds=1, curve_sizes=0)
    path = tmp_path / "study" / "data" / "test.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(StudyError, match="holds 24 rows, and the study's trials answered 25"):
        write_scorecard(tmp_path / "study")


def test_a_seed_that_failed_is_in_the_verdict_and_the_first_that_did_not_gives_the_cost(tmp_path: Path):
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "no", "fix": "yes"} if spec.id == "lora-s0" else None

    card = study(tmp_path / "study", FakeTrials(before=fail), seeds=4, curve_sizes=0, prices=PRICES)
    lost = {one["code"]: one["values"] for one in card["verdict"]["codes"]}["seeds_failed"]
    assert lost == {"method": "lora", "failed": 1, "seeds": 4}
    assert method(card, "lora")["seeds"] == [1, 2, 3]
    assert method(card, "lora")["cost"]["train"] == method(card, "full")["cost"]["train"]


def test_seeds_count_as_cut_as_long_as_one_method_has_fewer(tmp_path: Path):
    card = study(tmp_path / "study", seeds=3, curve_sizes=0, tries=1, budget_minutes=3.5)
    seeds = {one["name"]: len(one["seeds"]) for one in card["methods"]}
    assert seeds["lora"] > min(seeds.values())
    (cut,) = [one for one in card["study"]["design"]["cut"] if one["what"] == "seeds"]
    assert cut["after"] == min(seeds.values())


def test_two_machines_are_said(tmp_path: Path):
    def moved(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        if spec.id != "full-s0":
            return None
        values = FakeTrials()._train(spec, folder)
        return {"status": "done", **values, "machine": {**MACHINE, "fingerprint": "sha256:22"}}

    assert study(tmp_path / "study", FakeTrials(before=moved), seeds=1, curve_sizes=0)["warnings"]


def test_examples_show_rights_and_wrongs_with_their_rows(card: dict[str, Any], folder: Path):
    trial = read_result(folder, "lora-s0")
    assert trial is not None
    answers = {one["row"]: one["predicted"] for one in trial["predictions"]}
    assert len(card["examples"]) == 6
    for example in card["examples"]:
        assert example["answers"]["lora"] == answers[example["row"]]
        assert example["scores"]["lora"] == (example["answers"]["lora"] == example["reference"])
    assert {example["scores"]["lora"] for example in card["examples"]} == {0.0, 1.0}


def test_a_study_that_has_not_begun_says_so(tmp_path: Path):
    def stop(spec: TrialSpec, folder: Path) -> None:
        if spec.kind == "calibrate":
            raise KeyboardInterrupt

    with pytest.raises(StudyError):
        study(tmp_path / "study", FakeTrials(before=stop))
    with pytest.raises(StudyError, match="has not come to its first trial"):
        write_scorecard(tmp_path / "study")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data/slices.json", "[]", "does not hold the columns"),
        ("data/check.json", "{}", "does not say how the rows were divided"),
        ("data/test.jsonl", '{"row": 1, "prompt": "a", "completion": 3, "messages": null}\n', "must be texts"),
        ("trials/lora-s0.json", None, "1 answers to 25 test rows"),
    ],
)
def test_a_damaged_file_is_named(name: str, content: str | None, said: str, folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / name
    if content is None:
        found = json.loads(path.read_text(encoding="utf-8"))
        content = json.dumps({**found, "predictions": found["predictions"][:1]})
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=said) as error:
        write_scorecard(tmp_path / "study")
    assert name in error.value.problem


def test_labels_hold_no_quantities(card: dict[str, Any], folder: Path):
    trial = read_result(folder, "lora-s0")
    assert trial is not None and trial["facts"] is not None
    assert card["task"]["kind"] == "labels" and method(card, "lora")["facts"] is None
