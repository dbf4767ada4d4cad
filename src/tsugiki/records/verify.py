"""Whether a registry's ledger and the tables it writes are what was signed; offline, with the public key alone.

Called by the command that verifies, by backup and restore, and by tests. Reads every row once, in order, in flat
memory, through plain database cursors: of a SQLite file opened for reading, or of an open connection. Names the first
bad record. Never writes, and never trusts what the registry's folder says about itself.

What it proves: each event has the hash that the next one names · checkpoints, each naming the one before it, sign
events by hash, and the last signature is genuine, so everything before it is · every event is signed · the other tables
hold exactly the rows that events name · versions are signed · people and tokens are as events left them · the triggers
that keep tables append-only are there. What it cannot see without an anchor (`known`): that the newest events were cut
off together with their checkpoints.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tsugiki.records.chain import BadRecord, Chain, Read, Row, Signed, TamperedError
from tsugiki.records.checkpoints import Checkpoint, read_checkpoint
from tsugiki.records.fold import Fold
from tsugiki.records.keys import PublicKey
from tsugiki.records.parts import query_of, sqlite_reader, verify_in_parts
from tsugiki.records.schema import append_only_statements
from tsugiki.records.sqlite_files import open_read_only

BLOCK = 2000  # rows that a PostgreSQL cursor fetches at a time
_numbers = itertools.count()


@dataclass(frozen=True)
class Report:
    """What was read up to the end or the first bad record.

    `newest` is the checkpoint up to which everything is proved; `anchored` says whether the newest events were compared
    with a checkpoint from elsewhere. `bad` is None when nothing is wrong.
    """

    events: int
    checkpoints: int
    registry: str
    newest: Checkpoint | None
    anchored: bool
    bad: BadRecord | None


def verify(
    source: Path | Connection, public: PublicKey, *, registry: str | None = None, known: Iterable[Signed] = ()
) -> Report:
    """Verify a SQLite file or the database of a connection (one from `Database.reading()`, for one moment's view).

    `registry` is its id where the caller knows it; `known` are checkpoints from elsewhere, oldest first, such as
    `anchor.read_anchor` gives. Raises RecordsError when there is no database to read.
    """
    known = iter(known)
    first = next(known, None)
    anchors = () if first is None else itertools.chain((first,), known)
    if isinstance(source, Connection):
        return _verify(_reader(source), _triggers(source), public, registry, anchors)
    with closing(open_read_only(source)) as plain:
        plain.execute("BEGIN")
        if first is None and not [*_sqlite_triggers(plain)]:
            in_parts = verify_in_parts(source, plain, public, registry)
            if in_parts is not None:
                chain, checkpoints = in_parts
                return _report(chain, checkpoints, anchored=False)
        return _verify(sqlite_reader(plain), _sqlite_triggers(plain), public, registry, anchors)


def index_problem(path: Path) -> BadRecord | None:
    """Whether the indices of a SQLite file say what its tables say: `verify` reads tables, and names go by index.

    Takes longer than everything else about a long ledger, so it is asked for where the files are read as well.
    """
    with closing(open_read_only(path)) as plain:
        try:
            (found,) = plain.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
    return None if found == "ok" else BadRecord("registry.db", None, f"its tables and indices differ: {found}")


def _verify(
    read: Read, triggers: Iterator[str], public: PublicKey, registry: str | None, known: Iterable[Signed]
) -> Report:
    chain: Chain | None = None
    try:
        for problem in triggers:
            raise TamperedError(problem, None, "a trigger that keeps it append-only is missing or was changed")
        chain = Chain(read, public, registry, known)
        fold = Fold(read, public)
        for facts in chain.believed():
            fold.follow(facts)
        fold.end()
    except TamperedError as error:
        if chain is None:
            return Report(0, 0, registry or "", None, known != (), error.bad)
        return Report(chain.events, chain.checkpoints, chain.registry, None, known != (), error.bad)
    return _report(chain, chain.checkpoints, anchored=known != ())


def _report(chain: Chain, checkpoints: int, *, anchored: bool) -> Report:
    assert chain.newest is not None, "a chain without a checkpoint is not true"
    _, body, signature = chain.newest
    return Report(chain.events, checkpoints, chain.registry, read_checkpoint(body, signature), anchored, None)


def _reader(connection: Connection) -> Read:
    plain: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return sqlite_reader(plain)

    def read(name: str) -> Iterator[Row]:
        from psycopg import Error

        try:
            with plain.cursor(name=f"verify_{next(_numbers)}") as cursor:
                cursor.itersize = BLOCK
                cursor.execute(query_of(name))
                yield from cursor
        except Error as error:
            raise TamperedError(name, None, f"it cannot be read: {error}") from None

    return read


def _triggers(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        return _sqlite_triggers(connection.connection.dbapi_connection)
    found = connection.exec_driver_sql(
        "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
    )
    return _missing({name: None for (name,) in found}, dict.fromkeys(_wanted("postgresql")))


def _sqlite_triggers(connection: Any) -> Iterator[str]:
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    return _missing(dict(found.fetchall()), _wanted("sqlite"))


def _wanted(dialect: str) -> dict[str, str]:
    made = (statement for statement in append_only_statements(dialect) if statement.startswith("CREATE TRIGGER"))
    return {statement.split()[2]: statement for statement in made}


def _missing(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Tables whose triggers are not exactly ours; a trigger of somebody else's is named itself."""
    for name, statement in wanted.items():
        if name not in found or found[name] != statement:
            yield name.partition("_keep_")[0]
    yield from sorted(found.keys() - wanted.keys())
