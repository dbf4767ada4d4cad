"""A finished study with other prices: the same measurements, another money section; nothing is trained again.

Called by the command `money`. The study folder is only read: what was locked stays locked, and a page with other prices
goes into another folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tsugiki.config import LanguageName
from tsugiki.errors import StudyError, UsageError
from tsugiki.files import make_folder
from tsugiki.measure.prices import Prices
from tsugiki.work.assemble import Card, scorecard_of, write_card
from tsugiki.work.evidence import read_evidence
from tsugiki.work.lock import study_file


def repriced(folder: Path, prices: Prices | None, language: LanguageName | None) -> Card:
    """The scorecard of the study in `folder` with these prices; None: those it was started with.

    `language`: of the sentences; None for the study's own.
    """
    evidence = read_evidence(folder)
    if prices is not None:
        evidence = replace(evidence, lock={**evidence.lock, "prices": prices.model_dump(mode="json")})
    elif evidence.lock["prices"] is None:
        raise StudyError(
            f"The study in {folder} was started without prices.",
            fix="Pass a price table with --prices; `tsugiki prices --write FILE` writes one to fill in.",
        )
    if language is not None:
        evidence = replace(evidence, intake=evidence.intake.model_copy(update={"language": language}))
    return scorecard_of(evidence)


def write_repriced(card: Card, folder: Path) -> None:
    """scorecard.json and scorecard.html, in a folder that holds no study."""
    if study_file(folder).exists():
        raise UsageError(
            f"{folder} holds a study, which keeps its own scorecard.", fix="Name another folder with --out."
        )
    make_folder(folder, "--out")
    write_card(card, folder)
