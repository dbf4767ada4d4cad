"""The header of a safetensors file, read under limits before a single tensor is: names, types, shapes, places.

Called by `adapter_folder` and by whoever needs the tensors' names of a stored file. Follows the format's own rules (no
gap, no overlap, nothing outside the file, sizes that follow from type and shape) and limits all that could grow.
Needs neither safetensors nor numpy, and never reads the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from tsugiki.errors import RecordsError
from tsugiki.records.safe_names import shown
from tsugiki.records.strict_json import COPY_AGAIN, read_object

LARGEST_HEADER = 8_000_000  # bytes of JSON
LONGEST_TENSOR_NAME = 500
MOST_DIMENSIONS = 8
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Tensor:
    """One entry: `begin` and `end` are bytes from the start of the data, not of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """Tensors in the order of their data; `data_start` is where the data begins in the file, in bytes."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    data_start: int


def read_header(file: Readable, size: int, where: str, *, largest: int = LARGEST_HEADER) -> Header:
    """The header of a file of `size` bytes that stands at its beginning. Raises RecordsError naming `where`.

    Reads eight bytes, then as many as they promise, if these fit into the file and under `largest`.
    """
    promise = file.read(8)
    length = int.from_bytes(promise, "little")
    if len(promise) < 8:
        raise _broken(where, f"ends after {len(promise)} bytes")
    if length > largest:
        raise _broken(where, f"says that its header has {length} bytes, and {largest} are the limit")
    if length > size - 8:
        raise _broken(where, f"says that its header has {length} bytes, and the file has {size}")
    content = file.read(length)
    if len(content) < length:
        raise _broken(where, "became shorter while it was read")
    if not content.startswith(b"{"):
        raise _broken(where, "has no safetensors header")
    value = read_object(content, f"The header of {where}")
    metadata = _metadata(value.pop("__metadata__", {}), where)
    tensors = [_tensor(name, entry, where) for name, entry in value.items()]
    tensors.sort(key=lambda one: (one.begin, one.end))
    _check_places(tensors, size - 8 - length, where)
    return Header(tuple(tensors), metadata, 8 + length)


def _metadata(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _broken(where, "has __metadata__ that does not map texts to texts")
    return value


def _tensor(name: str, entry: Any, where: str) -> Tensor:
    if not 1 <= len(name) <= LONGEST_TENSOR_NAME:
        raise _broken(where, f"names a tensor with {len(name)} characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _broken(where, f"describes {shown(name)} with other fields than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _broken(where, f"gives {shown(name)} the unknown type {shown(str(dtype))}")
    if not _whole_numbers(shape) or len(shape) > MOST_DIMENSIONS:
        raise _broken(where, f"gives {shown(name)} the shape {shown(str(shape))}")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _broken(where, f"gives {shown(name)} the place {shown(str(offsets))}")
    begin, end = offsets
    if math.prod(shape) * BITS[dtype] != (end - begin) * 8:
        needed = f"{dtype} of shape {shown(str(shape))}"
        raise _broken(where, f"gives {shown(name)} {end - begin} bytes, which are not those of {needed}")
    return Tensor(name, dtype, tuple(shape), begin, end)


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


def _check_places(tensors: list[Tensor], data_bytes: int, where: str) -> None:
    """The data of a file is its tensors, one after the other, and nothing else."""
    reached = 0
    for one in tensors:
        if one.begin != reached:
            fault = "overlaps the tensor before it" if one.begin < reached else "leaves a gap before it"
            raise _broken(where, f"holds {shown(one.name)} at byte {one.begin} of its data, which {fault}")
        reached = one.end
    if reached > data_bytes:
        raise _broken(where, f"promises {reached} bytes of data and holds {data_bytes}")
    if reached < data_bytes:
        raise _broken(where, f"holds {data_bytes - reached} bytes after its last tensor")


def _broken(where: str, fault: str) -> RecordsError:
    return RecordsError(f"{where} {fault}.", fix=COPY_AGAIN)
