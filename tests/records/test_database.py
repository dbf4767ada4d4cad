"""One writer at a time, many readers, whole transactions; also from many processes, and when they are killed."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import sqlite3
import time
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.records.conftest import Person
from tests.records.filled import add_version
from tsugiki.errors import RecordsError
from tsugiki.records import database as module
from tsugiki.records.aliases import move_alias
from tsugiki.records.database import PRAGMAS
from tsugiki.records.ledger import NewEvent, append, events_since, head
from tsugiki.records.open import Records, open_registry
from tsugiki.records.verify import verify

FORK = multiprocessing.get_context("fork")  # nothing has to be imported again


def write_moves(folder: Path, name: str, count: int, told: Connection) -> None:
    """What a child does: move an alias in `count` transactions and tell each event's seq when it is committed."""
    database = open_registry(folder).database
    for number in range(count):
        with database.writing() as connection:
            seq = move_alias(connection, Person(name), "qa", "production", 2 + number % 2, reason=str(number)).seq
        told.send(seq)
    database.engine.dispose()


def start(records: Records, name: str, count: int) -> tuple[BaseProcess, Connection]:
    records.database.engine.dispose()  # a child must not inherit an open SQLite file
    told, telling = FORK.Pipe(duplex=False)
    child = FORK.Process(target=write_moves, args=(records.folder, name, count, telling))
    child.start()
    telling.close()
    return child, told


def received(told: Connection) -> list[int]:
    found = []
    with told:
        try:
            while True:
                found.append(told.recv())
        except (EOFError, OSError):
            return found


def assert_true(records: Records) -> int:
    with records.database.reading() as connection:
        report = verify(connection, records.database.home.public, registry=records.settings.id)
    assert report.bad is None, str(report.bad)
    return report.events


def test_writers_in_many_processes_lose_nothing_and_nobody_waits_for_ever(records: Records) -> None:
    add_version(records, 1)
    add_version(records, 2)
    writers = [start(records, f"writer-{number}", 12) for number in range(4)]
    told = [received(pipe) for _, pipe in writers]
    for child, _ in writers:
        child.join(60)
    assert [child.exitcode for child, _ in writers] == [0] * 4
    with records.database.reading() as connection:
        moves = list(events_since(connection, 3))
    assert Counter(event.actor["name"] for event in moves) == dict.fromkeys([f"writer-{n}" for n in range(4)], 12)
    assert sorted(itertools.chain(*told)) == list(range(4, 52))
    for name in {event.actor["name"] for event in moves}:
        assert [event.reason for event in moves if event.actor["name"] == name] == [str(n) for n in range(12)]
    assert assert_true(records) == 51


def test_killed_writers_leave_whole_transactions(sqlite_records: Records) -> None:
    add_version(sqlite_records, 1)
    add_version(sqlite_records, 2)
    dice = random.Random(7)
    told = [0]
    for number in range(8):
        child, pipe = start(sqlite_records, f"writer-{number}", 10_000)
        told.append(pipe.recv())
        time.sleep(dice.uniform(0, 0.05))
        child.kill()
        child.join()
        told += received(pipe)
    events = assert_true(sqlite_records)
    assert events >= max(told) >= 8 + 3, "an event that was told to be written is gone"
    with sqlite_records.database.writing() as connection:
        assert append(connection, NewEvent(Person(), "noted", "x")).seq == events + 1


def test_every_connection_has_its_pragmas(sqlite_records: Records) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1, "trusted_schema": 0}
    assert {pragma.partition("=")[0] for pragma in PRAGMAS} == set(wanted)
    database = open_registry(sqlite_records.folder).database
    with database.reading() as one, database.reading() as two, database.writing() as three:
        for connection in (one, two, three):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
            assert found == wanted
    database.engine.dispose()


def test_a_reader_sees_one_moment(records: Records, person: Person) -> None:
    with records.database.reading() as reader:
        assert head(reader).seq == 1
        with records.database.writing() as connection:
            append(connection, NewEvent(person, "noted", "x"))
        assert head(reader).seq == 1
    with records.database.reading() as reader:
        assert head(reader).seq == 2


def test_a_transaction_that_fails_leaves_nothing(records: Records, person: Person) -> None:
    with pytest.raises(ZeroDivisionError), records.database.writing() as connection:
        append(connection, NewEvent(person, "noted", "x"))
        raise ZeroDivisionError
    with records.database.reading() as connection:
        assert head(connection).seq == 1
    assert assert_true(records) == 1


def test_another_program_that_holds_the_file_is_told(sqlite_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_MS", 50)
    database = open_registry(sqlite_records.folder).database
    other = sqlite3.connect(sqlite_records.folder / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = pytest.raises(RecordsError, match=r"registry\.db is held by another program\. Close that program")
    with held, database.writing():
        pass
    with database.reading() as connection:
        assert head(connection).seq == 1
    other.close()
    database.engine.dispose()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(sqlite_records: Records, person: Person) -> None:
    with (
        pytest.raises(RecordsError, match=r"cannot grow, because the disk is full\. Free some space"),
        sqlite_records.database.writing() as connection,
    ):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        append(connection, NewEvent(person, "noted", "x", reason="x" * 1_000_000))
    sqlite_records.database.engine.dispose()
    assert assert_true(sqlite_records) == 1


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            OSError(28, "No space left on device", "registry.lock"),
            r"registry\.lock cannot be written to: No space left.*Free",
        ),
        (OSError(30, "Read-only file system", "registry.lock"), r"registry\.lock cannot be written to: Read-only file"),
        (
            OSError(5, "Input/output error"),
            r"registry\.db cannot be written to: Input/output error\. Nothing was changed",
        ),
    ],
)
def test_a_lock_that_cannot_be_had_is_one_sentence(
    sqlite_records: Records, monkeypatch: pytest.MonkeyPatch, error: OSError, problem: str
) -> None:
    def refused(*_: object) -> int:
        raise error

    monkeypatch.setattr("tsugiki.records.database.fcntl.flock", refused)
    with pytest.raises(RecordsError, match=problem), sqlite_records.database.writing():
        pass


def test_whoever_has_little_patience_is_told_that_another_writes(records: Records) -> None:
    with records.database.writing():
        other = open_registry(records.folder).database
        with pytest.raises(RecordsError, match="is being written to all the time"), other.writing(0.1):
            pass
    with other.writing(0.1) as connection:
        assert connection.in_transaction()
    other.engine.dispose()


def test_a_database_that_may_only_be_read_is_one_sentence(records: Records, person: Person) -> None:
    database, only = records.database, pytest.raises(RecordsError, match=r"cannot be written to\. Run the command")
    if database.path is not None:
        with database.reading() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")
        with only, database.writing() as connection:
            append(connection, NewEvent(person, "noted", "x"))
        return
    with only, database.writing() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        append(connection, NewEvent(person, "noted", "x"))


def test_reports_are_plain_values(sqlite_records: Records) -> None:
    with sqlite_records.database.reading() as connection:
        report = verify(connection, sqlite_records.database.home.public)
    assert json.loads(report.newest.body)["seq"] == 1
