"""The header of a GGUF file, read before anything trusts the file: is it whole, what is in it, how big will it be.

Called by `unpack`. The big string arrays (a vocabulary has up to 262,144 entries) are skipped, not built.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from tsugiki.errors import BaseModelError

# value type -> struct format; 8 is a string, 9 an array
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LONGEST_STRING = 64 * 1024 * 1024
MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class GgufHeader:
    """`metadata` holds plain values only; `parameters` counts elements as stored; `end` is where the file must end."""

    architecture: str
    metadata: Mapping[str, Any]
    parameters: int
    end: int


class _BrokenError(Exception):
    """The bytes do not follow the format; the caller names the file."""


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header; a file that is not GGUF, or is cut off anywhere, is refused."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BaseModelError(
                f"'{path}' is not a GGUF file: it does not start with the letters GGUF.",
                fix="Name a .gguf file, or a folder with safetensors.",
            )
        try:
            header = _read(file)
        except (struct.error, _BrokenError, UnicodeDecodeError):
            raise _cut_off(path, size) from None
    if size < header.end:
        raise _cut_off(path, size)
    return header


def _cut_off(path: Path, size: int) -> BaseModelError:
    return BaseModelError(f"The GGUF file '{path}' is cut off or corrupted at {size:,} bytes.", fix="Fetch it again.")


def _read(file: BinaryIO) -> GgufHeader:
    (version,) = _take(file, "I")
    if version not in (2, 3):
        raise _BrokenError
    tensor_count, pairs = _take(file, "QQ")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = _string(file)
        (kind,) = _take(file, "I")
        value = _value(file, kind)
        if value is not None:
            metadata[key] = value
    parameters = end = 0
    for _ in range(tensor_count):
        elements, last = _tensor(file)
        parameters += elements
        end = max(end, last)
    alignment = int(metadata.get("general.alignment", 32))
    if alignment < 1 or "general.architecture" not in metadata:
        raise _BrokenError
    data = -(-file.tell() // alignment) * alignment
    return GgufHeader(str(metadata["general.architecture"]), metadata, parameters, data + end)


def _tensor(file: BinaryIO) -> tuple[int, int]:
    """Elements of the next tensor, and where its bytes end, counted from the start of the data."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    _string(file)
    (dimensions,) = _take(file, "I")
    if dimensions > MOST_DIMENSIONS:
        raise _BrokenError
    shape = _take(file, f"{dimensions}Q")
    kind, offset = _take(file, "IQ")
    elements = prod(shape)
    try:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise _BrokenError from None
    return elements, offset + elements // block * block_bytes


def _value(file: BinaryIO, kind: int) -> Any:
    """One metadata value; an array is stepped over and given as None."""
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        _skip_array(file)
        return None
    if kind not in FORMATS:
        raise _BrokenError
    return _take(file, FORMATS[kind])[0]


def _skip_array(file: BinaryIO) -> None:
    kind, count = _take(file, "IQ")
    if kind in FORMATS:
        _skip(file, count * struct.calcsize(f"<{FORMATS[kind]}"))
        return
    for _ in range(count):
        if kind == STRING:
            _skip(file, _take(file, "Q")[0])
        elif kind == ARRAY:
            _skip_array(file)
        else:
            raise _BrokenError


def _skip(file: BinaryIO, count: int) -> None:
    if count > 2**62:
        raise _BrokenError
    file.seek(count, 1)


def _string(file: BinaryIO) -> str:
    (length,) = _take(file, "Q")
    if length > LONGEST_STRING:
        raise _BrokenError
    content = file.read(length)
    if len(content) < length:
        raise _BrokenError
    return content.decode("utf-8")


def _take(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    """Read little-endian values; struct.error when the file ends too early."""
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))
