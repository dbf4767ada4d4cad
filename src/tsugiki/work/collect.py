"""Remove files of the store that nothing refers to: what was stored for a change that then never happened.

Called by `tsugiki registry gc`. Looks and deletes while holding the writers' turn, so that no change commits between
looking and deleting; a writer that stored a file before its turn looks for it again inside its transaction. Files
younger than the grace are left alone, so that such a writer seldom has to store twice. A file that any version, pack or
event names is never touched, unless it was erased; what was erased and still lies there is removed. Never deletes rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.packs import erased, referenced
from tsugiki.records.rights import Actor, require
from tsugiki.records.schema import events, packs, versions

GRACE_HOURS, LEAST_GRACE_HOURS = 24.0, 1.0
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Collected:
    """`files` are removed, or would be in a dry run; `young` are left for now; `leftovers` are dead writers' halves."""

    files: tuple[str, ...]
    erased: tuple[str, ...]
    young: int
    kept: int
    leftovers: int
    dry_run: bool


def collect(
    records: Records,
    *,
    actor: Actor,
    reason: str = "",
    dry_run: bool = True,
    grace_hours: float = GRACE_HOURS,
    clock: Callable[[], float] = time.time,
) -> Collected:
    """Raises RecordsError where the store or the database cannot be read or written to, or the grace is too short."""
    require(actor, "gc")
    if not grace_hours >= LEAST_GRACE_HOURS:
        raise RecordsError(
            f"A grace of {grace_hours:g} hours could take files from a writer at work.",
            fix=f"Give --grace {LEAST_GRACE_HOURS:g} or more hours.",
        )
    if dry_run:
        with records.database.reading() as connection:
            return _sorted(records, connection, clock() - 3600 * grace_hours, dry_run=True)
    with records.database.writing() as connection:
        found = _sorted(records, connection, clock() - 3600 * grace_hours, dry_run=False)
        for digest in (*found.files, *found.erased):
            records.store.delete(digest)
        if found.files or found.erased:
            after = {"files": len(found.files), "erased": len(found.erased), "kept": found.kept}
            append(connection, NewEvent(actor, "files.collected", "store", after=after, reason=reason))
    return found


def remove_erased(records: Records, connection: Connection) -> int:
    """Delete what was erased and still lies in the store, as after a crash between the event and the deletion."""
    left = [digest for digest in erased(connection) if records.store.exists(digest)]
    for digest in left:
        records.store.delete(digest)
    return len(left)


def _sorted(records: Records, connection: Connection, before: float, *, dry_run: bool) -> Collected:
    needed, gone = _named(connection), erased(connection)
    rubbish, left_over, young, kept = [], [], 0, 0
    for digest in records.store.digests():
        if digest in gone:
            left_over.append(digest)
        elif digest in needed:
            kept += 1
        elif (appeared := records.store.modified(digest)) is not None and appeared > before:
            young += 1
        else:
            rubbish.append(digest)
    leftovers = 0 if dry_run else records.store.sweep()
    return Collected(tuple(sorted(rubbish)), tuple(sorted(left_over)), young, kept, leftovers, dry_run)


def _named(connection: Connection) -> set[str]:
    """Whatever any row or event names, also where it is a digest of something else: rather a file too many."""
    found = set(referenced(connection))
    for column in (events.c.body, versions.c.body, packs.c.body):
        for (body,) in connection.execution_options(stream_results=True, yield_per=1000).execute(select(column)):
            found.update(match.decode() for match in _DIGEST.findall(bytes(body)))
    return found
