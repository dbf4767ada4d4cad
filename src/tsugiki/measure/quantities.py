"""Numbers with their units and bounds, as Japanese and English texts write them.

Called by facts.py. Two spellings give the same quantity only where they mean exactly the same: full-width digits,
三十 = 30 = thirty, ㎜ = mm = ミリメートル, ℃ = °C, 以下 = at most = not exceeding. Nothing is converted: 1 m is not
1000 mm here, since an answer that converts where the reference does not is worth a look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from tsugiki.measure.units import BOUNDS_AFTER, BOUNDS_BEFORE, CANONICAL, ENGLISH_NUMBERS, MONEY

_FOLDED = {word.lower(): unit for word, unit in CANONICAL.items() if len(word) > 3 and word.isascii()}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# Long Latin names in any case (Minutes), short ones exactly (mW is not MW); neither runs on into another word.
_LATIN = {word for word in CANONICAL if word[0].isascii() or word[0] in "μΩ°‰"}
_LONG = {word for word in _LATIN if word.lower() in _FOLDED}
_LATIN_UNIT = rf"(?:(?i:{_any_of(_LONG)})|{_any_of(_LATIN - _LONG)})(?![A-Za-z])"
_JAPANESE_UNIT = _any_of(CANONICAL.keys() - _LATIN)
_UNIT = rf"(?:{_LATIN_UNIT}|{_JAPANESE_UNIT})"
_POWER = rf"(?:{_LATIN_UNIT}(?:\^?[23](?!\d))?|{_JAPANESE_UNIT})"  # mm2, but 1日3 is a day and a 3
_UNITS = rf"{_POWER}(?:/{_POWER})?"
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_SIGN = r"(?<![0-9A-Za-z)\]%°])(?<!\d[\u4e00-\u9fff])[-+]|±"  # not the dash of a range or a part number
_NUMBER = (
    r"(?P<whole>\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d+(?:\.\d+){2,}|\d{1,2}:\d{2}(?::\d{2})?|\d+/\d+)"
    r"|(?P<parts>\d+)分の(?P<share>\d+)"
    rf"|(?P<sign>{_SIGN})?(?P<digits>{_DIGITS})"
    r"(?P<exponent>\s*[x×*]\s*10\^?[-+]?\d{1,3}|[eE][-+]?\d{1,3}(?!\w))?"
)
_PATTERN = re.compile(
    rf"(?P<before>(?i:{_any_of(BOUNDS_BEFORE)})\s*(?:about\s+)?)?(?P<money>[¥$€])?\s*(?:{_NUMBER})"
    rf"(?:\s*-?(?P<unit>{_UNITS}))?(?:\s*(?P<after>(?i:{_any_of(BOUNDS_AFTER)})))?"
)
_RANGE = re.compile(r"\s*(?:[~〜～–—-]|から|to|and|ないし|乃至)\s*")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


@dataclass(frozen=True, order=True)
class Quantity:
    number: str  # plain decimal, or a date, time, fraction or version as written
    unit: str  # canonical, "" for a bare number
    bound: str = ""  # one of ≥ ≤ > <, "" for exactly this


def quantities(text: str) -> tuple[list[Quantity], str]:
    """The quantities in the order of the text, and the text without them and without the bounds' own words.

    The rest is what the search for negation reads, so that "no more than 5" is a bound and not a denial.
    """
    text = _spelled_out(normalised(text))
    found: list[Quantity] = []
    rest, end, last_end = [], 0, -1
    for match in _PATTERN.finditer(text):
        quantity = _quantity(match)
        if found and not found[-1].unit and quantity.unit and _RANGE.fullmatch(text[last_end : match.start()]):
            found[-1] = Quantity(found[-1].number, quantity.unit, found[-1].bound)  # 3-5 mm: both are mm
        found.append(quantity)
        rest.append(text[end : match.start()])
        end = last_end = match.end()
    return found, "#".join([*rest, text[end:]])


def normalised(text: str) -> str:
    """NFKC; powers of ten keep their hyphen and caret; one kind of minus, apostrophe and micro sign."""
    text = re.sub(r"10([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda match: "10^" + match[1].translate(_SUPERSCRIPT), text)
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2019", "'").replace("µ", "μ")
    return re.sub(r"(?<=[\d])〜|～", "~", text)


def _quantity(match: re.Match[str]) -> Quantity:
    bound = BOUNDS_AFTER.get((match["after"] or "").lower(), "") or BOUNDS_BEFORE.get(
        re.sub(r"\s*(about\s+)?$", "", (match["before"] or "").lower()), ""
    )
    unit = _unit(match["unit"] or "") or MONEY.get(match["money"] or "", "")
    if match["whole"]:
        return Quantity(match["whole"], unit, bound)
    if match["parts"]:
        return Quantity(f"{match['share']}/{match['parts']}", unit, bound)
    value = Decimal(match["digits"].replace(",", ""))
    if power := re.search(r"(?:10\^?|[eE])([-+]?\d+)$", match["exponent"] or ""):
        value = value.scaleb(int(power[1]))
    sign = {"-": "-", "±": "±"}.get(match["sign"] or "", "")
    return Quantity(sign + _plain(value), unit, bound)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _unit(written: str) -> str:
    def canonical(part: str) -> str:
        power = re.search(r"\^?([23])$", part)
        name = part[: power.start()] if power else part
        return (CANONICAL.get(name) or _FOLDED.get(name.lower()) or name) + (power[1] if power else "")

    if written in CANONICAL:
        return CANONICAL[written]
    return "/".join(map(canonical, written.split("/")))


_LARGE = {"百": 100, "千": 1000, "万": 10**4, "億": 10**8, "兆": 10**12}
_KANJI = "〇一二三四五六七八九十百千万億兆"
_MIXED_RUN = re.compile(r"(?:\d[\d,]*(?:\.\d+)?[百千万億兆]+)+(?:\d+)?")
_MIXED_PART = re.compile(r"(\d[\d,]*(?:\.\d+)?)([百千万億兆]*)")
_ENGLISH_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_ENGLISH_NEXT = rf"(?:\s+and\s+|[\s-]+)(?:{_any_of([*ENGLISH_NUMBERS, *_ENGLISH_SCALES])})"
_ENGLISH_RUN = re.compile(rf"\b(?i:(?:{_any_of(ENGLISH_NUMBERS)})(?:{_ENGLISH_NEXT})*)\b")
# Kanji numerals count before a counter or a unit, after 第, or as two and more digits; not inside everyday words.
_KANJI_WORDS = re.compile(
    r"十分(?![間前後以ほ程待経お])|一部(?!あた)|一時(?!間)|一番|一面|一種(?!類)|一層|一段|一人前|一度に|一般|一緒|一定|一方|一切|"
    r"一致|唯一|統一|同一|均一|単一|万一|第一に|三角|四角|二重|千葉|八王子|一旦|一見|一律|一括|一覧|一連|一体|一例"
)
_KANJI_RUN = re.compile(
    rf"(?<=第)[{_KANJI}]+|[{_KANJI}]+(?=\s*(?:{_UNIT})|(?:分の[{_KANJI}\d]))|(?<=分の)[{_KANJI}]+|[{_KANJI}]{{2,}}"
)


def _spelled_out(text: str) -> str:
    """三十, thirty and 3万 as plain digits."""
    text = _MIXED_RUN.sub(_mixed_digits, text)
    pieces, end = [], 0
    for word in _KANJI_WORDS.finditer(text):
        pieces += [_KANJI_RUN.sub(_kanji_digits, text[end : word.start()]), word[0]]
        end = word.end()
    text = "".join([*pieces, _KANJI_RUN.sub(_kanji_digits, text[end:])])
    return _ENGLISH_RUN.sub(_english_digits, text)


def _mixed_digits(match: re.Match[str]) -> str:
    """1万2千 and 2億3千万."""
    total = section = Decimal(0)
    for digits, marks in _MIXED_PART.findall(match[0]):
        section += Decimal(digits.replace(",", ""))
        for mark in marks:
            section *= _LARGE[mark]
        if set(marks) & set("万億兆"):
            total, section = total + section, Decimal(0)
    return _plain(total + section)


def _kanji_digits(match: re.Match[str]) -> str:
    return str(_kanji_value(match[0])) if len(match[0]) <= 32 else match[0]  # longer is no number


def _kanji_value(run: str) -> int:
    if not set(run) & set("十百千万億兆"):
        return int("".join(str(_KANJI.index(mark)) for mark in run))
    total = section = digit = 0
    for mark in run:
        if mark in "万億兆":
            total, section, digit = total + ((section + digit) or 1) * _LARGE[mark], 0, 0
        elif mark in "十百千":
            section, digit = section + (digit or 1) * {"十": 10, "百": 100, "千": 1000}[mark], 0
        else:
            digit = 10 * digit + _KANJI.index(mark)
    return total + section + digit


def _english_digits(match: re.Match[str]) -> str:
    words = re.split(r"[\s-]+", match[0].lower())
    followed_by_unit = re.match(rf"\s*-?{_UNIT}", match.string[match.end() :])
    if words == ["one"] and not followed_by_unit:  # "the one on the left" is no number
        return match[0]
    return " ".join(map(str, _english_values(words)))


def _english_values(words: list[str]) -> Iterator[int]:
    """`two hundred and five` is one number, `two three` are two."""
    value: int | None = None
    room = 0  # how small the next word must be to belong to the same number
    for word in words:
        if word == "and":
            continue
        if word in _ENGLISH_SCALES:
            value, room = (value or 1) * _ENGLISH_SCALES[word], _ENGLISH_SCALES[word]
            continue
        number = ENGLISH_NUMBERS[word]
        if value is not None and 0 < number < room:
            value += number
        else:
            if value is not None:
                yield value
            value = number
        room = 10 if number >= 20 and number % 10 == 0 else 0
    if value is not None:
        yield value
