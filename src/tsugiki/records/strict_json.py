"""JSON from outside, read by the letter: what two readers could understand differently is refused.

Called for the configuration and manifest of an adapter folder and for the header of its tensors. Duplicate keys, NaN
and Infinity, numbers too large for a double, whole numbers beyond 2^53, a byte order mark, another encoding, halves of
characters and deep nesting are faults. Never evaluates, never imports what a file names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tsugiki.errors import RecordsError
from tsugiki.records.safe_names import shown

DEEPEST = 32
LARGEST_WHOLE = 2**53
HALF = re.compile("[\ud800-\udfff]")  # of a character that UTF-16 writes as two
COPY_AGAIN = "Copy the file again from where it was written, or write it again."


def read_object(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `content`; `where` names the file in the message. Raises RecordsError."""
    try:
        value = _parsed(content)
    except ValueError as error:
        raise RecordsError(f"{where} cannot be read as JSON: {error}.", fix=COPY_AGAIN) from None
    if not isinstance(value, dict):
        raise RecordsError(f"{where} holds a JSON {type(value).__name__}, not an object.", fix=COPY_AGAIN)
    return value


def _parsed(content: bytes) -> Any:
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it starts with a byte order mark")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg[0].lower()}{error.msg[1:]} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None
    for text in _strings(value):
        if HALF.search(text):
            raise ValueError(f"{shown(text)} holds half a character")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} stands there twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST_WHOLE:
        raise ValueError(f"the number {shown(digits)} is beyond 2^53")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(digits)} is too large")
    return value


def _strings(value: Any) -> Iterator[str]:
    """Every key and text, level by level, so that no depth of nesting is a depth of calls."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                yield one
            elif isinstance(one, dict):
                yield from one
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        level = below
