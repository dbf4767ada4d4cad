"""A study that chooses its rank, learns from the ones beside it, and uses the time that is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.work.fakes import FakeTrials, make_study, write_data
from tsugiki.config import PlanSpec
from tsugiki.work.lessons import read_lessons
from tsugiki.work.spec import read_result
from tsugiki.work.study import run_study


def ran(tmp_path: Path, name: str = "one", **knobs: Any) -> tuple[FakeTrials, Path, list[Any]]:
    data = write_data(tmp_path / f"{name}.csv")
    learn_from = knobs.pop("learn_from", None)
    study = replace(make_study(data, **knobs), plan=PlanSpec(rank="auto"), learn_from=learn_from)
    trials, events = FakeTrials(), []
    run_study(study, tmp_path / name, events.append, run_trial=trials)
    return trials, tmp_path / name, events


def rank_of(folder: Path, trial: str) -> Any:
    found = read_result(folder, trial)
    assert found is not None
    return found["spec"]["plans"][0]["rank"]


def test_the_search_of_lora_finds_the_rank_of_all_low_rank_plans(tmp_path):
    _, folder, _ = ran(tmp_path, curve_sizes=1)
    assert rank_of(folder, "search-lora") == rank_of(folder, "calibration") == 32
    searched = {name: read_result(folder, f"search-{name}") for name in ("lora", "hybrid", "full")}
    assert [one["rank"] for one in searched["lora"]["rank_losses"]] == [32, 16, 8, 4, 2, 1]
    assert searched["hybrid"]["rank_losses"] is searched["full"]["rank_losses"] is None
    assert rank_of(folder, "lora-s0") == rank_of(folder, "hybrid-s2") == 4, "twice what the fake search says suffices"
    card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    rank = card["study"]["design"]["rank"]
    assert (rank["used"], rank["enough"], rank["largest"]) == (4, 2, 32)
    page = (folder / "scorecard.html").read_text(encoding="utf-8")
    assert "4 (trained with 32 in the search; cut to 2 it lost nothing" in page


def test_without_a_search_the_usual_rank_is_taken(tmp_path):
    trials, folder, _ = ran(tmp_path, tries=1)
    assert not any(name.startswith("search") for name in trials.ran)
    assert rank_of(folder, "lora-s0") == 16
    assert json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))["study"]["design"]["rank"] is None


def test_the_next_study_starts_from_what_this_one_has_learned(tmp_path):
    _, folder, _ = ran(tmp_path, tries=3)
    (lesson,) = read_lessons(tmp_path)
    assert lesson.folder == "one" and lesson.rank == 2
    best = read_result(folder, "search-lora")["learning_rate"]
    _, second, _ = ran(tmp_path, "two", tries=3, learn_from=tmp_path)
    searched = read_result(second, "search-lora")
    assert searched["tries"][0]["learning_rate"] == best
    assert len(searched["tries"]) == 2, "a study as near as can be saves a try"
    assert rank_of(second, "search-lora") == 8
    card = json.loads((second / "scorecard.json").read_text(encoding="utf-8"))
    assert [one["folder"] for one in card["study"]["design"]["lessons"]] == ["one"]
    page = (second / "scorecard.html").read_text(encoding="utf-8")
    assert "Earlier studies learned from" in page


def test_a_resumed_study_keeps_to_what_it_expected(tmp_path):
    _, folder, _ = ran(tmp_path, tries=3)
    before = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))
    ran(tmp_path, "two", tries=3)
    trials, _, _ = ran(tmp_path, tries=3, learn_from=tmp_path)
    assert json.loads((folder / "schedule.json").read_text(encoding="utf-8")) == before
    assert trials.ran == ["inspection"], "nothing was trained again"


def test_time_that_is_left_goes_to_seeds_that_were_cut(tmp_path):
    trials, folder, events = ran(tmp_path, tries=1, curve_sizes=0, budget_minutes=6.0)
    schedule = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))
    (cut,) = (cut for cut in schedule["cuts"] if cut["what"] == "seeds")
    spare = [trial["id"] for trial in schedule["spare"]]
    assert cut["before"] == 3 and spare == [
        f"{name}-s{seed}" for seed in range(cut["after"], 3) for name in ("lora", "full")
    ]
    assert trials.ran[-len(spare) :] == spare, "these trials took no time at all"
    assert [event["trial"] for event in events if event["event"] == "spare_started"] == spare
    card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    assert {method["name"]: method["seeds"] for method in card["methods"]}["lora"] == [0, 1, 2]
    (still,) = (one for one in card["study"]["design"]["cut"] if one["what"] == "seeds")
    assert still["after"] == cut["after"] and 0 < still["minutes"] < cut["minutes"], "of the other two methods"


def test_no_time_left_leaves_no_trace(tmp_path):
    data = write_data(tmp_path / "data.csv")
    study = make_study(data, tries=1, curve_sizes=0, budget_minutes=6.0)
    now = [0.0]

    def later(spec, folder):
        now[0] += 70
        return

    trials = FakeTrials(before=later)
    run_study(study, tmp_path / "one", lambda event: None, run_trial=trials, clock=lambda: now[0])
    schedule = json.loads((tmp_path / "one" / "schedule.json").read_text(encoding="utf-8"))
    assert schedule["spare"] and not {trial["id"] for trial in schedule["spare"]} & set(trials.ran)
    card = json.loads((tmp_path / "one" / "scorecard.json").read_text(encoding="utf-8"))
    assert [one["after"] for one in card["study"]["design"]["cut"] if one["what"] == "seeds"] == [1]
    assert not any("s1" in one["trial"] for one in card["failures"])
