"""The fast finite check agrees with a slow one that unpacks every number, and keeps its speed."""

from __future__ import annotations

import math
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.records.finite import WIDTH, all_finite


def slowly(data: bytes, dtype: str) -> bool:
    """Number by number."""
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[place : place + 2] for place in range(0, len(data), 2))
    form = {"F16": "e", "BF16": "f", "F32": "f", "F64": "d"}[dtype]
    return all(math.isfinite(number) for (number,) in struct.iter_unpack(f"<{form}", data))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_number_of_two_bytes(dtype: str) -> None:
    for bits in range(1 << 16):
        raw = bits.to_bytes(2, "little")
        assert all_finite(raw, dtype) == slowly(raw, dtype), f"{bits:016b}"


EDGES = [0x00, 0x01, 0x70, 0x7B, 0x7C, 0x7E, 0x7F, 0x80, 0xEF, 0xF0, 0xFF]
near = st.lists(st.sampled_from(EDGES) | st.integers(0, 255), min_size=8, max_size=64)


@given(near, st.sampled_from(sorted(WIDTH)))
def test_agrees_with_the_slow_twin(values: list[int], dtype: str) -> None:
    data = bytes(values[: len(values) // 8 * 8])
    assert all_finite(data, dtype) == slowly(data, dtype)


@given(st.sampled_from(sorted(WIDTH)), st.integers(0, 999), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_one_bad_number_among_many_is_found(dtype: str, place: int, bad: float) -> None:
    # The largest finite numbers, whose highest byte looks like that of infinity.
    largest = {"F16": b"\xff\x7b", "BF16": b"\x7f\x7f", "F32": b"\xff\xff\x7f\x7f", "F64": b"\xff" * 6 + b"\xef\x7f"}
    form = {"F16": "<e", "BF16": "<f", "F32": "<f", "F64": "<d"}[dtype]
    width, raw = WIDTH[dtype], struct.pack(form, bad)[-WIDTH[dtype] :]
    data = largest[dtype] * 1000
    assert all_finite(data, dtype)
    assert not all_finite(data[: place * width] + raw + data[(place + 1) * width :], dtype)


@pytest.mark.parametrize("dtype", sorted(WIDTH))
@pytest.mark.parametrize("kind", ["usual", "largest"])
def test_it_is_fast_enough(dtype: str, kind: str) -> None:
    """200 MB/s on a free machine; a loaded one gets three times as long."""
    number = {"F16": b"\x34\x2c", "BF16": b"\x12\xbc", "F32": b"\x01\x02\x03\x3c", "F64": b"\x01" * 7 + b"\xbf"}[dtype]
    if kind == "largest":
        number = {
            "F16": b"\xff\x7b",
            "BF16": b"\x7f\x7f",
            "F32": b"\xff\xff\x7f\xff",
            "F64": b"\xff" * 6 + b"\xef\x7f",
        }[dtype]
    data = number * ((4 << 20) // len(number))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert all_finite(data, dtype)
        seconds.append(time.perf_counter() - start)
    assert len(data) / min(seconds) > 200e6 / 3
