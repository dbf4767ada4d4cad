"""A long ledger in a SQLite file verified in as many parts as there are cores, a process for each.

Called by `verify`, and by itself as `python -m tsugiki.records.parts`. A part starts from the hash that the database
gives for the event before it, which the part before it confirms. The parts only say that everything is true: if one of
them does not, `verify` reads the whole in order and names the first bad record.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import available_cores
from tsugiki.records.chain import Chain, Read, Row, Start, TamperedError
from tsugiki.records.fold import Fold
from tsugiki.records.keys import PublicKey
from tsugiki.records.schema import metadata
from tsugiki.records.sqlite_files import open_read_only

SMALLEST = 50_000  # events in a part; fewer are verified before a process has started
MOST = 8  # parts
BLOCK = 500  # rows that are fetched at a time


@dataclass(frozen=True)
class Bounds:
    """Rows with `first` <= seq < `end`; the first part also has what comes before, the last what comes after."""

    first: int | None
    end: int | None

    @property
    def condition(self) -> str:
        if self.first is None:
            return f"seq < {self.end} OR seq IS NULL" if self.end is not None else "TRUE"
        return f"seq >= {self.first}" + (f" AND seq < {self.end}" if self.end is not None else "")


def query_of(name: str, bounds: Bounds | None = None) -> str:
    """All rows of a table in the order that verification needs."""
    table = metadata.tables[name]
    where = f" WHERE {bounds.condition}" if bounds is not None and "seq" in table.columns else ""
    order = ", ".join(column.name for column in table.primary_key)
    return f"SELECT {', '.join(table.columns.keys())} FROM {name}{where} ORDER BY {order}"  # noqa: S608 - our own names


def sqlite_reader(connection: sqlite3.Connection, bounds: Bounds | None = None) -> Read:
    def read(name: str) -> Iterator[Row]:
        try:
            cursor = connection.execute(query_of(name, bounds))
            while rows := cursor.fetchmany(BLOCK):
                yield from rows
        except sqlite3.DatabaseError as error:
            raise TamperedError(name, None, f"it cannot be read: {error}") from None

    return read


def verify_in_parts(
    path: Path, connection: sqlite3.Connection, public: PublicKey, registry: str | None
) -> tuple[Chain, int] | None:
    """The chain of the last part and the number of all checkpoints, when everything is true.

    Nothing when it has to be read in order: there are few events, one core, or something is wrong.
    """
    events = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
    count = min(available_cores(), MOST, (events if isinstance(events, int) else 0) // SMALLEST)
    if count < 2:
        return None
    try:
        registry = Chain(sqlite_reader(connection), public, registry).registry
        edges = [None, *(1 + events * part // count for part in range(1, count)), None]
        bounds = [Bounds(first, end) for first, end in itertools.pairwise(edges)]
        processes = [_start(path, public, registry, part) for part in bounds[:-1]]
        try:
            chain, fold = _follow(connection, public, registry, bounds[-1])
            found = [json.loads(process.communicate()[0] or "null") for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if not all(found):
            return None
        fold.end([about for part in found for about in part["people"]])
        return chain, chain.checkpoints + sum(part["checkpoints"] for part in found)
    except (TamperedError, sqlite3.DatabaseError, ValueError):
        return None


def _start(path: Path, public: PublicKey, registry: str, bounds: Bounds) -> subprocess.Popen[bytes]:
    arguments = json.dumps([str(path), public.raw.hex(), registry, bounds.first, bounds.end])
    command = [sys.executable, "-m", "tsugiki.records.parts", arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _follow(connection: sqlite3.Connection, public: PublicKey, registry: str, bounds: Bounds) -> tuple[Chain, Fold]:
    """Read one part up to its end. Raises TamperedError."""
    read, start = sqlite_reader(connection, bounds), None
    if bounds.first is not None:
        before = connection.execute("SELECT seq, hash, at FROM events WHERE seq = ?", (bounds.first - 1,)).fetchone()
        newest = connection.execute(
            "SELECT seq, body, signature FROM checkpoints WHERE seq < ? ORDER BY seq DESC LIMIT 1", (bounds.first,)
        ).fetchone()
        if before is None or not isinstance(before[2], str):
            raise TamperedError("events", bounds.first - 1, "it is missing")
        start = Start(before[0], before[1], before[2], newest)
    chain = Chain(read, public, registry, start=start, is_last=bounds.end is None)
    fold = Fold(read, public)
    for facts in chain.believed():
        fold.follow(facts)
    if bounds.end is not None:
        if chain.events != bounds.end - 1:
            raise TamperedError("events", chain.events + 1, "it is missing")
        fold.end_part()
    return chain, fold


def main(arguments: str) -> int:
    """Verify one part and print what the last part needs to know of it; nothing when it is not true."""
    path, key, registry, first, end = json.loads(arguments)
    try:
        with closing(open_read_only(Path(path))) as connection:
            connection.execute("BEGIN")
            chain, fold = _follow(connection, PublicKey(bytes.fromhex(key)), registry, Bounds(first, end))
    except (TamperedError, RecordsError, sqlite3.DatabaseError):
        return 1
    told: dict[str, Any] = {"checkpoints": chain.checkpoints, "people": fold.about_people}
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
