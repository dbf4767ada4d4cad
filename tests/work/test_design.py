from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.config import METHODS, Design, MethodName, Recipe
from tsugiki.errors import StudyError
from tsugiki.work.design import (
    STEP_FLOOR,
    Calibration,
    Cost,
    Schedule,
    _fit,
    _Outline,
    _Price,
    curve_sizes,
    design_study,
    evaluations_for,
    read_schedule,
    search_steps,
    steps_for,
)
from tsugiki.work.lessons import Features
from tsugiki.work.prior import make_prior

COST = Cost(start=6.0, step=0.5, dev_loss=2.0, checkpoint=0.5, answer=6.0, retention=2.0, speed=12.0)
FEATURES = Features(500, 40.0, 4.0, closed=True, parameters=10**6, base="sha256:aa")
SAME = Calibration(reference=30.0, methods=dict.fromkeys(METHODS, COST))


def schedule(minutes: float, rows: int = 500, calibration: Calibration = SAME, **knobs: object) -> Schedule:
    design = Design(**{"seeds": 3, "curve_sizes": 3, "tries": 3, **knobs})
    prior = make_prior(design, FEATURES, capacity=1000, lessons=())
    return design_study(design, Recipe(), prior, rows=rows, calibration=calibration, budget_minutes=minutes)


def ids(found: Schedule) -> list[str]:
    return [trial.id for trial in found.trials]


def test_everything_fits_into_a_large_budget():
    found = schedule(10_000)
    assert found.fits and found.cuts == ()
    assert ids(found)[:5] == ["reference", "search-lora", "search-adapter", "search-hybrid", "search-full"]
    finals = [trial for trial in found.trials if trial.kind == "train" and trial.rows is None]
    assert [(trial.method, trial.seed) for trial in finals][:5] == [
        ("lora", 0), ("full", 0), ("adapter", 0), ("hybrid", 0), ("lora", 1),
    ]  # fmt: skip
    assert len(finals) == 4 * 3
    assert [trial.id for trial in found.trials if trial.rows] == [
        f"lora-n{size}-s{seed}" for seed in range(3) for size in (62, 125, 250)
    ]
    assert {trial.steps for trial in found.trials if trial.kind == "train"} == {313}


def test_answers_to_shifted_rows_are_counted_for_final_trials_alone():
    shifted = Calibration(reference=30.0, methods=dict.fromkeys(METHODS, replace(COST, shifted=60.0)))
    without, found = schedule(10_000), schedule(10_000, calibration=shifted)
    for before, after in zip(without.trials, found.trials, strict=True):
        final = after.kind == "train" and after.rows is None
        assert after.seconds - before.seconds == pytest.approx(60.0 if final else 0.0), after.id


def test_only_the_first_seed_of_a_method_is_measured_in_full():
    by_id = {trial.id: trial for trial in schedule(10_000).trials}
    assert by_id["full-s0"].measurements == ("retention", "latency", "change")
    assert by_id["full-s1"].measurements == ("retention",)
    assert by_id["lora-n62-s0"].measurements == ()
    assert by_id["full-s0"].seconds - by_id["full-s1"].seconds == pytest.approx(COST.speed)


def test_the_order_of_the_cuts():
    order = ["curve_sizes", "curve_seeds", "tries", "seeds", "steps", "methods"]
    seen: list[str] = []
    for minutes in (120, 100, 80, 60, 40, 30, 20, 10, 8, 5, 1):
        whats = [cut.what for cut in schedule(minutes).cuts]
        assert whats == [what for what in order if what in whats]
        seen += [what for what in whats if what not in seen]
    assert seen == order


def test_a_cut_says_what_it_saved():
    whole, cut = schedule(10_000), schedule(40)
    assert whole.minutes > 40
    assert sum(item.minutes for item in cut.cuts) == pytest.approx(whole.minutes - cut.minutes)


def test_the_smallest_study_keeps_references_lora_and_full():
    found = schedule(0.1)
    assert ids(found) == ["reference", "lora-s0", "full-s0"]
    assert not found.fits
    assert found.steps == STEP_FLOOR
    assert [(cut.what, cut.before, cut.after, cut.names) for cut in found.cuts][-1] == (
        "methods", 4, 2, ("adapter", "hybrid"),
    )  # fmt: skip
    assert all(trial.essential for trial in found.trials)


def test_steps_use_what_is_left_of_the_budget():
    found = schedule(9)
    assert STEP_FLOOR < found.steps < steps_for(500, 8)
    assert found.fits
    one_more_step = 4 * (COST.step + COST.checkpoint / Recipe().checkpoint_every) / 60
    assert found.minutes + one_more_step > found.budget_minutes


def test_a_study_without_lora_has_its_curve_on_the_first_method():
    found = schedule(10_000, methods=("adapter", "hybrid"))
    assert {trial.method for trial in found.trials if trial.rows} == {"adapter"}
    assert ids(schedule(0.1, methods=("adapter", "hybrid"))) == ["reference", "adapter-s0"]


def test_a_candidate_is_kept_beside_its_control_whatever_it_is():
    for methods in (("adapter", "full"), ("full", "adapter")):
        found = schedule(0.1, methods=methods)
        assert set(ids(found)) == {"reference", "adapter-s0", "full-s0"}
        assert all(trial.essential for trial in found.trials)
        assert {trial.method for trial in found.spare} == {"adapter", "full"}
        assert {trial.method for trial in schedule(10_000, methods=methods).trials if trial.rows} == {"adapter"}


def test_one_try_needs_no_search():
    assert not any(trial.kind == "search" for trial in schedule(10_000, tries=1).trials)


