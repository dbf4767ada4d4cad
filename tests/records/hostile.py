"""Adapter folders that must be refused: each entry breaks one thing in a sound folder, and names a part of the reason.

Read by the tests of `adapter_folder`, in this process and in one that watches every import. Where a payload could run
code, the code writes MARKER into the folder above the adapter, so that a test can see that it did not run.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.records.adapters import LAYERS, WIDTH, peft_config, peft_tensors, write_json, write_own, write_peft

MARKER = "payload-ran"
WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "tsugiki.json"
Break = Callable[[Path], object]
Q = "base_model.model.model.layers.0.self_attn.q_proj"


class Payload:
    """What a pickle runs when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def pickled(folder: Path) -> bytes:
    return pickle.dumps(Payload(folder.parent / MARKER))


def code(folder: Path) -> str:
    return f"from pathlib import Path\nPath({str(folder.parent / MARKER)!r}).touch()\n"


def adding(name: str, content: bytes | None = None) -> Break:
    """A further file beside the sound ones."""

    def add(folder: Path) -> None:
        (folder / name).write_bytes(pickled(folder) if content is None else content)

    return add


def adding_code(name: str) -> Break:
    return lambda folder: (folder / name).write_text(code(folder))


def config(**changes: Any) -> Break:
    return lambda folder: write_json(folder / CONFIG, peft_config(**changes))


def raw_config(content: bytes) -> Break:
    return lambda folder: (folder / CONFIG).write_bytes(content)


def in_config(text: str) -> Break:
    """A line of JSON that `json.dumps` would not write."""
    return raw_config(json.dumps(peft_config()).replace('"r": 4', text).encode())


def tensors(**changes: Any) -> Break:
    """Other shapes: a name with a shape is added or changed, a name with None is left out."""

    def change(folder: Path) -> None:
        shapes = {name: shape for name, shape in {**peft_tensors(), **changes}.items() if shape is not None}
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        write_peft(folder, tensors=shapes)

    return change


def header(change: Callable[[dict[str, Any]], object], *, data: Callable[[bytes], bytes] = bytes) -> Break:
    """The header as JSON, changed; the data as it was, or changed as well."""

    def rewrite(folder: Path) -> None:
        path = folder / WEIGHTS
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        value = json.loads(content[8 : 8 + length])
        changed = change(value)
        text = json.dumps(value if changed is None else changed).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data(content[8 + length :]))

    return rewrite


def entry(**fields: Any) -> Break:
    """Fields of the first tensor's entry."""
    return header(lambda value: value[f"{Q}.lora_A.weight"].update(fields))


def raw_weights(change: Callable[[bytes], bytes]) -> Break:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))


def number(dtype: str, raw: bytes) -> Break:
    """One number of the data, anywhere but at its beginning."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        write_peft(folder, dtype=dtype)
        content = bytearray((folder / WEIGHTS).read_bytes())
        place = len(content) - 5 * len(raw)
        content[place : place + len(raw)] = raw
        (folder / WEIGHTS).write_bytes(bytes(content))

    return change


def replaced(name: str, make: Callable[[Path, Path], object]) -> Break:
    """The file `name` moved beside the folder, with something made in its place from where it is now."""

    def replace(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        make(folder / name, outside)

    return replace


def in_place_of_folder(make: Callable[[Path], object]) -> Break:
    def replace(folder: Path) -> None:
        moved = folder.rename(folder.parent / "elsewhere")
        make(folder)
        assert moved.exists()

    return replace


def own(**changes: Any) -> Break:
    """A folder of ours with a changed manifest."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        write_own(folder, manifest=changes)

    return change


def one_plan(**part: Any) -> dict[str, Any]:
    whole = {"rank": 4, "scale": 2.0, "dropout": 0.0, "dora": False, **part}
    return {"method": "lora", "low_rank": dict.fromkeys(LAYERS, whole), "full": [], "bottlenecks": {}}


def shift_offsets(by: int) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        last = max((one for name, one in value.items() if name != "__metadata__"), key=lambda one: one["data_offsets"])
        last["data_offsets"] = [place + by for place in last["data_offsets"]]

    return change


