"""Whole files or none, proven by failing at every step of the write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki import files
from tsugiki.files import sync_folder, write_bytes, write_json, write_text, write_whole


class PowerCut(BaseException):
    """Not an Exception: like KeyboardInterrupt it passes every handler that is too narrow."""


def cut(*arguments: Any, **named: Any) -> None:
    raise PowerCut


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cut_at_flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "fsync", cut)


def cut_at_rename(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "replace", cut)


def cut_at_mode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "chmod", cut)


@pytest.mark.parametrize("fail", [cut_at_flush, cut_at_mode, cut_at_rename])
@pytest.mark.parametrize("old", [None, "old content"])
def test_a_crash_before_the_rename_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[pytest.MonkeyPatch], None], old: str | None
) -> None:
    path = tmp_path / "result.json"
    if old is not None:
        path.write_text(old)
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises(PowerCut):
            write_text(path, "new content")
    assert names(tmp_path) == (["result.json"] if old is not None else [])
    if old is not None:
        assert path.read_text() == old


def test_a_writer_that_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    write_bytes(path, b"old")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise PowerCut

    with pytest.raises(PowerCut):
        write_whole(path, half)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["weights.bin"]


def test_the_content_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    flush, rename = os.fsync, Path.replace

    def note_flush(handle: int) -> None:
        order.append("flush")
        flush(handle)

    def note_rename(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(Path, "replace", note_rename)
    write_text(tmp_path / "a.txt", "a")
    assert order == ["flush", "rename", "flush"]  # the file, its name, the folder that holds the name


def test_missing_folders_are_made_and_the_file_is_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "first" / "a.json"
    write_text(path, "表記")
    assert path.read_bytes() == "表記".encode()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_opened_is_no_failure(tmp_path: Path) -> None:
    sync_folder(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_json_is_sorted_indented_and_unescaped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5], "a": "読み"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "読み",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_not_a_number_and_keeps_the_old_file(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"quality": value})
    assert path.read_text() == "1\n"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_what_is_written_as_json_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    if _has_lone_surrogate(value):
        with pytest.raises(UnicodeEncodeError):
            write_json(path, value)
        assert not path.exists()
    else:
        write_json(path, value)
        assert json.loads(path.read_text(encoding="utf-8")) == value


def _has_lone_surrogate(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return any("\ud800" <= character <= "\udfff" for character in text)


def test_the_temporary_name_is_hidden_and_beside_its_target(tmp_path: Path) -> None:
    seen: list[Path] = []
    files.write_whole(tmp_path / "a.txt", seen.append)
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".a.txt.")
    assert seen[0].name.endswith(".partial")