def test_a_schedule_is_json(tmp_path: Path):
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps(schedule(30).as_json()), encoding="utf-8")
    value = json.loads(path.read_text(encoding="utf-8"))
    assert value["fits"] is True and value["trials"][0]["id"] == "reference"
    assert read_schedule(path) == schedule(30)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"trials": 3}', '{"trials": [{"id": 1}], "spare": []}'])
def test_a_schedule_of_another_version_is_said_to_be_one(tmp_path: Path, text: str):
    path = tmp_path / "schedule.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match="not the schedule of a study of this version"):
        read_schedule(path)


@pytest.mark.parametrize(("rows", "batch", "steps"), [(20, 8, 300), (200, 8, 300), (500, 8, 313), (10_000, 8, 2688)])
def test_steps_for(rows: int, batch: int, steps: int):
    assert steps_for(rows, batch) == steps


def test_small_sets_have_short_curves():
    assert curve_sizes(500, 3) == (62, 125, 250)
    assert curve_sizes(20, 3) == (10,)
    assert curve_sizes(15, 3) == ()


seconds = st.floats(0.01, 100)
parts = ("start", "step", "dev_loss", "checkpoint", "answer", "retention", "speed")
costs = st.builds(Cost, **dict.fromkeys(parts, seconds))


@given(
    calibration=st.builds(Calibration, reference=seconds, methods=st.fixed_dictionaries(dict.fromkeys(METHODS, costs))),
    methods=st.permutations(METHODS).flatmap(lambda order: st.integers(1, 4).map(lambda count: tuple(order[:count]))),
    rows=st.integers(1, 5000),
    seeds=st.integers(1, 5),
    sizes=st.integers(0, 5),
    tries=st.integers(1, 5),
    minutes=st.floats(0.01, 5000),
)
def test_every_schedule_keeps_its_promises(
    calibration: Calibration,
    methods: tuple[MethodName, ...],
    rows: int,
    seeds: int,
    sizes: int,
    tries: int,
    minutes: float,
):
    found = schedule(minutes, rows, calibration, methods=methods, seeds=seeds, curve_sizes=sizes, tries=tries)
    finals = [trial for trial in found.trials if trial.kind == "train" and trial.rows is None]
    small = [method for method in methods if method != "full"]
    kept = {method for method in methods if method == "full"} | {"lora" if "lora" in small else (small or methods)[0]}
    assert found.trials[0].kind == "reference"
    assert kept <= {trial.method for trial in finals if trial.seed == 0}
    assert len(set(ids(found))) == len(found.trials)
    assert len({trial.seed for trial in finals}) * len({trial.method for trial in finals}) == len(finals)
    assert len({trial.tries for trial in found.trials if trial.kind == "search"}) <= 1
    assert len({trial.steps for trial in found.trials if trial.kind == "train"}) == 1
    assert all(trial.rows < rows for trial in found.trials if trial.rows)
    assert found.minutes == pytest.approx(sum(trial.seconds for trial in found.trials) / 60)
    if not found.fits:
        assert len(finals) == len(kept) and found.steps == STEP_FLOOR
    wanted = schedule(1e9, rows, calibration, methods=methods, seeds=seeds, curve_sizes=sizes, tries=tries)
    assert not found.cuts or wanted.minutes > minutes
    assert sum(cut.minutes for cut in found.cuts) == pytest.approx(wanted.minutes - found.minutes, rel=1e-6, abs=1e-6)


@given(
    calibration=st.builds(Calibration, reference=seconds, methods=st.fixed_dictionaries(dict.fromkeys(METHODS, costs))),
    share=st.floats(0.05, 1),
)
def test_no_single_cut_could_be_taken_back(calibration: Calibration, share: float):
    whole = _Outline(METHODS, seeds=3, curve_sizes=(62, 125, 250), curve_seeds=3, tries=3, steps=900)
    price = _Price(calibration, Recipe())
    budget = share * price.of(whole)
    fitted = _fit(whole, price, budget)
    if price.of(fitted) > budget:
        return
    dropped = [method for method in METHODS if method not in fitted.methods]
    more_curve = {"curve_sizes": whole.curve_sizes[-1 - len(fitted.curve_sizes) :]}
    one_back: list[dict[str, Any]] = [
        more_curve if fitted.curve_sizes else {**more_curve, "curve_seeds": 1},
        {"curve_seeds": min(3, fitted.curve_seeds + 1)} if fitted.curve_sizes else {},
        {"tries": min(3, fitted.tries + 1)},
        {"seeds": min(3, fitted.seeds + 1)},
        {"steps": min(900, fitted.steps + 1)},
        {"methods": tuple(method for method in METHODS if method in (*fitted.methods, *dropped[:1]))},
    ]
    for turn in one_back:
        back = replace(fitted, **turn)
        assert back == fitted or price.of(back) > budget, turn


def test_room_that_a_coarse_cut_leaves_goes_to_what_was_cut_before():
    found = schedule(35)
    assert [(cut.what, cut.after) for cut in found.cuts] == [("curve_sizes", 0), ("tries", 2), ("seeds", 2)]
    assert found.budget_minutes - found.minutes < 1, "with one try as before it would be nine minutes"


@given(steps=st.integers(STEP_FLOOR, 5000))
def test_a_try_is_shorter_than_a_run(steps: int):
    assert search_steps(steps) < steps


def test_a_short_run_has_fewer_dev_losses_than_were_asked_for() -> None:
    assert [evaluations_for(steps, 6) for steps in (30, 60, 100, 120, 300)] == [2, 3, 5, 6, 6]
    assert evaluations_for(30, 1) == 1
