"""Looking back and proving: the history of a thing, verification of the whole, anchors, and what a name once meant.

Called by `tsugiki registry history`, `verify`, `anchor` and `show`. Only reads, but for the event that says that a
checkpoint was anchored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tsugiki.errors import RecordsError, UsageError
from tsugiki.records import pending, schema
from tsugiki.records.aliases import AliasState, alias_at
from tsugiki.records.anchor import anchor_to_command, anchor_to_file, read_anchor
from tsugiki.records.checkpoints import newest_checkpoint
from tsugiki.records.keys import load_given
from tsugiki.records.ledger import Event, NewEvent, append, history, read_event
from tsugiki.records.open import Records
from tsugiki.records.packs import referenced
from tsugiki.records.rights import Actor, require
from tsugiki.records.verify import Report, index_problem, verify
from tsugiki.work.lifecycle import split_alias
from tsugiki.work.promotion import PROMOTED

ANCHORED = "checkpoint.anchored"


@dataclass(frozen=True)
class Pointed:
    """What a name meant at a moment, and the event of the promotion that this rests on (None: it meant nothing)."""

    state: AliasState
    promotion: Event | None


def history_of(
    records: Records, about: str | None, *, since: str | None = None, until: str | None = None, limit: int = 100
) -> tuple[list[Event], list[dict[str, Any]]]:
    """The events of one thing, the newest first, and what waits in pending/. `about`: a name, name@3, name@alias,
    person:NAME or policy; None for everything.

    Raises RecordsError where nothing is known of it.
    """
    wanted: dict[str, Any] = {"since": since, "until": until, "limit": limit}
    if about is not None and (":" in about or about == "policy" or "@" in about):
        wanted["object"] = about
    elif about is not None:
        wanted["model"] = about
    with records.database.reading() as connection:
        events = history(connection, **wanted)
        if not events and about is not None and not history(connection, **{**wanted, "since": None, "until": None}):
            raise RecordsError(f"The ledger knows nothing of {about}.", fix="See all of it: tsugiki registry history.")
    waiting = [
        {"kind": one.event.kind, "object": one.event.object, "actor": one.event.actor.name, "at": one.at}
        for one in pending.waiting(records.database.home)
        if about is None or one.event.object == about or one.event.object.startswith(f"{about}@")
    ]
    return events, waiting


def pointed(records: Records, reference: str, at: str | None = None) -> Pointed:
    """What `name@alias` means, or meant at a stored moment: one indexed look-up, and its promotion."""
    model, alias = split_alias(reference)
    with records.database.reading() as connection:
        state = alias_at(connection, model, alias, at)
        if state.version is None:
            return Pointed(state, None)
        moves, events = schema.alias_moves, schema.events
        promotions = (
            select(events.c.body)
            .join(moves, moves.c.seq == events.c.seq)
            .where(moves.c.model == model, moves.c.alias == alias, moves.c.version == state.version)
            .where(events.c.kind == PROMOTED, events.c.at <= (state.since or ""))
            .order_by(events.c.seq.desc())
            .limit(1)
        )
        body = connection.execute(promotions).scalar()
    return Pointed(state, None if body is None else read_event(bytes(body)))


def verify_registry(
    records: Records, *, anchor: Path | None, public_key: Path | None, files: bool
) -> tuple[Report, int | None]:
    """The report on ledger and tables, and how many files were read. Raises RecordsError at a file that is broken.

    With `files` the indices of a SQLite file are compared with its tables as well.
    With `public_key` nothing that the registry's folder says about itself is trusted.
    """
    public = records.database.home.public if public_key is None else load_given(public_key)
    known = () if anchor is None else read_anchor(anchor, public)
    home = records.database.home
    with records.database.reading() as connection:
        source = records.database.path or connection
        report = verify(source, public, registry=home.registry, known=known)
        if files and report.bad is None and records.database.path is not None:
            report = replace(report, bad=index_problem(records.database.path))
        wanted = referenced(connection) if files and report.bad is None else {}
    for digest, size in wanted.items():
        records.store.verify(digest, size)
    return report, len(wanted) if files and report.bad is None else None


def anchor_newest(
    records: Records, *, file: Path | None, command: Sequence[str] | None, actor: Actor
) -> dict[str, Any]:
    """Anchor the newest checkpoint to a file or a command, then record that it was."""
    require(actor, "anchor")
    with records.database.reading() as connection:
        newest = newest_checkpoint(connection)
    if newest is None:
        raise RecordsError("The ledger has no checkpoint.", fix="Run: tsugiki registry verify.")
    if file is not None:
        anchor_to_file(file, newest, records.database.home.public)
        to = str(file)
    elif command:
        anchor_to_command(command, newest)
        to = command[0]
    else:
        raise UsageError("Nothing was named to anchor to.", fix="Name a file or a command.")
    done = {"seq": newest.seq, "hash": newest.hash, "to": to}
    with records.database.writing() as connection:
        append(connection, NewEvent(actor, ANCHORED, "ledger", after=done, reason="anchored"))
    return done
