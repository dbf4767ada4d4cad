"""Adapter folders: sound ones of every kind are read, hostile ones are refused in one sentence and run nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.records.adapters import (
    LAYERS,
    RANK,
    WIDTH,
    own_manifest,
    peft_tensors,
    write_bottleneck,
    write_json,
    write_own,
    write_peft,
    write_tensors,
)  # fmt: skip
from tests.records.hostile import MARKER, PAYLOADS, build
from tsugiki.errors import RecordsError
from tsugiki.records import adapter_folder
from tsugiki.records.adapter_folder import Limits, read_adapter_folder

ROOT = Path(__file__).resolve().parents[2]


def refusal(folder: Path, limits: Limits | None = None) -> RecordsError:
    with pytest.raises(RecordsError) as refused:
        read_adapter_folder(folder, limits or Limits())
    return refused.value


@pytest.mark.parametrize("kind", PAYLOADS)
def test_hostile_folders_are_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    build(kind, folder)
    start = time.perf_counter()
    refused = refusal(folder)
    assert time.perf_counter() - start < 5
    assert PAYLOADS[kind][1] in refused.problem
    assert str(refused).isprintable()
    assert len(str(refused)) < 900
    assert refused.problem.endswith(".")
    assert not (tmp_path / MARKER).exists()


def test_there_are_enough_payloads() -> None:
    assert len(PAYLOADS) >= 60


# What reading may import while it runs: codecs of names and texts, and nothing that a folder could name.
WATCHED = """
import sys
from pathlib import Path
from tsugiki.errors import RecordsError
from tsugiki.records.adapter_folder import read_adapter_folder
before = set(sys.modules)
heavy = {"torch", "numpy", "safetensors", "peft", "transformers", "yaml", "sqlalchemy", "rfc8785", "fsspec"}
print("heavy", sorted({name.partition(".")[0] for name in before} & heavy))
imported, opened, ran = [], [], []
class Hook:
    def find_spec(self, name, path=None, target=None):
        imported.append(name)
        return None
sys.meta_path.insert(0, Hook())
def watch(event, arguments):
    if event in ("exec", "compile", "os.system", "subprocess.Popen", "os.exec", "pickle.find_class", "socket.connect"):
        ran.append(event)
    if event == "open" and isinstance(arguments[0], str) and "refused-" in arguments[0]:
        opened.append(arguments[0])
sys.addaudithook(watch)
refused = 0
for folder in sorted(Path(sys.argv[1]).glob("*/refused-*")):
    try:
        read_adapter_folder(folder)
    except RecordsError:
        refused += 1
