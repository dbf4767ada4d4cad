"""How the commands of `tsugiki registry` print: one line per fact, tables in columns, times in the reader's zone.

Called by the modules that add commands to the sub-app. Whatever comes from a registry is printed as plain text: control
characters become visible, Japanese characters count as the two cells that they take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tsugiki.cli.data import plain
from tsugiki.cli.studies import print_line
from tsugiki.width import columns

NOTHING = "–"


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """One line per pair, the names in a column; a pair whose value is None or empty is left out."""
    kept = [(name, text(value)) for name, value in pairs if value not in (None, "", [], ())]
    width = max((columns(name) for name, _ in kept), default=0)
    for name, value in kept:
        print_line(f"{name}{' ' * (width - columns(name))}  {value}")


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Rows under their heads; the line `empty` where there are none."""
    cells = [[text(value) for value in row] for row in rows]
    if not cells:
        print_line(empty)
        return
    lines = [list(heads), *cells]
    widths = [max(columns(line[place]) for line in lines) for place in range(len(heads))]
    for line in lines:
        padded = (f"{cell}{' ' * (width - columns(cell))}" for cell, width in zip(line, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or NOTHING
    return plain(str(value))


def when(stored: str | None) -> str | None:
    """A stored moment in the zone of this machine."""
    from tsugiki.records.moments import shown

    return None if stored is None else shown(stored)
