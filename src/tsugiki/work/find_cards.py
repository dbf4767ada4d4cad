"""The scorecards below some folders: found, read and checked; those that cannot be used are named with the reason.

Called by work/portfolio.py. Follows links, but enters every folder once, so that a loop ends. Reads scorecard.json and
nothing else of a study; judges no number.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.errors import StudyError
from tsugiki.fingerprint import digest_bytes
from tsugiki.report.scorecard import Card, check_scorecard

NAME = "scorecard.json"
LARGEST = 64 * 1024**2  # bytes; a scorecard takes about 50 kB
ROUNDING = 1e-9


@dataclass(frozen=True)
class Found:
    path: str
    digest: str  # of the file
    card: Card


@dataclass(frozen=True)
class Unusable:
    """`code` is one of the words of [unusable]: unreadable, not_a_file, too_large, not_json, foreign, foreign_more."""

    path: str
    code: str
    values: Mapping[str, Any]


def find_cards(places: Sequence[Path]) -> tuple[list[Found], list[Unusable]]:
    """Folders are searched; a file that is named is read whatever it is called. In the order of the paths."""
    seen: set[tuple[int, int]] = set()
    found: list[Found] = []
    unusable: list[Unusable] = []
    for place in places:
        for one in _below(place, seen) if _is_searched(place) else _once(place, seen):
            if isinstance(one, Found):
                found.append(one)
            else:
                unusable.append(one)
    if not found and not unusable:
        raise StudyError(
            f"There is no {NAME} in {', '.join(map(str, places))}.",
            fix="Name folders that `tsugiki poc` wrote, or a folder above them.",
        )
    return sorted(found, key=lambda one: one.path), sorted(unusable, key=lambda one: one.path)


def _is_searched(place: Path) -> bool:
    try:
        return stat.S_ISDIR(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"There is no folder {place}.", fix="Name folders that hold studies.") from None
    except OSError as error:
        raise StudyError(f"{place} cannot be read: {error.strerror}.", fix="Name folders that hold studies.") from None


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Found | Unusable]:
    """Names that start with a dot are left out."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            if not _is_new(place.stat(), seen):
                continue
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            yield Unusable(place.as_posix(), "unreadable", {"why": error.strerror or str(error)})
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = place / entry.name
            if entry.name == NAME:
                yield from _once(path, seen)
            elif _is_folder(entry):
                waiting.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_new(about: os.stat_result, seen: set[tuple[int, int]]) -> bool:
    key = (about.st_dev, about.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def _once(path: Path, seen: set[tuple[int, int]]) -> Iterator[Found | Unusable]:
    shown = path.as_posix()
    try:
        about = path.stat()
        if not _is_new(about, seen):
            return
        if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for ever
            yield Unusable(shown, "not_a_file", {})
            return
        if about.st_size > LARGEST:
            yield Unusable(shown, "too_large", {"size": about.st_size, "limit": LARGEST})
            return
        content = path.read_bytes()
    except OSError as error:
        yield Unusable(shown, "unreadable", {"why": error.strerror or str(error)})
        return
    yield _read(shown, content)


def _read(path: str, content: bytes) -> Found | Unusable:
    try:
        card = json.loads(content.decode("utf-8-sig"))
        faults = check_scorecard(card) or list(_odd_qualities(card))
    except UnicodeDecodeError as error:
        return Unusable(path, "not_json", {"why": f"not UTF-8, byte {error.start}"})
    except json.JSONDecodeError as error:
        return Unusable(path, "not_json", {"why": f"{error.msg}, line {error.lineno}"})
    except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
        return Unusable(path, "not_json", {"why": str(error).split(";", maxsplit=1)[0]})
    if faults:
        more = len(faults) - 1
        return Unusable(path, "foreign_more" if more else "foreign", {"fault": faults[0], "more": more})
    return Found(path, digest_bytes(content), card)


def _odd_qualities(card: Card) -> Iterator[str]:
    """The contract bounds no quality, since metrics could; every metric here lies between 0 and 1."""
    for place in ("methods", "reference"):
        for entry in card[place]:
            quality = entry["quality"]
            low, value, high = (quality[end] for end in ("low", "estimate", "high"))
            if value is None:
                continue
            if low is None or high is None or not -ROUNDING <= low <= value + ROUNDING <= high + 2 * ROUNDING:
                yield f"{place}.{entry['name']}.quality must have 0 <= low <= estimate <= high"
            elif high > 1 + ROUNDING:
                yield f"{place}.{entry['name']}.quality must not be above 1, got {high}"