print("refused", refused)
print("imported", imported)
print("ran", [event for event in ran if event != "compile"])
print("modules", sorted(set(sys.modules) - before))
"""


def test_reading_imports_and_runs_nothing(tmp_path: Path) -> None:
    for number, kind in enumerate(PAYLOADS):
        (tmp_path / str(number)).mkdir()
        build(kind, tmp_path / str(number) / f"refused-{number}")
    found = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"},
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    told = dict(line.split(" ", 1) for line in found.splitlines())
    missing = 1  # "the folder is missing"
    assert int(told["refused"]) == len(PAYLOADS) - missing
    assert told["heavy"] == "[]"
    assert told["imported"] == "[]"
    assert told["modules"] == "[]"
    assert told["ran"] == "[]"
    assert not list(tmp_path.glob(f"*/{MARKER}"))


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_a_folder_of_peft_is_read(dtype: str, tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "adapter", dtype=dtype)
    (folder / "README.md").write_text("# 品質QA\n", encoding="utf-8")
    found = read_adapter_folder(folder)
    assert found.digests == {
        path.name: "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }
    assert [file.bytes for file in found.files] == [(folder / file.path).stat().st_size for file in found.files]
    assert (found.rank, len(found.tensors), found.manifest) == (RANK, 2 * len(LAYERS), None)
    assert {tensor.dtype for tensor in found.tensors} == {dtype}
    assert found.config is not None
    assert found.config.settings()["target_modules"] == ["q_proj", "v_proj"]


def test_our_folders_are_read(tmp_path: Path) -> None:
    low_rank, wide = (
        read_adapter_folder(write_own(tmp_path / "a")),
        read_adapter_folder(write_bottleneck(tmp_path / "b")),
    )
    assert low_rank.manifest is not None
    assert low_rank.manifest.base.weights_digest.endswith("2")
    assert (low_rank.rank, wide.rank, wide.config) == (RANK, 0, None)


def test_a_plan_of_ours_must_have_its_tensors(tmp_path: Path) -> None:
    folder = write_bottleneck(tmp_path / "adapter")
    names = {"model.layers.0.mlp.down": (3, WIDTH)}
    write_tensors(folder / "adapter_model.safetensors", names)
    assert "lacks 'model.layers.0.mlp.down_bias'" in refusal(folder).problem
    plan = {"method": "full", "low_rank": {}, "full": ["model.norm.weight"], "bottlenecks": {}}
    write_json(folder / "tsugiki.json", own_manifest(plan=plan))
    assert "is not named by the plan" in refusal(folder).problem
    write_tensors(folder / "adapter_model.safetensors", {"model.norm.weight": (WIDTH,)})
    assert read_adapter_folder(folder).rank == 0


def test_shapes_must_be_those_of_the_plan(tmp_path: Path) -> None:
    plan = {"method": "adapter", "low_rank": {}, "full": [], "bottlenecks": {
        name: {"place": "serial", "width": 5, "dropout": 0.0} for name in ("model.layers.0.mlp", "model.layers.1.mlp")
    }}  # fmt: skip
    folder = write_bottleneck(tmp_path / "adapter")
    write_json(folder / "tsugiki.json", own_manifest(plan=plan))
    assert "the plan says width 5" in refusal(folder).problem
    part = {"rank": 2, "scale": 1.0, "dropout": 0.0, "dora": True}
    plan = {"method": "lora", "low_rank": {"model.a": part}, "full": [], "bottlenecks": {}}
    write_json(folder / "tsugiki.json", own_manifest(plan=plan))
    tensors = {"model.a.lora_A": (3, 4), "model.a.lora_B": (4, 3), "model.a.magnitude": (4,)}
    write_tensors(folder / "adapter_model.safetensors", tensors)
    assert "the plan says rank 2" in refusal(folder).problem


EXTRA = {
    "DoRA": ({"use_dora": True}, {"lora_magnitude_vector": (WIDTH,)}),
    "bias of B": ({"lora_bias": True}, {"lora_B.bias": (WIDTH,)}),
    "bias of the layer": ({"bias": "lora_only"}, {"bias": (WIDTH,)}),
    "bias of the base": ({"bias": "all"}, {"base_layer.bias": (WIDTH,)}),
}


@pytest.mark.parametrize("kind", EXTRA)
def test_what_peft_saves_besides_is_read(kind: str, tmp_path: Path) -> None:
    config, leaves = EXTRA[kind]
    more = {f"base_model.model.{LAYERS[0]}.{leaf}": shape for leaf, shape in leaves.items()}
    found = read_adapter_folder(write_peft(tmp_path / "a", config=config, tensors={**peft_tensors(), **more}))
    assert len(found.tensors) == 2 * len(LAYERS) + 1


def test_whole_modules_embeddings_experts_and_ranks_of_single_layers_are_read(tmp_path: Path) -> None:
    tensors = {
        **peft_tensors(LAYERS[1:]),
        **peft_tensors([LAYERS[0]], rank=2),
        "base_model.model.model.norm.weight": (WIDTH,),
        "base_model.model.model.embed_tokens.lora_embedding_A": (RANK, 30),
        "base_model.model.model.embed_tokens.lora_embedding_B": (WIDTH, RANK),
        "base_model.model.lm_head.weight": (30, WIDTH),
    }
    config = {
        "modules_to_save": ["norm"],
        "rank_pattern": {r"^model\.layers\.0\.self_attn\.q_proj": 2, "nothing.*": 16},
        "target_modules": r".*\.(q_proj|v_proj|embed_tokens)",
    }
    found = read_adapter_folder(write_peft(tmp_path / "a", config=config, tensors=tensors))
    assert found.rank == RANK
    experts = {"base_model.model.model.experts.lora_A.weight": (3 * RANK, 5),
               "base_model.model.model.experts.lora_B.weight": (WIDTH, 3 * RANK)}  # fmt: skip
    config = {"target_parameters": ["experts.gate"], "target_modules": []}
    assert read_adapter_folder(write_peft(tmp_path / "b", config=config, tensors=experts)).rank == RANK


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(folder_bytes=500), "and 500 are the limit"),
        (Limits(header_bytes=100), "and 100 are the limit"),
        (Limits(json_bytes=100), "and 100 are the limit"),
        (Limits(tensors=7), "1 to 7 are allowed"),
        (Limits(rank=3), "3 is the limit"),
    ],
)
def test_limits_can_be_set(limits: Limits, reason: str, tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "a")
    read_adapter_folder(folder)
    assert reason in refusal(folder, limits).problem


def test_a_folder_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "a")
    with (folder / "adapter_model.safetensors").open("r+b") as file:
        file.truncate(10**12)  # a hole: there is no such disk
    start = time.perf_counter()
    assert "are the limit" in refusal(folder).problem
    assert time.perf_counter() - start < 1


def test_an_archive_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "adapter.zip").write_bytes(b"PK\x03\x04")
    refused = refusal(tmp_path / "adapter.zip")
    assert "is an archive" in refused.problem
    assert "Unpack it yourself" in refused.fix


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_peft(tmp_path / "a")
    weights = folder / "adapter_model.safetensors"
    judged = adapter_folder.all_finite

    def growing(data: bytes, dtype: str) -> bool:
        with weights.open("ab") as file:
            file.write(b"more")
        return judged(data, dtype)

    monkeypatch.setattr(adapter_folder, "all_finite", growing)
    assert "changed while it was read" in refusal(folder).problem


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_peft(tmp_path / "a", tensors=peft_tensors(width=60_000))  # more than a read-ahead buffer
    weights = folder / "adapter_model.safetensors"
    judged = adapter_folder.all_finite

    def shrinking(data: bytes, dtype: str) -> bool:
        os.truncate(weights, 2_000_000)
        return judged(data, dtype)

    monkeypatch.setattr(adapter_folder, "all_finite", shrinking)
    assert "changed while it was read" in refusal(folder).problem


def test_a_file_that_is_swapped_for_a_link_is_never_followed(tmp_path: Path) -> None:
    """Another process swaps the configuration for a link and back; whatever is read is the sound one or refused."""
    folder = write_peft(tmp_path / "a")
    config, outside = folder / "adapter_config.json", tmp_path / "outside.json"
    write_json(outside, {"peft_type": "LORA", "r": 4, "lora_alpha": 1.0, "revision": "outside"})
    sound = config.read_bytes()
    stop = threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            other = tmp_path / f"swap-{turn % 2}"
            if turn % 2:
                other.write_bytes(sound)
            else:
                other.symlink_to(outside)
            other.replace(config)
            turn += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(200):
            try:
                found = read_adapter_folder(folder)
            except RecordsError:
                continue
            assert found.config is not None
            assert found.config.revision is None
    finally:
        stop.set()
        thread.join()


def test_limits_of_patterns_leave_written_names_alone(tmp_path: Path) -> None:
    """A rank for each of thousands of layers, as our own adapters have it, takes no time."""
    layers = [f"model.layers.{n}.q_proj" for n in range(2000)]
    tensors = {name: shape for layer in layers for name, shape in peft_tensors([layer], rank=1, width=1).items()}
    pattern = {"^" + layer.replace(".", r"\."): 1 for layer in layers}
    folder = write_peft(tmp_path / "a", config={"rank_pattern": pattern, "target_modules": layers}, tensors=tensors)
    start = time.perf_counter()
    assert read_adapter_folder(folder).rank == 1
    assert time.perf_counter() - start < 2
    assert len(json.loads((folder / "adapter_config.json").read_text())["rank_pattern"]) == 2000
