"""Bytes to text, strictly: one encoding must explain every byte of the file, or the file is refused.

Called by read.py for all text formats. Never replaces or drops a character, never guesses from a part of the file.

Order: a byte order mark decides (UTF-8, UTF-16). Otherwise UTF-8 if every byte fits: chance almost never produces valid
multi-byte UTF-8. Otherwise Shift_JIS (as CP932) and EUC-JP are both tried, and the reading that looks more like
Japanese writing is taken; misread EUC-JP shows as half-width katakana and `｡｢｣､･`, misread Shift_JIS as rare kanji.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from tsugiki.errors import DataError

# euc_jis_2004 also knows the circled digits and company marks that Windows writes into EUC-JP files.
JAPANESE = (("CP932", "cp932"), ("EUC-JP", "euc_jp"), ("EUC-JP", "euc_jis_2004"))
SAMPLE = 200_000  # characters scored when two readings compete
SAVE_AS = "Save it as UTF-8 (in Excel: CSV UTF-8)."
JIS = re.compile(rb"\x1b\$[@B]")  # ISO-2022-JP changes to kanji with ESC $ B; all its bytes are ASCII
JAPANESE_RUN = re.compile("[぀-ヿ㐀-鿿]{2}")


def decode(content: bytes, name: str) -> tuple[str, str]:
    """The whole text without its byte order mark, and the encoding taken."""
    for mark, codec, label in (
        (codecs.BOM_UTF8, "utf-8", "UTF-8 with BOM"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 LE"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 BE"),
    ):
        if content.startswith(mark):
            return _by_mark(content[len(mark) :], codec, label, name), label
    if b"\x00" in content:
        line = content[: content.index(b"\x00")].count(b"\n") + 1
        raise DataError(f"{name} holds a NUL byte in line {line}, so it is not a text file we can read.", fix=SAVE_AS)
    if (jis := JIS.search(content)) is not None:
        line = content[: jis.start()].count(b"\n") + 1
        raise DataError(f"{name} is ISO-2022-JP (JIS) from line {line} on, which is not read.", fix=SAVE_AS)
    try:
        return content.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        return _japanese(content, error.start, name)


def _by_mark(content: bytes, codec: str, label: str, name: str) -> str:
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} starts with the mark of {label}, but byte {error.start} is not {label}.", fix=SAVE_AS
        ) from None
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise DataError(f"{name} holds a NUL character in line {line}.", fix="Remove it and save the file again.")
    return text


def _japanese(content: bytes, first_bad: int, name: str) -> tuple[str, str]:
    readings: list[tuple[float, str, str]] = []
    for label, codec in JAPANESE:
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        readings.append((_japaneseness(text), label, text))
    bad_line = content[:first_bad].count(b"\n") + 1
    _refuse_mixture(content, bad_line, name)
    if not readings or max(score for score, _, _ in readings) <= 0:
        raise DataError(
            f"{name} is neither UTF-8 (line {bad_line} is not) nor UTF-16, Shift_JIS or EUC-JP as a whole.", fix=SAVE_AS
        )
    _, label, text = max(readings, key=lambda reading: reading[0])
    return text, label


def _refuse_mixture(content: bytes, other_line: int, name: str) -> None:
    """Lines that read as Japanese in UTF-8 inside a file that is not UTF-8: two exports were joined."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.isascii():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if JAPANESE_RUN.search(text):
            raise DataError(
                f"{name} mixes encodings: line {number} is UTF-8, line {other_line} is not.",
                fix="Save every part as UTF-8 before joining them.",
            )


def _japaneseness(text: str) -> float:
    """Positive when the non-ASCII characters look written on purpose; one common full-width character counts 1."""
    others = [character for character in text if character > "\x7f"][:SAMPLE]
    return sum(_weight(character) for character in others)


def _weight(character: str) -> float:
    if "぀" <= character <= "ヿ":
        return 2.0
    if "｡" <= character <= "･":
        return -1.0  # the first bytes of EUC-JP punctuation and kana
    if "ｦ" <= character <= "ﾟ":
        return 0.55  # one byte each: two of them outweigh the one kanji that EUC-JP would read
    if "㐀" <= character <= "鿿" or "豈" <= character <= "﫿":
        return 1.0 if _is_common_kanji(character) else -1.0
    if unicodedata.category(character) in ("Co", "Cc"):
        return -20.0  # private use and C1 controls: what CP932 makes of bytes it has no character for
    return 0.5


def _is_common_kanji(character: str) -> bool:
    """JIS level 1 (the 2,965 kanji of everyday and technical writing) has lead bytes 0xB0 to 0xCF in EUC-JP."""
    try:
        encoded = character.encode("euc_jp")
    except UnicodeEncodeError:
        return False
    return len(encoded) == 2 and 0xB0 <= encoded[0] <= 0xCF
