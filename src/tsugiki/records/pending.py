"""Instructions for the time when the database cannot be written: a rollback must not wait for a disk or a server.

Called by the verbs that roll back and stop, by `Database.writing()`, which records what waits before anything else, and
by `aliases`, for which a waiting instruction counts as recorded. One file of pending/ is one instruction: its body is
what the event will hold, signed by the registry's key. Never moves anything but aliases.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from tsugiki.errors import RecordsError
from tsugiki.files import write_bytes
from tsugiki.records import canonical, ledger, times
from tsugiki.records.keys import SigningKey
from tsugiki.records.ledger import ACTOR_FIELDS, Home, NewEvent, Rows
from tsugiki.records.schema import alias_moves, events

FOLDER = "pending"
FORMAT = 1
FIELDS = frozenset(
    (
        "format",
        "registry",
        "id",
        "at",
        "seen",
        "actor",
        "kind",
        "object",
        "before",
        "after",
        "reason",
        "request",
        "rows",
    )
)
LARGEST = 1_000_000  # bytes


@dataclass(frozen=True)
class Person:
    """Who left an instruction, as it says."""

    name: str
    role: str
    auth: str


@dataclass(frozen=True)
class Pending:
    """A signed instruction. `seen` is the newest event that its author knew; `at` is when it was made, UTC text."""

    path: Path
    id: str
    at: str
    seen: int
    event: NewEvent
    moves: Sequence[Mapping[str, Any]]
    signature: str


def leave(home: Home, key: SigningKey, event: NewEvent, rows: Rows, *, seen: int) -> Path:
    """Write an instruction to pending/, whole and on disk when this returns.

    `event` and `rows` are what `aliases.move` makes. Raises RecordsError when the folder cannot be written either, and
    ValueError when the rows are not moves of aliases.
    """
    if set(rows) != {alias_moves.name}:
        raise ValueError("only moves of aliases can wait")
    at, name = times.now(), str(uuid.uuid4())
    body = {
        "format": FORMAT, "registry": home.registry, "id": name, "at": at, "seen": seen,
        "actor": {field: getattr(event.actor, field) for field in ACTOR_FIELDS},
        "kind": event.kind, "object": event.object, "before": event.before, "after": event.after,
        "reason": event.reason, "request": event.request, "rows": [dict(row) for row in rows[alias_moves.name]],
    }  # fmt: skip
    signature = key.sign(canonical.canonical_bytes(body))
    path = home.folder / FOLDER / f"{at.replace(':', '')}-{name}.json"
    try:
        write_bytes(path, canonical.canonical_bytes({"body": body, "signature": signature}) + b"\n")
    except OSError as error:
        raise RecordsError(
            f"{path.parent} cannot be written to either: {error.strerror}.",
            fix="Stop the serving engine by hand, and make room or get permission for the registry's folder.",
        ) from None
    return path


def waiting(home: Home) -> list[Pending]:
    """What waits, oldest first. Raises RecordsError for a file that this registry's key did not sign."""
    try:
        paths = sorted((home.folder / FOLDER).glob("*.json"))
        found = [pending for path in paths if (pending := _read(path, home)) is not None]
    except OSError as error:
        raise RecordsError(
            f"{error.filename} cannot be read: {error.strerror}.", fix="Run the command as a user who may read it."
        ) from None
    return sorted(found, key=lambda pending: (pending.at, pending.id))


def record(connection: Connection, home: Home) -> list[Path]:
    """Append what waits, each once and with its own time; returns the files, to be deleted after the commit.

    What somebody who could not see the file has overtaken is recorded as such, and moves nothing.
    """
    found = waiting(home)
    last = ledger.head(connection).seq if found else 0
    for pending in found:
        if not _is_recorded(connection, pending):
            event, rows = pending.event, {alias_moves.name: pending.moves}
            if _is_overtaken(connection, pending, last):
                event, rows = replace(event, after={**event.after, "overtaken": True}), {}
            try:
                ledger.append(connection, event, rows)
            except IntegrityError:
                raise _refused(pending.path, "names a version that is not in this registry") from None
    return [pending.path for pending in found]


def newest_move(connection: Connection, model: str, alias: str, at: str | None) -> tuple[int | None, str] | None:
    """The version that a waiting instruction points an alias to by `at` (now without it), and since when."""
    for pending in reversed(waiting(ledger.home_of(connection))):
        if at is None or pending.at <= at:
            for move in pending.moves:
                if (move["model"], move["alias"]) == (model, alias) and not _is_done(connection, pending):
                    return move["version"], pending.at
    return None


def _is_done(connection: Connection, pending: Pending) -> bool:
    return _is_recorded(connection, pending) or _is_overtaken(connection, pending, ledger.head(connection).seq)


def _is_overtaken(connection: Connection, pending: Pending, last: int) -> bool:
    """Whether, up to event `last`, a name moved later than this instruction and unknown to its author.

    That takes a writer who does not share the folder, or an old file that somebody put back.
    """
    later = select(alias_moves.c.seq).where(
        alias_moves.c.seq > pending.seen, alias_moves.c.seq <= last, alias_moves.c.at > pending.at
    )
    names = ((move["model"], move["alias"]) for move in pending.moves)
    return any(
        connection.execute(later.where(alias_moves.c.model == model, alias_moves.c.alias == alias)).first()
        for model, alias in names
    )


def _is_recorded(connection: Connection, pending: Pending) -> bool:
    """Whether a writer ended between its commit and the deletion of the file."""
    query = select(events.c.body).where(events.c.object == pending.event.object, events.c.seq > pending.seen)
    recorded = (ledger.read_event(bytes(body)).after for (body,) in connection.execute(query))
    return any(isinstance(after, dict) and after.get("pending", {}).get("id") == pending.id for after in recorded)


def _read(path: Path, home: Home) -> Pending | None:
    """None where a writer has recorded and deleted it since the folder was listed."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    try:
        facts: Any = canonical.parse(content.removesuffix(b"\n"))
        body, signature = facts["body"], facts["signature"]
        signed = home.public.verifies(canonical.canonical_bytes(body), signature)
    except (ValueError, TypeError, KeyError):
        raise _refused(path, "is not an instruction") from None
    if not signed:
        raise _refused(path, "is not signed by this registry's key")
    if set(body) != FIELDS or body["format"] != FORMAT:
        raise _refused(path, f"has a format that this program does not read ({body.get('format')!r})")
    if body["registry"] != home.registry:
        raise _refused(path, f"is for the registry {body['registry']}")
    after = {**(body["after"] or {}), "pending": {"id": body["id"], "signature": signature}}
    event = NewEvent(
        Person(**body["actor"]), body["kind"], body["object"], body["before"], after, body["reason"], body["request"],
        at=body["at"],
    )  # fmt: skip
    return Pending(path, body["id"], body["at"], body["seen"], event, body["rows"], signature)


def _refused(path: Path, problem: str) -> RecordsError:
    return RecordsError(
        f"The pending instruction {path} {problem}; nothing is written while it is there.",
        fix="Find out who put it there, move it out of the folder and run the command again.",
    )
