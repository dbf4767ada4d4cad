"""What stands on a slide: texts, lists, blocks, stages; native objects, each in a box that it does not leave.

Called by `slide_table`, `slide_deck`, `slide_charts` and the modules that compose slides. Sizes are chosen by
`slide_text`. Boxes are inches on a slide of 13.333 by 7.5. Every run names its language and both its typefaces, so that
no program guesses a font for Japanese. Never looks into a scorecard.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Inches, Pt

from tsugiki.report.figures import Language
from tsugiki.report.slide_text import LINE, POINTS, Fitted, fitted, line_height, lines_of, shortened_to
from tsugiki.report.words import say

WIDTH, HEIGHT = 13.333, 7.5
LEFT, RIGHT = 0.6, WIDTH - 0.6
INDENT = 0.3  # of a list
LATIN, JAPANESE = "Arial", "Meiryo"  # both come with Office on Windows and Mac; LibreOffice has its own for each
INK, QUIET, FAINT, HAIR, PAPER, WASH = "1D252C", "56626B", "9AA5AD", "DDE2E6", "FFFFFF", "F5F7F8"
SUBJECT, OTHER, SUBJECT_TINT = "0B4F8A", "6B7780", "EEF4F9"

Align = Literal["left", "center", "right"]
Anchor = Literal["top", "middle", "bottom"]
_ALIGN = {"left": PP_ALIGN.LEFT, "center": PP_ALIGN.CENTER, "right": PP_ALIGN.RIGHT}
ANCHORS = {"top": MSO_ANCHOR.TOP, "middle": MSO_ANCHOR.MIDDLE, "bottom": MSO_ANCHOR.BOTTOM}
WORD_JOINER = "\u2060"
_SIGN = re.compile(r"−(?=[^\s\d])")  # a line that breaks behind it would turn a loss into a gain
_UNPRINTABLE = ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp")  # control characters, and what XML cannot hold


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width


@dataclass(frozen=True)
class Page:
    """One slide; `cut` collects the whole of each text that had to be shortened, for the notes."""

    slide: Any
    language: Language
    cut: list[str] = field(default_factory=list)


def write(
    page: Page,
    box: Box,
    text: str,
    *,
    sizes: Sequence[float],
    name: str,
    bold: bool = False,
    colour: str = INK,
    align: Align = "left",
    anchor: Anchor = "top",
) -> Fitted:
    """A text box in the largest of the sizes that fits."""
    found = keep(page, text, fitted(text, box.width, box.height, sizes, bold=bold))
    frame = _text_box(page, box, name, anchor)
    fill_frame(frame, page, found.text.split("\n"), found.size, bold=bold, colour=colour, align=align)
    return found


def write_list(
    page: Page,
    box: Box,
    items: Sequence[str],
    *,
    sizes: Sequence[float],
    name: str,
    numbered: bool = False,
    gap: float = 0.35,
) -> None:
    """A bulleted or numbered list in the largest size in which all items fit; `gap` is the space between them in lines.

    Where they do not even fit in the smallest, long items are cut to three lines, and the last ones give way:
    a sentence says how many they are.
    """
    size, shown = _list_that_fits(page, items, box, sizes, gap)
    frame = _text_box(page, box, name, "top")
    for number, item in enumerate(shown):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        set_paragraph(paragraph, size, "left", after=gap * size)
        _set_bullet(paragraph, numbered=numbered)
        add_run(paragraph, item, page.language, size=size, colour=INK)
    if len(shown) < len(items):
        page.cut.extend(items[len(shown) :])
        paragraph = frame.add_paragraph() if shown else frame.paragraphs[0]
        set_paragraph(paragraph, size, "left")
        more = say("slide.more", page.language, count=len(items) - len(shown))
        add_run(paragraph, more, page.language, size=size, colour=QUIET)


def block(page: Page, box: Box, *, fill: str, name: str) -> None:
    """A filled rectangle behind or beside other things; says nothing of its own."""
    shape = page.slide.shapes.add_shape(
        MSO_SHAPE.RECTANGLE, Inches(box.left), Inches(box.top), Inches(box.width), Inches(box.height)
    )
    _paint(shape, fill)
    shape.name = name
    _mark_decorative(shape)


def chevron(
    page: Page, box: Box, lines: Sequence[tuple[str, float, bool]], *, fill: str, colour: str, name: str
) -> None:
    """An arrow-shaped stage with a few short lines in it: text, size, bold."""
    shape = page.slide.shapes.add_shape(
        MSO_SHAPE.PENTAGON, Inches(box.left), Inches(box.top), Inches(box.width), Inches(box.height)
    )
    _paint(shape, fill)
    shape.name = name
    shape.adjustments[0] = 0.25
    frame = shape.text_frame
    set_frame(frame, "middle")
    for number, (text, size, bold) in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        set_paragraph(paragraph, size, "center")
        fit = fitted(text, box.width - 0.5, line_height(size), (size,), bold=bold)
        add_run(paragraph, keep(page, text, fit).text, page.language, size=size, bold=bold, colour=colour)


def set_typefaces(properties: Any) -> None:
    """`properties`: an a:rPr or a:defRPr element."""
    for kind, face in (("latin", LATIN), ("ea", JAPANESE), ("cs", LATIN)):
        for old in properties.findall(qn(f"a:{kind}")):
            properties.remove(old)
        properties.append(parse_xml(f'<a:{kind} {nsdecls("a")} typeface="{face}"/>'))


def keep(page: Page, text: str, found: Fitted) -> Fitted:
    if found.cut:
        page.cut.append(text)
    return found


def _list_that_fits(
    page: Page, items: Sequence[str], box: Box, sizes: Sequence[float], gap: float
) -> tuple[float, list[str]]:
    """The size, and the items as they are shown; one line is kept for the sentence about those that are not."""
    for size in sizes:
        if _list_height(items, box, size, gap) <= box.height:
            return size, list(items)
    size, short = sizes[-1], []
    for item in items:
        short.append(shortened_to(item, 3, size, box.width - INDENT))
        if short[-1] != item:
            page.cut.append(item)
    while short and _list_height(short, box, size, gap) + line_height(size) > box.height:
        short.pop()
    return size, short


def _list_height(items: Sequence[str], box: Box, size: float, gap: float) -> float:
    lines = sum(lines_of(item, size, box.width - INDENT) for item in items)
    return lines * line_height(size) + len(items) * gap * size / POINTS


def _text_box(page: Page, box: Box, name: str, anchor: Anchor) -> Any:
    shape = page.slide.shapes.add_textbox(Inches(box.left), Inches(box.top), Inches(box.width), Inches(box.height))
    shape.name = name
    set_frame(shape.text_frame, anchor)
    return shape.text_frame


def set_frame(frame: Any, anchor: Anchor) -> None:
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    frame.vertical_anchor = ANCHORS[anchor]


def fill_frame(
    frame: Any, page: Page, texts: Sequence[str], size: float, *, bold: bool, colour: str, align: Align = "left"
) -> None:
    for number, text in enumerate(texts):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        set_paragraph(paragraph, size, align)
        add_run(paragraph, text, page.language, size=size, bold=bold, colour=colour)


def set_paragraph(paragraph: Any, size: float, align: Align, *, after: float = 0.0) -> None:
    paragraph.alignment = _ALIGN[align]
    paragraph.line_spacing = Pt(size * LINE)
    paragraph.space_before, paragraph.space_after = Pt(0), Pt(after)
    paragraph._p.get_or_add_endParaRPr().set("sz", str(int(size * 100)))  # an empty line is as high as the others


def _set_bullet(paragraph: Any, *, numbered: bool) -> None:
    properties = paragraph._p.get_or_add_pPr()
    properties.set("marL", str(Inches(INDENT)))
    properties.set("indent", str(-Inches(INDENT)))
    mark = '<a:buAutoNum {} type="arabicPeriod"/>' if numbered else '<a:buChar {} char="•"/>'
    properties.append(parse_xml(f'<a:buFont {nsdecls("a")} typeface="{LATIN}"/>'))
    properties.append(parse_xml(mark.format(nsdecls("a"))))


def add_run(
    paragraph: Any, text: str, language: Language, *, size: float | None = None, bold: bool = False, colour: str = ""
) -> Any:
    """Every run names its language and both typefaces, so that no program guesses a font for Japanese."""
    run = paragraph.add_run()
    run.text = _SIGN.sub(f"\\g<0>{WORD_JOINER}", clean(text))
    if size is not None:
        run.font.size = Pt(size)
    run.font.bold = bold
    if colour:
        run.font.color.rgb = RGBColor.from_string(colour)
    properties = run._r.get_or_add_rPr()
    properties.set("lang", tag(language))
    properties.set("altLang", "en-US")
    set_typefaces(properties)
    return run


def clean(text: str) -> str:
    """On one line, without control characters and without what XML cannot hold."""
    return "".join(" " if unicodedata.category(character) in _UNPRINTABLE else character for character in text)


def tag(language: Language) -> str:
    return {"ja": "ja-JP", "en": "en-US"}[language]


def describe(frame: Any, name: str, described: str) -> None:
    properties = frame._element._nvXxPr.cNvPr
    properties.set("name", name)
    properties.set("descr", clean(described))


def _mark_decorative(shape: Any) -> None:
    """Screen readers pass over it."""
    namespace = "http://schemas.microsoft.com/office/drawing/2017/decorative"
    shape._element._nvXxPr.cNvPr.append(
        parse_xml(
            f'<a:extLst {nsdecls("a")}><a:ext uri="{{C183D7F6-B498-43B3-948B-1728B52AA6E4}}">'
            f'<adec:decorative xmlns:adec="{namespace}" val="1"/></a:ext></a:extLst>'
        )
    )


def _paint(shape: Any, fill: str) -> None:
    shape.fill.solid()
    shape.fill.fore_color.rgb = RGBColor.from_string(fill)
    shape.line.fill.background()
    style = shape._element.find(qn("p:style"))  # the theme's shadow and outline
    if style is not None:
        shape._element.remove(style)


def place(shape: Any, box: Box) -> None:
    shape.left, shape.top, shape.width, shape.height = map(Inches, (box.left, box.top, box.width, box.height))
