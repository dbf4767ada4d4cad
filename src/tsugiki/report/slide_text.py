"""How much room a text takes on a slide, by a table of widths instead of a font: the same answer on every machine.

Called by `slide_deck` before anything is written. Errs on the wide side, so that a text which fits here fits with the
fonts of any office program: Latin letters after the widths of Arial, Japanese characters a full em. Lengths are inches,
sizes are points. Nothing is lost silently: a text that has to be cut ends in an ellipsis, and the caller puts the whole
of it into the slide's notes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

LINE = 1.3  # height of a line as a multiple of the size; slides set it exactly, since fonts differ in their own
POINTS = 72.0  # per inch
ELLIPSIS = "…"
_BOLD = 1.08
_NARROW = frozenset(" !'|,.:;ijl()[]/\\-ftrI`\"\N{NO-BREAK SPACE}")
_BROAD = frozenset("mwMW@%&")
_JAPANESE = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
# A run of Latin letters is kept whole, with the spaces behind it; every Japanese character may end a line.
_PIECES = re.compile(rf"[ \t]+|[{_JAPANESE}]|[^ \t{_JAPANESE}]+[ \t]*")


@dataclass(frozen=True)
class Fitted:
    """A text as it goes onto the slide: its size in points, the lines it takes, and whether it was cut."""

    text: str
    size: float
    lines: int
    cut: bool

    @property
    def height(self) -> float:
        return self.lines * line_height(self.size)


def fitted(text: str, width: float, height: float, sizes: Sequence[float], *, bold: bool = False) -> Fitted:
    """The text in the first of `sizes` (largest first) with which it fits, else cut in the last one."""
    for size in sizes:
        lines = lines_of(text, size, width, bold=bold)
        if lines * line_height(size) <= height + 1e-9:
            return Fitted(text, size, lines, cut=False)
    smallest = sizes[-1]
    room = max(1, int((height + 1e-9) / line_height(smallest)))
    shortened = shortened_to(text, room, smallest, width, bold=bold)
    return Fitted(shortened, smallest, lines_of(shortened, smallest, width, bold=bold), cut=True)


def shortened_to(text: str, lines: int, size: float, width: float, *, bold: bool = False) -> str:
    """The longest beginning of the text that takes no more than `lines`, with an ellipsis if something is missing."""
    if lines_of(text, size, width, bold=bold) <= lines:
        return text
    kept, beyond = 0, len(text)
    while beyond - kept > 1:
        middle = (kept + beyond) // 2
        if lines_of(text[:middle].rstrip() + ELLIPSIS, size, width, bold=bold) <= lines:
            kept = middle
        else:
            beyond = middle
    return text[:kept].rstrip() + ELLIPSIS


def lines_of(text: str, size: float, width: float, *, bold: bool = False) -> int:
    """Lines that the text takes in a column of this width, broken as office programs break."""
    room = width * POINTS / size / (_BOLD if bold else 1.0)
    return sum(_lines_of_paragraph(paragraph, room) for paragraph in text.split("\n"))


def line_height(size: float) -> float:
    return size * LINE / POINTS


def ems(text: str, *, japanese: bool = False) -> float:
    """Width of a text in multiples of its size, without breaking it; in Japanese, signs like − take a whole one."""
    return sum(_em(character, japanese) for character in text)


def _lines_of_paragraph(text: str, room: float) -> int:
    """`room` in ems. Japanese lines lose up to a character, since some may neither end nor begin one."""
    japanese = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    if ems(text.rstrip(), japanese=japanese) <= room:
        return 1
    room = max(room - 1.0 if japanese else room, 1.0)
    lines, used = 1, 0.0
    for piece in _PIECES.findall(text):
        word = piece.rstrip(" \t")
        width = ems(word, japanese=japanese)
        if used > 0 and used + width > room:
            lines, used = lines + 1, 0.0
        while width > room:  # a word longer than a line is broken inside
            lines, width = lines + 1, width - room
        used += width + ems(piece[len(word) :])
    return lines


def _em(character: str, japanese: bool) -> float:
    if character in _NARROW:
        return 0.34
    if character in _BROAD:
        return 0.95
    if "A" <= character <= "Z":
        return 0.73
    if character.isascii():
        return 0.57
    width = unicodedata.east_asian_width(character)
    return 1.0 if width in "WF" or (width == "A" and japanese) else 0.7
