"""Headers: what the real library writes is read exactly; whatever else arrives is refused, never crashed on."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save, save_file

from tsugiki.errors import RecordsError
from tsugiki.records.safetensors_header import BITS, read_header

TYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
names = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: name != "__metadata__"
)
arrays = st.builds(
    lambda kind, shape: np.zeros(shape, kind), st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=4)
)


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def read(content: bytes) -> Any:
    return read_header(io.BytesIO(content), len(content), "x.safetensors")


@given(st.dictionaries(names, arrays, max_size=6), st.dictionaries(names, names, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_library_writes_is_read_exactly(tensors: dict[str, Any], metadata: dict[str, str]) -> None:
    content = save(tensors, metadata or None)
    found = read(content)
    assert {one.name: one.shape for one in found.tensors} == {name: one.shape for name, one in tensors.items()}
    assert found.metadata == metadata
    for one in found.tensors:
        raw = content[found.data_start + one.begin : found.data_start + one.end]
        assert raw == tensors[one.name].tobytes()


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with pytest.raises(RecordsError):
        read(content)


@given(st.binary(max_size=120), st.binary(max_size=40))
def test_no_header_raises_anything_else(header: bytes, data: bytes) -> None:
    with suppress(RecordsError):
        read(framed(header, data))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([*BITS, "F128"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
sizes = st.integers(-1, 9) | st.integers() | anything
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*BITS, "F128"]) | anything, "shape": st.lists(sizes, max_size=3) | anything,
     "data_offsets": st.lists(sizes, min_size=2, max_size=2) | anything}
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "", "__metadata__"]), entries | anything, max_size=4),
    st.binary(max_size=20),
)
@settings(max_examples=150)
def test_what_is_accepted_the_library_accepts_too(header: dict[str, Any], data: bytes) -> None:
    content = framed(json.dumps(header).encode(), data)
    try:
        found = read(content)
    except RecordsError:
        return
    assert sum(one.end - one.begin for one in found.tensors) == len(data)
    if all(one.dtype in ("F32", "F16", "F64", "I8", "U8", "BOOL", "I16", "I32", "I64") for one in found.tensors):
        assert set(load(content)) == {one.name for one in found.tensors}


@given(st.data())
@settings(max_examples=200)
def test_a_flipped_byte_of_a_header_is_refused_or_changes_only_names(data: st.DataObject) -> None:
    content = bytearray(save({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float16)}, {"format": "pt"}))
    end = 8 + int.from_bytes(content[:8], "little")
    place = data.draw(st.integers(0, end - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read(bytes(content))
    except RecordsError:
        return
    assert [(one.begin, one.end) for one in found.tensors] == [(0, 24), (24, 32)]


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(1_000_000, np.float32)}, path)
    with path.open("rb", buffering=0) as file:
        found = read_header(file, path.stat().st_size, "x")
        assert file.tell() == found.data_start < 200


def test_every_type_of_the_format_has_its_size() -> None:
    for dtype, bits in BITS.items():
        count = 8  # so that four and six bits fill bytes
        entry = {"dtype": dtype, "shape": [count], "data_offsets": [0, bits]}
        content = framed(json.dumps({"a": entry}).encode(), bytes(bits))
        assert read(content).tensors[0].end == bits
    with pytest.raises(RecordsError, match="are not those of"):
        read(framed(json.dumps({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}).encode(), bytes(1)))
