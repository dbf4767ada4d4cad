from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.work.fakes import IDENTITY, FakeTrials, make_study, write_data
from tsugiki.config import Criteria, PlanSpec
from tsugiki.errors import DataError, StudyError
from tsugiki.work.examples import read_examples
from tsugiki.work.prepare import read_check
from tsugiki.work.spec import TrialSpec, read_result
from tsugiki.work.study import Study, StudyResult, run_study

Events = list[Mapping[str, Any]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "reports.csv")


def run(study: Study, folder: Path, trials: FakeTrials, events: Events | None = None, **rest: Any) -> StudyResult:
    return run_study(study, folder, (events if events is not None else []).append, run_trial=trials, **rest)


def test_a_study_runs_every_trial_once_and_ends_with_a_scorecard(tmp_path: Path, data: Path):
    trials, events = FakeTrials(), []
    found = run(make_study(data), tmp_path / "study", trials, events)
    assert trials.ran[:3] == ["inspection", "reference", "calibration"]
    assert trials.ran[3:7] == ["search-lora", "search-adapter", "search-hybrid", "search-full"]
    assert trials.ran[7:] == [
        *(f"{method}-s{seed}" for seed in range(3) for method in ("lora", "full", "adapter", "hybrid")),
        *(f"lora-n{size}-s{seed}" for seed in range(3) for size in (15, 30)),
    ]
    assert found.failed == found.skipped == ()
    assert found.scorecard["verdict"]["value"] == "conditional"
    assert (tmp_path / "study" / "scorecard.html").is_file()
    assert [event["event"] for event in events][-3:] == ["trial_started", "trial_ended", "stage"]


def test_parts_cover_the_usable_rows_once(tmp_path: Path, data: Path):
    run(make_study(data), tmp_path / "study", FakeTrials())
    parts = {name: read_examples(tmp_path / "study" / f"data/{name}.jsonl") for name in ("train", "dev", "test")}
    rows = [example.row for part in parts.values() for example in part]
    assert sorted(rows) == list(range(2, 102))
    assert len(parts["test"]) == 25 and len(parts["dev"]) == 15
    small, large = (read_examples(tmp_path / "study" / f"data/train-n{size}-s1.jsonl") for size in (15, 30))
    assert len(small) == 15 and len(large) == 30
    assert {one.row for one in small} < {one.row for one in large} < {one.row for one in parts["train"]}


