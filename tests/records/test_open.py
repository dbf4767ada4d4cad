"""A registry is made whole or not at all, and what cannot be opened is one sentence with the next step."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

from tests.records.conftest import Person
from tests.records.postgres import NOBODY
from tsugiki.errors import RecordsError
from tsugiki.records import filesystem
from tsugiki.records.filesystem import NETWORK, magic_number, refuse_network
from tsugiki.records.ledger import NewEvent, append, head
from tsugiki.records.open import SETTINGS, Records, create_records, open_registry
from tsugiki.records.verify import verify


def test_a_registry_is_opened_again_by_its_folder_alone(records: Records, person: Person, tmp_path: Path) -> None:
    with records.database.writing() as connection:
        append(connection, NewEvent(person, "noted", "x"))
    again = open_registry(records.folder)
    assert (again.settings, again.database.home) == (records.settings, records.database.home)
    with again.database.writing() as connection:
        assert append(connection, NewEvent(person, "noted", "x")).seq == 3
    again.database.engine.dispose()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registry"]
    assert yaml.safe_load((records.folder / SETTINGS).read_text())["format"] == 1


def test_a_registry_can_be_moved(sqlite_records: Records, person: Person, tmp_path: Path) -> None:
    sqlite_records.database.engine.dispose()
    moved = open_registry(Path(shutil.move(sqlite_records.folder, tmp_path / "移動先 %")))
    with moved.database.writing() as connection:
        assert append(connection, NewEvent(person, "noted", "x")).seq == 2
    moved.database.engine.dispose()


def test_a_second_registry_in_the_same_place_is_refused(records: Records, database_url: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"is a registry already\. Name another folder"):
        create_records(records.folder, admin="x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RecordsError, match="cannot be made: it is not empty"):
        create_records(tmp_path / "full", admin="x")
    if records.database.path is None:
        with pytest.raises(RecordsError, match="holds a registry already"):
            create_records(tmp_path / "other", admin="x", database=database_url)
    (tmp_path / "empty").mkdir()
    create_records(tmp_path / "empty", admin="x")
    assert {path.name for path in tmp_path.iterdir()} == {"registry", "full", "empty"}


def test_what_was_left_by_a_crash_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsugiki.records.open.write_text", full)
    with pytest.raises(RecordsError, match="cannot be made: No space left on device"):
        create_records(tmp_path / "registry", admin="x")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    create_records(tmp_path / "registry", admin="x")
    (tmp_path / "file").touch()
    with pytest.raises(RecordsError, match="cannot be made: "):
        create_records(tmp_path / "file" / "registry", admin="x")


def rewrite(**changes: object):
    def change(folder: Path) -> None:
        path = folder / SETTINGS
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (shutil.rmtree, r"holds no registry \(there is no registry\.yaml in it\)\. Make one with"),
        (lambda folder: (folder / SETTINGS).unlink(), "holds no registry"),
        (lambda folder: (folder / SETTINGS).write_text("{"), "is not a registry's settings"),
        (lambda folder: (folder / SETTINGS).write_bytes(b"\xff"), "is not a registry's settings"),
        (lambda folder: (folder / SETTINGS).write_text("- a"), "is not a registry's settings"),
        (rewrite(format=2), "has the format 2; this program reads 1"),
        (rewrite(format=None), "has the format None"),
        (rewrite(id=7), "is not a registry's settings: id: "),
        (rewrite(colour="red"), "is not a registry's settings: colour: Extra inputs"),
        (rewrite(database="mysql://host/x"), r"The database mysql is not supported\. Use sqlite"),
        (rewrite(database="no url"), "'no url' is no database URL"),
        (rewrite(database="postgresql//me:secret@host/x"), r"'postgresql//me:\*\*\*@host/x' is no database URL"),
        (rewrite(database="sqlite:///missing/registry.db"), r"missing/registry\.db is missing"),
        (rewrite(database="sqlite:///other.db"), r"other\.db is missing\. Restore it"),
        (lambda folder: (folder / "registry.db").write_bytes(b""), r"registry\.db.* holds no registry\. Restore it"),
        (lambda folder: (folder / "registry.db").write_bytes(b"text" * 999), "is not a registry's database"),
        (lambda folder: (folder / "keys" / "ledger.pub").unlink(), r"public key .*ledger\.pub is missing"),
        (lambda folder: (folder / "keys" / "ledger.pub").write_text("x"), "is not an Ed25519 public key"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_one_sentence(sqlite_records: Records, change, problem: str) -> None:
    sqlite_records.database.engine.dispose()
    change(sqlite_records.folder)
    with pytest.raises(RecordsError, match=problem) as caught:
        open_registry(sqlite_records.folder)
    assert "\n" not in str(caught.value)


def test_a_key_that_cannot_be_used_stops_writers_only(sqlite_records: Records, tmp_path: Path) -> None:
    key = sqlite_records.folder / "keys" / "ledger.key"
    other = create_records(tmp_path / "other", admin="x").folder / "keys" / "ledger.key"
    content = key.read_bytes()
    for change, problem in (
        (lambda: key.chmod(0o644), r"can be read by others .* Run: chmod 600"),
        (lambda: key.write_bytes(b"x"), "is not an Ed25519 private key"),
        (lambda: key.write_bytes(other.read_bytes()), "does not belong to the public key beside it"),
        (key.unlink, r"private key .* is missing\. Restore it"),
    ):
        key.write_bytes(content)
        key.chmod(0o600)
        change()
        records = open_registry(sqlite_records.folder)
        with pytest.raises(RecordsError, match=problem), records.database.writing():
            pass
        with records.database.reading() as connection:
            assert head(connection).seq == 1
        records.database.engine.dispose()


def test_sqlite_is_not_put_on_a_network_file_system(
    sqlite_records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for magic, name in NETWORK.items():
        with pytest.raises(
            RecordsError, match=rf"lies on a network file system \({name}\).*Use a local disk, or Postgre"
        ):
            refuse_network(tmp_path, lambda _, magic=magic: magic)
    for magic in (0xEF53, 0x58465342, 0x01021994, 0x9123683E, None):  # ext4, XFS, tmpfs, btrfs, not known
        refuse_network(tmp_path, lambda _, magic=magic: magic)
    assert magic_number(tmp_path / "missing") is None
    assert magic_number(Path("/proc")) == 0x9FA0
    monkeypatch.setattr(refuse_network, "__defaults__", (lambda _: 0x6969,))
    with pytest.raises(RecordsError, match=r"network file system \(NFS\)"):
        open_registry(sqlite_records.folder)
    with pytest.raises(RecordsError, match=r"network file system \(NFS\)"):
        create_records(tmp_path / "new" / "deep", admin="x")
    assert not (tmp_path / "new").exists()
    assert filesystem.magic_number is magic_number


def test_a_registry_in_postgresql_may_lie_anywhere(
    empty_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refuse_network, "__defaults__", (lambda _: 0x6969,))
    create_records(tmp_path / "registry", admin="x", database=empty_postgres).database.engine.dispose()
    open_registry(tmp_path / "registry").database.engine.dispose()


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://tsugiki:secret@/registry?host={tmp_path}&connect_timeout=2"
    with pytest.raises(RecordsError, match="cannot be reached") as caught:
        create_records(tmp_path / "registry", admin="x", database=url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def as_somebody_else(records: Records, function) -> str:
    """What `function` says when it is run by somebody who may read the registry and write nothing of it."""
    records.database.engine.dispose()
    root = os.geteuid() == 0
    if not root:  # the same user, without the right to write
        for path in (records.folder, records.folder / "registry.db", records.folder / "registry.lock"):
            path.chmod(path.stat().st_mode & 0o555)
    told, telling = multiprocessing.get_context("fork").Pipe(duplex=False)

    def child() -> None:
        if root:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            telling.send(function())
        except Exception as error:
            telling.send(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    telling.close()
    with told:
        said = told.recv()
    process.join()
    records.folder.chmod(0o755)
    return said


@pytest.fixture
def readable() -> Iterator[Records]:
    """A registry in a folder that everybody may enter, with one event more."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    records = create_records(folder / "registry", admin="admin")
    with records.database.writing() as connection:
        append(connection, NewEvent(Person(), "noted", "x"))
    yield records
    records.database.engine.dispose()
    shutil.rmtree(folder)


