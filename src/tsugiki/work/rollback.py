"""Going back and stopping: one command each, without a new approval, because that must never wait for one.

Called by `tsugiki registry rollback` and `stop`, and by a withdrawal. A name goes back only to a version that it had
before, so that everything it can point to was approved once. Where the database cannot be written, the instruction is
signed and left in pending/, where it holds at once; the next writer folds it in.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError
from tsugiki.records.aliases import AliasState, alias_at
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.records.schema import alias_moves, events
from tsugiki.records.versions import split_reference, version_at
from tsugiki.work.lifecycle import is_withdrawn, said

ROLLED_BACK, STOPPED = "alias.rolled_back", "alias.stopped"


@dataclass(frozen=True)
class Moved:
    """A name that moved: numbers of versions, None for nothing. `skipped` were passed over as withdrawn."""

    model: str
    alias: str
    before: int | None
    after: int | None
    skipped: tuple[int, ...] = ()


def rollback(records: Records, reference: str, *, to: int | None = None, actor: Actor, reason: str) -> Moved:
    """Let `name@alias` point to what it pointed to before, or to version `to`, which it must have had.

    From a stopped name it goes to the version before the one that was stopped. Withdrawn versions are passed over. The
    files of the version are read and compared first. Raises RecordsError where nothing is left to go back to.
    """
    require(actor, "rollback")
    why = said(reason)
    with records.database.reading() as connection:
        verify_files(records, connection, _target(connection, reference, to)[0])
    with records.database.writing() as connection:
        version, skipped = _target(connection, reference, to)
        before = alias_at(connection, version.model, split_reference(reference)[1])
        return _move(connection, before, version, ROLLED_BACK, skipped, actor=actor, reason=why)


def stop(records: Records, reference: str, *, actor: Actor, reason: str) -> Moved:
    """Let `name@alias` point to nothing. Raises RecordsError where it points to nothing already."""
    require(actor, "stop")
    why = said(reason)
    with records.database.writing() as connection:
        state = _state(connection, reference)
        if state.version is None:
            raise RecordsError(f"{reference} points to nothing already.", fix="See: tsugiki registry history.")
        return stop_alias(connection, state, actor=actor, reason=why)


def stop_alias(connection: Connection, state: AliasState, *, actor: Actor, reason: str) -> Moved:
    """In the caller's transaction, which settled that this may be."""
    return _move(connection, state, None, STOPPED, (), actor=actor, reason=reason)