def test_over_long_rows_are_excluded_with_their_reason(tmp_path: Path, data: Path):
    class LongFirst(FakeTrials):
        def _inspect(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
            found = super()._inspect(spec, folder)
            return {**found, "lengths": [[600, 2], *found["lengths"][1:]]}

    run(make_study(data), tmp_path / "study", LongFirst())
    check = read_check(tmp_path / "study")
    assert check is not None
    assert check["excluded"] == [{"row": check["excluded"][0]["row"], "reason": "602 tokens, the limit is 512"}]
    assert (check["rows"], check["used"]) == (100, 99)


def test_the_searched_rate_is_used_for_every_final_trial(tmp_path: Path, data: Path):
    run(make_study(data), tmp_path / "study", FakeTrials())
    for trial, rate in (("lora-s2", 2e-3), ("lora-n15-s0", 2e-3), ("full-s0", 2e-4), ("adapter-s1", 3e-3)):
        found = read_result(tmp_path / "study", trial)
        assert found is not None and found["spec"]["recipe"]["learning_rate"] == rate


def test_sizes_of_the_curve_get_equal_effort(tmp_path: Path, data: Path):
    run(make_study(data), tmp_path / "study", FakeTrials())
    steps = {
        json.loads(path.read_text())["spec"]["recipe"]["max_steps"]
        for path in (tmp_path / "study" / "trials").glob("lora-*.json")
    }
    assert steps == {300}


def test_a_resume_runs_what_is_missing_and_nothing_else(tmp_path: Path, data: Path):
    folder, study = tmp_path / "study", make_study(data)
    run(study, folder, FakeTrials())
    before = {path.name: path.read_bytes() for path in (folder / "trials").iterdir()}
    card = (folder / "scorecard.json").read_bytes()
    (folder / "trials" / "hybrid-s1.json").unlink()
    again = FakeTrials()
    run(study, folder, again)
    assert again.ran == ["inspection", "hybrid-s1"]
    assert {path.name: path.read_bytes() for path in (folder / "trials").iterdir()} == before
    assert (folder / "scorecard.json").read_bytes() == card


@pytest.mark.parametrize("moment", ["inspection", "calibration", "reference", "search-full", "full-s0", "lora-n15-s1"])
def test_a_kill_at_any_moment_costs_only_the_trial_that_ran(tmp_path: Path, data: Path, moment: str):
    class Killed(BaseException):
        pass

    def kill(spec: TrialSpec, folder: Path) -> None:
        if spec.id == moment:
            raise Killed

    folder, study = tmp_path / "study", make_study(data)
    first, second = FakeTrials(before=kill), FakeTrials()
    with pytest.raises(Killed):
        run(study, folder, first)
    run(study, folder, second)
    assert set(first.ran[:-1]) & set(second.ran) <= {"inspection"}
    assert second.ran[1 if moment != "inspection" else 0] == moment
    assert set(first.ran) | set(second.ran) >= {"calibration", "full-s2", "lora-n30-s2"}


def test_a_failed_trial_is_reported_and_tried_again_on_resume(tmp_path: Path, data: Path):
    def fail(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        return {"status": "failed", "reason": "it broke", "fix": "look"} if spec.id == "full-s1" else None

    folder, study, events = tmp_path / "study", make_study(data), []
    found = run(study, folder, FakeTrials(before=fail), events)
    assert found.failed == ("full-s1",)
    assert found.scorecard["failures"] == [{"trial": "full-s1", "status": "failed", "reason": "it broke"}]
    full = next(one for one in found.scorecard["methods"] if one["name"] == "full")
    assert [one["seed"] for one in full["by_seed"]] == [0, 2]
    assert {"event": "trial_ended", "trial": "full-s1", "status": "failed", "reason": "it broke"}.items() <= next(
        event for event in events if event["event"] == "trial_ended" and event["trial"] == "full-s1"
    ).items()
    again = FakeTrials()
    assert run(study, folder, again).failed == ()
    assert again.ran == ["inspection", "full-s1"]


def test_what_does_not_fit_is_a_result_and_is_not_tried_again(tmp_path: Path, data: Path):
    def too_large(spec: TrialSpec, folder: Path) -> dict[str, Any] | None:
        no = {"status": "does_not_fit", "reason": "Out of memory.", "fix": "Lower micro_tokens."}
        return no if spec.plans and spec.plan.method == "full" and spec.kind != "calibrate" else None

    trials = FakeTrials(before=too_large)
    found = run(make_study(data), tmp_path / "study", trials)
    assert [name for name in trials.ran if "full" in name] == ["search-full"]
    full = next(one for one in found.scorecard["methods"] if one["name"] == "full")
    assert full["quality"]["estimate"] is None and "memory" in full["quality"]["reason"]
    assert full["trials"] == ["full-s0", "full-s1", "full-s2"] and full["train_seconds"] is None
    lora = next(one for one in found.scorecard["methods"] if one["name"] == "lora")
    assert lora["against_full"] is None and lora["reasons"]["against_full"]
    assert found.scorecard["verdict"]["value"] == "conditional"


def test_a_method_that_the_calibration_could_not_hold_is_not_tried(tmp_path: Path, data: Path):
    no = {"full": {"reason": "Out of memory.", "fix": "Lower micro_tokens."}}
    trials = FakeTrials(calibration={"does_not_fit": no})
    run(make_study(data), tmp_path / "study", trials)
    assert not [name for name in trials.ran if "full" in name]


def test_trials_that_would_exceed_the_budget_are_skipped_and_said(tmp_path: Path, data: Path):
    """Training takes four minutes where the calibration promised one."""
    seconds = [0.0]

    class Slow(FakeTrials):
        def __call__(self, spec: TrialSpec, folder: Path, on_event: Any) -> None:
            super().__call__(spec, folder, on_event)
            seconds[0] += 240.0 if spec.kind == "train" else 10.0

    trials = Slow()
    study = make_study(data, budget_minutes=20.0)
    found = run(study, tmp_path / "study", trials, clock=lambda: seconds[0])
    assert found.skipped
    assert "reference" in trials.ran and "lora-s0" in trials.ran and "full-s0" in trials.ran
    assert not set(found.skipped) & set(trials.ran)
    skipped = read_result(tmp_path / "study", found.skipped[0])
    assert skipped is not None and "of the 20 budgeted ones are left" in skipped["reason"]


def test_what_was_cut_stands_in_the_schedule_and_on_the_scorecard(tmp_path: Path, data: Path):
    events: Events = []
    found = run(make_study(data, budget_minutes=8.0), tmp_path / "study", FakeTrials(), events)
    cuts = found.scorecard["study"]["design"]["cut"]
    planned = next(event for event in events if event["event"] == "schedule")["cuts"]
    assert [cut for cut in cuts if cut["what"] != "seeds"] == [dict(cut) for cut in planned if cut["what"] != "seeds"]
    (seeds,), (before,) = ([cut for cut in each if cut["what"] == "seeds"] for each in (cuts, planned))
    assert seeds["after"] == before["after"], "the bottleneck adapter and the hybrid did without"
    assert 0 < seeds["minutes"] < before["minutes"], "time was left for LoRA and full fine-tuning after all"


def test_interruption_says_how_to_go_on(tmp_path: Path, data: Path):
    def stop(spec: TrialSpec, folder: Path) -> None:
        if spec.id == "lora-s0":
            raise KeyboardInterrupt

    with pytest.raises(StudyError, match=r"was stopped.*Run the same command again"):
        run(make_study(data), tmp_path / "study", FakeTrials(before=stop))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda study: replace(study, intake=study.intake.model_copy(update={"owner": "C"})), "intake.owner"),
        (lambda study: replace(study, design=study.design.model_copy(update={"seeds": 2})), "design.seeds"),
        (lambda study: replace(study, plan=PlanSpec(rank=8)), "plans.hybrid.rank"),
        (lambda study: replace(study, recipe=study.recipe.model_copy(update={"batch_size": 4})), "recipe.batch_size"),
        (lambda study: replace(study, template="chat"), "template"),
    ],
)
def test_another_study_in_the_same_folder_is_refused(tmp_path: Path, data: Path, change: Any, field: str):
    study, trials = make_study(data), FakeTrials()
    run(study, tmp_path / "study", trials)
    count = len(trials.ran)
    with pytest.raises(StudyError, match=f"locked with {field}"):
        run(change(study), tmp_path / "study", trials)
    assert len(trials.ran) == count


