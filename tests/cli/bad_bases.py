"""Bases that cannot be used, as cases for the table of bad inputs; most are found without loading any weights."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.cli.bad_data import GOOD
from tests.cli.bad_inputs import Case, Kit


def named(name: str) -> Callable[[Kit], Sequence[str]]:
    return lambda kit: ["check", kit.file("a.csv", GOOD), "--base", name]


def single_file(name: str, content: bytes) -> Callable[[Kit], Sequence[str]]:
    return lambda kit: ["check", kit.file("a.csv", GOOD), "--base", kit.file(name, content)]


def spoiled(spoil: Callable[[Path], None], *, loaded: bool = False) -> Callable[[Kit], Sequence[str]]:
    """A copy of the tiny base with one thing wrong; `loaded` where only loading its weights can find it."""

    def prepare(kit: Kit) -> Sequence[str]:
        folder = kit.folder / "base"
        shutil.copytree(kit.base, folder)
        spoil(folder)
        files = [kit.file("a.csv", GOOD), "--base", str(folder)]
        if loaded:
            return ["train", *files, "--out", str(kit.folder / "adapter"), "--precision", "float32", "--max-steps", "1"]
        return ["check", *files]

    return prepare


def without(*names: str) -> Callable[[Kit], Sequence[str]]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return spoiled(spoil)


def rewritten(name: str, content: str | bytes) -> Callable[[Kit], Sequence[str]]:
    return spoiled(lambda folder: _write(folder / name, content))


def changed(name: str, *, loaded: bool = False, **values: Any) -> Callable[[Kit], Sequence[str]]:
    """Other values in one of the base's JSON files."""

    def spoil(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        _write(folder / name, json.dumps(value | values))

    return spoiled(spoil, loaded=loaded)


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def an_adapter(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    _write(folder / "adapter_config.json", "{}")


def a_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shard = "model-00001-of-00002.safetensors"
    _write(folder / "model.safetensors.index.json", json.dumps({"weight_map": {"model.norm.weight": shard}}))


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_a_tensor(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def gguf(version: int, tensors: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, 0)


CASES = (
    Case("base", "a name close to a packaged one", named("smollm-135m"), 1, ("smollm-135m", "smollm2-135m")),
    Case("base", "a name close to nothing", named("xyzzy"), 1, ("xyzzy", "Packaged bases are")),
    Case("base", "a path that does not exist", named("./models/none"), 1, ("./models/none", "path")),
    Case("base", "a hub id without a connection", named("some-org/some-model"), 1, ("some-org/some-model", "online")),
    Case("base", "a file that is no GGUF", single_file("base.bin", b"x"), 1, ("not a .gguf file",)),
    Case("base", "a .gguf that holds something else", single_file("a.gguf", b"PK\3\4" * 9), 1, ("letters GGUF",)),
    Case("base", "a .gguf cut off in its header", single_file("a.gguf", gguf(3, 5)), 1, ("cut off",)),
    Case("base", "a folder without config.json", without("config.json"), 1, ("no config.json",)),
    Case("base", "a config.json that is not JSON", rewritten("config.json", "{"), 1, ("config.json",)),
    Case("base", "a folder without weights", without("model.safetensors"), 1, ("no model.safetensors",)),
    Case("base", "weights as a pickle only", spoiled(only_a_pickle), 1, ("pickle", "safetensors")),
    Case("base", "an adapter folder", spoiled(an_adapter), 1, ("is an adapter",)),
    Case("base", "a missing shard", spoiled(a_missing_shard), 1, ("incomplete", "model-00001-of-00002")),
    Case("base", "weights cut short", spoiled(cut_short), 1, ("corrupted",)),
    Case("base", "no tokenizer", without("tokenizer.json", "tokenizer_config.json"), 1, ("no tokenizer",)),
    Case("base", "a tokenizer.json that is not JSON", rewritten("tokenizer.json", "{"), 1, ("tokenizer",)),
    Case(
        "base",
        "a tokenizer without end-of-text",
        changed("tokenizer_config.json", eos_token=None),
        1,
        ("no end-of-text token", "eos_token"),
    ),
    Case(
        "base",
        "an architecture nobody knows",
        changed("config.json", model_type="frobnicator", architectures=["FrobnicatorForCausalLM"], loaded=True),
        1,
        ("architecture", "code of its own"),
    ),
    Case(
        "base",
        "an encoder-decoder",
        changed("config.json", model_type="t5", architectures=["T5ForConditionalGeneration"], loaded=True),
        1,
        ("T5ForConditionalGeneration", "does not continue text"),
    ),
    Case(
        "base",
        "weights stored quantised",
        changed("config.json", quantization_config={"quant_method": "gptq", "bits": 4}, loaded=True),
        1,
        ("quantised",),
    ),
    Case(
        "base",
        "a tensor that is missing",
        spoiled(without_a_tensor, loaded=True),
        1,
        ("lacks 1 tensor", "model.layers.1.mlp.down_proj"),
    ),
)
