"""Going back and stopping: one command each, without a new approval, because that must never wait for one.

Called by `tsugiki registry rollback` and `stop`, and by a withdrawal. A name goes back only to a version that it had
before, so that everything it can point to was approved once. Where the database cannot be written, or another writer
does not end, the instruction is signed and left in pending/, where it holds at once; the next writer folds it in.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError
from tsugiki.records import ledger, pending
from tsugiki.records.aliases import AliasState, alias_at, move
from tsugiki.records.ledger import NewEvent, Rows, append
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.records.schema import alias_moves, events
from tsugiki.records.versions import Version, version_at
from tsugiki.work.lifecycle import is_withdrawn, split_alias, verify_files
from tsugiki.work.reason import said

PATIENCE_SECONDS = 10.0  # for another writer at work, which may be collecting rubbish from a bucket for minutes
ROLLED_BACK, STOPPED = "alias.rolled_back", "alias.stopped"


@dataclass(frozen=True)
class Moved:
    """A name that moved: numbers of versions, None for nothing.

    `skipped` were passed over as withdrawn. `waits` says that the database could not be written: the move holds, and
    the next writer records it.
    """

    model: str
    alias: str
    before: int | None
    after: int | None
    skipped: tuple[int, ...] = ()
    waits: bool = False


def rollback(records: Records, reference: str, *, to: int | None = None, actor: Actor, reason: str) -> Moved:
    """Let `name@alias` point to what it pointed to before, or to version `to`, which it must have had.

    From a stopped name it goes to the version before the one that was stopped. Withdrawn versions are passed over. The
    files of the version are read and compared first. Raises RecordsError where nothing is left to go back to.
    """
    require(actor, "rollback")
    why, (model, alias) = said(reason), split_alias(reference)
    with records.database.reading() as connection:
        state = alias_at(connection, model, alias)
        target, skipped = _target(connection, state, to)
        verify_files(records, connection, target)
        instruction = move(connection, actor, model, alias, target.seq, kind=ROLLED_BACK, reason=why)
    return _carry_out(records, state, instruction, target, skipped)


def stop(records: Records, reference: str, *, actor: Actor, reason: str) -> Moved:
    """Let `name@alias` point to nothing. Raises RecordsError where it points to nothing already."""
    require(actor, "stop")
    why, (model, alias) = said(reason), split_alias(reference)
    with records.database.reading() as connection:
        state = alias_at(connection, model, alias)
        if state.version is None:
            what = "never pointed to anything" if state.since is None else "points to nothing already"
            raise RecordsError(f"{reference} {what}.", fix=f"See: tsugiki registry history {model}.")
        instruction = move(connection, actor, model, alias, None, kind=STOPPED, reason=why)
    return _carry_out(records, state, instruction, None, ())


def stop_in(connection: Connection, state: AliasState, *, actor: Actor, reason: str) -> Moved:
    """Stop a name in the caller's transaction, which settled that this may be."""
    append(connection, *move(connection, actor, state.model, state.alias, None, kind=STOPPED, reason=reason))
    return Moved(state.model, state.alias, state.number, None)


def _carry_out(
    records: Records,
    seen: AliasState,
    instruction: tuple[NewEvent, Rows],
    target: Version | None,
    skipped: tuple[int, ...],
) -> Moved:
    """Record the move, unless something came between; leave it in pending/ where the database cannot be written."""
    number = None if target is None else target.number
    try:
        with records.database.writing(PATIENCE_SECONDS) as connection:
            _refuse_too_late(connection, seen, target)
            append(connection, *instruction)
        return Moved(seen.model, seen.alias, seen.number, number, skipped)
    except _TooLateError as late:
        raise RecordsError(
            f"{late} in this moment.", fix="See where the name points, then run the command again."
        ) from None
    except RecordsError:
        with records.database.reading() as connection:
            head = ledger.head(connection).seq
        pending.leave(records.database.home, records.database.key, *instruction, seen=head)
        return Moved(seen.model, seen.alias, seen.number, number, skipped, waits=True)


class _TooLateError(Exception):
    """Somebody else was faster: says with what. No RecordsError, or the move would be left in pending/."""


def _refuse_too_late(connection: Connection, seen: AliasState, target: Version | None) -> None:
    """Between looking and the turn to write, the name may have moved and the version may have been withdrawn."""
    found = alias_at(connection, seen.model, seen.alias)
    # What was seen waiting in pending/ had no seq; this turn has given it one.
    if found.version != seen.version or (seen.seq is not None and found.seq != seen.seq):
        raise _TooLateError(f"{seen.model}@{seen.alias} moved")
    if target is not None and is_withdrawn(connection, target.model, target.number):
        raise _TooLateError(f"{target.label} was withdrawn")


def _target(connection: Connection, state: AliasState, to: int | None) -> tuple[Version, tuple[int, ...]]:
    """The version to go back to, and the numbers of those that were passed over."""
    name = f"{state.model}@{state.alias}"
    past, stack = _past(connection, state)
    if not past:
        raise RecordsError(f"{name} never pointed to anything.", fix="Promote a version first.")
    if to is None:
        wanted = list(reversed(stack[:-1]))
    else:
        wanted = [seq for seq in dict.fromkeys(past) if version_at(connection, seq).number == to]
        if not wanted:
            numbers = sorted({version_at(connection, seq).number for seq in past})
            raise RecordsError(
                f"{name} never pointed to {state.model}@{to}.",
                fix=f"It can go back to: {', '.join(map(str, numbers))}; for another one ask for approval.",
            )
        if wanted[0] == state.version:
            raise RecordsError(f"{name} points to {state.model}@{to} already.", fix="Nothing is left to do.")
    skipped: list[int] = []
    for seq in dict.fromkeys(wanted):
        found = version_at(connection, seq)
        if not is_withdrawn(connection, found.model, found.number):
            return found, tuple(skipped)
        skipped.append(found.number)
    if to is not None:
        raise RecordsError(
            f"{name} cannot go back to {state.model}@{to}, which was withdrawn.",
            fix=f"See what it pointed to before with: tsugiki registry history {name}.",
        )
    if skipped:
        what = f"all that it could go back to was withdrawn ({', '.join(map(str, skipped))})"
    else:
        what = "it pointed to nothing before"
    raise RecordsError(f"{name} cannot go back: {what}.", fix=f"Stop it with: tsugiki registry stop {name}.")


def _past(connection: Connection, state: AliasState) -> tuple[list[int], list[int]]:
    """Every version that the name had, and those it would go back through, the last being the newest.

    Going back takes a version off the stack, so that going back twice goes back two steps.
    """
    moves = (
        select(alias_moves.c.version, events.c.kind)
        .join(events, events.c.seq == alias_moves.c.seq)
        .where(alias_moves.c.model == state.model, alias_moves.c.alias == state.alias)
        .order_by(alias_moves.c.seq)
    )
    had = [(row.version, row.kind) for row in connection.execute(moves)]
    # What waits in pending/ holds already. One that was recorded just now counts twice, which changes nothing.
    had += [
        (one["version"], waiting.event.kind)
        for waiting in pending.waiting(ledger.home_of(connection))
        for one in waiting.moves
        if (one["model"], one["alias"]) == (state.model, state.alias)
    ]
    had = [(version, kind) for version, kind in had if version is not None]
    stack: list[int] = []
    for version, kind in had:
        if kind == ROLLED_BACK and version in stack:
            del stack[_last(stack, version) + 1 :]
        elif stack[-1:] != [version]:
            stack.append(version)
    return [version for version, _ in had], stack


def _last(stack: list[int], version: int) -> int:
    return max(place for place, one in enumerate(stack) if one == version)
