"""Backup and restore: equal digests afterwards, online, complete or absent, and nothing damaged comes back.

Kills at every write call are in benchmarks/registry_crashes.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.records.postgres import server
from tests.work.registries import (
    ADMIN,
    APPROVER,
    MAKER,
    Made,
    add_version,
    approve,
    busy_with,
    everything_on_disk,
    new_registry,
)
from tsugiki.errors import RecordsError
from tsugiki.files import write_bytes
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_json
from tsugiki.records.ledger import NewEvent, append, history
from tsugiki.records.open import Records, open_registry
from tsugiki.records.packs import files_of, packs_of, referenced
from tsugiki.records.schema import metadata
from tsugiki.records.verify import verify
from tsugiki.work.attach import attach_bundle
from tsugiki.work.backup import Backup, backup, restore


def contents(records: Records, *, until: int | None = None) -> str:
    """A digest of all rows up to an event and of all files that are referred to."""
    with records.database.reading() as connection:
        rows = {}
        for table in metadata.sorted_tables:
            query = (
                select(table) if until is None or "seq" not in table.c else select(table).where(table.c.seq <= until)
            )
            rows[table.name] = sorted(repr(tuple(row)) for row in connection.execute(query))
        files = {digest: digest_bytes(records.store.read(digest)) for digest in referenced(connection)}
    return digest_json([rows, files])


def fill(records: Records, tmp_path: Path) -> Made:
    adapter = tmp_path / f"adapter-{len(list(tmp_path.iterdir()))}"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(os.urandom(5000))
    (adapter / "adapter_config.json").write_bytes(b'{"r": 4}')
    version = add_version(records, adapter)
    attach_bundle(records, version, "x", {"a.json": b"{}", "b.json": b"[1]"}, {"n": 1}, actor=MAKER, reason="")
    approve(records, version)
    return version


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = new_registry(tmp_path / "registry")
    fill(opened, tmp_path)
    (opened.folder / "policy.yaml").write_text("format: 1\n")
    yield opened
    opened.database.engine.dispose()


def test_what_is_restored_is_what_was_backed_up(records: Records, tmp_path: Path) -> None:
    before = contents(records)
    made = backup(records, tmp_path / "backup", actor=ADMIN, reason="nightly")
    found = restore(tmp_path / "backup", tmp_path / "again")
    again = open_registry(tmp_path / "again")
    assert contents(again) == before
    assert (found.registry, found.event, found.files) == (
        records.settings.id,
        made.event,
        made.files,
    ) and made.files == 4
    assert (again.folder / "policy.yaml").read_text() == "format: 1\n"
    assert (again.folder / "keys/ledger.key").stat().st_mode & 0o777 == 0o600
    with again.database.reading() as connection:
        report = verify(connection, again.database.home.public, registry=again.settings.id)
    assert report.bad is None and report.events == made.event
    busy_with(again, 1)  # and it can be written to
    with records.database.reading() as connection:
        (event,) = history(connection, object="registry")
    assert (event.kind, event.after["seq"], event.after["digest"], event.reason) == (
        "backup.made", made.event, made.digest, "nightly",
    )  # fmt: skip
    again.database.engine.dispose()


def test_a_backup_lies_outside_and_is_restored_to_a_folder(records: Records, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="lies in the registry itself"):
        backup(records, records.folder / "copy", actor=ADMIN)
    assert not (records.folder / "copy").exists()
    (tmp_path / "taken").write_text("x")
    with pytest.raises(RecordsError, match="taken holds no finished backup"):
        restore(tmp_path / "taken", tmp_path / "new")
    backup(records, tmp_path / "backup", actor=ADMIN)
    with pytest.raises(RecordsError, match="taken is a file"):
        restore(tmp_path / "backup", tmp_path / "taken")


def test_the_next_backup_copies_only_what_is_new(records: Records, tmp_path: Path) -> None:
    first = backup(records, tmp_path / "backup", actor=ADMIN)
    with records.database.reading() as connection:
        version = Made(2, "分類", 1, "")
        assert packs_of(connection, version.seq)
    attach_bundle(records, version, "x", {"c.json": b"new"}, {"n": 2}, actor=MAKER, reason="")
    before = contents(records)
    second = backup(records, tmp_path / "backup", actor=ADMIN)
    assert (first.copied, second.copied, second.files) == (4, 1, 5) and second.event > first.event
    assert len(list((tmp_path / "backup/files").iterdir())) == len(
        json.loads((tmp_path / "backup/backup.json").read_bytes())["body"]["files"]
    )
    restore(tmp_path / "backup", tmp_path / "again")
    again = open_registry(tmp_path / "again")
    assert contents(again) == before
    again.database.engine.dispose()


def test_nobody_else_can_look_at_the_private_key_at_any_moment(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folders = []

    def watched(path: Path, content: bytes) -> None:
        write_bytes(path, content)
        if b"PRIVATE KEY" in content and path.parent.stat().st_mode & 0o077:
            open_folders.append(path)

    monkeypatch.setattr("tsugiki.work.backup.write_bytes", watched)
    backup(records, tmp_path / "backup", actor=ADMIN)
    assert open_folders == []
    key = (records.folder / "keys/ledger.key").read_bytes()
    (copy,) = [path for path in (tmp_path / "backup/files").iterdir() if path.read_bytes() == key]
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_file_whose_row_is_gone_is_not_left_out_silently(records: Records, tmp_path: Path) -> None:
    records.database.engine.dispose()
    connection = sqlite3.connect(records.folder / "registry.db")
    (digest,) = connection.execute("SELECT digest FROM version_files").fetchone()
    connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    connection.commit()
    connection.close()
    with pytest.raises(RecordsError, match=f"The row of the file {digest} is missing"):
        backup(open_registry(records.folder), tmp_path / "backup", actor=ADMIN)


def test_what_was_erased_is_in_no_later_backup(records: Records, tmp_path: Path) -> None:
    attach_bundle(records, Made(2, "分類", 1, ""), "x", {"s": b"a secret of Kobe"}, {}, actor=MAKER, reason="")
    backup(records, tmp_path / "backup", actor=ADMIN)
    assert b"a secret of Kobe" in everything_on_disk(tmp_path / "backup")
    digest = digest_bytes(b"a secret of Kobe")
    with records.database.writing() as connection:
        append(connection, NewEvent(ADMIN, "content.erased", "分類@1"), {"erasures": [{"digest": digest}]})
    records.store.delete(digest)
    assert backup(records, tmp_path / "backup", actor=ADMIN).removed >= 1
    assert b"a secret of Kobe" not in everything_on_disk(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")


def test_a_backup_while_others_write(records: Records, tmp_path: Path) -> None:
    stop, folder = threading.Event(), records.folder

    def write() -> None:
        own = open_registry(folder)
        number = 0
        while not stop.is_set():
            number += 1
            files = {"a": b"%d" % number}
            attach_bundle(own, Made(2, "分類", 1, ""), "x", files, {"n": number}, actor=MAKER, reason="")
        own.database.engine.dispose()

    writer = threading.Thread(target=write)
    writer.start()
    made: list[Backup] = []
    try:
        for number in range(4):
            made.append(backup(records, tmp_path / "backup", actor=ADMIN))
            restore(tmp_path / "backup", tmp_path / f"again-{number}")
    finally:
        stop.set()
        writer.join()
    assert [one.event for one in made] == sorted({one.event for one in made})
    again = open_registry(tmp_path / "again-3")
    assert contents(again, until=made[3].event) == contents(again)
    again.database.engine.dispose()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def resigned(records: Records, folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """What somebody with the key could make of it."""
    body = json.loads((folder / "backup.json").read_bytes())["body"]
    change(body)
    signed = {"body": body, "signature": records.database.key.sign(canonical_json(body))}
    (folder / "backup.json").write_bytes(canonical_json(signed))


def with_rows(records: Records, folder: Path, *statements: str) -> None:
    """The database of the backup changed, and signed as if it were the one."""
    body = json.loads((folder / "backup.json").read_bytes())["body"]
    path = folder / "files" / body["files"]["registry.db"][7:]
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    digest = digest_bytes(path.read_bytes())
    path.rename(path.with_name(digest[7:]))
    resigned(records, folder, lambda one: one["files"].update({"registry.db": digest}))


BAD: dict[str, tuple[Callable[[Records, Path], None], str]] = {
    "no backup": (lambda records, folder: (folder / "backup.json").unlink(), "holds no finished backup"),
    "broken json": (lambda records, folder: (folder / "backup.json").write_bytes(b"{"), "is damaged"),
    "edited": (
        lambda records, folder: (folder / "backup.json").write_bytes(
            (folder / "backup.json").read_bytes().replace(b'"blobs":4', b'"blobs":5')
        ),
        "is not as it was signed",
    ),
    "another format": (lambda records, folder: resigned(records, folder, lambda one: one.update(format=9)), "format 9"),
    "a damaged file": (lambda records, folder: damage(next((folder / "blobs").rglob("*/??/*"))), "is damaged"),
    "a missing file": (lambda records, folder: next((folder / "blobs").rglob("*/??/*")).unlink(), "lacks the file"),
    "a short file": (
        lambda records, folder: os.truncate(next((folder / "blobs").rglob("*/??/*")), 1),
        "is damaged",
    ),
    "a damaged small file": (lambda records, folder: [damage(one) for one in (folder / "files").iterdir()], "damaged"),
    "a path out": (
        lambda records, folder: resigned(
            records, folder, lambda one: one["files"].update({"../out": one["files"]["registry.yaml"]})
        ),
        r"\.\./out",
    ),
    "another event": (lambda records, folder: resigned(records, folder, lambda one: one.update(seq=1)), "not the one"),
    "a row deleted": (
        lambda records, folder: with_rows(
            records, folder, "DROP TRIGGER alias_moves_keep_delete", "DELETE FROM alias_moves"
        ),
        "does not verify: .*alias_moves",
    ),
    "an event changed": (
        lambda records, folder: with_rows(
            records, folder, "DROP TRIGGER events_keep_update", "UPDATE events SET body = '{}' WHERE seq = 2"
        ),
        "does not verify: .*events",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_backup_is_refused_and_nothing_appears(name: str, records: Records, tmp_path: Path) -> None:
    backup(records, tmp_path / "backup", actor=ADMIN)
    change, message = BAD[name]
    for path in (tmp_path / "backup").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    change(records, tmp_path / "backup")
    with pytest.raises(RecordsError, match=message):
        restore(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again").exists() and not list(tmp_path.glob(".again*"))
    assert not (tmp_path / "out").exists()


def test_the_key_that_is_known_must_be_the_backups(records: Records, tmp_path: Path) -> None:
    backup(records, tmp_path / "backup", actor=ADMIN)
    other = new_registry(tmp_path / "other")
    with pytest.raises(RecordsError, match="was made with another key"):
        restore(tmp_path / "backup", tmp_path / "again", public_key=other.folder / "keys/ledger.pub")
    restore(tmp_path / "backup", tmp_path / "again", public_key=records.folder / "keys/ledger.pub")
    other.database.engine.dispose()


def test_folders_that_hold_something_else_are_left_alone(records: Records, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="holds something else than a backup"):
        backup(records, tmp_path, actor=ADMIN)
    backup(records, tmp_path / "backup", actor=ADMIN)
    other = new_registry(tmp_path / "other")
    with pytest.raises(RecordsError, match="holds backups of the registry"):
        backup(other, tmp_path / "backup", actor=ADMIN)
    with pytest.raises(RecordsError, match="is not empty"):
        restore(tmp_path / "backup", records.folder)
    with pytest.raises(RecordsError, match="may not backup"):
        backup(records, tmp_path / "backup", actor=APPROVER)
    other.database.engine.dispose()


def test_a_registry_that_is_not_whole_is_not_backed_up(records: Records, tmp_path: Path) -> None:
    made = backup(records, tmp_path / "backup", actor=ADMIN)
    with records.database.reading() as connection:
        digest = files_of(connection, packs_of(connection)[0].seq)["a.json"]
    damage(next(records.folder.glob(f"blobs/**/{digest[7:]}")))
    (tmp_path / "backup/blobs/sha256" / digest[7:9] / digest[7:]).unlink()
    with pytest.raises(RecordsError, match="is damaged"):
        backup(records, tmp_path / "backup", actor=ADMIN)
    records.database.engine.dispose()
    with sqlite3.connect(records.folder / "registry.db") as connection_:
        connection_.execute("DROP TRIGGER events_keep_update")
        connection_.execute("UPDATE events SET body = '{}' WHERE seq = 2")
    connection_.close()
    with pytest.raises(RecordsError, match="The registry does not verify"):
        backup(records, tmp_path / "backup", actor=ADMIN)
    assert json.loads((tmp_path / "backup/backup.json").read_bytes())["body"]["seq"] == made.event


class Failing:
    """The disk refuses the n-th of the calls by which files become durable."""

    def __init__(self, number: int, code: int) -> None:
        self.left, self.code, self.calls = number, code, 0

    def __call__(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.left:
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **named)

        return call


@contextmanager
def failing(disk: Failing) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (os, "fsync"),
            (Path, "replace"),
            (Path, "write_bytes"),
            (shutil, "copyfileobj"),
            (shutil, "copyfile"),
        ):
            patch.setattr(module, name, disk(getattr(module, name)))
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_leaves_the_backup_before(records: Records, tmp_path: Path, code: int) -> None:
    place = tmp_path / "backup"
    backup(records, place, actor=ADMIN)
    good = (place / "backup.json").read_bytes()
    number = done = 0
    while not done:
        number += 1
        files = {"a": b"of round %d" % number}
        attach_bundle(records, Made(2, "分類", 1, ""), "x", files, {"n": number}, actor=MAKER, reason="")
        disk = Failing(number, code)
        with failing(disk):
            try:
                backup(records, place, actor=ADMIN)
                done = 1
            except RecordsError as error:
                assert os.strerror(code) in str(error)
        if (place / "backup.json").read_bytes() == good or number % 5 == 0:
            shutil.rmtree(tmp_path / "again", ignore_errors=True)
            restore(place, tmp_path / "again")
    assert number > 8


def test_a_disk_that_refuses_leaves_no_half_of_a_registry(records: Records, tmp_path: Path) -> None:
    before = contents(records)
    backup(records, tmp_path / "backup", actor=ADMIN)
    number = done = 0
    while not done:
        number += 1
        with failing(Failing(number, errno.ENOSPC)):
            try:
                restore(tmp_path / "backup", tmp_path / "again")
                done = 1
            except RecordsError as error:
                assert "No space left" in str(error)
        assert not list(tmp_path.glob(".again*"))
        if not done and (tmp_path / "again").exists():  # refused after the rename: it is whole
            again = open_registry(tmp_path / "again")
            assert contents(again) == before
            again.database.engine.dispose()
            shutil.rmtree(tmp_path / "again")
    assert number > 20


def test_a_registry_in_postgresql_is_kept_as_one_file(tmp_path: Path) -> None:
    with server() as url:
        records = new_registry(tmp_path / "registry", database=url)
        fill(records, tmp_path)
        before = contents(records)
        made = backup(records, tmp_path / "backup", actor=ADMIN)
        records.database.engine.dispose()
    found = restore(tmp_path / "backup", tmp_path / "again")
    again = open_registry(tmp_path / "again")
    assert contents(again) == before and found.event == made.event
    assert again.settings.database == "sqlite:///registry.db"
    busy_with(again, 1)
    again.database.engine.dispose()
