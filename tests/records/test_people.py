from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.registries import ADMIN, registry
from tsugiki.errors import RecordsError
from tsugiki.records.ledger import history
from tsugiki.records.people import add_person, change_role, people, person, remove_person


def test_every_change_of_a_person_is_an_event(tmp_path: Path):
    records = registry(tmp_path)
    with records.database.writing() as connection:
        add_person(connection, "山田", "viewer", actor=ADMIN, reason="is new")
        change_role(connection, "山田", "operator", actor=ADMIN, reason="has learned it")
        remove_person(connection, "山田", actor=ADMIN, reason="has left")
    with records.database.reading() as connection:
        found = history(connection, object="person:山田")
        assert [(one.kind, one.before, one.after, one.reason) for one in reversed(found)] == [
            ("person.added", None, {"role": "viewer"}, "is new"),
            ("person.role_changed", {"role": "viewer"}, {"role": "operator"}, "has learned it"),
            ("person.removed", {"role": "operator"}, None, "has left"),
        ]
        assert found[0].actor == {"name": "admin", "role": "admin", "auth": ADMIN.auth}
        assert [one.name for one in people(connection) if not one.active] == ["山田"]
        with pytest.raises(RecordsError, match="山田 was removed from this registry"):
            person(connection, "山田")


def test_the_last_admin_stays(tmp_path: Path):
    records = registry(tmp_path)
    with records.database.writing() as connection:
        with pytest.raises(RecordsError, match="admin is the last admin and cannot be removed"):
            remove_person(connection, "admin", actor=ADMIN, reason="x")
        with pytest.raises(RecordsError, match="admin is the last admin and cannot get another role"):
            change_role(connection, "admin", "viewer", actor=ADMIN, reason="x")
        add_person(connection, "second", "admin", actor=ADMIN, reason="x")
        remove_person(connection, "admin", actor=ADMIN, reason="x")
        with pytest.raises(RecordsError, match="second is the last admin"):
            remove_person(connection, "second", actor=ADMIN, reason="x")


@pytest.mark.parametrize("name", ["../x", "", "a b", "a\u202eb", ".x", "x" * 101, "con"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str):
    records = registry(tmp_path)
    with pytest.raises(RecordsError, match="cannot be the name of a person"), records.database.writing() as connection:
        add_person(connection, name, "viewer", actor=ADMIN, reason="x")


def test_a_name_is_used_once_and_a_role_exists(tmp_path: Path):
    records = registry(tmp_path)
    with records.database.writing() as connection:
        remove_person(connection, "guest", actor=ADMIN, reason="x")
        for name in ("guest", "佐藤"):
            with pytest.raises(RecordsError, match=f"{name} is in this registry already, or was once"):
                add_person(connection, name, "admin", actor=ADMIN, reason="x")
        with pytest.raises(RecordsError, match=r"boss is no role\. The roles are: viewer, operator"):
            add_person(connection, "new", "boss", actor=ADMIN, reason="x")
        with pytest.raises(RecordsError, match="佐藤 is operator already"):
            change_role(connection, "佐藤", "operator", actor=ADMIN, reason="x")
        with pytest.raises(RecordsError, match=r"Nobody is called nobody here\. The people are: Suzuki"):
            person(connection, "nobody")