def test_other_data_and_another_base_are_refused(tmp_path: Path, data: Path):
    study = make_study(data)
    run(study, tmp_path / "study", FakeTrials())
    with pytest.raises(StudyError, match=r"locked with base\.digest"):
        run(study, tmp_path / "study", FakeTrials(identity={**IDENTITY, "digest": "sha256:ff"}))
    moved = FakeTrials(identity={**IDENTITY, "name": "elsewhere"})
    run(replace(study, base="elsewhere/tiny"), tmp_path / "study", moved)
    assert moved.ran == ["inspection"]
    data.write_text(data.read_text(encoding="utf-8") + "x,P\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"locked with data\.digest"):
        run(study, tmp_path / "study", FakeTrials())


def test_faults_of_the_data_come_before_the_base(tmp_path: Path, data: Path):
    trials = FakeTrials()
    few = write_data(tmp_path / "few.csv", rows=12)
    with pytest.raises(DataError, match="12 usable examples"):
        run(make_study(few), tmp_path / "study", trials)
    study = make_study(data)
    criteria = Criteria(metric="json_fields", success=0.6, withdraw=0.2)
    no_json = replace(study, intake=study.intake.model_copy(update={"criteria": criteria}))
    with pytest.raises(DataError, match="is not JSON"):
        run(no_json, tmp_path / "study", trials)
    assert trials.ran == []


def test_a_base_that_cannot_be_inspected_ends_the_study_with_its_own_words(tmp_path: Path, data: Path):
    def no_base(spec: TrialSpec, folder: Path) -> dict[str, Any]:
        return {"status": "failed", "reason": "No base is called 'x'.", "fix": "Name another."}

    with pytest.raises(StudyError, match=r"No base is called 'x'\. Name another\."):
        run(make_study(data), tmp_path / "study", FakeTrials(before=no_base))
    assert not (tmp_path / "study" / "study.yaml").exists()


def test_a_study_refused_for_its_long_rows_leaves_a_folder_that_takes_other_arguments(tmp_path: Path, data: Path):
    class Long(FakeTrials):
        def _inspect(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
            found = super()._inspect(spec, folder)
            return {**found, "lengths": [[598, 2]] * (len(found["lengths"]) - 5) + found["lengths"][-5:]}

    folder, study = tmp_path / "study", make_study(data)
    with pytest.raises(DataError, match=r"5 usable.* 95 rows are left out for being .* 512 tokens.*--max-length 600"):
        run(study, folder, Long())
    assert not (folder / "study.yaml").exists()
    longer = replace(study, recipe=study.recipe.model_copy(update={"max_length": 600}))
    assert run(longer, folder, Long()).scorecard["verdict"]["value"] == "conditional"


def test_a_kill_between_the_lock_and_the_parts_is_resumed(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    def kill(*arguments: Any) -> None:
        raise Killed

    folder, study = tmp_path / "study", make_study(data)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("tsugiki.work.study.write_parts", kill)
        run(study, folder, FakeTrials())
    assert (folder / "study.yaml").is_file() and read_check(folder) is None
    assert run(study, folder, FakeTrials()).failed == ()


def test_only_methods_that_freeze_every_weight_get_the_base_in_few_bits(tmp_path: Path, data: Path):
    """The others have a loss before training of their own, since the reference's is that of the base in few bits."""
    seen: dict[str, TrialSpec] = {}

    class Held(FakeTrials):
        def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
            seen[spec.plan.method] = spec
            own = {"general_before": {"en": 2.0, "ja": 3.0}} if "retention_before" in spec.measurements else {}
            error = {"lora": 0.4, "adapter": None}.get(spec.plan.method, 0.01)
            return {**super()._train(spec, folder), **own, "merge_error": error}

    study = make_study(data, seeds=1)
    study = replace(study, recipe=study.recipe.model_copy(update={"quantize": "nf4"}))
    card = run(study, tmp_path / "study", Held()).scorecard
    held = {method: spec.recipe.quantize for method, spec in seen.items()}
    assert held == {"lora": "nf4", "adapter": "nf4", "hybrid": "none", "full": "none"}
    before = {one["name"]: one["retention"]["loss_before"] for one in card["methods"]}
    assert before == {"lora": 3.5, "adapter": 3.5, "hybrid": 2.5, "full": 2.5}
    (warning,) = card["warnings"]
    assert warning.startswith("LoRA: merged weights are off by 40")
