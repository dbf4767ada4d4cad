"""What `tsugiki check` prints for people: columns, exclusions, labels, concerns, examples with the learned part green.

Called by data.py when it runs, for rich takes its time to load. Everything that comes from the file is printed as plain
text: terminal control sequences are made visible, markup is not interpreted.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from tsugiki.cli.data import plain

LISTED = 20  # rows listed one by one for people; --json has all
NAMED_ROWS = 12
WIDTH = 80


def render(table: Any, sentences: tuple[str, ...], findings: Any, shown: list[dict[str, Any]]) -> None:
    """`shown` are examples as the base's tokenizer cuts them."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    _render(console, table, sentences, findings)
    for number, example in enumerate(shown, start=1):
        _render_example(console, number, example)


def _render(console: Console, table: Any, sentences: tuple[str, ...], findings: Any) -> None:
    console.print(Text(plain(table.path.name), style="bold"))
    encoding = f", {table.encoding}" if table.encoding else ""
    console.print(Text(f"{table.format.upper()}{encoding}, {findings.rows:,} rows"))
    for sentence in sentences:
        console.print(Text(plain(sentence)))
    console.print()
    usable = "1 row" if findings.used == 1 else f"{findings.used:,} rows"
    console.print(Text(f"{usable} can be used, {len(findings.excluded):,} excluded.", style="bold"))
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
