"""What a set of examples is like: lengths, languages, label balance, suspicious characters and formulas.

Called by check.py. Counts and names rows; judges nothing and removes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tsugiki.data.keys import text_key

Language = Literal["ja", "en", "other"]

# Control characters but \\t \\n \\r; the soft hyphen, Hangul fillers, marks of direction, everything of no width; what
# replaced a damaged character; the private use areas (gaiji), whose look depends on the machine. Emoji and some scripts
# need the joiners U+200C and U+200D; after a Latin, Japanese or ASCII character they are left over from something.
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]"
    "|(?<=[\x20-\u024f\u3000-\u9fff\uff01-\uff9f])[\u200c\u200d]"
)
SURROGATE = re.compile("[\ud800-\udfff]")
JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f々〆〇]")
LATIN = re.compile("[A-Za-zＡ-Ｚａ-ｚÀ-ÖØ-öø-ÿ]")
# A spreadsheet evaluates = + - @ at the start of a cell. Flagged only with a call, a cell, a quoted text or a sum
# behind it, so that -5 ℃, +81-3-…, - item, @name and => stay what they are.
_CALL_OR_CELL = r"(?:[A-Z][A-Z0-9.]{0,30}\(|\$?[A-Z]{1,3}\$?[1-9][0-9]{0,6}\s{0,3}[-+*/^&:!=<>])"
FORMULA = re.compile(
    rf"\s*(?:=\s*[-+]?(?:{_CALL_OR_CELL}|\$?[A-Z]{{1,3}}\$?[1-9][0-9]{{0,6}}\s*$|\"|[0-9][0-9.]{{0,20}}\s*[-+*/^&]"
    rf"|[A-Za-z]{{1,20}}\|)|[-+@]\s*(?:{_CALL_OR_CELL}|[A-Za-z]{{1,20}}\|['\"]))"
)
# What a spreadsheet shows in place of a value; a CSV export holds it as text.
SPREADSHEET_ERRORS = frozenset(
    "#N/A #REF! #VALUE! #DIV/0! #NAME? #NUM! #NULL! #SPILL! #CALC! #GETTING_DATA".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Spread:
    """Distribution of a count over n rows; p95 is the smallest value that 95 % of the rows do not exceed."""

    minimum: int
    median: float
    p95: int
    maximum: int
    n: int


@dataclass(frozen=True)
class Labels:
    """The completions of a closed task, most frequent first, each as its first row writes it."""

    counts: tuple[tuple[str, int], ...]
    majority_share: float  # what answering always the same would score
    rare: tuple[str, ...]  # labels with fewer than 5 rows: their quality cannot be measured one by one


def spread(values: Sequence[int]) -> Spread | None:
    """None where there is nothing to count."""
    if not values:
        return None
    ordered = sorted(values)
    n = len(ordered)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return Spread(ordered[0], median, ordered[-(-95 * n // 100) - 1], ordered[-1], n)


def labels(completions: Sequence[str]) -> Labels:
    written: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for completion in completions:
        key = text_key(completion)
        written.setdefault(key, completion)
        counts[key] += 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Labels(
        counts=tuple((written[key], count) for key, count in ranked),
        majority_share=ranked[0][1] / len(completions),
        rare=tuple(written[key] for key, count in ranked if count < 5),
    )


def language(text: str) -> Language:
    """By script: Japanese if a fifth of the letters is kana or kanji, else English if most letters are Latin.

    The low bar is for technical Japanese, which is full of Latin. Kanji alone count as Japanese; no letters, as other.
    """
    japanese, latin = len(JAPANESE.findall(text)), len(LATIN.findall(text))
    letters = japanese + latin if text.isascii() else max(japanese + latin, sum(map(str.isalpha, text)))
    if letters == 0:
        return "other"
    if japanese >= letters / 5:
        return "ja"
    return "en" if latin > letters / 2 else "other"


def control_characters(text: str) -> tuple[str, ...]:
    """Names of the invisible, private or damaged characters in `text`, each once, in order: U+FEFF, U+001B."""
    return tuple(dict.fromkeys(f"U+{ord(character):04X}" for character in CONTROL.findall(text)))


def half_character(text: str) -> str | None:
    """Half of a surrogate pair: no text in any encoding, only JSON escapes can bring it in."""
    found = SURROGATE.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def is_formula(text: str) -> bool:
    return text.lstrip()[:1] in tuple("=+-@＝") and bool(FORMULA.match(unicodedata.normalize("NFKC", text[:200])))


def spreadsheet_error(text: str) -> str | None:
    """The error value that is the whole text: #N/A, #REF!."""
    return text.strip() if text.strip() in SPREADSHEET_ERRORS else None
