"""An empty deck in the house's fonts and colours, its pages, their notes, and the one byte string of it all.

Called by `slides` and the modules that compose slides. Titles are title placeholders, footers and slide numbers are
placeholders too, so that outlines, screen readers and a change of the master find them. Never looks into a scorecard.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Inches

from tsugiki.report.figures import Language
from tsugiki.report.slide_shapes import (
    ANCHORS,
    FAINT,
    HEIGHT,
    INK,
    JAPANESE,
    LATIN,
    LEFT,
    OTHER,
    PAPER,
    QUIET,
    RIGHT,
    SUBJECT,
    WASH,
    WIDTH,
    Anchor,
    Box,
    Page,
    add_run,
    clean,
    fill_frame,
    keep,
    place,
    set_frame,
    set_paragraph,
    set_typefaces,
    tag,
    write,
)
from tsugiki.report.slide_text import fitted, shortened_to

TITLE_ONLY = "Title Only"  # the layout of python-pptx's own template that all slides use
EYEBROW = Box(LEFT, 0.4, RIGHT - LEFT, 0.28)
TITLE = Box(LEFT, 0.7, RIGHT - LEFT, 0.9)
BODY = Box(LEFT, 1.75, RIGHT - LEFT, 5.05)
FOOTER = Box(LEFT, 7.0, 11.0, 0.26)
NUMBER = Box(RIGHT - 1.0, 7.0, 1.0, 0.26)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold


@dataclass(frozen=True)
class Deck:
    presentation: Any
    language: Language
    footer: str


def new_deck(language: Language, footer: str) -> Deck:
    """16:9 with one layout, whose theme carries our fonts and colours, so that what is added later looks alike."""
    presentation = Presentation()
    presentation.slide_width, presentation.slide_height = Inches(WIDTH), Inches(HEIGHT)
    presentation.element.find(qn("p:sldSz")).attrib.pop("type", None)  # "4:3" in python-pptx's template
    for layout in list(presentation.slide_layouts):
        if layout.name != TITLE_ONLY:
            presentation.slide_layouts.remove(layout)
    master = presentation.slide_master
    _set_theme(master.part.part_related_by(RELATIONSHIP_TYPE.THEME))
    _set_title_style(master.element)
    for holder in (master, presentation.slide_layouts[0]):
        for shape in list(holder.placeholders):
            _place_placeholder(shape, holder is master)
    return Deck(presentation, language, footer)


def add_page(deck: Deck, *, eyebrow: str, title: str, title_box: Box = TITLE, colour: str = INK) -> Page:
    """A slide with its title in the title placeholder, a label above it, the footer and its number."""
    slide = deck.presentation.slides.add_slide(deck.presentation.slide_layouts[0])
    page = Page(slide, deck.language)
    place(slide.shapes.title, title_box)
    found = keep(page, title, fitted(title, title_box.width, title_box.height, (26, 24, 22, 20, 18), bold=True))
    fill_frame(slide.shapes.title.text_frame, page, [found.text], found.size, bold=True, colour=colour)
    write(page, EYEBROW, eyebrow, sizes=(12,), colour=QUIET, name="Section")
    _add_footer(page, deck.footer)
    return page


def set_title(page: Page, parts: Sequence[tuple[str, float, str]], anchor: Anchor = "middle") -> None:
    """Write the title in several sizes and colours, one line each, still as one title."""
    frame = page.slide.shapes.title.text_frame
    frame.vertical_anchor = ANCHORS[anchor]
    frame.paragraphs[0].clear()
    for number, (text, size, colour) in enumerate(parts):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        set_paragraph(paragraph, size, "left")
        add_run(paragraph, text, page.language, size=size, bold=True, colour=colour)


def write_notes(page: Page, paragraphs: Sequence[str]) -> None:
    """The speaker's notes, one paragraph each, and after them whatever was shortened on the slide."""
    frame = page.slide.notes_slide.notes_text_frame
    for number, text in enumerate([*paragraphs, *dict.fromkeys(page.cut)]):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        add_run(paragraph, clean(text), page.language)


