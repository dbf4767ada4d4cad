"""Between a study and the others: what it may expect from them, and what it leaves for them.

Called by `study`, which runs the trials in between. `prior` turns lessons into expectations, `lessons` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsugiki.config import Design
from tsugiki.work.design import Schedule, read_schedule
from tsugiki.work.lessons import Features, features_of, lesson_of, read_lessons, write_lesson
from tsugiki.work.lock import read_lock
from tsugiki.work.prepare import read_check
from tsugiki.work.prior import Prior, make_prior
from tsugiki.work.spec import INSPECTION, read_result


def expected(folder: Path, design: Design, inspection: Mapping[str, Any], learn_from: Path | None) -> Prior:
    """From the studies in `learn_from`. What was expected once is kept to, whatever others have learned since."""
    path = folder / "schedule.json"
    if path.is_file():
        return read_schedule(path).prior
    lessons = () if learn_from is None else read_lessons(learn_from, without=folder)
    return make_prior(design, study_features(folder, inspection), capacity=inspection["capacity"] or 0, lessons=lessons)


def teach(folder: Path, schedule: Schedule) -> None:
    """Leave what the searches have shown where the next study finds it."""
    found = {trial.method: read_result(folder, trial.id) for trial in schedule.trials if trial.kind == "search"}
    done = {method: one for method, one in found.items() if method and one is not None and one["status"] == "done"}
    inspection = read_result(folder, INSPECTION)
    assert inspection is not None, "a study without a base"
    lesson = lesson_of(folder, str(read_lock(folder)["digest"]), study_features(folder, inspection), done)
    if lesson is not None:
        write_lesson(folder, lesson)


def study_features(folder: Path, inspection: Mapping[str, Any]) -> Features:
    check = read_check(folder)
    assert check is not None, "a study without data"
    rows, closed = check["parts"]["train"], check["closed_labels"]
    return features_of(inspection["lengths"], rows, closed=closed, base=inspection["identity"])
