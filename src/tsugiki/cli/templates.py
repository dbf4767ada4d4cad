"""`tsugiki templates`: the kinds of work there are templates for, and their papers. Parses, calls `work`, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson, plain
from tsugiki.cli.studies import print_json, print_line
from tsugiki.config import KindName, LanguageName
from tsugiki.errors import UsageError


def templates(
    kind: Annotated[KindName | None, typer.Argument(help="the kind to show; all are listed if left out")] = None,
    language: Annotated[LanguageName, typer.Option(help="language of the texts and of the papers")] = "en",
    out: Annotated[Path | None, typer.Option(help="write intake.yaml, examples.csv and evaluation.md here")] = None,
    as_json: AsJson = False,
) -> None:
    """Templates per kind of work: intake form, evaluation plan, example rows, and how many rows it takes."""
    from tsugiki.width import columns
    from tsugiki.work.kinds import KINDS
    from tsugiki.work.papers import as_json as described
    from tsugiki.work.papers import guide, listing, write_papers

    if kind is None:
        if out is not None:
            raise UsageError("--out writes the papers of one kind of work.", fix=f"Name one of: {', '.join(KINDS)}.")
        if as_json:
            print_json([described(name, language) for name in KINDS])
            return
        lines = list(listing(language))
        width = max(columns(name) for name, _ in lines)
        for name, about in lines:
            print_line(f"{name.ljust(width)}  {about}")
        return
    written = () if out is None else write_papers(kind, language, out)
    for path in written:
        sys.stderr.write(f"{plain(str(path))}\n")
    if as_json:
        print_json({**described(kind, language), "files": [str(path) for path in written]})
    elif out is None:
        sys.stdout.write(guide(kind, language))
