"""`tsugiki portfolio`: all studies below some folders side by side. Parses, calls `work`, renders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.studies import print_json
from tsugiki.config import LanguageName
from tsugiki.errors import UsageError

MADE_BY = '<meta name="generator" content="tsugiki portfolio">'
Folders = Annotated[list[Path], typer.Argument(help="folders that hold studies, or scorecards", show_default=False)]


def portfolio(
    folders: Folders,
    out: Annotated[Path | None, typer.Option(help="write the page here, such as portfolio.html")] = None,
    language: Annotated[
        LanguageName | None, typer.Option(help="language of page and text; that of most scorecards if left out")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """All studies side by side, best first: what to expand, hold or stop, and the rule that says so."""
    from tsugiki.files import write_text
    from tsugiki.report.portfolio import render_portfolio, render_portfolio_text
    from tsugiki.work.portfolio import build_portfolio

    if out is not None and out.is_dir():
        raise UsageError(f"{out} is a folder.", fix=f"Name a file in it, such as {out / 'portfolio.html'}.")
    if out is not None and out.exists() and not _is_ours(out):
        raise UsageError(
            f"{out} exists already, and is no page that tsugiki portfolio wrote.", fix="Name another file with --out."
        )
    found = build_portfolio(folders, language)
    if out is not None:
        try:
            write_text(out, render_portfolio(found))
        except OSError as error:
            raise UsageError(
                f"{out} cannot be written to: {error.strerror}.", fix="Name another file with --out."
            ) from None
    if as_json:
        print_json(found)
        return
    sys.stdout.write(render_portfolio_text(found))
    if out is not None:
        sys.stdout.write(f"\n{out}\n")


def _is_ours(path: Path) -> bool:
    """A page is written again and again; anything else there is somebody's work."""
    try:
        with path.open(encoding="utf-8") as file:
            return MADE_BY in file.read(1000)
    except (OSError, ValueError):
        return False
