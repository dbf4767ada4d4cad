"""Connections to a registry's database: many readers, one writer at a time, whole transactions or none.

Called by every verb through `Records.database`. SQLite in WAL mode with synchronous=FULL, or PostgreSQL. A writer waits
its turn outside the database (a lock on registry.lock, or an advisory lock in PostgreSQL), so that "database is locked"
cannot happen between our own processes; at its end the events of the transaction are signed by a checkpoint. Never
retries, and never keeps a part of a transaction.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import checkpoints, pending
from tsugiki.records.keys import PRIVATE, SigningKey, load_key
from tsugiki.records.ledger import HOME, WRITING, Home, Turn
from tsugiki.records.sqlite_files import FrozenFile, is_written, open_read_only

LOCK = "registry.lock"
PATIENCE_MS = 30_000  # how long a writer waits for another program that holds the SQLite file
TRY_SECONDS = 0.05  # between two looks at a lock that somebody else holds
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "recursive_triggers=ON",  # or INSERT OR REPLACE would get past the triggers of append-only tables
    "trusted_schema=OFF",
)
PASSWORD = re.compile(r"(?<=:)[^:/]+(?=@)")  # in a URL, also in one that is wrong
FREE_SPACE = "Free some space and run the command again."
FIXES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), FREE_SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Run the command as a user who may write to it."),
}


@dataclass(frozen=True)
class Database:
    """The database of the registry at `home`."""

    engine: Engine
    home: Home

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees the database as it was at its first query. Raises RecordsError in one sentence."""
        with self._in_one_sentence(), self.engine.connect() as connection, connection.begin():
            frozen = isinstance(connection.connection.dbapi_connection, FrozenFile)
            before = self._written_at() if frozen else None
            yield connection
            if frozen and self._written_at() != before:
                raise RecordsError(f"The database {self.path} was changed while it was read.", fix="Run it again.")

    @contextmanager
    def writing(self, patience: float | None = None) -> Iterator[Connection]:
        """A transaction that is alone in writing; committed whole at the end, rolled back whole by any exception.

        Events appended in it are signed before the commit. Raises RecordsError in one sentence when the key cannot be
        read, the disk is full, the folder cannot be written to or the database is held by another program; and when
        the turn to write did not come within `patience` seconds (None waits as long as it takes).
        """
        key = self.key
        with self._in_one_sentence(), self._turn(patience):
            with self._alone(patience) as (connection, turn):
                recorded = pending.record(connection, self.home)
                yield connection
                if after := turn.head:
                    checkpoints.write_checkpoint(
                        connection, key, registry=self.home.registry, seq=after.seq, hash=after.hash, at=after.at
                    )
            for path in recorded:
                # Committed is committed: a file that stays is known as recorded, and the next writer tries again.
                with suppress(OSError):
                    path.unlink()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Alone in writing, but nothing is signed: for making and upgrading the tables. Raises as `writing` does."""
        with self._in_one_sentence(), self._turn(), self._alone() as (connection, _):
            yield connection

    @contextmanager
    def _alone(self, patience: float | None = None) -> Iterator[tuple[Connection, Turn]]:
        turn = Turn()
        with self.engine.connect() as plain:
            connection = plain.execution_options(**{WRITING: turn})
            if connection.dialect.name == "postgresql":
                # A snapshot would be taken while waiting for the lock, and would not hold what others wrote meanwhile.
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * (patience or 0))}")  # 0: for ever
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (self._lock_number,))
                    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                yield connection, turn
                if turn.half_written:
                    raise RuntimeError("an event could not be appended, and the error was not passed on")

    @cached_property
    def key(self) -> SigningKey:
        """The registry's private key. Raises RecordsError when it cannot be used or belongs to another registry."""
        path = self.home.folder / "keys" / PRIVATE
        key = load_key(path)
        if key.public != self.home.public:
            raise RecordsError(
                f"{path} does not belong to the public key beside it.",
                fix="Restore both from the same backup of the registry.",
            )
        return key

    @property
    def name(self) -> str:
        """For messages: the file, or the URL without its password."""
        return str(self.path or self.engine.url.render_as_string(hide_password=True))

    @property
    def path(self) -> Path | None:
        """The SQLite file."""
        return Path(self.engine.url.database or "") if self.engine.dialect.name == "sqlite" else None

    def _written_at(self) -> tuple[bool, int]:
        assert self.path is not None
        return is_written(self.path), self.path.stat().st_mtime_ns

    @property
    def _lock_number(self) -> int:
        return int.from_bytes(bytes.fromhex(digest_bytes(self.home.registry.encode())[7:23]), signed=True)

    @contextmanager
    def _turn(self, patience: float | None = None) -> Iterator[None]:
        """On SQLite, wait for this process's turn to write. The system lets go when a process ends, however it does."""
        if self.path is None:
            yield  # PostgreSQL queues its writers itself
            return
        handle = os.open(self.home.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            if patience is None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            else:
                self._try_turn(handle, time.monotonic() + patience)
            yield
        finally:
            os.close(handle)

    def _try_turn(self, handle: int, until: float) -> None:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until:
                    problem, fix = BUSY
                    raise RecordsError(f"The database {self.name} {problem}.", fix=fix) from None
                time.sleep(TRY_SECONDS)

    @contextmanager
    def _in_one_sentence(self) -> Iterator[None]:
        where = self.name
        try:
            yield
        except DBAPIError as error:
            told = _told(error, where)
            if told is None:
                raise
            raise told from error
        except OSError as error:
            place = error.filename or where
            raise RecordsError(
                f"{place} cannot be written to: {error.strerror or error}.",
                fix=FIXES.get(error.errno or 0, "Nothing was changed; see to it first."),
            ) from error


def open_database(url: str, home: Home) -> Database:
    """Prepare (not yet make) connections to `url`; a relative SQLite path counts from the registry's folder.

    Raises RecordsError for a URL that is no URL or names another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RecordsError(
            f"{PASSWORD.sub('***', url)!r} is no database URL.", fix="Write sqlite:///registry.db or postgresql://…"
        ) from None
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise RecordsError(f"The database {kind} is not supported.", fix="Use sqlite:///registry.db or postgresql://…")
    if kind == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}
    else:
        parsed = parsed.set(drivername="sqlite", database=str(home.folder / (parsed.database or "registry.db")))
        path = Path(parsed.database or "")
        options = {"creator": lambda: _connect_sqlite(path)}
    try:
        engine = create_engine(parsed, **options)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise RecordsError(
            "A registry in PostgreSQL needs psycopg, which is not installed.",
            fix="Install it with: pip install 'tsugiki[postgres]'",
        ) from None
    if kind == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "checkin", _drop_frozen)
    return Database(engine.execution_options(**{HOME: home}), home)


def _connect_sqlite(path: Path) -> sqlite3.Connection:
    """A connection that can write, or one that cannot for who may not write to the folder."""
    # Transactions begin where we say (isolation_level), not where the driver guesses.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.OperationalError as error:
        connection.close()
        if "readonly" not in str(error) or is_written(path):
            raise
        return open_read_only(path)
    return connection


def _drop_frozen(connection: Any, record: Any) -> None:
    """A connection that takes no notice of writers is used once."""
    if isinstance(connection, FrozenFile):
        record.invalidate()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now; a read that turns into a write later could find the database changed.
    writing = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


BUSY = ("is being written to all the time", "Wait for the other command, then run this one again.")
TOLD = {
    "due to lock timeout": BUSY,
    "database is locked": ("is held by another program", "Close that program and run the command again."),
    "disk is full": ("cannot grow, because the disk is full", FREE_SPACE),
    "readonly database": ("cannot be written to", "Run the command as a user who may write to it."),
    "unable to open": ("cannot be opened", "Look at the permissions of the folder, or restore it from a backup."),
    "not a database": ("is not a registry's database", "Restore it from a backup with: tsugiki registry restore"),
    "malformed": ("is damaged", "Restore it from a backup with: tsugiki registry restore"),
    "disk i/o error": ("cannot be read or written (disk I/O error)", "Look at the disk, then run the command again."),
    "no such table": ("holds no registry", "Restore it from a backup with: tsugiki registry restore"),
    "read-only transaction": ("cannot be written to", "Run the command against the server that takes changes."),
    "is append-only": ("does not change what was recorded", "Record a new event instead."),
    "connection": ("cannot be reached", "Look at the address and the server, then run the command again."),
}


def _told(error: DBAPIError, where: str) -> RecordsError | None:
    """One sentence for what a user can meet; anything else is a bug of ours and keeps its traceback."""
    said = str(error.orig).lower()
    for words, (problem, fix) in TOLD.items():
        if words in said:
            return RecordsError(f"The database {where} {problem}.", fix=fix)
    return None
