"""The width of characters: folded away where texts are compared, counted where they stand under each other.

Folded by data/keys.py and measure/metrics.py, counted by whatever prints a table to a terminal. Folding is not NFKC,
which also turns 10² into 102, ① into 1 and m³ into m3: such a key calls a wrong number right. NFC only joins a letter
with its accent or voicing mark.
"""

from __future__ import annotations

import unicodedata


def _narrow_and_wide() -> dict[int, str]:
    """Full-width ASCII and signs, half-width kana and the ideographic space, each to the character it stands for."""
    found: dict[int, str] = {}
    for code in (0x3000, *range(0xFF01, 0xFFEF)):
        kind, _, original = unicodedata.decomposition(chr(code)).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            found[code] = chr(int(original, 16))
    return found


USUAL_WIDTH = _narrow_and_wide()


def folded(text: str) -> str:
    """Equal for texts that differ only in full or half width, in the amount of white space, or at the ends."""
    return " ".join(unicodedata.normalize("NFC", text.translate(USUAL_WIDTH)).split())


def columns(text: str) -> int:
    """Cells that a terminal uses: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
