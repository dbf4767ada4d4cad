"""A native, editable table that ends inside its box, in the house's own style: hairlines, no stripes.

Called by the modules that compose slides. The size is chosen, and cells are cut where nothing else helps, before the
table is written: a row that grew while it is shown would push the table off the slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pptx.dml.color import RGBColor
from pptx.enum.text import MSO_ANCHOR
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Inches

from tsugiki.report.slide_shapes import (
    HAIR,
    INK,
    QUIET,
    SUBJECT_TINT,
    Align,
    Box,
    Page,
    add_run,
    describe,
    set_paragraph,
)
from tsugiki.report.slide_text import line_height, lines_of, shortened_to

PAD, SIDE = 0.05, 0.08  # inches above and below, left and right of a cell's text
MOST_AIR = 1.5  # times the height that a row needs
_NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"


@dataclass(frozen=True)
class TableCell:
    text: str
    detail: str = ""  # behind the text, quieter
    note: int | None = None  # number of a footnote
    bold: bool = False
    colour: str = INK


def write_table(
    page: Page,
    box: Box,
    head: Sequence[str],
    rows: Sequence[Sequence[TableCell]],
    *,
    widths: Sequence[float],
    sizes: Sequence[float],
    name: str,
    described: str,
    align: Sequence[Align] | None = None,
    emphasis: Sequence[int] = (),
) -> float:
    """A native table that ends inside the box; returns where it ends.

    `widths` are shares of the box. Where the text does not fit in the smallest size, cells are cut to two lines, then
    to one; `emphasis` are the rows that get a tint.
    """
    columns = [box.width * width / sum(widths) for width in widths]
    rest: list[Align] = ["right"] * (len(head) - 1)
    align = align or ["left", *rest]
    laid = _laid_out(page, box, head, rows, columns, sizes)
    frame = page.slide.shapes.add_table(
        len(rows) + 1, len(head), Inches(box.left), Inches(box.top), Inches(box.width), Inches(sum(laid.heights))
    )
    describe(frame, name, described)
    table = frame.table
    properties = table._tbl.tblPr
    properties.find(qn("a:tableStyleId")).text = _NO_STYLE
    table.horz_banding = False
    for column, width in zip(table.columns, columns, strict=True):
        column.width = Inches(width)
    for number, height in enumerate(laid.heights):
        table.rows[number].height = Inches(height)
    for number, cells in enumerate(laid.rows):
        for column, cell in enumerate(cells):
            _fill_cell(page, table.cell(number, column), cell, laid.size, align[column], is_head=number == 0)
            if number - 1 in emphasis:
                table.cell(number, column).fill.solid()
                table.cell(number, column).fill.fore_color.rgb = RGBColor.from_string(SUBJECT_TINT)
    return box.top + sum(laid.heights)


@dataclass(frozen=True)
class _Laid:
    rows: list[list[TableCell]]  # the head first
    heights: list[float]
    size: float


def _laid_out(
    page: Page,
    box: Box,
    head: Sequence[str],
    rows: Sequence[Sequence[TableCell]],
    columns: Sequence[float],
    sizes: Sequence[float],
) -> _Laid:
    """Cells, row heights and size with which the table ends inside its box, if possible without a broken number."""
    cells = [[TableCell(text, bold=True, colour=QUIET) for text in head], *[list(row) for row in rows]]
    fitting = [size for size in sizes if sum(_row_height(row, size, columns) for row in cells) <= box.height]
    tidy = [size for size in fitting if all(_is_tidy(row, size, columns) for row in cells)]
    if fitting:
        size = (tidy or fitting)[0]
        heights = [_row_height(row, size, columns) for row in cells]
        return _Laid(cells, _stretched(heights, box.height), size)
    size = sizes[-1]
    for most in (3, 2, 1):
        cut = [
            [_cut_cell(page, cell, most, size, width) for cell, width in zip(row, columns, strict=True)]
            for row in cells
        ]
        heights = [_row_height(row, size, columns) for row in cut]
        if sum(heights) <= box.height:
            return _Laid(cut, _stretched(heights, box.height), size)
    return _Laid(cut, heights, size)


def _is_tidy(row: Sequence[TableCell], size: float, columns: Sequence[float]) -> bool:
    """No number and no interval is broken; names in the first column may be, between words."""
    for place, (cell, width) in enumerate(zip(row, columns, strict=True)):
        parts = (cell.text, cell.detail) if place else cell.text.split()
        if any(lines_of(part, size, width - 2 * SIDE, bold=cell.bold) > 1 for part in parts):
            return False
    return True


def _stretched(heights: list[float], room: float) -> list[float]:
    """Rows with a little air where there is room for it."""
    factor = min(MOST_AIR, room / sum(heights))
    return [height * factor for height in heights]


def _row_height(row: Sequence[TableCell], size: float, columns: Sequence[float]) -> float:
    lines = max(
        lines_of(_whole(cell), size, width - 2 * SIDE, bold=cell.bold) for cell, width in zip(row, columns, strict=True)
    )
    return lines * line_height(size) + 2 * PAD


def _cut_cell(page: Page, cell: TableCell, lines: int, size: float, width: float) -> TableCell:
    short = shortened_to(_whole(cell), lines, size, width - 2 * SIDE, bold=cell.bold)
    if short == _whole(cell):
        return cell
    page.cut.append(_whole(cell))
    return TableCell(short, note=cell.note, bold=cell.bold, colour=cell.colour)


def _whole(cell: TableCell) -> str:
    return f"{cell.text} {cell.detail}" if cell.detail else cell.text


def _fill_cell(page: Page, target: Any, cell: TableCell, size: float, align: Align, *, is_head: bool) -> None:
    target.margin_left = target.margin_right = Inches(SIDE)
    target.margin_top = target.margin_bottom = Inches(PAD)
    target.vertical_anchor = MSO_ANCHOR.BOTTOM if is_head else MSO_ANCHOR.MIDDLE
    paragraph = target.text_frame.paragraphs[0]
    set_paragraph(paragraph, size, align)
    if cell.text:
        add_run(paragraph, cell.text, page.language, size=size, bold=cell.bold, colour=cell.colour)
    if cell.note is not None:
        mark = add_run(paragraph, str(cell.note), page.language, size=size, colour=QUIET)
        mark._r.get_or_add_rPr().set("baseline", "30000")
    if cell.detail:
        add_run(paragraph, f" {cell.detail}", page.language, size=size, colour=QUIET)
    _underline_cell(target, INK if is_head else HAIR, 1.0 if is_head else 0.75)


def _underline_cell(target: Any, colour: str, points: float) -> None:
    """A hairline below the cell and none elsewhere."""
    properties = target._tc.get_or_add_tcPr()
    for place, side in enumerate(("lnL", "lnR", "lnT", "lnB")):
        line = f"<a:solidFill><a:srgbClr val='{colour}'/></a:solidFill>" if side == "lnB" else "<a:noFill/>"
        properties.insert(place, parse_xml(f"<a:{side} {nsdecls('a')} w='{int(points * 12700)}'>{line}</a:{side}>"))
