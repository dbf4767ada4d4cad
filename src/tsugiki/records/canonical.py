"""Canonical JSON (RFC 8785) for the values that an event may hold, at the speed of compiled code.

Called by `event_body`, `ledger`, `checkpoints`, `pending` and `anchor`. The values are text, whole numbers, true,
false, null, lists and objects; floats are refused, so that no reader needs to know how a float is written. For these
values the standard library, told to sort keys and to leave out blanks, writes what RFC 8785 asks for, and so does
pydantic's core when the keys come sorted; tests compare both with `rfc8785`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

LARGEST = 2**53 - 1  # beyond it, other programs' numbers are no longer exact
DEEPEST = 32

_write = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def canonical_bytes(value: Any) -> bytes:
    """The one byte string for `value`. Raises ValueError naming what an event may not hold."""
    _check(value)
    return _write(value).encode("utf-8")


def parse(content: bytes) -> Any:
    """Read canonical bytes. Raises ValueError when they are anything but the one byte string of an allowed value."""
    value = from_json(content, allow_inf_nan=False)
    _check_sorted(value)
    if to_json(value) != content:  # which keeps the order of keys, and writes a key that came twice once
        raise ValueError("it is not canonical JSON")
    return value


def _check(value: Any, depth: int = 0) -> None:
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
            _check_key(key)
            _check(key, depth + 1)
            _check(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, depth + 1)
    else:
        raise ValueError(f"{value!r} is a {type(value).__name__}; decimals and times are written as text")


def _check_sorted(value: Any) -> None:
    """Raise ValueError unless parsed JSON holds allowed values only, and every object's keys in their order."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is dict:
        before = ""
        for key, inner in value.items():
            if key < before:
                raise ValueError("it is not canonical JSON")
            if not key.isascii():
                _check_key(key)
            before = key
            if type(inner) is not str and inner is not None:
                _check_sorted(inner)
    elif kind is list:
        for inner in value:
            _check_sorted(inner)
    elif kind is int:
        _check_size(value)
    else:
        raise ValueError(f"it holds the number {value}; decimals are written as text")


def _check_key(key: Any) -> None:
    # Beyond U+FFFF the order by code points is not the order by UTF-16 that RFC 8785 asks for.
    if not isinstance(key, str) or (not key.isascii() and any(character > "\uffff" for character in key)):
        raise ValueError(f"{key!r} cannot be a key")


def _check_size(number: int) -> None:
    if abs(number) > LARGEST:
        raise ValueError("it holds a number beyond 2^53, where numbers are not exact everywhere; write it as text")
