"""A study from a data file to its scorecard: prepare, calibrate, design, one process per trial, assemble.

Called by `tsugiki poc` and `tsugiki demo`. Everything lives in the study folder and every step leaves a file there, so
that a study can be killed at any moment and goes on where it stopped. This process holds no model. A trial that fails
is reported and the study goes on; what would not end within the budget is skipped and said.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tsugiki import __version__
from tsugiki.config import Design, Intake, PlanSpec, Recipe
from tsugiki.data.check import Findings
from tsugiki.data.split import Splits
from tsugiki.errors import StudyError, UsageError
from tsugiki.files import write_json
from tsugiki.measure.prices import Prices
from tsugiki.work.assemble import write_scorecard
from tsugiki.work.budget import check_budget, priced, within_money
from tsugiki.work.design import PlannedTrial, Schedule, calibration_of, design_study, read_schedule
from tsugiki.work.examples import read_examples, write_examples
from tsugiki.work.experience import expected, teach
from tsugiki.work.lock import check_lock, lock_study, only_one, study_file
from tsugiki.work.orders import Orders, does_not_fit, plans_for
from tsugiki.work.prepare import (
    ALL,
    SHIFT,
    DataSpec,
    Source,
    blaming_length,
    checked,
    divided,
    read_check,
    read_source,
    study_examples,
    write_parts,
    write_subsets,
)
from tsugiki.work.process import run_in_process
from tsugiki.work.spec import (
    CALIBRATION,
    INSPECTION,
    Template,
    TrialSpec,
    is_finished,
    prefix_folder,
    read_result,
    result,
    result_path,
    write_result,
)
from tsugiki.work.summary import machine_of

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]
RunTrial = Callable[[TrialSpec, Path, OnEvent], None]

RESERVE = 0.1  # share of the budget that the design leaves free, since a calibration is short


@dataclass(frozen=True)
class Study:
    """What is asked for. `plan` holds the knobs of all methods; each method takes those that are its own."""

    data: DataSpec
    base: str
    intake: Intake
    design: Design = field(default_factory=Design)
    plan: PlanSpec = field(default_factory=PlanSpec)
    recipe: Recipe = field(default_factory=Recipe)
    template: Literal["auto", "plain", "chat"] = "auto"
    prices: Prices | None = None  # None: no money on the scorecard
    learn_from: Path | None = None  # a folder of studies whose lessons count; None: rules alone


@dataclass(frozen=True)
class StudyResult:
    folder: Path
    scorecard: Mapping[str, Any]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]


def run_study(
    study: Study,
    folder: Path,
    on_event: OnEvent,
    *,
    run_trial: RunTrial = run_in_process,
    clock: Callable[[], float] = time.monotonic,
) -> StudyResult:
    """Run or resume the study in `folder`; equal arguments after a kill go on with what is missing."""
    with only_one(folder):
        session = _Session(study, folder, on_event, run_trial, clock, begun=clock(), spent_before=_spent(folder))
        try:
            orders = _prepare(session)
            schedule = _schedule(session, orders)
            _run_trials(session, orders, schedule)
            _use_what_is_left(session, orders, schedule)
        except KeyboardInterrupt:
            raise StudyError(
                f"The study in {folder} was stopped; what had finished is kept.",
                fix="Run the same command again to go on.",
            ) from None
        shutil.rmtree(prefix_folder(folder), ignore_errors=True)
        teach(folder, schedule)
        on_event({"event": "stage", "stage": "report"})
        card = write_scorecard(folder)
    ended = {trial.id: read_result(folder, trial.id) for trial in schedule.trials}
    by_status = {
        status: tuple(name for name, found in ended.items() if found is not None and found["status"] == status)
        for status in ("failed", "skipped")
    }
    return StudyResult(folder, card, by_status["failed"], by_status["skipped"])


@dataclass(frozen=True)
class _Session:
    study: Study
    folder: Path
    on_event: OnEvent
    run_trial: RunTrial
    clock: Callable[[], float]
    begun: float
    spent_before: float
    ran: set[str] = field(default_factory=set)

    @property
    def spent(self) -> float:
        """Seconds of the budget that are gone: finished trials of earlier runs, and this one."""
        return self.spent_before + self.clock() - self.begun

    def run(self, spec: TrialSpec) -> dict[str, Any]:
        """The result of the spec, taken from disk where it is finished there."""
        if not is_finished(self.folder, spec):
            self.run_trial(spec, self.folder, self.on_event)
            self.ran.add(spec.id)
        found = read_result(self.folder, spec.id)
        assert found is not None, f"{spec.id} left no result"
        return found

    def needed(self, spec: TrialSpec) -> dict[str, Any]:
        """A result without which the study cannot go on."""
        found = self.run(spec)
        if found["status"] != "done":
            raise StudyError(str(found["reason"]), fix=str(found["fix"]))
        return found


def _prepare(session: _Session) -> Orders:
    """Read the data, inspect the base, split, lock the study, write its parts: cheap faults come first.

    What is refused leaves no lock behind, so that other arguments may be tried in the same folder; what is locked has
    been split once already, so that a kill between lock and parts leaves a study that goes on.
    """
    study, folder = session.study, session.folder
    if set(study.design.methods) == {"full"}:
        raise UsageError(
            "A study of full fine-tuning alone has no small part to decide about.",
            fix="Name lora, adapter or hybrid beside it in --methods.",
        )
    check_budget(study.design, study.prices)
    session.on_event({"event": "stage", "stage": "read"})
    source = read_source(study.data)
    session.on_event({"event": "reading", "sentence": " ".join((source.guess.sentence, *source.suggestions))})
    orders = Orders(
        base=study.base,
        design=study.design,
        plans=plans_for(study.design.methods, study.plan),
        recipe=study.recipe,
        template=_template(study, source),
    )
    values: dict[str, Any] = {
        "tsugiki": __version__,
        "intake": study.intake.model_dump(mode="json"),
        "data": source.as_lock(),
    }
    values |= orders.as_lock()
    values["prices"] = None if study.prices is None else study.prices.model_dump(mode="json")
    check_lock(folder, values)
    if not study_file(folder).is_file():
        metric = study.intake.criteria.metric
        write_examples(folder / ALL, study_examples(source, study.design, metric))
    session.on_event({"event": "stage", "stage": "inspect"})
    result_path(folder, INSPECTION).unlink(missing_ok=True)  # every session asks anew which base lies there now
    inspection = session.needed(orders.inspection())
    base = {**inspection["identity"], "dtype": inspection["dtype"]}
    orders = replace(orders, design=within_money(study.design, study.prices, machine_of(inspection)))
    parts = _parts(study, source, folder, inspection["lengths"]) if read_check(folder) is None else None
    lock_study(folder, {**values, "base": base}, created=datetime.now(UTC).isoformat(timespec="seconds"))
    if parts is not None:
        write_parts(source, folder, *parts)
    found = read_check(folder)
    assert found is not None, "a study without its parts"
    shift = SHIFT if "shift" in found["parts"] else None
    orders = replace(orders, base_digest=inspection["identity"]["digest"], shift=shift)
    return replace(orders, prior=expected(folder, study.design, inspection, study.learn_from))


def _parts(study: Study, source: Source, folder: Path, lengths: Sequence[Sequence[int]]) -> tuple[Findings, Splits]:
    longest = study.recipe.max_length
    findings = checked(source, read_examples(folder / ALL), lengths, longest)
    with blaming_length(lengths, longest):
        return findings, divided(source, findings, study.design)


def _template(study: Study, source: Source) -> Template:
    """Chats are shown to the base as chats, columns as plain text, unless the user says otherwise."""
    if study.template != "auto":
        return study.template
    return "chat" if any(example.messages is not None for example in source.examples) else "plain"


def _schedule(session: _Session, orders: Orders) -> Schedule:
    """Designed once per study, from a calibration on this machine; a resume keeps to it.

    The reference trial needs no design and says how long the test set takes, so it runs first.
    """
    path = session.folder / "schedule.json"
    if path.is_file():
        schedule = read_schedule(path)
    else:
        session.on_event({"event": "stage", "stage": "reference"})
        reference = session.run(orders.reference())
        session.on_event({"event": "stage", "stage": "calibrate"})
        found = session.needed(orders.calibration())
        check = read_check(session.folder)
        assert check is not None
        minutes = orders.design.budget_minutes
        schedule = design_study(
            orders.design,
            session.study.recipe,
            orders.expected,
            rows=check["parts"]["train"],
            calibration=calibration_of(found, reference),
            budget_minutes=minutes * (1 - RESERVE) - (session.spent - reference["wall_seconds"]) / 60,
        )
        wanted = [(trial.rows, trial.seed) for trial in schedule.trials if trial.rows is not None]
        write_subsets(session.folder, check, wanted)
        write_json(path, schedule.as_json())
    inspection = read_result(session.folder, INSPECTION)
    assert inspection is not None
    cost = priced(schedule.minutes * 60, session.study.prices, machine_of(inspection))
    session.on_event({"event": "schedule", **schedule.as_json(), "cost": cost})
    return schedule


def _run_trials(session: _Session, orders: Orders, schedule: Schedule) -> None:
    budget = orders.design.budget_minutes * 60
    for number, trial in enumerate(schedule.trials, start=1):
        spec = orders.for_trial(trial, session.folder)
        place = {"trial": trial.id, "number": number, "of": len(schedule.trials)}
        if is_finished(session.folder, spec):
            if trial.id not in session.ran:
                session.on_event({"event": "trial_kept", **place})
            continue
        unfit = does_not_fit(session.folder, trial.method)
        if unfit is not None:
            write_result(session.folder, result(spec, "does_not_fit", **unfit))
        elif not trial.essential and session.spent + trial.seconds > budget:
            write_result(session.folder, result(spec, "skipped", **_out_of_time(trial, session.spent, budget)))
        else:
            session.on_event({"event": "trial_started", **place, "kind": trial.kind, "seconds": trial.seconds})
            session.run_trial(spec, session.folder, session.on_event)
        found = read_result(session.folder, trial.id)
        assert found is not None, f"{trial.id} left no result"
        session.on_event({"event": "trial_ended", **place, "status": found["status"], "reason": found["reason"]})


def _use_what_is_left(session: _Session, orders: Orders, schedule: Schedule) -> None:
    """Seeds that the budget cut, as long as one of all methods fits: more seeds narrow what the verdict compares."""
    for seed in sorted({trial.seed for trial in schedule.spare}):
        turn = [trial for trial in schedule.spare if trial.seed == seed]
        specs = [orders.for_trial(trial, session.folder) for trial in turn]
        seconds = sum(
            trial.seconds for trial, spec in zip(turn, specs, strict=True) if not is_finished(session.folder, spec)
        )
        unfit = any(does_not_fit(session.folder, trial.method) for trial in turn)
        if unfit or session.spent + seconds > orders.design.budget_minutes * 60:
            return
        for number, (trial, spec) in enumerate(zip(turn, specs, strict=True), start=1):
            if not is_finished(session.folder, spec):
                place = {"trial": trial.id, "number": number, "of": len(turn)}
                session.on_event({"event": "spare_started", **place, "seconds": trial.seconds})
                found = session.run(spec)
                session.on_event(
                    {"event": "trial_ended", **place, "status": found["status"], "reason": found["reason"]}
                )


def _out_of_time(trial: PlannedTrial, spent: float, budget: float) -> dict[str, str]:
    needed, left = trial.seconds / 60, max(0.0, budget - spent) / 60
    return {
        "reason": f"It takes about {needed:.1f} minutes, and {left:.1f} of the {budget / 60:g} budgeted ones are left.",
        "fix": "Give a new study a larger --budget.",
    }


def _spent(folder: Path) -> float:
    """Seconds that the trials of earlier sessions took."""
    paths = [*(folder / "trials").glob("*.json"), *(result_path(folder, name) for name in (INSPECTION, CALIBRATION))]
    found = [read_result(folder, path.stem) for path in paths if path.is_file()]
    return sum(float(one.get("wall_seconds", 0.0)) for one in found if one is not None)
