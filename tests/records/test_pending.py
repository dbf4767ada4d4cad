"""Rollbacks that wait: signed, counted at once, recorded once by the next writer, refused when they are not ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.records.conftest import Person
from tests.records.filled import add_version, fill, moved
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json
from tsugiki.records import pending, times
from tsugiki.records.aliases import alias_at, move, move_alias
from tsugiki.records.keys import create_key
from tsugiki.records.ledger import head, history
from tsugiki.records.open import Records
from tsugiki.records.verify import verify


def leave(records: Records, person: Person, version: int | None, alias: str = "production") -> Path:
    database = records.database
    with database.reading() as connection:
        event, rows = move(connection, person, "qa", alias, version, kind="alias.rolled_back", reason="wrong answers")
        return pending.leave(database.home, database.key, event, rows, seen=head(connection).seq)


def state(records: Records, at: str | None = None) -> tuple[int | None, int | None]:
    with records.database.reading() as connection:
        found = alias_at(connection, "qa", "production", at)
    return found.version, found.seq


def assert_true(records: Records) -> None:
    with records.database.reading() as connection:
        assert verify(connection, records.database.home.public).bad is None


@contextmanager
def read_only(records: Records) -> Iterator[None]:
    """The database refuses every change, as for somebody who may only read it."""
    if records.database.path is not None:
        with records.database.reading() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")
        yield
        with records.database.reading() as connection:
            connection.exec_driver_sql("PRAGMA query_only=OFF")
        return
    with records.database.transaction() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO kept"))
        connection.execute(text("CREATE VIEW events AS SELECT * FROM kept OFFSET 0"))
    yield
    with records.database.transaction() as connection:
        connection.execute(text("DROP VIEW events"))
        connection.execute(text("ALTER TABLE kept RENAME TO events"))


def test_a_rollback_counts_at_once_and_is_recorded_by_the_next_writer(records: Records, person: Person) -> None:
    fill(records)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "production", 5)
    before = times.now()
    with read_only(records):
        with pytest.raises(Exception), records.database.writing() as connection:  # noqa: B017 - refused
            move_alias(connection, person, "qa", "production", 4)
        path = leave(records, person, 4)
        assert state(records) == (4, None)
    after = times.now()
    assert (state(records, before)[0], state(records, after)[0]) == (5, 4)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "pilot", None)
    assert not path.exists()
    assert state(records) == (4, 15)
    assert (state(records, before)[0], state(records, after)[0]) == (5, 4)
    with records.database.reading() as connection:
        stopped, rolled_back, *_ = history(connection, limit=2)
    assert (stopped.object, rolled_back.object) == ("qa@pilot", "qa@production")
    assert before < rolled_back.at < after
    assert rolled_back.actor == {"name": "田中", "role": "operator", "auth": "token"}
    assert (rolled_back.kind, rolled_back.reason) == ("alias.rolled_back", "wrong answers")
    assert rolled_back.before["version"] == "qa@2"
    assert rolled_back.after["version"] == "qa@1"
    assert set(rolled_back.after["pending"]) == {"id", "signature"}
    assert_true(records)


def test_the_newest_of_several_counts_and_all_are_recorded_in_order(records: Records, person: Person) -> None:
    fill(records)
    for version in (4, None, 4, 5):
        leave(records, person, version)
    leave(records, person, None, alias="pilot")
    assert state(records) == (5, None)
    with records.database.writing():
        pass
    assert state(records) == (5, 17)
    with records.database.reading() as connection:
        assert [event.after.get("version") for event in history(connection, limit=5)] == [
            None, "qa@2", "qa@1", None, "qa@1",
        ]  # fmt: skip
    assert_true(records)


def test_a_writer_that_ended_before_it_deleted_the_file_does_no_harm(records: Records, person: Person) -> None:
    fill(records)
    path = leave(records, person, 5)
    content = path.read_bytes()
    with records.database.writing():
        pass
    path.write_bytes(content)
    assert state(records) == (5, 14)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "production", 4)
    assert state(records) == (4, 15)
    assert not path.exists()
    assert_true(records)


def test_nothing_is_written_while_an_instruction_that_is_not_ours_waits(
    records: Records, person: Person, tmp_path: Path
) -> None:
    fill(records)
    path = leave(records, person, 5)
    content = json.loads(path.read_bytes())
    stranger, ours = create_key(tmp_path / "stranger"), records.database.key

    def signed(key, **changes: object) -> bytes:
        body = {**content["body"], **changes}
        return canonical_json({"body": body, "signature": key.sign(canonical_json(body))}) + b"\n"

    broken = {
        "is not signed by this registry's key": signed(stranger),
        "is for the registry another": signed(ours, registry="another"),
        "has a format that this program does not read": signed(ours, format=2),
        "names a version that is not in this registry": signed(
            ours, rows=[{"model": "qa", "alias": "production", "version": 999}]
        ),
        "is not an instruction": b'{"body":1}',
    }
    edited = {**content, "body": {**content["body"], "reason": "x"}}
    cases = [*broken.items(), ("is not signed by this registry's key", canonical_json(edited)), ("is not an", b"")]
    for problem, text_of_file in cases:
        path.write_bytes(text_of_file)
        with pytest.raises(RecordsError, match=f"{path.name} {problem}"), records.database.writing():
            pass
        if "version" not in problem:
            with pytest.raises(RecordsError, match=problem):
                state(records)
    path.unlink()
    assert state(records) == (4, 12)
    assert_true(records)


def test_only_moves_of_aliases_can_wait(records: Records, person: Person) -> None:
    add_version(records, 1)
    with records.database.reading() as connection:
        event, rows = move(connection, person, "qa", "production", 2)
    with pytest.raises(ValueError, match="only moves of aliases"):
        pending.leave(records.database.home, records.database.key, event, {**rows, "packs": []}, seen=1)
    assert pending.waiting(records.database.home) == []


def test_a_folder_that_cannot_be_written_to_either_is_one_sentence(
    sqlite_records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_version(sqlite_records, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pending, "write_bytes", full)
    with pytest.raises(RecordsError, match=r"pending cannot be written to either: No space left on device\. Stop"):
        leave(sqlite_records, person, 2)


def test_rows_of_a_move_are_what_the_ledger_writes() -> None:
    assert moved("production", 4) == {"alias_moves": [{"model": "qa", "alias": "production", "version": 4}]}


def test_what_was_overtaken_is_recorded_and_moves_nothing(records: Records, person: Person) -> None:
    """As by a writer who does not see the folder, or by an old file that somebody put back."""
    fill(records)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "production", 5)
    path = leave(records, person, 4)
    aside = path.rename(path.with_suffix(".aside"))
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "production", 5)
    aside.rename(path)
    assert state(records) == (5, 15)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "pilot", None)
    assert state(records) == (5, 15) and not path.exists()
    with records.database.reading() as connection:
        _, overtaken, *_ = history(connection, limit=2)
    assert overtaken.after["overtaken"] is True and overtaken.rows == {}
    assert_true(records)


def test_two_in_a_row_do_not_overtake_each_other(records: Records, person: Person) -> None:
    fill(records)
    with records.database.writing() as connection:
        move_alias(connection, person, "qa", "production", 5)
    for version in (4, None):
        leave(records, person, version)
    assert state(records)[0] is None
    with records.database.writing():
        pass
    assert state(records) == (None, 16)


def test_a_file_that_cannot_be_deleted_fails_nothing_and_counts_once(
    records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(records)
    path = leave(records, person, 5)
    with monkeypatch.context() as patched:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        patched.setattr(Path, "unlink", refuse)
        with records.database.writing() as connection:
            move_alias(connection, person, "qa", "pilot", None)
    assert path.exists() and state(records) == (5, 14)
    with records.database.writing() as connection:
        assert head(connection).seq == 15
    assert not path.exists()


def test_a_file_that_a_writer_deletes_while_it_is_listed_is_no_error(
    records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(records)
    path = leave(records, person, 5)
    listed = Path.glob

    def glob(folder: Path, pattern: str) -> list[Path]:
        found = list(listed(folder, pattern))
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", glob)
    assert pending.waiting(records.database.home) == []
