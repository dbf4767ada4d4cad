"""Events and their rows: together or not at all, chained, signed, and only inside a writer's transaction."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.records.conftest import Person
from tests.records.filled import add_version, fill, moved
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import canonical, ledger
from tsugiki.records.aliases import alias_at
from tsugiki.records.checkpoints import fast_body, is_signed, newest_checkpoint
from tsugiki.records.event_body import FIELDS, Event, read_event
from tsugiki.records.ledger import NewEvent, append, events_since, head, history
from tsugiki.records.open import Records
from tsugiki.records.schema import APPEND_ONLY
from tsugiki.records.verify import verify

HELD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)

OBJECTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def canonical_body(event: Event) -> bytes:
    """The bytes whose SHA-256 is the event's hash, from its fields."""
    return canonical.canonical_bytes({name: getattr(event, name) for name in FIELDS})


def counts(records: Records) -> dict[str, int]:
    with records.database.reading() as connection:
        return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in APPEND_ONLY}


def test_an_event_and_its_rows_are_there_together(records: Records, person: Person) -> None:
    version = add_version(records, 1)
    with records.database.writing() as connection:
        first = append(
            connection,
            NewEvent(person, "alias.moved", "qa@production", reason="初回", request="r-1"),
            {"alias_moves": [{"model": "qa", "alias": "production", "version": version}]},
        )
    assert (first.seq, first.kind, first.reason, first.request) == (3, "alias.moved", "初回", "r-1")
    assert first.actor == {"name": "田中", "role": "operator", "auth": "token"}
    assert first.rows == {"alias_moves": [{"model": "qa", "alias": "production", "version": version, "at": first.at}]}
    assert first.hash == digest_bytes(canonical_body(first))
    with records.database.reading() as connection:
        second, first_again = history(connection, limit=3)[1], history(connection, model="qa", alias="production")[0]
        assert first_again == first
        assert first.previous == second.hash
        assert head(connection).hash == first.hash
        assert [event.seq for event in events_since(connection)] == [1, 2, 3]
        assert list(events_since(connection, 2)) == [first]


def test_the_first_event_is_bound_to_the_registry_and_its_key(records: Records) -> None:
    with records.database.reading() as connection:
        (event,) = history(connection)
    home = records.database.home
    assert event.previous == ledger.genesis(records.settings.id, home.public)
    assert event.previous != ledger.genesis("another", home.public)
    assert (event.kind, event.object, event.actor["name"]) == ("registry.created", records.settings.id, "admin")