def deck_bytes(deck: Deck, *, title: str, subject: str, keywords: str, made: datetime) -> bytes:
    """The file. Equal decks give equal bytes: the only times in it are `made` and the archive's own epoch."""
    properties = deck.presentation.core_properties
    properties.title, properties.subject, properties.keywords = clean(title)[:255], subject, keywords
    properties.author = properties.last_modified_by = "tsugiki"
    properties.created = properties.modified = made
    properties.language, properties.revision = tag(deck.language), 1
    saved = io.BytesIO()
    deck.presentation.save(saved)
    fixed = io.BytesIO()
    with zipfile.ZipFile(saved) as found, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as written:
        for name in found.namelist():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            written.writestr(entry, found.read(name))
    return fixed.getvalue()


def _place_placeholder(shape: Any, on_master: bool) -> None:
    """Title, footer and number where our slides have them; the date, which would change, is taken away."""
    kind = shape.element.find(f".//{qn('p:ph')}").get("type", "body")
    places = {"title": TITLE, "body": BODY, "ftr": FOOTER, "sldNum": NUMBER}
    if kind not in places or (kind == "body" and not on_master):
        shape.element.getparent().remove(shape.element)
        return
    place(shape, places[kind])
    if kind != "body":
        set_frame(shape.text_frame, "top" if kind == "title" else "middle")


def _set_title_style(master: Any) -> None:
    level = master.find(f"{qn('p:txStyles')}/{qn('p:titleStyle')}/{qn('a:lvl1pPr')}")
    level.set("algn", "l")
    properties = level.find(qn("a:defRPr"))
    properties.set("sz", "2600")
    properties.set("b", "1")


def _set_theme(part: Any) -> None:
    """Our two fonts as heading and body font, our colours as the theme's."""
    tree = etree.fromstring(part.blob)
    for kind in ("majorFont", "minorFont"):
        fonts = tree.find(f".//{qn(f'a:{kind}')}")
        fonts.find(qn("a:latin")).set("typeface", LATIN)
        fonts.find(qn("a:ea")).set("typeface", JAPANESE)
        for font in fonts.findall(qn("a:font")):
            if font.get("script") == "Jpan":
                font.set("typeface", JAPANESE)
    colours: Mapping[str, str] = {
        "dk1": INK, "lt1": PAPER, "dk2": SUBJECT, "lt2": WASH, "accent1": SUBJECT, "accent2": OTHER,
        "accent3": "17694A", "accent4": "94590A", "accent5": "A32B25", "accent6": FAINT,
    }  # fmt: skip
    scheme = tree.find(f".//{qn('a:clrScheme')}")
    for name, colour in colours.items():
        entry = scheme.find(qn(f"a:{name}"))
        for old in list(entry):
            entry.remove(old)
        etree.SubElement(entry, qn("a:srgbClr")).set("val", colour)
    part.blob = etree.tostring(tree, xml_declaration=True, encoding="UTF-8", standalone=True)


def _add_footer(page: Page, text: str) -> None:
    """Footer and slide number as placeholders, which python-pptx leaves on the layout."""
    shortened = shortened_to(text, 1, 10, FOOTER.width)
    run = f'<a:r><a:rPr lang="{tag(page.language)}"/><a:t/></a:r>'
    field = '<a:fld id="{B6F15528-21DE-4FAA-801E-634DDDAF4B2B}" type="slidenum">'
    number = f'{field}<a:rPr lang="en-US"/><a:t>‹#›</a:t></a:fld>'
    for kind, index, content, align in (("ftr", 11, run, "l"), ("sldNum", 12, number, "r")):
        identity = max(int(found) for found in page.slide.element.xpath("//@id") if found.isdigit()) + 1
        shape = parse_xml(
            f"<p:sp {nsdecls('p', 'a')}><p:nvSpPr><p:cNvPr id='{identity}' name='{kind}'/><p:cNvSpPr/>"
            f"<p:nvPr><p:ph type='{kind}' sz='quarter' idx='{index}'/></p:nvPr></p:nvSpPr><p:spPr/>"
            f"<p:txBody><a:bodyPr/><a:lstStyle/><a:p><a:pPr algn='{align}'/>{content}</a:p></p:txBody></p:sp>"
        )
        if kind == "ftr":
            shape.find(f".//{qn('a:t')}").text = clean(shortened)
        for properties in shape.iter(qn("a:rPr")):
            properties.set("sz", "1000")
            properties.append(parse_xml(f"<a:solidFill {nsdecls('a')}><a:srgbClr val='{QUIET}'/></a:solidFill>"))
            set_typefaces(properties)
        page.slide.shapes._spTree.append(shape)
