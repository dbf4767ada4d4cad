"""The page's tables (rows of cells with numbered footnotes) as native tables with their footnotes below.

Called by `slide_numbers` and `slide_money`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tsugiki.report.slide_shapes import INK, QUIET, SUBJECT, Box, Page, write
from tsugiki.report.slide_table import TableCell, write_table
from tsugiki.report.slide_text import fitted
from tsugiki.report.tables import Cell, Notes, Row

LEAST, MOST = 0.62, 1.4  # inches kept for footnotes


def write_rows(
    page: Page,
    box: Box,
    head: Sequence[str],
    rows: Sequence[Row],
    notes: Notes,
    *,
    widths: Sequence[float],
    sizes: Sequence[float],
    caption: str = "",
) -> None:
    """The table from the top of the box, then the caption and the footnotes that these rows refer to, from 1 on."""
    used = sorted({cell.note for row in rows for cell in row.cells if cell.note is not None})
    shown = {number: place for place, number in enumerate(used, start=1)}
    below = [f"{place}) {notes.texts[number - 1]}" for number, place in shown.items()]
    if caption:
        below.insert(0, caption)
    needed = fitted("\n".join(below), box.width, MOST, (11, 10, 9)).height + 0.1
    room = max(LEAST, needed) if below else 0.0
    emphasis = [place for place, row in enumerate(rows) if row.emphasis]
    end = write_table(
        page,
        Box(box.left, box.top, box.width, box.height - room),
        head,
        [_cells(row, shown) for row in rows],
        widths=widths,
        sizes=sizes,
        name=head[0],
        described=f"{', '.join(head)}: {', '.join(row.name for row in rows)}",
        emphasis=emphasis,
    )
    if below:
        place = Box(box.left, end + 0.08, box.width, box.bottom - end - 0.08)
        write(page, place, "\n".join(below), sizes=(11, 10, 9), colour=QUIET, name="Footnotes")


def _cells(row: Row, shown: Mapping[int, int]) -> list[TableCell]:
    colour = SUBJECT if row.emphasis else QUIET if row.reference else INK
    name = TableCell(row.name, bold=row.emphasis, colour=colour)
    return [name, *(_cell(cell, shown, QUIET if row.reference else INK, bold=row.emphasis) for cell in row.cells)]


def _cell(cell: Cell, shown: Mapping[int, int], colour: str, *, bold: bool) -> TableCell:
    return TableCell(cell.text, cell.detail, None if cell.note is None else shown[cell.note], bold, colour)