def test_no_change_without_its_event(records: Records, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    version = add_version(records, 1)
    before = counts(records)

    def refused(*_: object) -> None:
        raise RuntimeError("the event cannot be written")

    monkeypatch.setattr(ledger, "digest_bytes", refused)
    with pytest.raises(RuntimeError, match="cannot be written"), records.database.writing() as connection:
        append(connection, NewEvent(person, "alias.moved", "qa@production"), moved("production", version))
    monkeypatch.undo()
    with records.database.transaction() as connection:
        if records.database.path is not None:
            connection.execute(
                text("CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(FAIL, 'no'); END")
            )
        else:
            connection.execute(text("CREATE RULE no_events AS ON INSERT TO events DO INSTEAD SELECT 1/0"))
    with pytest.raises(DBAPIError), records.database.writing() as connection:
        connection.execute(text("INSERT INTO blobs VALUES ('x', 1, 'y')"))
        append(connection, NewEvent(person, "alias.moved", "qa@production"), moved("production", version))
    assert counts(records) == before
    with records.database.reading() as connection:
        assert alias_at(connection, "qa", "production").seq is None
        assert connection.execute(text("SELECT count(*) FROM blobs WHERE digest = 'x'")).scalar() == 0


def test_no_event_without_its_change(records: Records, person: Person) -> None:
    before = counts(records)
    with pytest.raises(IntegrityError), records.database.writing() as connection:
        append(connection, NewEvent(person, "alias.moved", "qa@production"), moved("production", 77))
    assert counts(records) == before
    with records.database.reading() as connection:
        assert head(connection).seq == 1


def test_an_event_is_not_written_without_its_signature(
    records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsugiki.records.database.checkpoints.write_checkpoint", refused)
    with (
        pytest.raises(RecordsError, match=r"No space left on device\. Free some space"),
        records.database.writing() as connection,
    ):
        append(connection, NewEvent(person, "noted", "x"))
    assert counts(records)["events"] == 1


def test_one_checkpoint_for_a_transaction_over_its_last_event(records: Records, person: Person) -> None:
    with records.database.writing() as connection:
        for number in range(3):
            last = append(connection, NewEvent(person, "noted", f"x{number}"))
    with records.database.writing():
        pass  # nothing was appended: nothing is signed
    assert counts(records) | {"events": 4, "checkpoints": 2} == counts(records)
    with records.database.reading() as connection:
        newest = newest_checkpoint(connection)
    assert newest is not None
    assert (newest.seq, newest.hash, newest.at, newest.registry) == (4, last.hash, last.at, records.settings.id)
    assert is_signed(newest, records.database.home.public)
    assert not is_signed(replace(newest, seq=3), records.database.home.public)
    for one in (newest, replace(newest, previous=None)):
        assert one.body == fast_body(one.registry, one.seq, one.hash, one.at, one.key, one.previous)


def test_what_an_event_may_not_hold(records: Records, person: Person) -> None:
    refused = {
        "is a float; decimals": NewEvent(person, "noted", "x", after={"rate": 0.5}),
        "beyond 2\\^53": NewEvent(person, "noted", "x", after=2**53),
        "surrogates": NewEvent(person, "noted", "x", reason="\ud800"),
        "holds NUL": NewEvent(person, "noted", "x\0"),
        "is a set": NewEvent(person, "noted", "x", before={1, 2}),
        "cannot be a key": NewEvent(person, "noted", "x", before={1: 2}),
        "its kind has the wrong type": NewEvent(person, 7, "x"),  # type: ignore[arg-type]
        "nested deeper": NewEvent(person, "noted", "x", before=json.loads("[" * 40 + "]" * 40)),
    }
    for problem, event in refused.items():
        with pytest.raises(ValueError, match=problem), records.database.writing() as connection:
            append(connection, event)
    rows = {
        "has no column nam": {"requests": [{"nam": 1}]},
        "alias_moves.alias is missing": {"alias_moves": [{"model": "qa"}]},
        "requests.body takes bytes": {
            "requests": [{"id": "1", "version": 1, "stage": "poc", "requester": "x", "body": "{}"}]
        },
        "people is not a table that events write": {"people": [{"name": "x"}]},
    }
    for problem, row in rows.items():
        with pytest.raises(ValueError, match=problem), records.database.writing() as connection:
            append(connection, NewEvent(person, "noted", "x"), row)
    assert counts(records)["events"] == 1


def test_events_are_appended_by_writers_only(records: Records, person: Person) -> None:
    with (
        records.database.reading() as connection,
        pytest.raises(RuntimeError, match=r"inside Database.writing\(\) only"),
    ):
        append(connection, NewEvent(person, "noted", "x"))


def test_half_an_append_is_not_committed_when_its_error_is_swallowed(records: Records, person: Person) -> None:
    before = counts(records)
    refused = pytest.raises((RuntimeError, DBAPIError))  # on PostgreSQL the transaction is dead already
    with refused, records.database.writing() as connection, suppress(IntegrityError):
        append(connection, NewEvent(person, "alias.moved", "qa@production"), moved("production", 77))
    assert counts(records) == before


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_rows_are_neither_changed_nor_deleted_nor_replaced(records: Records, table: str) -> None:
    fill(records)
    before = counts(records)
    statements = [f"UPDATE {table} SET seq = seq + 100", f"DELETE FROM {table}"]
    if records.database.path is not None:
        statements += [
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
            f"REPLACE INTO {table} SELECT * FROM {table}",
            f"UPDATE OR REPLACE {table} SET seq = seq",
        ]
    else:
        statements += [f"TRUNCATE {table} CASCADE"]
    if before[table] == 0:
        statements = statements[2:] if records.database.path is None else []  # erasures: a row is needed
    for statement in statements:
        with (
            pytest.raises(RecordsError, match="does not change what was recorded"),
            records.database.writing() as connection,
        ):
            connection.execute(text(statement))
    assert counts(records) == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=HELD, after=HELD, reason=st.text(max_size=30), object=OBJECTS)
def test_whatever_is_recorded_is_read_back_and_true(
    sqlite_records: Records, before: object, after: object, reason: str, object: str
) -> None:
    astral = any(character > "\uffff" for character in json.dumps([before, after], ensure_ascii=False))
    event = NewEvent(Person(), "noted", object, before, after, reason)
    try:
        with sqlite_records.database.writing() as connection:
            written = append(connection, event)
    except ValueError as error:
        assert astral and "cannot be a key" in str(error)
        return
    with sqlite_records.database.reading() as connection:
        (found,) = history(connection, limit=1)
        report = verify(connection, sqlite_records.database.home.public)
    assert found == written == read_event(canonical_body(written))
    assert (found.before, found.after, found.reason, found.object) == (before, after, reason, object)
    assert report.bad is None and report.events == found.seq


def test_an_event_that_cannot_be_read_is_one_sentence() -> None:
    with pytest.raises(RecordsError, match=r"An event of the ledger cannot be read: it is not canonical JSON\. Run"):
        read_event(b'{"a": 1}')
