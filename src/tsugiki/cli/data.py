"""`tsugiki check`: what is in a data file, what is wrong with it, what would leak.

Registered by main.py. Calls `work`, which reads the file as a study does, then renders; decides nothing itself.
Everything that comes from the file is printed as plain text: terminal control sequences are made visible, markup is
not interpreted.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

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
LISTED = 20  # rows listed one by one for people; --json has all
NAMED_ROWS = 12
WIDTH = 80


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
) -> None:
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
        return
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    _render(console, table, (guess.sentence, *notes), findings)
    for number, example in enumerate(shown, start=1):
        _render_example(console, number, example)


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


def _render(console: Console, table: Any, sentences: tuple[str, ...], findings: Any) -> None:
    console.print(Text(plain(table.path.name), style="bold"))
    encoding = f", {table.encoding}" if table.encoding else ""
    console.print(Text(f"{table.format.upper()}{encoding}, {findings.rows:,} rows"))
    for sentence in sentences:
        console.print(Text(plain(sentence)))
    console.print()
    console.print(Text(f"{findings.used:,} rows can be used, {len(findings.excluded):,} excluded.", style="bold"))
    _render_rows(console, "Excluded", [(item.row, item.reason) for item in findings.excluded])
    if findings.used:
        _render_profile(console, findings)
    if findings.labels is not None:
        _render_labels(console, findings.labels)
    if findings.concerns:
        console.print(Text("\nTo look at (these rows stay)", style="bold yellow"))
        for concern in findings.concerns:
            rows = f" {_rows(concern.rows)}" if concern.rows else ""
            console.print(Text(f"- {plain(concern.message)}{rows}"))
    _render_rows(
        console,
        "Personal data or secrets? (values are masked)",
        [(item.row, f"{item.kind} in the {item.field}: {item.excerpt}") for item in findings.sensitive],
    )


def _render_rows(console: Console, title: str, rows: list[tuple[int, str]]) -> None:
    if not rows:
        return
    console.print(Text(f"\n{title}", style="bold yellow"))
    for row, text in rows[:LISTED]:
        console.print(Text(f"- row {row}: {plain(text)}"))
    if len(rows) > LISTED:
        console.print(Text(f"  and {len(rows) - LISTED:,} more; --json lists all."))


def _render_profile(console: Console, findings: Any) -> None:
    grid = Grid("", "min", "median", "95 %", "max", box=None, pad_edge=False)
    for name, spread in (
        ("prompt characters", findings.prompt_characters),
        ("completion characters", findings.completion_characters),
        ("tokens in all", findings.tokens),
    ):
        if spread is not None:
            numbers = (spread.minimum, spread.median, spread.p95, spread.maximum)
            grid.add_row(name, *(f"{number:,}".removesuffix(".0") for number in numbers))
    console.print()
    console.print(grid)
    names = {"ja": "Japanese", "en": "English", "other": "other"}
    mix = ", ".join(f"{names[name]} {count:,}" for name, count in findings.languages.items() if count)
    console.print(Text(f"Languages (rows): {mix}"))


def _render_labels(console: Console, labels: Any) -> None:
    console.print()
    rare = f", {len(labels.rare)} of them with fewer than 5 rows" if labels.rare else ""
    console.print(
        Text(f"Closed labels: {len(labels.counts)}{rare}. Always the largest would score {labels.majority_share:.0%}.")
    )
    named = [f"{plain(label)} {count:,}" for label, count in labels.counts[:NAMED_ROWS]]
    more = f", and {len(labels.counts) - NAMED_ROWS} more" if len(labels.counts) > NAMED_ROWS else ""
    console.print(Text(", ".join(named) + more, style="dim"))


def _render_example(console: Console, number: int, example: dict[str, Any]) -> None:
    console.print(Text(f"\nExample {number} (row {example['row']}; green is learned)", style="bold"))
    line = Text()
    for piece in example["pieces"]:
        line.append(plain(piece["text"], keep_lines=True), style="bold green" if piece["learned"] else "dim")
    console.print(line)


def _rows(rows: tuple[int, ...]) -> str:
    named = ", ".join(map(str, rows[:NAMED_ROWS]))
    more = f" and {len(rows) - NAMED_ROWS:,} more" if len(rows) > NAMED_ROWS else ""
    return f"[row{'s' if len(rows) > 1 else ''} {named}{more}]"
