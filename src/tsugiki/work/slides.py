"""From a scorecard.json to its slides: read with care, laid out, written where nothing is lost.

Called by `tsugiki slides` and by `poc` and `scorecard` for `--slides`. Reads no other file of the study. A file that is
there already is replaced only if it is the deck of this study's present scorecard, byte for byte: slides are edited by
hand, and that work must not vanish.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tsugiki.config import LanguageName
from tsugiki.errors import StudyError, UsageError
from tsugiki.files import make_folder, write_bytes
from tsugiki.report.retold import retold
from tsugiki.report.scorecard import Card, check_extensions, check_scorecard, scorecard_bytes

NAME = "scorecard.json"


def read_scorecard(source: Path) -> Card:
    """The scorecard in a study folder, or in a file; StudyError where it is none that this version can read."""
    path = source / NAME if source.is_dir() else source
    if not path.is_file():
        what = f"{source} holds no {NAME}" if source.is_dir() else f"{source} does not exist"
        fix = "Name the folder of a finished study, or its scorecard.json."
        if (source / "study.yaml").is_file():
            fix = f"Run tsugiki scorecard {source} first."
        raise StudyError(f"{what}.", fix=fix)
    try:
        card: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{path} cannot be read as JSON: {error}.", fix=f"Name the {NAME} of a study.") from None
    faults = check_extensions(card) or check_scorecard(card)
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise StudyError(
            f"{path} is not a scorecard that this version reads: {faults[0]}{more}.",
            fix="Write it again with tsugiki scorecard FOLDER.",
        )
    return card


def check_target(path: Path, option: str) -> None:
    """Before anything runs: slides can be made here, and a file of this name can be written."""
    if find_spec("pptx") is None:
        raise UsageError("Slides need python-pptx, which is not installed.", fix="pip install 'tsugiki[slides]'.")
    if path.suffix.lower() != ".pptx":
        raise UsageError(f"{path} does not end in .pptx.", fix=f"Name the file with {option}, as in {option} a.pptx.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", fix=f"Name a file with {option}.")
    make_folder(path.parent, option)


def check_free(path: Path, option: str, study: Path) -> None:
    """Before a study runs for an hour: the file is not there yet, or it is the untouched deck of this very study."""
    if not path.exists():
        return
    try:
        unchanged = path.read_bytes() == _deck(read_scorecard(study))
    except StudyError:  # no scorecard yet, or one of another version
        unchanged = False
    if not unchanged:
        raise _taken(path, option)


def write_slides(card: Card, path: Path, option: str, *, replace: bool = False) -> None:
    """Make the deck and write it; `replace` where `check_free` has looked at what is there."""
    content = _deck(card)
    if path.exists() and not replace and path.read_bytes() != content:
        raise _taken(path, option)
    write_bytes(path, content)


def make_slides(source: Path, path: Path, option: str, language: LanguageName | None = None) -> Card:
    """The whole of `tsugiki slides`; returns the card as it was told."""
    check_target(path, option)
    card = read_scorecard(source)
    if language is not None:
        card = retold(card, language)
    write_slides(card, path, option)
    return card


def _deck(card: Card) -> bytes:
    from tsugiki.report.slides import render_slides  # python-pptx is an extra

    return render_slides(json.loads(scorecard_bytes(card)))  # as it stands in the file: keys in its order


def _taken(path: Path, option: str) -> UsageError:
    return UsageError(
        f"{path} exists already, and is not the unchanged deck of this scorecard.",
        fix=f"Name another file with {option}, or delete it.",
    )
