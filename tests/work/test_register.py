"""Registering an adapter: what becomes of its facts, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.records.adapters import (
    DIGEST,
    LAYERS,
    own_manifest,
    peft_config,
    write_bottleneck,
    write_json,
    write_own,
    write_peft,
)
from tests.records.registries import ADMIN, APPROVER, OPERATOR, registry
from tsugiki.errors import RecordsError
from tsugiki.records.adapter_folder import Limits
from tsugiki.records.ledger import events_since
from tsugiki.records.open import Records, open_registry
from tsugiki.records.versions import Version, files_of, version_lines
from tsugiki.work.register import Stated, add_version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return registry(tmp_path)


def add(records: Records, folder: Path, name: str = "品質QA", **facts: Any) -> Version:
    return add_version(records, folder, Stated(name, **facts), actor=OPERATOR, reason="first try")


def refusal(records: Records, folder: Path, **facts: Any) -> RecordsError:
    with pytest.raises(RecordsError) as refused:
        add(records, folder, **facts)
    return refused.value


def kept(records: Records) -> set[str]:
    return set(records.store.digests())


def test_a_folder_of_ours_brings_its_facts(records: Records, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "a")
    version = add(records, folder, data_licence="社内限り", data_purpose="問合せへの回答", note="春の版")
    manifest = version.manifest
    assert (version.label, version.creator) == ("品質QA@1", OPERATOR.name)
    assert [one["path"] for one in manifest["files"]] == [
        "adapter_config.json", "adapter_model.safetensors", "tsugiki.json",
    ]  # fmt: skip
    assert manifest["base"] == {
        "name": "tiny", "digest": DIGEST.format(1), "weights_digest": DIGEST.format(2),
        "config_digest": DIGEST.format(3), "tokenizer_digest": DIGEST.format(4), "template_digest": None,
        "architecture": "LlamaForCausalLM", "dtype": "float32", "quantization": "none",
    }  # fmt: skip
    assert manifest["data"] == [
        {"digest": DIGEST.format(5), "rows": 3, "licence": "社内限り", "purpose": "問合せへの回答"}
    ]
    assert (manifest["method"], manifest["template"], manifest["seeds"]) == ("lora", "plain", {"training": 7})
    assert set(manifest["plan"]["low_rank"]) == set(LAYERS)
    assert manifest["recipe"]["learning_rate"] == 0.001
    assert manifest["peft"]["r"] == 4
    assert manifest["unknown"] == {
        "base.template_digest": "the base has no chat template",
        "code.packages": "the adapter's manifest does not say it",
        "code.environment": "the adapter's manifest does not say it",
        "study": "not stated",
    }
    assert manifest["note"] == "春の版"


def test_a_folder_of_peft_says_what_nobody_knows(records: Records, tmp_path: Path) -> None:
    manifest = add(records, write_peft(tmp_path / "a")).manifest
    assert manifest["base"]["name"] == "example/tiny"
    assert manifest["base"]["digest"] is None
    assert manifest["data"] == [{"digest": None, "rows": None, "licence": None, "purpose": None}]
    assert manifest["unknown"]["base.digest"] == "a PEFT folder does not say it"
    assert manifest["unknown"]["data.0.licence"] == manifest["unknown"]["data.0.purpose"] == "not stated"
    assert manifest["unknown"]["plan"].startswith("a PEFT folder has none")
    nulls = {f"base.{name}" for name, value in manifest["base"].items() if value is None}
    assert nulls <= set(manifest["unknown"])


def test_whatever_is_null_has_its_reason(records: Records, tmp_path: Path) -> None:
    for number, folder in enumerate(
        (write_peft(tmp_path / "a"), write_own(tmp_path / "b"), write_bottleneck(tmp_path / "c"))
    ):
        manifest = add(records, folder, name=f"m{number}").manifest
        parts: dict[str, Any] = {**manifest, "data.0": manifest["data"][0]}
        for name in ("plan", "template", "recipe", "seeds", "study"):
            assert (parts[name] is None) == (name in manifest["unknown"])
        for name in ("base", "code", "data.0"):
            for field, value in parts[name].items():
                assert (value is None) == (f"{name}.{field}" in manifest["unknown"]), f"{name}.{field}"


def test_a_hybrid_of_peft_is_one(records: Records, tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "a", config={"modules_to_save": ["norm"]})
    assert add(records, folder).manifest["method"] == "hybrid"
    assert add(records, write_bottleneck(tmp_path / "b")).manifest["peft"] is None


def test_the_event_and_the_files_are_there(records: Records, tmp_path: Path) -> None:
    version = add(records, write_own(tmp_path / "a"))
    with records.database.reading() as connection:
        event = list(events_since(connection))[-1]
        files = files_of(connection, version)
    assert (event.seq, event.kind, event.object, event.reason) == (
        version.seq, "version.registered", "品質QA@1", "first try",
    )  # fmt: skip
    assert event.after["digest"] == version.digest
    assert event.actor["name"] == OPERATOR.name
    assert event.at == version.created_at
    assert {file.digest for file in files} == kept(records)
    for file in files:
        assert records.store.read(file.digest, file.bytes) == (tmp_path / "a" / file.path).read_bytes()
    assert records.database.home.public.verifies(version.digest.encode("ascii"), version.signature)


def test_numbers_go_up_and_the_same_again_is_refused(records: Records, tmp_path: Path) -> None:
    first, second = write_own(tmp_path / "a"), write_own(tmp_path / "b", seed=1)
    assert add(records, first).label == "品質QA@1"
    assert add(records, second).label == "品質QA@2"
    refused = refusal(records, first)
    assert "registered already, as 品質QA@1" in refused.problem
    assert add(records, first, data_licence="CC-BY-4.0").label == "品質QA@3"  # a fact that was missing
    assert add(records, first, name="other").label == "other@1"
    assert len(kept(records)) == 4  # two sets of weights, one configuration, one manifest


def test_the_parent_must_exist(records: Records, tmp_path: Path) -> None:
    first = add(records, write_own(tmp_path / "a"))
    child = add(records, write_own(tmp_path / "b", seed=1), parent="品質QA@1")
    assert child.manifest["parent"] == {"name": "品質QA", "number": 1, "digest": first.digest}
    assert "no version '7'" in refusal(records, write_own(tmp_path / "c", seed=2), parent="品質QA@7").problem


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"name": "../x"}, "cannot be the name of a model"),
        ({"name": ""}, "cannot be the name of a model"),
        ({"data_licence": "MIT\u202e"}, "The licence"),
        ({"data_purpose": "x" * 2001}, "The purpose"),
        ({"note": "a\x1b[31m"}, "The note"),
        ({"study": Path("somewhere")}, "named together"),
        ({"trial": "lora-s0"}, "named together"),
    ],
)
def test_facts_that_are_none_are_refused(facts: dict[str, Any], reason: str, records: Records, tmp_path: Path) -> None:
    assert reason in refusal(records, write_own(tmp_path / "a"), **facts).problem
    assert kept(records) == set()


def test_only_operators_add(records: Records, tmp_path: Path) -> None:
    for actor in (ADMIN, APPROVER):
        with pytest.raises(RecordsError, match="may not add"):
            add_version(records, write_own(tmp_path / actor.role), Stated("x"), actor=actor, reason="")


def test_what_is_not_sound_leaves_nothing(records: Records, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "a")
    (folder / "evil.py").write_text("x")
    assert "which is code" in refusal(records, folder).problem
    with pytest.raises(RecordsError, match="are the limit"):
        add_version(
            records, write_own(tmp_path / "b"), Stated("x"), actor=OPERATOR, reason="", limits=Limits(folder_bytes=9)
        )
    assert kept(records) == set()
    with records.database.reading() as connection:
        assert list(version_lines(connection)) == []


def test_a_file_that_changes_after_it_was_judged_is_refused(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsugiki.work import register

    folder = write_peft(tmp_path / "a")
    read = register.read_adapter_folder

    def then_change(*arguments: Any) -> Any:
        found = read(*arguments)
        write_json(folder / "adapter_config.json", peft_config(auto_mapping={"parent_library": "evil"}))
        return found

    monkeypatch.setattr(register, "read_adapter_folder", then_change)
    assert "changed while it was being stored" in refusal(records, folder).problem
    with records.database.reading() as connection:
        assert list(version_lines(connection)) == []


def test_a_file_that_was_collected_meanwhile_is_missed(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_peft(tmp_path / "a")
    put = records.store.put

    def then_collect(*arguments: Any, **named: Any) -> Any:
        blob = put(*arguments, **named)
        records.store.delete(blob.digest)
        return blob

    monkeypatch.setattr(records.store, "put", then_collect)
    assert "was collected meanwhile" in refusal(records, folder).problem


def test_a_database_that_refuses_leaves_no_version(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsugiki.work import register

    def refuse(*_: Any) -> None:
        raise RecordsError("The ledger is full.", fix="Nothing.")

    monkeypatch.setattr(register, "append", refuse)
    folder = write_peft(tmp_path / "a")
    assert refusal(records, folder).problem == "The ledger is full."
    monkeypatch.undo()
    with records.database.reading() as connection:
        assert list(version_lines(connection)) == []
    assert add(records, folder).number == 1


CALLS = ("open", "write", "fchmod", "fsync", "replace", "unlink", "close")


def kill_self_at(point: int, folder: Path, adapter: Path) -> int:
    """In a forked process: add the adapter and be killed before or after the call or statement of that number."""
    left = point

    def step(*_: Any, **__: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            step()
            found = real(*arguments, **named)
            step()
            return found

        return call

    records = open_registry(folder)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(records.database.engine, name, step)
    for name in CALLS:
        setattr(os, name, stepping(getattr(os, name)))
    add(records, adapter, name="x")
    return point - left


def run_killed(folder: Path, adapter: Path, point: int) -> tuple[bool, int]:
    """Whether the process was killed, and how many points it came to when it was not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        leave, say = os._exit, os.write
        try:
            count = kill_self_at(point, folder, adapter)
            say(writer, str(count).encode())
            leave(0)
        finally:
            leave(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0
    return killed, int(said or 0)


def check_after_kill(folder: Path) -> int:
    """A version is whole or not there, and what lies in the store is sound."""
    records = open_registry(folder)
    records.store.sweep()
    assert records.store.sweep() == 0
    assert not list((folder / "blobs").glob("*.partial"))
    with records.database.reading() as connection:
        lines = list(version_lines(connection))
        seqs = [event.seq for event in events_since(connection) if event.kind == "version.registered"]
        assert len(seqs) == len(lines)
    for digest in records.store.digests():
        records.store.verify(digest)
    from tsugiki.work.catalogue import show_version

    for line in lines:
        assert show_version(records, f"{line.model}@{line.number}", verify=True)["signed"]
    records.database.engine.dispose()
    return len(lines)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_point_leaves_a_whole_version_or_none(every: int, tmp_path: Path) -> None:
    adapter, made = write_own(tmp_path / "adapter"), registry(tmp_path)
    made.database.engine.dispose()
    whole = tmp_path / "whole"
    shutil.copytree(made.folder, whole)
    killed, count = run_killed(whole, adapter, 10**6)
    assert (killed, check_after_kill(whole)) == (False, 1)
    assert count > 60
    found: set[int] = set()
    for point in range(0, count, every):
        copy = tmp_path / f"copy-{point}"
        shutil.copytree(made.folder, copy)
        killed, _ = run_killed(copy, adapter, point)
        assert killed
        found.add(check_after_kill(copy))
        shutil.rmtree(copy)
    assert found == {0, 1} or every > 1


def test_the_control_plane_needs_no_engine_and_no_statistics(tmp_path: Path) -> None:
    program = "import sys, tsugiki.work.register, tsugiki.work.catalogue; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"},
                           stdout=subprocess.PIPE, text=True, check=True).stdout  # fmt: skip
    heavy = {"torch", "numpy", "scipy", "polars", "transformers", "safetensors", "peft", "fsspec", "altair"}
    assert not heavy & set(found.split())


def test_a_manifest_of_ours_is_what_the_folder_says(tmp_path: Path) -> None:
    """The builder writes what `save_adapter` writes; the engine's own tests compare real ones."""
    folder = write_own(tmp_path / "a")
    assert json.loads((folder / "tsugiki.json").read_text(encoding="utf-8")) == own_manifest()
