"""Registries with people, for the tests of every floor; the real database, the real ledger."""

from __future__ import annotations

from pathlib import Path

from tsugiki.records.open import Records, create_records
from tsugiki.records.people import add_person
from tsugiki.records.rights import SCOPES_OF_ROLE, Actor, Role
from tsugiki.records.schema import metadata

PEOPLE: dict[str, Role] = {
    "admin": "admin", "佐藤": "operator", "高橋": "approver", "Suzuki": "approver", "Tanaka": "operator",
    "audit": "auditor", "guest": "viewer",
}  # fmt: skip


def person(name: str, role: Role | None = None) -> Actor:
    """Somebody as a token of theirs makes them known."""
    role = PEOPLE[name] if role is None else role
    return Actor(name, role, auth="token:0123456789abcdef", scopes=SCOPES_OF_ROLE[role])


ADMIN, OPERATOR, APPROVER, SECOND, MAKER, AUDITOR, VIEWER = map(person, PEOPLE)


def registry(folder: Path) -> Records:
    """With everybody in PEOPLE."""
    records = create_records(folder / "registry", admin="admin")
    with records.database.writing() as connection:
        for name, role in PEOPLE.items():
            add_person(connection, name, role, actor=ADMIN, reason="they work here")
    return records


def dump(records: Records) -> str:
    """Everything that the database holds, as text."""
    with records.database.reading() as connection:
        tables = {table.name: connection.execute(table.select()).all() for table in metadata.sorted_tables}
    return repr(tables)
