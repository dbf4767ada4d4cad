"""`tsugiki check`: what is in a data file, what is wrong with it, what would leak.

Registered by main.py. Calls `work`, which reads the file as a study does, then data_shown.py; decides nothing itself.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tsugiki.cli.options import From, with_knobs
from tsugiki.config import Design, Recipe
from tsugiki.errors import UsageError

Data = Annotated[Path, typer.Argument(help="CSV, TSV, XLSX, JSONL, JSON or Parquet file", show_default=False)]
PromptColumn = Annotated[str | None, typer.Option(help="column with the prompt; guessed if left out")]
CompletionColumn = Annotated[str | None, typer.Option(help="column with the answer to learn; guessed if left out")]
GroupColumn = Annotated[str | None, typer.Option(help="rows with the same value here never cross a split")]
SplitColumn = Annotated[str | None, typer.Option(help="column that says train, dev, test or shift for each row")]
TimeColumn = Annotated[str | None, typer.Option(help="column of dates: the oldest rows train, the newest test")]
SliceColumns = Annotated[
    list[str] | None,
    typer.Option("--slice-column", metavar="A,B,..", help="columns by whose values quality is broken down"),
]
Sheet = Annotated[str | None, typer.Option(help="sheet of a workbook; the first filled one if left out")]
BaseName = Annotated[str | None, typer.Option("--base", help="count tokens as this base does")]
Show = Annotated[int, typer.Option(min=0, help="print this many examples: prompt dim, learned part green")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable result on stdout")]

UNCOUNTED = "Tokens were not counted, so rows that are too long are not known; name the base with --base."


@with_knobs(recipe=From(Recipe, "Training", leave_out=set(Recipe.model_fields) - {"max_length"}))
def check(
    data: Data,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    time_column: TimeColumn = None,
    sheet: Sheet = None,
    base: BaseName = None,
    show: Show = 0,
    as_json: AsJson = False,
    *,
    recipe: Recipe,
) -> int:
    """Look at a data file: its columns, what is excluded and why, duplicates, contradictions, labels, secrets."""
    from tsugiki.data.shapes import Columns
    from tsugiki.work.prepare import DataSpec, read_source
    from tsugiki.work.preview import preview

    if show and base is None:
        raise UsageError("--show prints examples as a base's tokenizer cuts them.", fix="Name the base with --base.")
    columns = Columns(prompt_column, completion_column, group_column)
    source = read_source(DataSpec(data, columns, sheet, split_column, time_column))
    table, guess = source.table, source.guess
    tokenizer = _tokenizer(base) if base is not None else None
    count = _counter(tokenizer) if tokenizer is not None else None
    findings = preview(source, Design(), recipe.max_length, count).findings
    notes = (*table.notes, *source.suggestions, *((UNCOUNTED,) if tokenizer is None else ()))
    shown = [_masked(tokenizer, example) for example in findings.examples[:show]] if tokenizer is not None else []
    if as_json:
        facts = {"file": table.path.name, "format": table.format, "encoding": table.encoding, "digest": table.digest}
        read_as = {"shape": guess.shape, "columns": list(guess.columns), "guess": guess.sentence}
        result = {**facts, **read_as, "notes": list(notes), **findings.as_json(), "shown": shown}
        # ASCII escapes: half characters and control codes from the file survive any terminal and any parser.
        sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")
    else:
        from tsugiki.cli.data_shown import render

        render(table, (guess.sentence, *notes), findings, shown)
    return int(any(concern.kind == "refused" for concern in findings.concerns))


def plain(text: str, *, keep_lines: bool = False) -> str:
    """Text from a file, safe to print: control characters become visible signs, none reaches the terminal.

    Line ends become ⏎ unless they are kept; lone surrogates and other unprintable characters become �.
    """
    return "".join(_printable(character, keep_lines) for character in text)


def _printable(character: str, keep_lines: bool) -> str:
    if character == "\n":
        return "⏎\n" if keep_lines else "⏎"
    if character == "\r":
        return ""
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == "\x7f":
        return "␡"
    return "�" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else character


def _tokenizer(base: str) -> Any:
    from tsugiki.engine.base import BaseSpec, load_tokenizer

    return load_tokenizer(BaseSpec(name=base))


def _counter(tokenizer: Any) -> Callable[[Sequence[Any]], list[tuple[int, int]]]:
    from tsugiki.work.task import counting

    return counting(tokenizer)


def _masked(tokenizer: Any, example: Any) -> dict[str, Any]:
    from tsugiki.engine.batches import masked_view

    pieces = masked_view(tokenizer, (example.prompt, example.completion))
    return {"row": example.row, "pieces": [{"text": text, "learned": learned} for text, learned in pieces]}
