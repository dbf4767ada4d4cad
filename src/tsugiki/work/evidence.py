"""Everything that a study folder holds, read once: the ground that the scorecard stands on.

Called by `assemble`. Reads only what is inside the folder; no clock, no machine, no package version of today.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tsugiki.config import Criteria, Intake, MethodName, parse
from tsugiki.data.shapes import Example
from tsugiki.errors import StudyError
from tsugiki.fingerprint import digest_file
from tsugiki.work.design import PlannedTrial, Schedule, read_schedule
from tsugiki.work.examples import read_examples
from tsugiki.work.lock import read_lock, study_file
from tsugiki.work.prepare import SHIFT, TEST, TRAIN, read_check
from tsugiki.work.slice_columns import SliceColumn, read_slice_columns
from tsugiki.work.spec import CALIBRATION, INSPECTION, read_result, result_path

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    lock: Mapping[str, Any]
    intake: Intake
    check: Mapping[str, Any]
    schedule: Schedule
    results: Mapping[str, Result | None]  # by trial id, in the order of the schedule
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    test_digest: str
    groups: tuple[Hashable, ...]
    spent_seconds: float
    slice_columns: tuple[SliceColumn, ...] = ()
    shift: Evidence | None = None  # the same study with the shifted rows in the place of the test rows

    @property
    def criteria(self) -> Criteria:
        return self.intake.criteria

    @property
    def references(self) -> list[str]:
        return [example.completion for example in self.test]

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """In the order of the design, without those that the budget cut."""
        planned = {trial.method for trial in self.schedule.trials}
        return tuple(method for method in self.lock["design"]["methods"] if method in planned)

    def finals(self, method: MethodName) -> list[PlannedTrial]:
        return [
            trial
            for trial in self.schedule.trials
            if trial.kind == "train" and trial.method == method and trial.rows is None
        ]

    def done(self, trials: Sequence[PlannedTrial]) -> list[Result]:
        """Results of those trials that ended; `test_digest` of each says which test set it answered."""
        found = [self.results[trial.id] for trial in trials]
        return [one for one in found if one is not None and one["status"] == "done"]

    def lost(self, method: MethodName) -> int:
        """Final trials that failed; one that was skipped for want of time is none of them."""
        found = [self.results[trial.id] for trial in self.finals(method)]
        return sum(one is not None and one["status"] in ("failed", "does_not_fit") for one in found)

    def result(self, trial: str) -> Result | None:
        found = self.results.get(trial)
        return found if found is not None and found["status"] == "done" else None


def read_evidence(folder: Path) -> Evidence:
    lock, check = read_lock(folder), read_check(folder)
    schedule_file = folder / "schedule.json"
    if check is None or not schedule_file.is_file():
        raise StudyError(
            f"The study in {folder} has not come to its first trial yet, or has lost its plan.",
            fix="Run the same `tsugiki poc` again first.",
        )
    schedule = read_schedule(schedule_file)
    ran = tuple(trial for trial in schedule.spare if read_result(folder, trial.id) is not None)
    schedule = replace(schedule, trials=(*schedule.trials, *ran))
    results = {trial.id: read_result(folder, trial.id) for trial in schedule.trials}
    everything = [*results.values(), *(read_result(folder, name) for name in (INSPECTION, CALIBRATION))]
    found = Evidence(
        lock=lock,
        intake=parse(Intake, lock["intake"], source=str(study_file(folder))),
        check=check,
        schedule=schedule,
        results=results,
        train=read_examples(folder / TRAIN),
        **_answered(folder / TEST, check),
        spent_seconds=sum(float(one.get("wall_seconds", 0.0)) for one in everything if one is not None),
        slice_columns=read_slice_columns(folder),
    )
    for name, one in results.items():
        _refuse_few_answers(folder, name, one, found)
    if "shift" not in check["parts"]:
        return found
    return replace(found, shift=replace(found, **_answered(folder / SHIFT, check)))


def _refuse_few_answers(folder: Path, trial: str, found: Result | None, evidence: Evidence) -> None:
    if found is None or found["status"] != "done" or found.get("test_digest") != evidence.test_digest:
        return
    for one in found["references"].values() if "references" in found else [found]:
        if len(one["predictions"]) != len(evidence.test):
            raise StudyError(
                f"{result_path(folder, trial)} is damaged: {len(one['predictions'])} answers to "
                f"{len(evidence.test)} test rows.",
                fix="Delete it and run the same `tsugiki poc` again; what else has finished is kept.",
            )


def _answered(path: Path, check: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that trials answer, as fields of the evidence."""
    rows, expected = read_examples(path), check["parts"][path.stem]
    if len(rows) != expected:
        raise StudyError(
            f"{path} holds {len(rows)} rows, and the study's trials answered {expected}: it was changed afterwards.",
            fix="Put the file back, or start the study again in another folder.",
        )
    return {"test": rows, "test_digest": digest_file(path), "groups": _groups(check, rows)}


def _groups(check: Mapping[str, Any], test: Sequence[Example]) -> tuple[Hashable, ...]:
    """Items that are nearly the same count as one draw in every interval."""
    group_of = {row: number for number, rows in enumerate(check["groups"]) for row in rows}
    return tuple(group_of.get(example.row, f"row {example.row}") for example in test)
