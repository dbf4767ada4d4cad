"""First findings of personal data and secrets, in Japanese and English text. A first look, not a guarantee.

Called by check.py. Works where Japanese text breaks the usual patterns: no word boundaries (電話は090-1234-5678です),
full-width digits and signs (０３−１２３４−５６７８). Never returns the value it found, only its kind and place.

Part numbers look like secrets, so a finding needs more than a shape: a check digit (My Number, cards), a valid range
(IPv4), a word beside it (〒, password, 電話), or a form that only keys have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "e-mail",
    "phone",
    "postal code",
    "my number",
    "card",
    "ip address",
    "private key",
    "key",
    "password",
    "credentials in a URL",
]

CONTEXT = 12  # characters shown on either side of a masked value
# One character for one, so that places in the changed text are places in the original.
HALF_WIDTH: dict[int, str] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **{ord(dash): "-" for dash in "‐‑‒–—―−ｰ"},
    0x3000: " ",
}
# The long vowel mark stands in for a hyphen between digits; elsewhere it belongs to a word (センサー).
VOWEL_HYPHEN = re.compile(r"(?<=[0-9])ー(?=[0-9])")
WORTH_A_LOOK = re.compile(
    r"@|[0-9]{3}|[0-9]\.[0-9]|-----BEGIN|[A-Za-z0-9_-]{20}|(?i:pass|pw|secret|token|api)|パス|暗証|トークン"
)

PLACEHOLDER = re.compile(r"^[<$%{\[*]|^(?:x+|X+|\*+|\.+|-+)$|[>}]$")
# パス also is a path, PW a pulse width.
NO_PASSWORD = re.compile(r"^(?:[A-Za-z]:)?[/\\~.]|^[0-9.]+(?:[munpμ]?s|mm)\b")
PART_WORD = re.compile(r"(?:部品番号|管理番号|型番|品番)(?:[\s:=#「(\[]|は|が|No\.?){0,3}$")
VERSION_WORD = re.compile(r"(?i:ver|version|rev|v|バージョン|版)[.\s:]*$")


@dataclass(frozen=True)
class SensitiveFinding:
    kind: Kind
    row: int
    field: Literal["prompt", "completion"]
    excerpt: str  # the surroundings, with every value found in the field masked


def sensitive_findings(texts: Iterable[tuple[int, Literal["prompt", "completion"], str]]) -> list[SensitiveFinding]:
    """Findings in (row, field, text), in the order given."""
    findings: list[SensitiveFinding] = []
    for row, field, text in texts:
        spans = find_spans(text)
        for index, (kind, _, _) in enumerate(spans):
            findings.append(SensitiveFinding(kind, row, field, _excerpt(text, spans, index)))
    return findings


def masked(text: str) -> str:
    """The text with [kind] in place of every value found."""
    for kind, start, end in reversed(find_spans(text)):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def find_spans(text: str) -> list[tuple[Kind, int, int]]:
    """Kind, start and end of every finding; they do not overlap, the surer kind wins."""
    plain = VOWEL_HYPHEN.sub("-", text.translate(HALF_WIDTH))
    if not WORTH_A_LOOK.search(plain):
        return []
    taken: list[tuple[Kind, int, int]] = []
    for kind, start, end in _candidates(plain):
        if all(end <= other_start or start >= other_end for _, other_start, other_end in taken):
            taken.append((kind, start, end))
    return sorted(taken, key=lambda span: span[1])


def _candidates(plain: str) -> Iterator[tuple[Kind, int, int]]:
    """Kind and place of every value; the surer kinds come first."""
    for kind, pattern, accept in PATTERNS:
        value = "value" if "value" in pattern.groupindex else 0
        for match in pattern.finditer(plain):
            if accept is None or accept(match):
                yield kind, *match.span(value)


def is_my_number(digits: str) -> bool:
    """Twelve digits whose last one is the check digit of the first eleven (Ordinance 85 of 2014, article 5)."""
    if len(digits) != 12 or len(set(digits)) == 1:
        return False
    weighted = sum(int(digit) * (n + 1 if n <= 6 else n - 5) for n, digit in enumerate(reversed(digits[:11]), start=1))
    remainder = weighted % 11
    return int(digits[11]) == (0 if remainder <= 1 else 11 - remainder)


def is_card(digits: str) -> bool:
    """Luhn's check digit, on the lengths and first digits that issuers use (so that JAN codes, 13 digits, are not)."""
    four, two = int(digits[:4]), int(digits[:2])
    issued = (
        (len(digits) == 16 and (digits[0] == "4" or 51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589))
        or (len(digits) == 16 and (four == 6011 or two in (62, 65)))
        or (len(digits) == 15 and two in (34, 37))
        or (len(digits) == 14 and two in (30, 36, 38))
    )
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return issued and len(set(digits)) > 1 and sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def _is_phone(match: re.Match[str]) -> bool:
    """Ten digits (eleven for mobile and IP numbers), the last group four digits long except for toll-free numbers."""
    if _is_part_number(match):
        return False
    domestic = re.sub(r"^\+81[- ]?\(?0?\)?", "0", match[0])
    digits = _digits(domestic)
    if digits.startswith(("0120", "0800", "0570", "0990")):
        return len(digits) in (10, 11)
    mobile = digits[:3] in ("050", "060", "070", "080", "090")
    return len(digits) == (11 if mobile else 10) and bool(re.search(r"[0-9]{4}$", domestic))


