"""Whether raw little-endian floating-point numbers are all finite, at the speed of the disk and without numpy.

Called by `adapter_folder` on every chunk of a file's data. A number is NaN or infinite when all bits of its exponent
are set; these lie in its one or two highest bytes, so only those are looked at: cut out with a stride, then searched.
Where the highest byte alone does not decide, the two are compared as masks, all numbers of the chunk in one step.
"""

from __future__ import annotations

WIDTH = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
# Of the highest byte and of the one below it: the bits that belong to the exponent.
EXPONENT = {"F16": (0x7C, 0x00), "BF16": (0x7F, 0x80), "F32": (0x7F, 0x80), "F64": (0x7F, 0xF0)}


def _marks(mask: int) -> bytes:
    """For translate: 1 for a byte in which all bits of the mask are set, else 0."""
    return bytes(int(byte & mask == mask) for byte in range(256))


def _suspects(mask: int) -> bytes:
    return bytes(byte for byte in range(256) if byte & mask == mask)


MARKS = {mask: _marks(mask) for masks in EXPONENT.values() for mask in masks}
SUSPECTS = {masks[0]: _suspects(masks[0]) for masks in EXPONENT.values()}


def all_finite(data: bytes, dtype: str) -> bool:
    """True when no number in `data` is NaN or infinite; `data` holds whole numbers of a type in WIDTH."""
    width = WIDTH[dtype]
    high_mask, low_mask = EXPONENT[dtype]
    high = data[width - 1 :: width]
    if not any(byte in high for byte in SUSPECTS[high_mask]):
        return True
    if not low_mask:
        return False
    low = data[width - 2 :: width]
    high_marks = int.from_bytes(high.translate(MARKS[high_mask]), "little")
    low_marks = int.from_bytes(low.translate(MARKS[low_mask]), "little")
    return not high_marks & low_marks
