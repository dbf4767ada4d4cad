"""`tsugiki prices` and `tsugiki money`: a price table to fill in, and a finished study reckoned with it.

Registered by main.py. Each parses, calls one function of `work`, renders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.studies import Folder, PriceFile, print_json, print_line, write_starter
from tsugiki.config import LanguageName
from tsugiki.errors import UsageError

Table = Annotated[Path | None, typer.Argument(help="a price table that was filled in", show_default=False)]
Write = Annotated[Path | None, typer.Option(help="write a price table to fill in, and stop")]
Language = Annotated[LanguageName | None, typer.Option(help="language of the comments, or of what is printed")]
StudyLanguage = Annotated[
    LanguageName | None, typer.Option(help="language of what is printed; the study's if left out")
]
Out = Annotated[Path | None, typer.Option(help="also write the scorecard with these prices into this other folder")]


def prices(table: Table = None, write: Write = None, language: Language = None, as_json: AsJson = False) -> int:
    """A price table with a business case: write one to fill in, or read one and say what an hour and a month cost."""
    from tsugiki.work.price_table import read_prices, starter, summary_of

    if (table is None) == (write is None):
        raise UsageError(
            "Name a price table to read, or a file to write one to.",
            fix="For example: tsugiki prices --write prices.yaml.",
        )
    if write is not None:
        if as_json:
            raise UsageError("--json belongs to reading a table.", fix="Leave --json out, or --write.")
        return write_starter(write, starter(language or "en"), option="--write", used_with="--prices")
    assert table is not None
    summary = summary_of(read_prices(table))
    if as_json:
        print_json(summary)
        return 0
    from tsugiki.report.text import render_prices

    print_line(render_prices(summary, language or "en").rstrip("\n"))
    return 0


def money(
    folder: Folder,
    prices: PriceFile = None,
    language: StudyLanguage = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """What a finished study is worth: its own measurements with any price table; nothing is trained again."""
    from tsugiki.work.price_table import read_prices
    from tsugiki.work.reprice import repriced, write_repriced

    card = repriced(folder, None if prices is None else read_prices(prices), language)
    if out is not None:
        write_repriced(card, out)
    if as_json:
        print_json(card["money"])
        return 0
    from tsugiki.report.text import render_money

    print_line(render_money(card).rstrip("\n"))
    if out is not None:
        print_line(f"\n{out / 'scorecard.html'}")
    return 0
