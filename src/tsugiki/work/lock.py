"""study.yaml: what a study was started with, locked before anything is trained.

Written once by `study` and compared on every resume; `assemble` reads it. A study that would mean something else than
its results (another intake, data file, base, design, plan or recipe) is refused, and the field that differs is named.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tsugiki.config import Intake, parse
from tsugiki.errors import StudyError
from tsugiki.files import make_folder, write_text
from tsugiki.fingerprint import digest_json

LOCK_SCHEMA = 1
NOT_COMPARED = ("digest", "created", "base.name")  # a base that was moved or renamed is the same base
START_ELSEWHERE = "Pass the values the study was started with, or another folder to --out."


def study_file(folder: Path) -> Path:
    return folder / "study.yaml"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. The operating system lets go when the process ends, however it ends."""
    make_folder(folder, "--out")
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"Another process is running the study in {folder}.", fix="Wait for it, or stop it first."
            ) from None
        yield


def lock_study(folder: Path, values: Mapping[str, Any], *, created: str) -> None:
    """Write study.yaml, or compare `values` with the one that is there."""
    if study_file(folder).is_file():
        check_lock(folder, values)
        return
    locked = {"schema": LOCK_SCHEMA, "created": created, **values}
    locked["digest"] = digest_json(locked)
    write_text(study_file(folder), yaml.safe_dump(locked, allow_unicode=True, sort_keys=False, width=120))


def check_lock(folder: Path, values: Mapping[str, Any]) -> None:
    """Compare those sections of a locked study that `values` has; nothing to do before it is locked."""
    if study_file(folder).is_file():
        locked = read_lock(folder)
        compare({name: locked.get(name) for name in values}, values)


def read_lock(folder: Path) -> dict[str, Any]:
    path = study_file(folder)
    try:
        locked = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise StudyError(
            f"{folder} holds no study (there is no study.yaml in it).", fix="Name a folder that `tsugiki poc` wrote."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        locked = None
    if not isinstance(locked, dict) or "digest" not in locked:
        raise StudyError(f"{path} is not a study file.", fix="Restore it from a copy, or start a new study.")
    if locked["digest"] != digest_json({key: value for key, value in locked.items() if key != "digest"}):
        raise StudyError(
            f"{path} was changed after the study was locked.", fix="Restore it from a copy, or start a new study."
        )
    return locked


def locked_intake(folder: Path) -> Intake | None:
    """The intake of a study that has been started, so that a resume need not be told it again."""
    if not study_file(folder).is_file():
        return None
    return parse(Intake, read_lock(folder)["intake"], source=str(study_file(folder)))


def compare(locked: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StudyError naming the first field of `wanted` that is not as it was locked."""
    before, now = dict(_leaves(locked)), dict(_leaves(wanted))
    for field in sorted(before.keys() | now.keys()):
        if field not in NOT_COMPARED and before.get(field) != now.get(field):
            raise StudyError(
                f"The study was locked with {field} {before.get(field)!r}, not {now.get(field)!r}.", fix=START_ELSEWHERE
            )


def _leaves(value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{field}.{key}".lstrip("."))
    else:
        yield field, list(value) if isinstance(value, tuple) else value
