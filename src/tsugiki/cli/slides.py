"""The command `slides`, and the option `--slides` of the commands that end in a scorecard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tsugiki.cli.data import AsJson
from tsugiki.config import LanguageName

OUT, OPTION = "--out", "--slides"
SlidesFile = Annotated[Path | None, typer.Option(OPTION, help="PPTX file to write the scorecard's slides to as well")]


def slides(
    study: Annotated[Path, typer.Argument(help="folder of a study, or a scorecard.json", show_default=False)],
    out: Annotated[Path, typer.Option(OUT, help="PPTX file to write", show_default=False)],
    language: Annotated[
        LanguageName | None, typer.Option(help="ja or en, where it is not to be the scorecard's own")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Editable slides of a scorecard: the decision, quality, cost, data, risks, next steps."""
    from tsugiki.work.slides import make_slides

    card = make_slides(study, out, OUT, language)
    made = {"file": str(out), "language": card["language"], "verdict": card["verdict"]["value"]}
    sys.stdout.write(f"{json.dumps(made, indent=2) if as_json else out}\n")


def slides_wanted(path: Path | None, study: Path) -> None:
    """Refuse at once what could not be written when the study has ended."""
    if path is None:
        return
    from tsugiki.work.slides import check_free, check_target

    check_target(path, OPTION)
    check_free(path, OPTION, study)


def slides_written(path: Path | None, card: Any) -> None:
    """Say where on standard error: standard output may be read by a program."""
    if path is None:
        return
    from tsugiki.work.slides import write_slides

    write_slides(card, path, OPTION, replace=True)
    sys.stderr.write(f"Slides: {path}\n")
