from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from tests.records.conftest import Person
from tests.records.filled import add_version
from tsugiki.errors import RecordsError
from tsugiki.records import times
from tsugiki.records.aliases import AliasState, alias_at, aliases_of, move_alias
from tsugiki.records.history import history
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records


def move(records: Records, person: Person, version: int | None, at: str | None = None, monkeypatch=None) -> str:
    if at is not None:
        monkeypatch.setattr(times, "now", lambda: at)
    with records.database.writing() as connection:
        return move_alias(connection, person, "qa", "production", version, reason="x").at


def test_an_alias_points_to_what_it_was_moved_to_last(records: Records, person: Person) -> None:
    one, two = add_version(records, 1), add_version(records, 2)
    with records.database.reading() as connection:
        assert alias_at(connection, "qa", "production") == AliasState("qa", "production")
    for version in (one, two, one, None):
        move(records, person, version)
        with records.database.reading() as connection:
            state = alias_at(connection, "qa", "production")
        assert state.version == version
        assert state.number == {one: 1, two: 2, None: None}[version]
    with records.database.reading() as connection:
        assert [event.after for event in history(connection, model="qa", alias="production")] == [
            None, {"version": "qa@1", "digest": state_digest(connection, one)},
            {"version": "qa@2", "digest": state_digest(connection, two)},
            {"version": "qa@1", "digest": state_digest(connection, one)},
        ]  # fmt: skip
        assert aliases_of(connection, "qa") == ["production"]


def state_digest(connection, seq: int) -> str:
    return connection.execute(text(f"SELECT digest FROM versions WHERE seq = {seq}")).scalar_one()


def test_time_travel_takes_every_time_zone(records: Records, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = add_version(records, 1), add_version(records, 2)
    move(records, person, one, "2126-11-02T05:00:00.000000Z", monkeypatch)
    move(records, person, two, "2126-11-02T05:05:00.000000Z", monkeypatch)
    move(records, person, None, "2126-11-02T05:06:00.000000Z", monkeypatch)
    with records.database.reading() as connection:
        for at, number in (
            ("2126-11-02T04:59:59.999999Z", None),
            ("2126-11-02T14:00:00+09:00", 1),
            ("2126-11-02T14:04:59.999999+09:00", 1),
            ("2126-11-02T14:05:00+09:00", 2),
            ("2126-11-02 00:05:30-05:00", 2),
            (datetime(2126, 11, 2, 5, 5, 59, tzinfo=UTC), 2),
            ("2126-11-02T05:06Z", None),
            ("2199-01-01T00:00Z", None),
        ):
            assert alias_at(connection, "qa", "production", at).number == number, at
        assert alias_at(connection, "qa", "production").since == "2126-11-02T05:06:00.000000Z"
        with pytest.raises(RecordsError, match=r"2126-11-02T14:05:00 has no time zone\. Add one"):
            alias_at(connection, "qa", "production", "2126-11-02T14:05:00")
        with pytest.raises(RecordsError, match="'yesterday' is no time"):
            alias_at(connection, "qa", "production", "yesterday")


def test_a_clock_that_goes_back_does_not_change_the_order(
    records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = add_version(records, 1), add_version(records, 2)
    first = move(records, person, one)
    assert move(records, person, two, "2001-01-01T00:00:00.000000Z", monkeypatch) == first
    with records.database.reading() as connection:
        assert alias_at(connection, "qa", "production").number == 2
        assert alias_at(connection, "qa", "production", first).number == 2


def test_a_version_of_another_model_is_refused(records: Records, person: Person) -> None:
    other = add_version(records, 1, model="other")
    with records.database.writing() as connection, pytest.raises(RecordsError, match=f"qa has no version .* {other}"):
        move_alias(connection, person, "qa", "production", other)
    with records.database.reading() as connection:
        assert alias_at(connection, "qa", "production").seq is None


def test_history_is_of_an_object_a_model_or_all_newest_first(
    records: Records, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ("qa@1", "qa@production", "qa2@1", "q@1", "qaz", "品質@1", "QA@1", "qa-b@1")
    for minute, name in enumerate(objects):
        monkeypatch.setattr(times, "now", lambda minute=minute: f"2126-11-02T05:{minute:02d}:00.000000Z")
        with records.database.writing() as connection:
            append(connection, NewEvent(person, "noted", name))
    with records.database.reading() as connection:

        def found(**wanted) -> list[str]:
            return [event.object for event in history(connection, **wanted)]

        assert found(model="qa") == ["qa@production", "qa@1"]
        assert found(model="qa", alias="production") == ["qa@production"]
        assert found(object="品質@1") == ["品質@1"]
        assert found(limit=3) == ["qa-b@1", "QA@1", "品質@1"]
        since, until = "2126-11-02T14:01+09:00", "2126-11-02T05:03Z"
        assert found(since=since, until=until) == ["q@1", "qa2@1", "qa@production"]


def test_the_newest_events_of_a_model_are_found_among_all_its_objects(records: Records, person: Person) -> None:
    names = [f"qa@{number % 3}" for number in range(12)] + ["other@1", "qa@0", "qa@0"]
    with records.database.writing() as connection:
        for name in names:
            append(connection, NewEvent(person, "noted", name))
    expected = [seq for seq, name in enumerate(names, start=2) if name.startswith("qa@")][::-1]
    with records.database.reading() as connection:
        for limit in (1, 2, 4, 7, 50):
            assert [event.seq for event in history(connection, model="qa", limit=limit)] == expected[:limit]


def test_both_questions_use_an_index(sqlite_records: Records, person: Person) -> None:
    moves = "SELECT seq FROM alias_moves WHERE model = 'a' AND alias = 'b'"
    plans = {
        f"{moves} ORDER BY seq DESC LIMIT 1": "model_alias_seq",
        f"{moves} AND at <= 'x' ORDER BY at DESC, seq DESC LIMIT 1": "model_alias_at",
        "SELECT body FROM events WHERE object = 'a@b' ORDER BY seq DESC LIMIT 9": "object_seq",
    }
    with sqlite_records.database.reading() as connection:
        for query, index in plans.items():
            plan = " ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert index in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan, plan
