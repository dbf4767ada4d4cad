"""JSON lines and JSON arrays of objects: one object per row, leaves as text in their written form.

Called by read.py with decoded text. Strict JSON: NaN, repeated keys and trailing commas are refused, with the line.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from tsugiki.data.rows import Records, Row, shown
from tsugiki.errors import DataError

ONE_PER_ROW = 'Each row is one object, such as {"prompt": "...", "completion": "..."}.'


def parse_json_lines(text: str, name: str) -> Records:
    """Row numbers are line numbers; blank lines hold nothing and are passed over."""
    rows: list[Row] = []
    numbers: list[int] = []
    # Not splitlines(): JSON strings may hold U+2028 and other characters that Python takes for line ends.
    lines = text.split("\n") if "\n" in text else text.split("\r")
    for number, line in enumerate(lines, start=1):
        stripped = line.strip(" \t\r\ufeff")  # a byte order mark at a seam where two files were joined
        if stripped:
            rows.append(_object(_parse(stripped, f"Line {number} of {name}"), f"Line {number} of {name}"))
            numbers.append(number)
    return _columns(rows), rows, numbers


def parse_json(text: str, name: str) -> Records:
    """An array of objects, counted from 1; a .json file that holds JSON lines is read as such."""
    stripped = text.strip(" \t\r\n\ufeff")
    if not stripped.startswith("["):
        lines = [line for line in stripped.split("\n") if line.strip()]
        if len(lines) > 1 and lines[0].strip().endswith("}"):
            return parse_json_lines(text, name)
        value = _parse(stripped, name)
        raise DataError(f"{name} holds {_kind(value)}, not an array of objects.", fix=ONE_PER_ROW)
    value = _parse(stripped, name)
    rows = [_object(item, f"Record {number} of {name}") for number, item in enumerate(value, start=1)]
    return _columns(rows), rows, list(range(1, len(rows) + 1))


def _parse(text: str, where: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"character {error.pos + 1}" if error.lineno == 1 else f"line {error.lineno}"
        raise DataError(f"{where} is not valid JSON: {error.msg} at {place}.", fix=ONE_PER_ROW) from None
    except RecursionError:
        raise DataError(f"{where} is nested too deep to be read.", fix=ONE_PER_ROW) from None
    except _RefusedError as refused:
        raise DataError(f"{where} {refused}.", fix=ONE_PER_ROW) from None


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where} holds {_kind(value)}, not an object.", fix=ONE_PER_ROW)
    return value


class _RefusedError(ValueError):
    """Valid for the json module, not for us; raised inside the decoder's hooks, which know no line number."""


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row: Row = {}
    for key, value in pairs:
        if key in row:
            raise _RefusedError(f"names the key {shown(key)} twice")
        row[key] = _as_text(value)
    return row


def _as_text(value: Any) -> Any:
    """Numbers already are text here; inner objects went through `_unique` themselves."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_as_text(item) for item in value] if isinstance(value, list) else value


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"holds {name}, which is not JSON")


# Numbers stay as they are written: 1.10 is not 1.1, and a part number of thirty digits is not a float.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_no_constant, strict=True
)


def _columns(rows: list[Row]) -> tuple[str, ...]:
    """Every key in the order of its first appearance."""
    seen: dict[str, None] = {}
    for row in rows:
        seen.update(dict.fromkeys(row))
    return tuple(seen)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "one object"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"the value {shown(str(value))}"
