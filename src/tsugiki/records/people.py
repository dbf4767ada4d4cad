"""The people of a registry: who they are and which role each has. One person, one role; a name is never used again.

Called by `work/staff.py`, which checks that an admin asks, and by the making of a registry for its first admin. Each
change appends its event in the caller's transaction. Tokens are in records/tokens.py. Never deletes a person: the
ledger names them for good.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from tsugiki.errors import RecordsError
from tsugiki.records import schema
from tsugiki.records.ledger import Acting, NewEvent, append
from tsugiki.records.rights import ROLES, Role
from tsugiki.records.safe_names import check_name
from tsugiki.records.times import now


@dataclass(frozen=True)
class Person:
    name: str
    role: Role
    active: bool
    created_at: str


def people(connection: Connection) -> tuple[Person, ...]:
    """Everybody who was ever added, in the order of their names."""
    rows = connection.execute(select(schema.people).order_by(schema.people.c.name))
    return tuple(Person(row.name, row.role, bool(row.active), row.created_at) for row in rows)


def person(connection: Connection, name: str) -> Person:
    """Raises RecordsError for a name that nobody has, or that belongs to somebody who was removed."""
    row = connection.execute(select(schema.people).where(schema.people.c.name == name)).one_or_none()
    if row is None or not row.active:
        known = ", ".join(one.name for one in people(connection) if one.active)
        problem = f"Nobody is called {name} here." if row is None else f"{name} was removed from this registry."
        raise RecordsError(problem, fix=f"The people are: {known}.")
    return Person(row.name, row.role, True, row.created_at)


def add_person(connection: Connection, name: str, role: str, *, actor: Acting, reason: str) -> Person:
    """Raises RecordsError for a name that cannot be one or was used before, and for a role that does not exist."""
    name, wanted = check_name(name, "the name of a person"), _role(role)
    if connection.execute(select(schema.people.c.name).where(schema.people.c.name == name)).first() is not None:
        raise RecordsError(
            f"{name} is in this registry already, or was once.", fix="Take another name; the ledger keeps the old one."
        )
    made = Person(name, wanted, True, now())
    connection.execute(insert(schema.people).values(name=name, role=wanted, active=1, created_at=made.created_at))
    _tell(connection, "person.added", name, None, {"role": wanted}, actor, reason)
    return made


def change_role(connection: Connection, name: str, role: str, *, actor: Acting, reason: str) -> Person:
    """Give one person another role; the tokens of the old one stop working (records/tokens.py revokes them).

    Raises RecordsError where this would leave no admin.
    """
    before, wanted = person(connection, name), _role(role)
    if before.role == wanted:
        raise RecordsError(f"{name} is {wanted} already.", fix=f"Name another role: {', '.join(ROLES)}.")
    _keep_an_admin(connection, before, "get another role")
    connection.execute(update(schema.people).where(schema.people.c.name == name).values(role=wanted))
    _tell(connection, "person.role_changed", name, {"role": before.role}, {"role": wanted}, actor, reason)
    return Person(name, wanted, True, before.created_at)


def remove_person(connection: Connection, name: str, *, actor: Acting, reason: str) -> None:
    """Raises RecordsError for the last admin, who has to make another one first."""
    before = person(connection, name)
    _keep_an_admin(connection, before, "be removed")
    connection.execute(update(schema.people).where(schema.people.c.name == name).values(active=0))
    _tell(connection, "person.removed", name, {"role": before.role}, None, actor, reason)


def _keep_an_admin(connection: Connection, leaving: Person, what: str) -> None:
    if leaving.role != "admin":
        return
    admins = select(func.count()).where(schema.people.c.role == "admin", schema.people.c.active == 1)
    if connection.execute(admins).scalar_one() <= 1:
        raise RecordsError(
            f"{leaving.name} is the last admin and cannot {what}.", fix="Make somebody else an admin first."
        )


def _role(text: str) -> Role:
    if text not in ROLES:
        raise RecordsError(f"{text} is no role.", fix=f"The roles are: {', '.join(ROLES)}.")
    return text


def _tell(
    connection: Connection,
    kind: str,
    name: str,
    before: dict[str, str] | None,
    after: dict[str, str] | None,
    actor: Acting,
    reason: str,
) -> None:
    event = NewEvent(actor=actor, kind=kind, object=f"person:{name}", before=before, after=after, reason=reason)
    append(connection, event)