def test_who_may_only_read_reads_and_verifies_and_is_told_so_when_writing(readable: Records) -> None:
    folder = readable.folder

    def read() -> str:
        opened = open_registry(folder)
        with opened.database.reading() as connection:
            bad = (
                verify(connection, opened.database.home.public).bad
                or verify(folder / "registry.db", opened.database.home.public).bad
            )
            return f"{head(connection).seq} {bad}"

    def write() -> str:
        opened = open_registry(folder)
        with opened.database.writing() as connection:
            append(connection, NewEvent(Person(), "noted", "x"))
        return "written"

    assert as_somebody_else(readable, read) == "2 None"
    said = as_somebody_else(readable, write)
    assert said.startswith("RecordsError: ") and "\n" not in said
    assert "cannot be " in said and "Run the command as " in said
    assert as_somebody_else(readable, read) == "2 None"


def test_a_reader_of_a_frozen_file_notices_that_it_was_written(readable: Records) -> None:
    folder = readable.folder

    begun, begin = os.pipe()

    def write_once_it_is_read() -> None:
        os.read(begun, 1)
        os.utime(folder / "registry.db")

    writer = threading.Thread(target=write_once_it_is_read)

    def slowly() -> str:
        opened = open_registry(folder)
        before = (folder / "registry.db").stat().st_mtime_ns
        with opened.database.reading() as connection:
            head(connection)
            os.write(begin, b".")
            until = time.monotonic() + 20
            while (folder / "registry.db").stat().st_mtime_ns == before and time.monotonic() < until:
                time.sleep(0.01)
        return "nothing was noticed"

    writer.start()
    assert "was changed while it was read" in as_somebody_else(readable, slowly)
    writer.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes two users: one who writes, one who may not")
def test_a_later_reader_sees_what_was_written_since(readable: Records) -> None:
    folder, done = readable.folder, readable.folder.parent / "done"

    def read_twice() -> str:
        opened = open_registry(folder)
        with opened.database.reading() as connection:
            first = head(connection).seq
        while not done.exists():
            time.sleep(0.01)
        with opened.database.reading() as connection:
            return f"{first} {head(connection).seq}"

    def write() -> None:
        opened = open_registry(folder)
        with opened.database.writing() as connection:
            append(connection, NewEvent(Person(), "noted", "x"))
        opened.database.engine.dispose()
        done.touch()

    writer = threading.Timer(0.5, write)
    writer.start()
    assert as_somebody_else(readable, read_twice) == "2 3"
    writer.join()


def test_the_url_of_a_database_is_taken_apart_by_its_driver(empty_postgres: str) -> None:
    engine = create_engine(empty_postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_schema()")).scalar().startswith("test_")
    engine.dispose()
