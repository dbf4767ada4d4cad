"""The ledger: an event for every change, chained by hashes, and the rows that an event writes into the other tables.

Called by every verb that changes a registry, inside `Database.writing()`: `append` writes the event and its rows in
the caller's transaction, so that both are there or neither. An event's body names its rows, so `verify` can fold the
events and compare. What reads events (`Event`, `history`) is in files of its own and can be had here. Never commits,
never signs (`database` does, at the end of the transaction).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata as packages
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, LargeBinary, Table, bindparam, insert, select

from tsugiki.fingerprint import digest_bytes, digest_json
from tsugiki.records import canonical, times
from tsugiki.records.event_body import ACTOR_FIELDS, PROJECTIONS, Event, check_shape, read_event, recorded
from tsugiki.records.history import history
from tsugiki.records.keys import PublicKey
from tsugiki.records.schema import events, metadata

__all__ = [
    "ACTOR_FIELDS", "HOME", "PROJECTIONS", "WRITING", "Acting", "Event", "Head", "Home", "NewEvent", "Rows", "Turn",
    "append", "events_since", "genesis", "head", "history", "home_of", "moment", "read_event", "recorded", "tool",
]  # fmt: skip

Rows = Mapping[str, Sequence[Mapping[str, str | int | bytes | None]]]  # by table; `seq` and `at` are filled in

HOME = "tsugiki_home"  # the connection's execution option that holds its Home
WRITING = "tsugiki_writing"  # the one that holds the Turn of a connection that may write

# Made once: building a statement takes longer than running it, and writers wait for each other.
_HEAD = select(events.c.seq, events.c.hash, events.c.at).order_by(events.c.seq.desc()).limit(1)
_SINCE = select(events.c.body).where(events.c.seq > bindparam("since")).order_by(events.c.seq)
_EVENT = insert(events)
_ROWS = {name: insert(metadata.tables[name]) for name in PROJECTIONS}


@dataclass(frozen=True)
class Home:
    """Which registry a connection belongs to."""

    registry: str
    folder: Path
    public: PublicKey

    @property
    def genesis(self) -> str:
        """What the first event names as its `previous`."""
        return genesis(self.registry, self.public)


@dataclass
class Turn:
    """A transaction that is alone in writing, and the newest event as it knows it.

    An append that failed half-way must not be committed.
    """

    half_written: bool = False
    head: Head | None = None


class Acting(Protocol):
    """Who does something: `people.Actor`, or anything else with a name, a role and how it was known."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def auth(self) -> str: ...


@dataclass(frozen=True)
class NewEvent:
    """What is to be recorded.

    `before` and `after` are JSON values without floats; `object` is `name@3`, `name@alias`, a person, or what else was
    changed.
    """

    actor: Acting
    kind: str
    object: str
    before: Any = None
    after: Any = None
    reason: str = ""
    request: str | None = None
    at: str | None = None  # as stored; when it is not now (an instruction that waited in pending/)


@dataclass(frozen=True)
class Head:
    """The newest event, or what stands for it in an empty ledger (seq 0)."""

    seq: int
    hash: str
    at: str


def genesis(registry: str, public: PublicKey) -> str:
    return digest_json({"registry": registry, "key": public.digest})


def home_of(connection: Connection) -> Home:
    return connection.get_execution_options()[HOME]


def head(connection: Connection) -> Head:
    row = connection.execute(_HEAD).first()
    return Head(row.seq, row.hash, row.at) if row else Head(0, home_of(connection).genesis, "")


def moment(connection: Connection) -> str:
    """Now, and never before the newest event: a clock that was set back makes nothing valid again."""
    return max(head(connection).at, times.now())


def append(connection: Connection, event: NewEvent, rows: Rows | None = None) -> Event:
    """Record `event` and write `rows` (of append-only tables, with this event's seq) in the caller's transaction.

    A clock that is behind the newest event counts as that event's time. Raises ValueError for what an event may not
    hold, RecordsError when the database refuses, and RuntimeError outside `Database.writing()`: all before the caller's
    transaction can commit, so nothing is left behind.
    """
    turn: Turn | None = connection.get_execution_options().get(WRITING)
    if turn is None:
        raise RuntimeError("events are appended inside Database.writing() only")
    before = turn.head or head(connection)
    seq, at = before.seq + 1, max(before.at, event.at or times.now())
    filled = {
        name: [_filled(metadata.tables[name], row, seq, at) for row in several]
        for name, several in (rows or {}).items()
        if several
    }
    facts: dict[str, Any] = {
        "seq": seq, "previous": before.hash, "at": at,
        "actor": {name: getattr(event.actor, name) for name in ACTOR_FIELDS},
        "kind": event.kind, "object": event.object, "before": event.before, "after": event.after,
        "reason": event.reason, "request": event.request, "tool": tool(),
        "rows": {name: [recorded(row) for row in several] for name, several in filled.items()},
    }  # fmt: skip
    body = canonical.canonical_bytes(facts)
    check_shape(facts)
    if "\0" in f"{event.kind}{event.object}{event.actor.name}":
        raise ValueError("a kind, an object or a name holds NUL, which PostgreSQL cannot store")
    digest = digest_bytes(body)
    written = {"seq": seq, "hash": digest, "at": at, "actor": event.actor.name, "kind": event.kind}
    turn.half_written = True
    connection.execute(_EVENT, {**written, "object": event.object, "body": body})
    for name, several in filled.items():
        connection.execute(_ROWS[name], several)
    turn.half_written, turn.head = False, Head(seq, digest, at)
    return Event(**facts, hash=digest)


def events_since(connection: Connection, seq: int = 0) -> Iterator[Event]:
    """Events after `seq`, oldest first, streamed. Raises RecordsError at a body that cannot be read."""
    options = {"stream_results": True, "yield_per": 1000}
    rows = connection.execute(_SINCE, {"since": seq}, execution_options=options)
    for (body,) in rows:
        yield read_event(bytes(body))


@cache
def tool() -> str:
    """What wrote an event."""
    return f"tsugiki {packages.version('tsugiki')}"


def _filled(table: Table, row: Mapping[str, Any], seq: int, at: str) -> dict[str, Any]:
    """Every column of a row: its event's seq, its time unless it brings one, nothing where nothing is given."""
    if table.name not in PROJECTIONS:
        raise ValueError(f"{table.name} is not a table that events write")
    unknown = set(row) - set(table.columns.keys())
    if unknown:
        raise ValueError(f"{table.name} has no column {', '.join(sorted(unknown))}")
    given = {"seq": seq, **({"at": at} if "at" in table.columns else {}), **row}
    filled = {column.name: given.get(column.name) for column in table.columns}
    for column in table.columns:
        value = filled[column.name]
        if value is None and not column.nullable:
            raise ValueError(f"{table.name}.{column.name} is missing")
        if isinstance(column.type, LargeBinary) and value is not None and not isinstance(value, bytes):
            raise ValueError(f"{table.name}.{column.name} takes bytes")
    return filled
