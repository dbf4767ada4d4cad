"""From a name to a folder, and the sentence for every name that leads nowhere. No test reaches the hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from tsugiki.engine.locate import cache_folder, display_name, find_base
from tsugiki.errors import BaseModelError


def test_a_folder_is_found_as_it_is(tiny_llama: Path) -> None:
    assert find_base(str(tiny_llama)) == tiny_llama
    assert display_name(str(tiny_llama)) == "tiny-llama"
    assert display_name("org/name") == "org/name"
    assert display_name("smollm2-135m") == "smollm2-135m"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm2", "No base is called 'smollm2'. Did you mean smollm2-135m?"),
        ("gemma-270m", "Did you mean gemma3-270m?"),
        ("zzz", "Packaged bases are smollm2-135m, gemma3-270m."),
        ("./no/such/folder", "There is no folder or file './no/such/folder'."),
        ("weights/none.gguf", "There is no folder or file 'weights/none.gguf'."),
        ("org/name", "'org/name' is neither a local folder nor in the local hub cache, and the hub cannot be reached"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_do(name: str, message: str) -> None:
    with pytest.raises(BaseModelError) as error:
        find_base(name)
    assert message in str(error.value)


def test_a_file_that_is_no_gguf_and_a_folder_without_tokenizer_are_refused(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSUGIKI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"is a file, but not a \.gguf file"):
        find_base(str(tmp_path / "weights.bin"))
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(BaseModelError, match="is not a GGUF file"):
        find_base(str(tmp_path / "page.gguf"))
    bare = shutil.copytree(tiny_llama, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(BaseModelError, match="has no tokenizer"):
        find_base(str(bare))


def test_a_hub_id_is_looked_up_in_the_local_cache_before_the_hub_is_asked(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def snapshot(name: str, *, local_files_only: bool, **_: object) -> str:
        asked.append(local_files_only)
        if local_files_only and len(asked) == 1:
            raise LocalEntryNotFoundError("not cached")
        return str(tiny_llama)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find_base("org/tiny") == tiny_llama
    assert asked == [True, False]
    assert find_base("org/tiny") == tiny_llama
    assert asked == [True, False, True]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TSUGIKI_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TSUGIKI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert cache_folder() == tmp_path / "tsugiki"