def many(count: int) -> dict[str, Any]:
    return {f"t{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(count)}


def socket_at(path: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


NAN32, INF32 = struct.pack("<f", float("nan")), struct.pack("<f", float("-inf"))
EXPLODING = "(model.)*" * 3 + "(a+)+$"

NAMES: Mapping[str, tuple[Break, str]] = {
    f"a file called {name!r}": (adding(name, b"{}"), "which is no part of an adapter")
    for name in (
        "C:", "CON", "nul", "COM1.safetensors", "..config", "a\\b", "%2e%2e%2fetc", "a#b", "a?b", "x\u202ejson",
        "adapter_config.json.", "ADAPTER_CONFIG.JSON", "adapter_config.json ", ".git", "\u200badapter_config.json",
        "x" * 250, "~root", "$(id)", "-rf", "adapter_config\u200b.json",
    )
}  # fmt: skip

FILES: Mapping[str, tuple[Break, str]] = {
    **{f"pickle in {name}": (adding(name), "can run code") for name in (
        "adapter_model.bin", "adapter_model.pt", "adapter.pth", "optimizer.pkl", "model.ckpt", "x.npy", "x.joblib",
    )},
    **{f"code in {name}": (adding_code(name), "is code") for name in (
        "modeling_tiny.py", "setup.py", "sitecustomize.py", "hook.so", "run.sh", "x.ipynb",
    )},
    **{f"archive {name}": (adding(name, b"PK\x03\x04"), "is an archive") for name in ("a.zip", "a.tar.gz")},
    "pickle as weights": (lambda folder: (folder / WEIGHTS).write_bytes(pickled(folder)), "says that its header has"),
    "zip as weights": (raw_weights(lambda _: b"PK\x03\x04" + bytes(60)), "says that its header has"),
    "code in a folder": (lambda folder: (folder / "lora").mkdir(), "no part of an adapter"),
    "a thousand files": (lambda folder: [(folder / f"{n}").touch() for n in range(1000)], "no part of an adapter"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"holds no {WEIGHTS}"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "holds neither"),
    "link to outside": (replaced(WEIGHTS, Path.symlink_to), "is a link"),
    "link to a device": (replaced(WEIGHTS, lambda path, _: path.symlink_to("/dev/zero")), "is a link"),
    "link to a system file": (replaced(CONFIG, lambda path, _: path.symlink_to("/etc/passwd")), "is a link"),
    "dangling link": (replaced(CONFIG, lambda path, _: path.symlink_to("nowhere")), "is a link"),
    "link to itself": (replaced(CONFIG, lambda path, _: path.symlink_to(path.name)), "is a link"),
    "hard link to outside": (replaced(CONFIG, Path.hardlink_to), "hard link"),
    "pipe": (replaced(WEIGHTS, lambda path, _: os.mkfifo(path)), "is no regular file"),
    "socket": (replaced(WEIGHTS, socket_at), "cannot be read"),
    "folder as file": (replaced(CONFIG, lambda path, _: path.mkdir()), "is no regular file"),
    "the folder is a link": (in_place_of_folder(lambda path: path.symlink_to("elsewhere")), "is a link"),
    "the folder is a file": (in_place_of_folder(lambda path: path.write_text("x")), "is not an adapter folder"),
    "the folder is a pipe": (in_place_of_folder(os.mkfifo), "is not an adapter folder"),
    "the folder is missing": (in_place_of_folder(lambda path: None), "There is no adapter folder"),
    "README is not a text": (adding("README.md", b"\xff\xfe"), "is not a text"),
    "README holds NUL": (adding("README.md", b"a\0b"), "is not a text"),
    "huge configuration": (raw_config(b" " * 4_000_001), "are the limit"),
    "huge README": (adding("README.md", b"x" * 1_000_001), "are the limit"),
}  # fmt: skip

CONFIGS: Mapping[str, tuple[Break, str]] = {
    "auto_mapping": (config(auto_mapping={"base_model_class": "X", "parent_library": "os"}), "sets 'auto_mapping'"),
    "trust_remote_code": (config(trust_remote_code=True), "sets 'trust_remote_code'"),
    "megatron_config": (config(megatron_config={"x": 1}), "sets 'megatron_config'"),
    "megatron_core": (config(megatron_core="evil.module"), "sets 'megatron_core'"),
    "tokenizer_kwargs": (config(tokenizer_kwargs={"trust_remote_code": True}), "sets 'tokenizer_kwargs'"),
    "custom module": (config(custom_modules={"Linear": "evil.Linear"}), "sets 'custom_modules'"),
    "unknown key": (config(surprise=1), "sets 'surprise'"),
    "unknown key that is zero": (config(surprise=0), "sets 'surprise'"),
    "loftq": (config(loftq_config={"loftq_bits": 4}), "sets 'loftq_config'"),
    "a start that changes the base": (config(init_lora_weights="pissa"), "sets 'init_lora_weights'"),
    "another method": (config(peft_type="IA3"), "sets 'peft_type'"),
    "no method": (config(peft_type=...), "peft_type"),
    "another task": (config(task_type="os.system"), "sets 'task_type'"),
    "exploding targets": (config(target_modules="(a+)+$"), "repeats a group"),
    "exploding targets in a row": (config(target_modules="a?" * 30 + "a" * 30), "repeats too often"),
    "exploding rank pattern": (config(rank_pattern={EXPLODING: 8}), "repeats a group"),
    "exploding alpha pattern": (config(alpha_pattern={"(x|x)*y": 8.0}), "repeats a group"),
    "exploding layers pattern": (config(layers_pattern=["(a*)*"]), "repeats a group"),
    "too many patterns": (config(rank_pattern={f"a.{n}$": 4 for n in range(100)}), "patterns"),
    "star in a target": (config(target_modules=["*" * 50 + "x"]), "is not the name of a module"),
    "path as module": (config(modules_to_save=["../../etc"]), "is not the name of a module"),
    "bidi in the base's name": (config(base_model_name_or_path="a\u202eb"), "nobody sees"),
    "rank 0": (config(r=0), "sets 'r'"),
    "negative rank": (config(r=-4), "sets 'r'"),
    "huge rank": (config(r=100_000), "sets 'r'"),
    "rank as text": (config(r="4"), "sets 'r'"),
    "rank as truth": (config(r=True), "sets 'r'"),
    "rank as float": (config(r=4.5), "sets 'r'"),
    "no rank": (config(r=...), "lacks r"),
    "negative alpha": (config(lora_alpha=-1), "sets 'lora_alpha'"),
    "alpha NaN": (raw_config(json.dumps(peft_config(lora_alpha=float("nan"))).encode()), "NaN is not JSON"),
    "alpha infinite": (in_config('"r": 4, "alpha_pattern": {"x": 1e999}'), "too large"),
    "NaN as text": (config(lora_alpha="NaN"), "sets 'lora_alpha'"),
    "dropout of one": (config(lora_dropout=1.0), "sets 'lora_dropout'"),
    "huge whole number": (in_config('"r": 1' + "0" * 5000), "beyond 2^53"),
    "duplicate key": (in_config('"r": 4, "r": 8'), "'r' stands there twice"),
    "deep nesting": (in_config('"r": ' + "[" * 50_000 + "]" * 50_000), "deeper than 32"),
    "deep objects": (in_config('"r": ' + '{"a":' * 50_000 + "1" + "}" * 50_000), "deeper than 32"),
    "byte order mark": (raw_config(b"\xef\xbb\xbf" + json.dumps(peft_config()).encode()), "byte order mark"),
    "UTF-16": (raw_config(json.dumps(peft_config()).encode("utf-16")), "is not UTF-8"),
    "a list": (raw_config(b"[]"), "not an object"),
    "YAML": (raw_config(b"!!python/object/apply:os.system [id]"), "expecting value"),
    "empty": (raw_config(b""), "expecting value"),
    "half a character": (in_config('"r": 4, "x": "\\ud800"'), "half a character"),
    "not our manifest": (own(format=2), "tsugiki.json"),
    "unknown key in our manifest": (own(hook="os.system"), "'hook'"),
    "a plan without a base": (own(base=...), "lacks 'base'"),
    "digest that is none": (own(data_digest="sha256:../../etc"), "'data_digest'"),
    "trial that is a path": (own(trial="../../x"), "'trial'"),
    "manifest of another rank": (own(plan=one_plan(rank=8)), "disagree about the rank"),
    "manifest of another scale": (own(plan=one_plan(scale=3.0)), "disagree about the scale"),
    "manifest of another kind": (own(plan=one_plan(dora=True)), "disagree about whether"),
}

A, B = f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"
TENSORS: Mapping[str, tuple[Break, str]] = {
    "empty file": (raw_weights(lambda _: b""), "ends after 0 bytes"),
    "seven bytes": (raw_weights(lambda old: old[:7]), "ends after 7 bytes"),
    "length beyond the file": (raw_weights(lambda old: (10**6).to_bytes(8, "little") + old[8:]), "and the file has"),
    "length over 8 MB": (raw_weights(lambda old: (8_000_001).to_bytes(8, "little") + old[8:]), "are the limit"),
    "length with all bits": (raw_weights(lambda old: b"\xff" * 8 + old[8:]), "are the limit"),
    "negative length": (raw_weights(lambda old: struct.pack("<q", -1) + old[8:]), "are the limit"),
    "length of nothing": (raw_weights(lambda old: bytes(8) + old[8:]), "has no safetensors header"),
    "length too short": (raw_weights(lambda old: (20).to_bytes(8, "little") + old[8:]), "cannot be read as JSON"),
    "truncated": (raw_weights(lambda old: old[:-1]), "and holds"),
    "trailing bytes": (raw_weights(lambda old: old + b"x"), "after its last tensor"),
    "header is a list": (header(lambda value: [value]), "has no safetensors header"),
    "header is deep": (header(lambda value: {"x": json.loads("[" * 200 + "]" * 200)}), "deeper than 32"),
    "header names twice": (
        raw_weights(lambda _: (13).to_bytes(8, "little") + b'{"a":1,"a":2}'),
        "stands there twice",
    ),
    "metadata of objects": (header(lambda value: value.update(__metadata__={"a": {}})), "__metadata__"),
    "overlap": (header(shift_offsets(-4), data=lambda old: old[:-4]), "overlaps"),
    "gap": (header(shift_offsets(4), data=lambda old: old + bytes(4)), "gap"),
    "outside the file": (header(lambda value: value.update(many(0)), data=lambda old: old[:-64]), "and holds"),
    "negative offset": (entry(data_offsets=[-8, 120]), "the place"),
    "offsets the wrong way": (entry(data_offsets=[128, 0]), "the place"),
    "one offset": (entry(data_offsets=[0]), "the place"),
    "offset as float": (entry(data_offsets=[0.0, 128.0]), "the place"),
    "offset as truth": (entry(data_offsets=[False, True]), "the place"),
    "huge offset": (entry(data_offsets=[0, 2**63]), "beyond 2^53"),
    "shape that overflows": (entry(shape=[2**32, 2**32]), "are not those of"),
    "shape that wraps around": (entry(shape=[2**52, 2**12, 4, 8]), "are not those of"),
    "negative shape": (entry(shape=[-4, -8]), "the shape"),
    "too many dimensions": (entry(shape=[1] * 9), "the shape"),
    "shape as text": (entry(shape="4x8"), "the shape"),
    "type unknown": (entry(dtype="F128"), "the unknown type"),
    "type as object": (entry(dtype={"a": 1}), "the unknown type"),
    "type without numbers": (entry(dtype="I32"), "is of type I32"),
    "type that cannot be checked": (entry(dtype="F8_E4M3", shape=[4, 32]), "is of type F8_E4M3"),
    "type and shape apart": (entry(dtype="F16"), "are not those of"),
    "further field": (entry(code="x"), "other fields"),
    "tensor is a text": (header(lambda value: value.update({A: "x"})), "other fields"),
    "tensor without a name": (header(lambda value: value.update({"": value.pop(A)})), "0 characters"),
    "name with a path": (tensors(**{A: None, f"../{A}": (4, WIDTH)}), "has a name that no layer has"),
    "name with a bidi mark": (tensors(**{f"{Q}.x\u202e": (1,)}), "has a name that no layer has"),
    "name too long": (tensors(**{"x" * 501: (1,)}), "501 characters"),
    "no tensors": (header(lambda value: {}, data=lambda _: b""), "holds 0 tensors"),
    "too many tensors": (header(lambda value: many(50_001), data=lambda _: b""), "50001 tensors"),
    "half of a pair": (tensors(**{B: None}), "has no lora_B beside it"),
    "other half of a pair": (tensors(**{A: None}), "has no lora_A beside it"),
    "halves that do not meet": (tensors(**{B: (WIDTH, 3)}), "does not meet"),
    "rank that the shapes deny": (config(r=8), "the configuration says 8"),
    "rank pattern that the shapes deny": (config(rank_pattern={"q_proj": 2}), "the configuration says 2"),
    "huge rank in the shapes": (tensors(**{A: (4097, 1), B: (1, 4097)}), "the configuration says 4"),
    "a tensor that nothing names": (tensors(**{"base_model.model.extra.weight": (2,)}), "is not named"),
    "a tensor outside the model": (tensors(**{"extra.lora_A.weight": (4, 2)}), "does not start with"),
    "magnitudes without DoRA": (tensors(**{f"{Q}.lora_magnitude_vector": (WIDTH,)}), "is not named"),
    "no pair at all": (
        lambda folder: (config(modules_to_save=["head"])(folder), header(
            lambda value: {"base_model.model.head.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}},
            data=lambda _: b"",
        )(folder)),
        "holds no lora_A",
    ),
    "NaN in F32": (number("F32", NAN32), "NaN or infinity"),
    "infinity in F32": (number("F32", INF32), "NaN or infinity"),
    "signalling NaN in F32": (number("F32", b"\x01\x00\x80\x7f"), "NaN or infinity"),
    "NaN in F16": (number("F16", b"\x01\x7e"), "NaN or infinity"),
    "infinity in F16": (number("F16", b"\x00\xfc"), "NaN or infinity"),
    "NaN in BF16": (number("BF16", b"\xc1\xff"), "NaN or infinity"),
    "infinity in BF16": (number("BF16", b"\x80\x7f"), "NaN or infinity"),
    "NaN in F64": (number("F64", struct.pack("<d", float("nan"))), "NaN or infinity"),
    "infinity in F64": (number("F64", struct.pack("<d", float("inf"))), "NaN or infinity"),
}  # fmt: skip

PAYLOADS: Mapping[str, tuple[Break, str]] = {**NAMES, **FILES, **CONFIGS, **TENSORS}


def build(kind: str, folder: Path) -> None:
    """A sound folder with this one thing broken."""
    write_peft(folder, seed=random.Random(kind).randrange(1000))
    PAYLOADS[kind][0](folder)
