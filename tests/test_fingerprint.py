"""Digests and canonical JSON: equal values give equal bytes, unequal ones do not, and the algorithm is in the name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki import fingerprint
from tsugiki.fingerprint import (
    available_memory_bytes,
    canonical_json,
    digest_bytes,
    digest_file,
    digest_json,
    digest_tree,
    machine,
    package_versions,
)

SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def read(content: bytes) -> Any:
    """As the standard reads it: every number is a double, so a whole float above 2^53 is not an integer."""
    return json.loads(content, parse_int=float)


@given(value=JSON)
def test_canonical_json_is_read_back_as_the_same_value(value: Any) -> None:
    assert read(canonical_json(value)) == value


@given(value=JSON)
def test_canonical_json_is_a_fixed_point(value: Any) -> None:
    once = canonical_json(value)
    assert canonical_json(read(once)) == once


@given(pairs=st.dictionaries(TEXT, st.integers(-SAFE, SAFE), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(pairs: dict[str, int]) -> None:
    backwards = dict(reversed(pairs.items()))
    assert canonical_json(pairs) == canonical_json(backwards)


@pytest.mark.parametrize(
    ("value", "expected"),
    [  # RFC 8785, sections 3.2.2 and 3.2.3
        ({"€": "Euro", "\r": "CR", "1": "One"}, '{"\\r":"CR","1":"One","€":"Euro"}'),
        ([333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "[333333333.3333333,1e+30,4.5,0.002,1e-27]"),
    ],
)
def test_canonical_json_follows_the_standard(value: Any, expected: str) -> None:
    assert canonical_json(value) == expected.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53])
def test_values_that_json_cannot_carry_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json({"value": value})


def test_a_digest_names_its_algorithm() -> None:
    assert digest_bytes(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_json({"b": 1, "a": 2}) == "sha256:" + hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_a_file_and_its_bytes_have_one_digest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert digest_file(path) == digest_bytes(b"x" * 3_000_000)


def make_tree(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "inner" / "b.txt").write_text("b")
    return folder


def test_a_tree_is_its_paths_and_contents_and_nothing_else(tmp_path: Path) -> None:
    first, second = make_tree(tmp_path / "first"), make_tree(tmp_path / "second")
    (second / ".partial").write_text("left by a crash")
    assert digest_tree(first) == digest_tree(second)


@pytest.mark.parametrize("change", ["content", "name", "place", "more"])
def test_a_tree_digest_sees_every_change(tmp_path: Path, change: str) -> None:
    folder = make_tree(tmp_path / "tree")
    before = digest_tree(folder)
    if change == "content":
        (folder / "a.txt").write_text("A")
    elif change == "name":
        (folder / "a.txt").rename(folder / "c.txt")
    elif change == "place":
        (folder / "a.txt").rename(folder / "inner" / "a.txt")
    else:
        (folder / "empty").write_text("")
    assert digest_tree(folder) != before


def test_the_machine_fingerprint_covers_every_fact() -> None:
    facts = machine()
    printed = facts.pop("fingerprint")
    assert printed == digest_json(facts)
    assert set(facts) == {"cpu", "cores", "memory_bytes", "accelerator", "system", "python", "packages"}
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 2**28
    assert machine("some accelerator")["fingerprint"] != printed


def test_a_container_limit_below_the_physical_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: "1048576\n")
    assert fingerprint.memory_bytes() == 1_048_576
    monkeypatch.setattr(Path, "read_text", lambda self: "max\n")
    assert fingerprint.memory_bytes() > 1_048_576


def test_available_memory_is_within_the_machine() -> None:
    assert 0 < available_memory_bytes() <= fingerprint.memory_bytes()


def test_a_package_that_is_not_installed_has_no_version() -> None:
    found = package_versions(("pydantic", "no-such-package-here"))
    assert found["no-such-package-here"] is None
    assert found["pydantic"] is not None
