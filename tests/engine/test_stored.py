"""Base folders as they lie on disk: completeness, corruption, digests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tsugiki.engine.stored import config_digest, stored_tensors, template_digest, tokenizer_digest, weights_digest
from tsugiki.errors import BaseModelError


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_llama, tmp_path / "base")


def test_the_table_agrees_with_the_safetensors_library(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    stored = stored_tensors(folder)
    assert {name: tensor.shape for name, tensor in stored.items()} == {k: tuple(v.shape) for k, v in tensors.items()}
    content = (folder / "model.safetensors").read_bytes()
    for name, tensor in tensors.items():
        assert content[stored[name].start : stored[name].end] == tensor.numpy().tobytes()


def test_sharding_does_not_change_the_digest_but_one_flipped_bit_does(folder: Path) -> None:
    digest = weights_digest(stored_tensors(folder))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, members in shards.items():
        save_file({name: tensors[name] for name in members}, folder / shard)
    index = {"weight_map": {name: shard for shard, members in shards.items() for name in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_digest(stored_tensors(folder)) == digest
    content = bytearray((folder / "b.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "b.safetensors").write_bytes(content)
    assert weights_digest(stored_tensors(folder)) != digest
    (folder / "b.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"incomplete: b\.safetensors is missing"):
        stored_tensors(folder)


@given(cut=st.integers(min_value=0, max_value=10**9))
@settings(max_examples=30, deadline=None)
def test_a_cut_off_file_is_refused_wherever_it_was_cut(tiny_llama: Path, cut: int) -> None:
    content = (tiny_llama / "model.safetensors").read_bytes()
    broken = tiny_llama.parent / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(content[: cut % len(content)])
    with pytest.raises(BaseModelError, match="is corrupted"):
        stored_tensors(broken)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no config.json"),
        ({"config.json": "{}"}, "has no model.safetensors"),
        ({"config.json": "{}", "pytorch_model.bin": "x"}, "only as pytorch_model.bin, a pickle that can run code"),
        ({"config.json": "{}", "adapter_config.json": "{}"}, "is an adapter, not a base"),
        ({"config.json": "{}", "model.safetensors.index.json": "[]"}, "holds no JSON object"),
        ({"config.json": "{}", "model.safetensors.index.json": "{"}, "cannot be read as JSON"),
    ],
)
def test_a_folder_that_is_no_base_is_refused_with_its_reason(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(BaseModelError, match=message):
        stored_tensors(tmp_path)


def test_digests_follow_what_matters_and_nothing_else(folder: Path) -> None:
    config, tokenizer = config_digest(folder), tokenizer_digest(folder)
    _edit(folder / "config.json", transformers_version="0.0", use_cache=False)
    _edit(folder / "tokenizer_config.json", chat_template="{{ messages }}", name_or_path="elsewhere")
    assert (config_digest(folder), tokenizer_digest(folder)) == (config, tokenizer)
    _edit(folder / "config.json", rms_norm_eps=0.5)
    _edit(folder / "tokenizer_config.json", eos_token="<s>")
    assert config_digest(folder) != config
    assert tokenizer_digest(folder) != tokenizer
    assert template_digest(None) is None
    assert template_digest("a") != template_digest("b")


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
