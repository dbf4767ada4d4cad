"""Collecting rubbish: a file that anything refers to is never touched, whatever was added, killed or erased before."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.work.registries import ADMIN, MAKER, Made, add_version, new_registry
from tsugiki.errors import RecordsError
from tsugiki.records.ledger import NewEvent, append, history
from tsugiki.records.open import Records, open_registry
from tsugiki.records.packs import files_of, packs_of, referenced
from tsugiki.work.attach import attach_bundle
from tsugiki.work.collect import collect, remove_erased


def later() -> float:
    return time.time() + 30 * 3600


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return new_registry(tmp_path / "registry")


@pytest.fixture
def version(records: Records, tmp_path: Path) -> Made:
    return add_version(records, adapter(tmp_path / "adapter", 0))


def adapter(folder: Path, number: int) -> Path:
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights %d" % number)
    (folder / "adapter_config.json").write_bytes(b'{"r": 4}')
    return folder


def erase(records: Records, digest: str) -> None:
    with records.database.writing() as connection:
        append(connection, NewEvent(ADMIN, "content.erased", "a@1"), {"erasures": [{"digest": digest}]})


def test_only_what_nothing_names_is_removed(records: Records, version: Made) -> None:
    attach_bundle(records, version, "compatibility", {"r.json": b"{}"}, {}, actor=MAKER, reason="")
    rubbish = records.store.put(b"never referred to").digest
    before = set(records.store.digests())
    shown = collect(records, actor=ADMIN, clock=later)
    assert shown.files == (rubbish,) and shown.dry_run and set(records.store.digests()) == before
    found = collect(records, actor=ADMIN, dry_run=False, clock=later, reason="weekly")
    assert found.files == (rubbish,) and found.kept == 3 and set(records.store.digests()) == before - {rubbish}
    with records.database.reading() as connection:
        assert set(records.store.digests()) == set(referenced(connection))
        (event,) = history(connection, object="store")
    assert (event.kind, event.after, event.reason) == (
        "files.collected", {"files": 1, "erased": 0, "kept": 3}, "weekly",
    )  # fmt: skip
    assert collect(records, actor=ADMIN, dry_run=False, clock=later).files == ()
    with records.database.reading() as connection:
        assert len(history(connection, object="store")) == 1  # where nothing was removed there is nothing to record


def test_what_was_just_stored_is_left_alone(records: Records) -> None:
    digest = records.store.put(b"of a writer at work").digest
    assert collect(records, actor=ADMIN, dry_run=False).young == 1 and records.store.exists(digest)
    assert collect(records, actor=ADMIN, dry_run=False, grace_hours=1, clock=later).files == (digest,)


def test_what_an_event_names_stays(records: Records) -> None:
    digest = records.store.put(b"named by an event alone").digest
    with records.database.writing() as connection:
        append(connection, NewEvent(ADMIN, "note.made", "note:1", after={"card": digest}))
    assert collect(records, actor=ADMIN, dry_run=False, clock=later).files == () and records.store.exists(digest)


def test_what_was_erased_and_still_lies_there_goes(records: Records, version: Made) -> None:
    attach_bundle(records, version, "compatibility", {"r.json": b"{}"}, {}, actor=MAKER, reason="")
    with records.database.reading() as connection:
        (digest,) = files_of(connection, packs_of(connection)[0].seq).values()
    erase(records, digest)
    assert records.store.exists(digest)  # as after a kill between the event and the deletion
    assert collect(records, actor=ADMIN, dry_run=False).erased == (digest,) and not records.store.exists(digest)
    with records.database.reading() as connection:
        assert remove_erased(records, connection) == 0


def test_halves_of_dead_writers_are_swept(records: Records) -> None:
    records.store.put(b"x")
    (records.folder / "blobs" / "0123.partial").write_bytes(b"half")
    assert collect(records, actor=ADMIN).leftovers == 0
    assert collect(records, actor=ADMIN, dry_run=False).leftovers == 1
    assert not list(records.folder.glob("blobs/*.partial"))


def test_bad_wishes(records: Records) -> None:
    for hours in (-1, 0, 0.9, float("nan")):
        with pytest.raises(RecordsError, match="could take files from a writer at work"):
            collect(records, actor=ADMIN, grace_hours=hours)
    with pytest.raises(RecordsError, match="ota is an operator and may not gc"):
        collect(records, actor=MAKER)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "attach", "put", "killed attach", "erase", "gc", "gc now"]), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_referenced_files_survive_any_sequence(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        records = new_registry(Path(name) / "registry")
        versions: list[Made] = []
        for step, (what, number) in enumerate(steps):
            _do(records, versions, what, number, Path(name) / f"adapter-{step}")
            with records.database.reading() as connection:
                needed = referenced(connection)
            for digest, size in needed.items():
                records.store.verify(digest, size)
        collect(records, actor=ADMIN, dry_run=False, clock=later)
        with records.database.reading() as connection:
            assert set(records.store.digests()) == set(referenced(connection))
        records.database.engine.dispose()


def _do(records: Records, versions: list[Made], what: str, number: int, folder: Path) -> None:
    if what == "add":
        versions.append(add_version(records, adapter(folder, number), f"m{len(versions)}"))
    elif what == "put":
        records.store.put(b"rubbish %d" % number)
    elif what in ("attach", "killed attach") and versions:
        files = {"a.json": b"shared", "b.json": b"own %d" % number}
        if what == "killed attach":
            for content in files.values():
                records.store.put(content)
            return
        try:
            attach_bundle(records, versions[number % len(versions)], "x", files, {}, actor=MAKER, reason="")
        except RecordsError as error:
            assert "already" in str(error) or "was erased" in str(error)
    elif what == "erase":
        with records.database.reading() as connection:
            named = sorted(
                {digest for pack in packs_of(connection) for digest in files_of(connection, pack.seq).values()}
            )
        if named:
            erase(records, named[number % len(named)])
    elif what.startswith("gc"):
        collect(records, actor=ADMIN, dry_run=False, clock=later if what == "gc" else time.time)


def test_collecting_while_somebody_attaches(records: Records, version: Made) -> None:
    """What lies there from a change that failed may be collected before it is referred to, and is stored again."""
    folder, failed = records.folder, []
    contents = [b"old rubbish %d" % number for number in range(40)]
    for content in contents:
        digest = records.store.put(content).digest
        os.utime(next(folder.glob(f"blobs/**/{digest[7:]}")), (0, 0))

    def attach() -> None:
        own = open_registry(folder)
        for number, content in enumerate(contents):
            try:
                attach_bundle(own, version, "x", {"a": content, "b": b"same"}, {"n": number}, actor=MAKER, reason="")
            except Exception as error:
                failed.append(error)
        own.database.engine.dispose()

    writer = threading.Thread(target=attach)
    writer.start()
    removed = 0
    while writer.is_alive():
        removed += len(collect(records, actor=ADMIN, dry_run=False).files)
    writer.join()
    assert not failed and removed, failed
    with records.database.reading() as connection:
        needed = referenced(connection)
        assert len(packs_of(connection)) == 40
    for digest, size in needed.items():
        records.store.verify(digest, size)
