"""Money on a study's scorecard: by hand from the fake trials' seconds, null with a reason where it cannot be told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.measure.test_prices import BOUGHT, table
from tests.work.fakes import MACHINE, FakeTrials, make_study, write_data
from tsugiki.config import LanguageName
from tsugiki.errors import StudyError, UsageError
from tsugiki.measure.prices import Prices
from tsugiki.report.scorecard import check_scorecard
from tsugiki.work.reprice import repriced, write_repriced
from tsugiki.work.slides import read_scorecard
from tsugiki.work.spec import TrialSpec
from tsugiki.work.study import run_study

CASE: dict[str, Any] = {"cases_per_month": 1000, "minutes_saved": 3}
PRICES = table(wage_hour=3000, cpu_hour=3600, business_case=CASE)  # a second of the machine costs 1


def study(
    folder: Path, trials: FakeTrials | None = None, prices: Prices | None = PRICES, **rest: Any
) -> dict[str, Any]:
    wanted = make_study(write_data(folder.parent / f"{folder.name}.csv"), **{"seeds": 1, "curve_sizes": 0, **rest})
    run_study(replace(wanted, prices=prices), folder, lambda event: None, run_trial=trials or FakeTrials())
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "study"
    study(path)
    return path


@pytest.fixture
def money(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))["money"]


def test_the_amounts_come_from_the_studys_own_seconds(money: dict[str, Any], folder: Path) -> None:
    walls = [json.loads(path.read_text())["wall_seconds"] for path in [*folder.glob("trials/*.json")]]
    walls += [
        json.loads((folder / f"{name}.json").read_text())["wall_seconds"] for name in ("inspection", "calibration")
    ]
    assert money["study_seconds"] == sum(walls) and money["once"]["study"] == pytest.approx(sum(walls))
    assert money["training"] == {"rows": 60, "steps": 300, "seconds": 20.0, "cost": pytest.approx(20)}
    assert money["seconds_per_case"] == pytest.approx(4 / 25)
    assert money["serving"]["as_needed"] == pytest.approx(160)
    assert money["change"] == {
        "training": pytest.approx(20), "swap": pytest.approx(0.002), "labour": None, "cost": pytest.approx(20.002),
    }  # fmt: skip
    assert money["share_right"]["estimate"] == pytest.approx(19 / 25) and money["share_right"]["n"] == 25
    assert money["month"]["saved"]["estimate"] == pytest.approx(1000 * 19 / 25 * 3 / 60 * 3000)


def test_the_interval_is_that_of_the_quality(money: dict[str, Any]) -> None:
    share, net = money["share_right"], money["month"]["net"]
    for end in ("estimate", "low", "high"):
        assert net[end] == pytest.approx(1000 * share[end] * 150 - 160)
    assert net["low"] < net["estimate"] < net["high"]
    months = money["break_even"]["months"]
    assert months["low"] < months["estimate"] < months["high"]
    assert months["high"] == pytest.approx(money["once"]["total"] / net["low"])


def test_prices_date_and_source_stand_beside(money: dict[str, Any]) -> None:
    assert (money["currency"], money["date"], money["source"]) == ("JPY", "2026-11", "quotation 7")
    assert money["table"]["cpu_hour"] == 3600.0 and money["case"]["cases_per_month"] == 1000.0


def test_every_null_has_a_sentence(money: dict[str, Any], folder: Path) -> None:
    card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    assert check_scorecard(card) == []
    assert money["month"]["wrong"] == {"estimate": None, "low": None, "high": None}
    assert money["reasons"]["month.wrong"] == "not counted: minutes to put a wrong one right (left blank)"
    del card["money"]["reasons"]["month.wrong"]
    assert "money.month.wrong.estimate is null without a sentence in reasons" in check_scorecard(card)


def test_without_prices_there_is_no_money(tmp_path: Path) -> None:
    card = study(tmp_path / "study", prices=None)
    assert card["money"] is None
    with pytest.raises(StudyError, match="without prices"):
        repriced(tmp_path / "study", None, None)


def test_a_machine_without_a_price_is_named(folder: Path) -> None:
    money = repriced(folder, table(wage_hour=3000, gpu_hour=500, business_case=CASE), None)["money"]
    assert money["machine"] == "cpu" and money["rates"] == [] and money["paid"] == {"training": None, "serving": None}
    assert money["month"]["net"]["estimate"] is None and money["once"]["study"] is None
    assert money["reasons"]["month.net"] == "not known: price of the machine"
    assert money["month"]["saved"]["estimate"] == pytest.approx(114_000)


def test_training_in_production_is_scaled_by_the_studys_own_rule(folder: Path) -> None:
    def training(**case: Any) -> dict[str, Any]:
        prices = table(cpu_hour=3600, business_case=case)
        return repriced(folder, prices, None)["money"]["training"]

    # 20 s for 300 steps of 8; 2,000 rows: (5 × 500 + 2 × 1,500) / 8 = 687.5 steps.
    assert training(training_rows=2000) == {
        "rows": 2000,
        "steps": 688,
        "seconds": pytest.approx(688 / 15),
        "cost": pytest.approx(688 / 15),
    }
    assert training(training_steps=600)["seconds"] == pytest.approx(40)
    assert training(training_rows=2000, training_steps=150)["cost"] == pytest.approx(10)


def test_an_answer_may_count_as_right_below_perfection(tmp_path: Path) -> None:
    def nearly(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        if spec.kind != "train":
            return None
        found = FakeTrials()._train(spec, folder)
        for one in found["predictions"]:
            one["predicted"] = one["expected"] + "x"
        return {"status": "done", **found}

    wanted = make_study(write_data(tmp_path / "a.csv"), seeds=1, curve_sizes=0)
    criteria = wanted.intake.criteria.model_copy(update={"metric": "chrf"})
    wanted = replace(wanted, intake=wanted.intake.model_copy(update={"criteria": criteria}), prices=PRICES)
    card = run_study(wanted, tmp_path / "study", lambda event: None, run_trial=FakeTrials(before=nearly)).scorecard
    score = next(one for one in card["methods"] if one["name"] == "lora")["quality"]["estimate"]
    assert 0 < score < 1
    strict = card["money"]
    assert strict["share_right"]["estimate"] == 0 and strict["break_even"]["months"]["estimate"] is None
    assert "never" in strict["reasons"]["break_even.months"]
    lenient = table(wage_hour=3000, cpu_hour=3600, business_case={**CASE, "right_score": score})
    assert repriced(tmp_path / "study", lenient, None)["money"]["share_right"]["estimate"] == 1


def test_a_method_that_did_not_end_has_no_value(tmp_path: Path) -> None:
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "no", "fix": "yes"} if spec.id.startswith("lora-s") else None

    card = study(tmp_path / "study", FakeTrials(before=fail), methods=("lora", "full"))
    money = card["money"]
    assert money["method"] == "lora" and money["share_right"]["estimate"] is None and money["share_right"]["reason"]
    assert money["seconds_per_case"] is None and money["reasons"]["seconds_per_case"]
    assert money["month"]["net"]["estimate"] is None and money["tornado"] == []
    full = next(one for one in money["alternatives"] if one["name"] == "full")
    assert full["net_month"]["estimate"] is not None
    assert check_scorecard(card) == []


def test_answers_to_another_test_set_are_not_counted(tmp_path: Path) -> None:
    study(tmp_path / "study", methods=("lora", "full"))
    path = tmp_path / "study" / "trials" / "lora-s0.json"
    path.write_text(path.read_text().replace('"test_digest": "sha256:', '"test_digest": "sha256:0'))
    money = repriced(tmp_path / "study", PRICES, None)["money"]
    assert money["share_right"]["estimate"] is None and money["month"]["saved"]["estimate"] is None


def test_alternatives_cost_what_they_took_and_the_untrained_are_not_trained(money: dict[str, Any]) -> None:
    others = {one["name"]: one for one in money["alternatives"]}
    assert set(others) == {"full", "adapter", "hybrid", "base", "k-shot"}
    assert others["k-shot"]["seconds_per_case"] == pytest.approx(6 / 25)
    assert others["k-shot"]["net_month"]["estimate"] == pytest.approx(1000 * 2 / 25 * 150 - 240)
    assert others["full"]["net_month"]["estimate"] == pytest.approx(money["month"]["net"]["estimate"])
    assert others["base"]["months"]["estimate"] is None and others["base"]["reasons"]["months"]


def test_updates_are_not_charged_to_what_is_not_trained(folder: Path) -> None:
    case = {**CASE, "changes_per_year": 12, "hours_per_change": 10}
    money = repriced(folder, table(wage_hour=3000, cpu_hour=3600, business_case=case), None)["money"]
    assert money["month"]["changes"]["estimate"] == pytest.approx(30_020.002)
    base = next(one for one in money["alternatives"] if one["name"] == "k-shot")
    assert base["net_month"]["estimate"] == pytest.approx(1000 * 2 / 25 * 150 - 240)


def test_an_accelerator_pays_the_price_of_one(tmp_path: Path) -> None:
    def on_gpu(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        values = getattr(FakeTrials(), f"_{spec.kind}")(spec, folder)
        return {"status": "done", **values, "machine": {**MACHINE, "accelerator": "one"}}

    prices = table(wage_hour=3000, cpu_hour=1, gpu_on_premises=BOUGHT, business_case=CASE)
    money = study(tmp_path / "study", FakeTrials(before=on_gpu), prices)["money"]
    assert money["machine"] == "gpu" and money["paid"] == {"training": "on_premises", "serving": "on_premises"}
    assert money["training"]["cost"] == pytest.approx(20 / 3600 * (120_000 / 2191.5 + 9))


def test_notes_say_what_is_old_and_too_much_for_one_machine(folder: Path) -> None:
    old = PRICES.model_copy(update={"date": "2020-01"})
    notes = repriced(folder, old, None)["money"]["notes"]
    assert any("months older than the study" in note for note in notes)
    busy = table(wage_hour=3000, cpu_hour=1, business_case={**CASE, "cases_per_month": 20_000_000})
    assert any("more than one machine" in note for note in repriced(folder, busy, None)["money"]["notes"])


def test_reckoning_again_leaves_the_study_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    card = repriced(folder, table(wage_hour=1, cpu_hour=7200, business_case=CASE), "ja")
    write_repriced(card, tmp_path / "other")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert card["money"]["training"]["cost"] == pytest.approx(40) and card["language"] == "ja"
    written = json.loads((tmp_path / "other" / "scorecard.json").read_text(encoding="utf-8"))
    assert written["money"] == card["money"] and written["study"]["digest"] == card["study"]["digest"]
    assert 'lang="ja"' in (tmp_path / "other" / "scorecard.html").read_text(encoding="utf-8")


def test_a_page_with_other_prices_does_not_go_into_a_study(folder: Path) -> None:
    with pytest.raises(UsageError, match="keeps its own scorecard"):
        write_repriced(repriced(folder, PRICES, None), folder)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_reckoning_with_the_locked_prices_gives_the_card_of_the_study(tmp_path: Path, language: LanguageName) -> None:
    card = study(tmp_path / "study", language=language)
    assert json.loads(json.dumps(repriced(tmp_path / "study", None, None))) == card


def test_other_prices_on_a_resume_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "study")
    shutil.copy(folder.parent / "study.csv", tmp_path / "study.csv")
    with pytest.raises(StudyError, match=r"prices\.cpu_hour"):
        study(tmp_path / "study", prices=PRICES.model_copy(update={"cpu_hour": None}))


def test_slides_are_made_of_a_card_that_was_repriced(folder: Path, tmp_path: Path) -> None:
    write_repriced(repriced(folder, table(wage_hour=3000, cpu_hour=500, business_case=CASE), None), tmp_path / "priced")
    card = read_scorecard(tmp_path / "priced")
    assert card["money"]["case"]["serving_paid"] == "cheapest"
