"""A deck opened again, for the tests: its texts, tables, charts and boxes, and a reckoning of its own of what fits."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from lxml import etree
from PIL import ImageFont
from pptx import Presentation
from pptx.oxml.ns import qn
from pptx.util import Emu

from tsugiki.report.slides import render_slides

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def opened(card: Any) -> Any:
    return Presentation(io.BytesIO(render_slides(card)))


def titles(deck: Any) -> list[str]:
    return [slide.shapes.title.text_frame.text for slide in deck.slides]


def texts(slide: Any) -> list[str]:
    """What a reader sees in title, text boxes and tables; without the footer."""
    found = []
    for shape in slide.shapes:
        if shape.has_text_frame and (not shape.is_placeholder or shape == slide.shapes.title):
            found += [paragraph.text for paragraph in shape.text_frame.paragraphs]
        if shape.has_table:
            found += [cell.text_frame.text for row in shape.table.rows for cell in row.cells]
    return [text for text in found if text]


def whole(slide: Any) -> str:
    return "\n".join(texts(slide)).replace("\N{NO-BREAK SPACE}", " ")


def notes(slide: Any) -> str:
    return slide.notes_slide.notes_text_frame.text.replace("\N{NO-BREAK SPACE}", " ")


def table(slide: Any, place: int = 0) -> list[list[str]]:
    found = [shape.table for shape in slide.shapes if shape.has_table][place]
    return [[cell.text_frame.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row.cells] for row in found.rows]


def charts(slide: Any) -> list[Any]:
    return [shape.chart for shape in slide.shapes if shape.has_chart]


def error_bars(series: Any) -> tuple[list[float | None], list[float | None]]:
    """Lengths below and above, by point."""
    bars = series._element.find(qn("c:errBars"))
    return _numbers(bars.find(qn("c:minus"))), _numbers(bars.find(qn("c:plus")))


def _numbers(parent: Any) -> list[float | None]:
    cache = parent.find(f"{qn('c:numRef')}/{qn('c:numCache')}")
    found: list[float | None] = [None] * int(cache.find(qn("c:ptCount")).get("val"))
    for point in cache.findall(qn("c:pt")):
        found[int(point.get("idx"))] = float(point.find(qn("c:v")).text)
    return found


def referred(chart: Any, reference: str) -> list[float | str | None]:
    """The cells of the chart's own workbook that a reference like Sheet1!$B$2:$B$9 names."""
    cells = _cells(chart.part.chart_workbook.xlsx_part.blob)
    first, _, last = reference.partition("!")[2].replace("$", "").partition(":")
    last = last or first
    return [cells.get(f"{first[0]}{row}") for row in range(int(first[1:]), int(last[1:]) + 1)]


def _cells(blob: bytes) -> dict[str, float | str]:
    with zipfile.ZipFile(io.BytesIO(blob)) as book:
        sheet = etree.fromstring(book.read("xl/worksheets/sheet1.xml"))
        shared = etree.fromstring(book.read("xl/sharedStrings.xml"))
    strings = ["".join(text.text or "" for text in item.iter(f"{SHEET}t")) for item in shared.findall(f"{SHEET}si")]
    found: dict[str, float | str] = {}
    for cell in sheet.iter(f"{SHEET}c"):
        value = cell.find(f"{SHEET}v")
        if value is not None:
            found[cell.get("r")] = strings[int(value.text)] if cell.get("t") == "s" else float(value.text)
    return found


@dataclass(frozen=True)
class Area:
    name: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Area, tolerance: float) -> bool:
        return (
            min(self.right, other.right) - max(self.left, other.left) > tolerance
            and min(self.bottom, other.bottom) - max(self.top, other.top) > tolerance
        )


def areas(slide: Any) -> Iterator[Area]:
    """Of everything that says something, in inches; a table's height is that of its rows."""
    for shape in slide.shapes:
        if shape.name == "Block" or (shape.is_placeholder and shape.placeholder_format.type not in (1, 3)):
            continue
        height = sum(row.height for row in shape.table.rows) if shape.has_table else shape.height
        left, top, right, bottom = (
            Emu(length).inches for length in (shape.left, shape.top, shape.left + shape.width, shape.top + height)
        )
        yield Area(shape.name, left, top, right, bottom)


def overfull(slide: Any) -> Iterator[str]:
    """Texts that would not fit by this reckoning, which measures letters with a real font."""
    for shape in slide.shapes:
        if (shape.has_text_frame and not shape.is_placeholder) or shape == slide.shapes.title:
            frame = shape.text_frame
            indent = 0.3 if frame._txBody.find(f".//{qn('a:buFont')}") is not None else 0.0
            margins = Emu(frame.margin_left + frame.margin_right).inches + indent
            needed = sum(_height(paragraph, Emu(shape.width).inches - margins) for paragraph in frame.paragraphs)
            if needed > Emu(shape.height).inches + 0.02:
                yield f"{shape.name}: {needed:.2f} in {Emu(shape.height).inches:.2f}: {frame.text[:60]}"
        if shape.has_table:
            widths = [Emu(column.width).inches for column in shape.table.columns]
            for row in shape.table.rows:
                for cell, width in zip(row.cells, widths, strict=True):
                    margins = Emu(cell.margin_left + cell.margin_right).inches
                    needed = sum(_height(paragraph, width - margins) for paragraph in cell.text_frame.paragraphs)
                    if needed + Emu(cell.margin_top + cell.margin_bottom).inches > Emu(row.height).inches + 0.02:
                        yield f"{shape.name}: {cell.text_frame.text[:60]}"


def _height(paragraph: Any, width: float) -> float:
    size = max((run.font.size.pt for run in paragraph.runs), default=0.0)
    if not size:
        return 0.0
    lines, used = 1, 0.0
    for piece in re.findall(r"[^ \u2e80-\u9fff\uff00-\uffef]+ ?|.", paragraph.text):
        wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in piece)
        narrow = "".join(letter for letter in piece if unicodedata.east_asian_width(letter) not in "WF")
        length = (wide + _measured(narrow)) * size / 72
        if used > 0 and used + length > width:
            lines, used = lines + 1, 0.0
        used += length
        lines, used = lines + int(used // width), used % width
    return (lines * paragraph.line_spacing.pt + paragraph.space_after.pt) / 72


@cache
def _measured(text: str) -> float:
    """In ems, by a font that comes with Pillow and is as wide as Helvetica."""
    return ImageFont.load_default(size=100).getlength(text) / 100
