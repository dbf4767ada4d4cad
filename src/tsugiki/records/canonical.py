"""Canonical JSON (RFC 8785) for the values that an event may hold, at the speed of the standard library's C code.

Called by `ledger`, `checkpoints`, `pending` and `verify`. The values are text, whole numbers, true, false, null, lists
and objects; floats are refused, so that no reader needs to know how a float is written. For these values the standard
library, told to sort keys and to leave out blanks, writes what RFC 8785 asks for; a test compares it with `rfc8785`.
"""

from __future__ import annotations

import json
from typing import Any

LARGEST = 2**53 - 1  # beyond it, other programs' numbers are no longer exact
DEEPEST = 32


def _no_float(text: str) -> float:
    raise ValueError(f"it holds the number {text}; decimals are written as text")


def _whole(text: str) -> int:
    number = int(text)
    if len(text) > 15:
        _check_size(number)
    return number


_encoder = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
_write = _encoder.encode
_read = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float, parse_int=_whole).raw_decode


def canonical_bytes(value: Any) -> bytes:
    """The one byte string for `value`. Raises ValueError naming what an event may not hold."""
    check(value)
    return _write(value).encode("utf-8")


def parse(content: bytes) -> Any:
    """Read canonical bytes. Raises ValueError when they are anything but the one byte string of an allowed value."""
    try:
        value, _ = _read(content.decode("utf-8"))  # what may follow is not in what is written again
        again = _write(value).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if again != content:
        raise ValueError("it is not canonical JSON")
    return value


def check(value: Any, depth: int = 0) -> None:
    """Raise ValueError unless `value` is text, whole numbers, true, false, null, lists and objects of these."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        _check_size(value)
    elif isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate has no bytes, and says so as a ValueError
    elif isinstance(value, dict):
        for key, inner in value.items():
            # Beyond U+FFFF the order by code points is not the order by UTF-16 that RFC 8785 asks for.
            if not isinstance(key, str) or any(character > "\uffff" for character in key):
                raise ValueError(f"{key!r} cannot be a key")
            check(key, depth + 1)
            check(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            check(inner, depth + 1)
    else:
        raise ValueError(f"{value!r} is a {type(value).__name__}; decimals and times are written as text")


def _check_size(number: int) -> None:
    if abs(number) > LARGEST:
        raise ValueError(f"{number} is beyond 2^53, where numbers are no longer exact everywhere; write it as text")