def _is_address(match: re.Match[str]) -> bool:
    """A host's address: every part at most 255 and written plainly, not this machine, a mask or a version number."""
    parts = match[0].split(".")
    plain = all(int(part) <= 255 and str(int(part)) == part for part in parts)
    before = match.string[max(0, match.start() - 12) : match.start()]
    return (
        plain and parts[0] not in ("0", "127", "255") and max(map(int, parts)) > 9 and not VERSION_WORD.search(before)
    )


def _is_secret(match: re.Match[str]) -> bool:
    """A password, not the next word of an English sentence or a placeholder."""
    value = match["value"]
    if PLACEHOLDER.search(value) or (match["short"] and NO_PASSWORD.search(value)):
        return False
    return any(not letter.isalpha() for letter in value.rstrip(".,;:!?)\"'"))


def _is_part_number(match: re.Match[str]) -> bool:
    """The word before the number says that it names a thing."""
    return bool(PART_WORD.search(match.string[max(0, match.start() - 12) : match.start()]))


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _excerpt(text: str, spans: list[tuple[Kind, int, int]], index: int) -> str:
    kind, start, end = spans[index]
    left = max(start - CONTEXT, spans[index - 1][2] if index else 0)
    right = min(end + CONTEXT, spans[index + 1][1] if index + 1 < len(spans) else len(text))
    before = ("…" if left > 0 else "") + text[left:start]
    after = text[end:right] + ("…" if right < len(text) else "")
    return f"{before}[{kind}]{after}".replace("\r", " ").replace("\n", " ")


# Japanese text has no spaces, so a value is bounded by what may not stand beside it instead of by word boundaries.
_START, _END = r"(?<![0-9A-Za-z.-])", r"(?![0-9A-Za-z-]|\.[0-9])"
_GAP = r"[-() ]{1,2}"
PATTERNS: tuple[tuple[Kind, re.Pattern[str], Callable[[re.Match[str]], bool] | None], ...] = (
    (
        "private key",
        re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY-----(?:[^-]{0,20000}-----END)?"),
        None,
    ),
    (
        "key",
        re.compile(
            r"(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,90}"
            r"|sk-(?=[A-Za-z0-9_-]{0,40}[0-9])[A-Za-z0-9_-]{20,200}|xox[abprs]-[A-Za-z0-9-]{10,80}|AIza[0-9A-Za-z_-]{35}"
            r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{5,4000}\.[A-Za-z0-9_-]{10,1000})(?![A-Za-z0-9_-])"
        ),
        None,
    ),
    (
        "credentials in a URL",
        re.compile(
            r"[A-Za-z][A-Za-z0-9+.-]{1,20}://(?P<value>[^\s:/?#@<>\"'\u0080-\uffff]{0,64}"
            r":(?P<secret>[^\s/?#@<>\"'\u0080-\uffff]{1,128}))@"
        ),
        lambda match: not PLACEHOLDER.search(match["secret"]),
    ),
    (
        "password",
        re.compile(
            r"(?i:(?P<short>(?<![A-Za-z0-9])pw|(?<![ァ-ヶー])パス(?=\s{0,3}[=:]))"
            r"|pass(?:word|wd|phrase)|pwd|api[ _-]?key|secret(?:[ _-]?(?:access[ _-]?)?key)?"
            r"|(?:access|auth|bearer)[ _-]?token"
            r"|パスワード|パスフレーズ|暗証番号|api ?キー|シークレットキー|アクセストークン)"
            r"[\"'」]?\s{0,3}(?:=|:|は)\s{0,3}[\"'「]?(?P<value>[!#-&(-~]{4,128})"
        ),
        _is_secret,
    ),
    (
        "e-mail",
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
        ),
        None,
    ),
    (
        "card",
        re.compile(rf"{_START}[2-6][0-9]{{3}}(?:[ -]?[0-9]{{4}}){{3}}{_END}"),
        lambda match: is_card(_digits(match[0])),
    ),
    (
        "card",  # American Express 4-6-5, Diners Club 4-6-4
        re.compile(rf"{_START}3[0-9]{{3}}[ -]?[0-9]{{6}}[ -]?[0-9]{{4,5}}{_END}"),
        lambda match: is_card(_digits(match[0])),
    ),
    (
        "my number",
        re.compile(rf"{_START}[0-9]{{4}}([ -]?)[0-9]{{4}}\1[0-9]{{4}}{_END}"),
        lambda match: is_my_number(_digits(match[0])) and not _is_part_number(match),
    ),
    (
        "phone",
        re.compile(rf"{_START}(?:\+81[- ]?\(?0?\)?|\(?0)[1-9][0-9]{{0,3}}{_GAP}[0-9]{{1,4}}{_GAP}[0-9]{{3,4}}{_END}"),
        _is_phone,
    ),
    ("phone", re.compile(rf"{_START}(?:\+81[789]0|0[789]0)[0-9]{{8}}{_END}"), _is_phone),
    (
        "phone",
        re.compile(
            rf"(?i:tel|fax|phone|電話|携帯|ファックス|連絡先)[^0-9A-Za-z]{{0,6}}(?P<value>0[1-9][0-9]{{8,9}}){_END}"
        ),
        None,
    ),
    (
        "postal code",
        re.compile(r"(?:〒|郵便番号[^0-9]{0,4})\s{0,2}(?P<value>[0-9]{3}-?[0-9]{4})(?![0-9])"),
        None,
    ),
    (
        "postal code",
        re.compile(rf"{_START}(?P<value>[0-9]{{3}}-[0-9]{{4}})(?=\s{{0,2}}[^\s0-9A-Za-z]{{2,4}}[都道府県])"),
        None,
    ),
    ("ip address", re.compile(rf"{_START}(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}{_END}"), _is_address),
)
