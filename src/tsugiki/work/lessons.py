"""What a finished study teaches the next one: features of its data and base, and how its tries ended.

Called by `study`: written into the study folder at its end (lesson.json), read from the folders beside it when another
one starts. No other memory exists: a lesson is a small file that can be read, corrected, or deleted. Only what was
tried and measured is kept, so that a guess never confirms itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from tsugiki.config import METHODS, MethodName
from tsugiki.files import write_json
from tsugiki.work.choose import sufficient_rank

SCHEMA = 1
FILE = "lesson.json"
NEIGHBOURS = 5
FARTHEST = 2.0  # beyond this a study says nothing about another one
OTHER_BASE = 0.5


@dataclass(frozen=True)
class Features:
    """What is known before training. A distance of 1: four times the rows, twice the tokens, or twice the base."""

    rows: int  # to train on
    prompt_tokens: float  # mean
    completion_tokens: float  # mean
    closed: bool  # the answers are labels
    parameters: int  # of the base
    base: str  # its digest

    def distance(self, other: Features) -> float:
        steps = [
            math.log2(self.rows / other.rows) / 2,
            math.log2(self.prompt_tokens / other.prompt_tokens),
            math.log2(self.completion_tokens / other.completion_tokens),
            float(self.closed != other.closed),
            math.log2(self.parameters / other.parameters),
            OTHER_BASE * (self.base != other.base),
        ]
        return math.hypot(*steps)


@dataclass(frozen=True)
class Lesson:
    study: str  # its digest
    folder: str  # its name
    features: Features
    tries: Mapping[MethodName, Mapping[float, float]]  # dev loss of each learning rate, for searched methods
    rank: int | None  # that sufficed in the search; None where none was sought
    largest_rank: int | None


@dataclass(frozen=True)
class Nearby:
    lesson: Lesson
    distance: float
    weight: float  # 1 for a study of equal features, falling with the distance


def features_of(lengths: Sequence[Sequence[int]], rows: int, *, closed: bool, base: Mapping[str, Any]) -> Features:
    """`lengths`: tokens of (prompt, completion) per example; `rows` of them are trained on."""
    return Features(
        rows=rows,
        prompt_tokens=max(1.0, mean(prompt for prompt, _ in lengths)),
        completion_tokens=max(1.0, mean(completion for _, completion in lengths)),
        closed=closed,
        parameters=base["parameters"],
        base=base["digest"],
    )


def nearby(features: Features, lessons: Sequence[Lesson]) -> tuple[Nearby, ...]:
    """The nearest lessons, nearest first, none farther than FARTHEST."""
    measured = [(features.distance(lesson.features), lesson) for lesson in lessons]
    near = sorted((one for one in measured if one[0] <= FARTHEST), key=lambda one: (one[0], one[1].study))
    return tuple(Nearby(lesson, gap, math.exp(-(gap**2) / 2)) for gap, lesson in near[:NEIGHBOURS])


def lesson_of(
    folder: Path, study: str, features: Features, searches: Mapping[MethodName, Mapping[str, Any]]
) -> Lesson | None:
    """From the searches that ended; None where none did."""
    tries: dict[MethodName, dict[float, float]] = {}
    for method, found in searches.items():
        ended = {one["learning_rate"]: one["dev_loss"] for one in found["tries"] if one["dev_loss"] is not None}
        if len(ended) > 1:
            tries[method] = ended
    curve: list[Mapping[str, Any]] = next(
        (found["rank_losses"] for found in searches.values() if found.get("rank_losses")), []
    )
    if not tries and not curve:
        return None
    rank, largest = (sufficient_rank(curve), max(one["rank"] for one in curve)) if curve else (None, None)
    return Lesson(study, folder.resolve().name, features, tries, rank, largest)


def write_lesson(folder: Path, lesson: Lesson) -> None:
    value = {"schema": SCHEMA, **asdict(lesson)}
    value["tries"] = {
        method: [{"learning_rate": rate, "dev_loss": loss} for rate, loss in tried.items()]
        for method, tried in lesson.tries.items()
    }
    write_json(folder / FILE, value)


def read_lessons(workspace: Path, *, without: Path | None = None) -> tuple[Lesson, ...]:
    """Of all studies whose folders lie in `workspace`, less those of `without` and whatever cannot be read.

    A lesson is a hint, so a broken one is no reason to stop; each study counts once, wherever it was copied to.
    """
    found: dict[str, Lesson] = {}
    skipped = None if without is None else without.resolve()
    for path in sorted(workspace.glob(f"*/{FILE}")):
        lesson = None if path.parent.resolve() == skipped else _read(path)
        if lesson is not None:
            found.setdefault(lesson.study, lesson)
    return tuple(found.values())


def unreadable_lessons(workspace: Path) -> list[Path]:
    """What `read_lessons` passes over because it is no lesson of this version."""
    return [path for path in sorted(workspace.glob(f"*/{FILE}")) if _read(path) is None]


def _read(path: Path) -> Lesson | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("schema") != SCHEMA:
            return None
        tries = {
            method: {float(one["learning_rate"]): float(one["dev_loss"]) for one in tried}
            for method, tried in value.pop("tries").items()
        }
        lesson = Lesson(**{**value, "features": Features(**value["features"]), "tries": tries})
        sizes = (lesson.features.rows, lesson.features.prompt_tokens, lesson.features.completion_tokens)
        numbers = [*sizes, lesson.features.parameters, *(loss for tried in tries.values() for loss in tried.values())]
        ranks = [rank for rank in (lesson.rank, lesson.largest_rank) if rank is not None]
        rates = [rate for tried in tries.values() for rate in tried]
        if min(*sizes, lesson.features.parameters, *ranks) <= 0 or not all(map(math.isfinite, numbers)):
            return None
        if not all(0 < rate <= 1 for rate in rates) or not set(tries) <= set(METHODS):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return lesson
