"""How long contents are kept, what is on hold, and deleting contents by reference so that the ledger stays whole.

Called by `tsugiki registry retention …`. Contents of evidence lie in the store only, never in the database: the ledger
and the packs name them by digest, the texts of rows by salted digest with the salt inside the text's own file. So a
content is erased by deleting its file; an event says which files, by whom and why, and every digest stays valid. The
ledger itself is kept for good. What is on hold is never erased. Cannot reach copies outside the registry: the study
folder, earlier backups, exported archives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field
from sqlalchemy import Connection, select

from tsugiki.config import Knobs, parse
from tsugiki.errors import RecordsError, UsageError
from tsugiki.records.ledger import Event, NewEvent, append, read_event
from tsugiki.records.moments import moment_of
from tsugiki.records.open import Records
from tsugiki.records.packs import PackRow, Version, erased, files_of, packs_of
from tsugiki.records.rights import Actor, require
from tsugiki.records.schema import events, version_files, versions
from tsugiki.work.collect import remove_erased
from tsugiki.work.evidence_pack import ITEMS

PERIODS = "retention.yaml"
FLOOR_DAYS = 183  # of records that rules on AI systems want kept for six months
TEXTS = "texts/"
HELD, RELEASED = "retention.held", "retention.released"
EVERYTHING = "*"


class Periods(Knobs):
    """retention.yaml in the registry's folder: days after which contents of evidence may be erased; null keeps them."""

    texts_days: int | None = Field(None, ge=0, description="texts of single rows: prompts, answers, excerpts")
    evidence_days: int | None = Field(
        None, ge=FLOOR_DAYS, description="all files of a pack: trials, scores, scorecard; at least six months"
    )


@dataclass(frozen=True)
class Erased:
    """What one event erased, or would in a dry run (then `event` is None); `pack` is None for rows of all packs."""

    version: str
    pack: int | None
    files: int
    event: Event | None


def read_periods(folder: Path) -> Periods:
    """The periods of the registry in `folder`; without a file everything is kept. Raises UsageError for a bad file."""
    path = folder / PERIODS
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Periods()
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise UsageError(
            f"{path} cannot be read as YAML.", fix="Correct it, or delete it to keep everything."
        ) from None
    if not isinstance(value, Mapping):
        raise UsageError(f"{path} holds no names with days.", fix="Write for example: texts_days: 365")
    return parse(Periods, dict(value), source=str(path))


def hold(records: Records, what: str, *, actor: Actor, reason: str) -> Event:
    """Keep `what` (`name@3`, a name, or `*` for everything) from being erased, whatever its period."""
    return _held(records, what, HELD, actor=actor, reason=reason)


def release(records: Records, what: str, *, actor: Actor, reason: str) -> Event:
    """Let go of a hold; others that cover the same versions go on."""
    return _held(records, what, RELEASED, actor=actor, reason=reason)


def holds(connection: Connection) -> dict[str, Event]:
    """What is on hold now, with the event that put it there."""
    query = select(events.c.body).where(events.c.object >= "hold:", events.c.object < "hold;").order_by(events.c.seq)
    found: dict[str, Event] = {}
    for (body,) in connection.execute(query):
        event = read_event(bytes(body))
        found[event.object.removeprefix("hold:")] = event
    return {what: event for what, event in found.items() if event.kind == HELD}


def erase(
    records: Records,
    version: Version,
    rows: Sequence[int] | None,
    *,
    actor: Actor,
    reason: str,
) -> Erased:
    """Erase the kept texts of these rows of the data, or of all rows (None), from every pack of the version.

    Texts that other versions' packs of the same study share are the same files and go with them. Raises RecordsError
    where a hold forbids it, where no such text is kept, and where no reason is given.
    """
    require(actor, "retention")
    _reasoned(reason)
    with records.database.writing() as connection:
        _refuse_held(connection, version.model, version.number)
        remove_erased(records, connection)  # what a crash has left of an earlier deletion
        gone = erased(connection)
        texts = {
            digest
            for pack in packs_of(connection, version.seq)
            for digest in _texts(records, connection, pack, rows)
            if digest not in gone
        } - set(connection.scalars(select(version_files.c.digest)))  # of what is served, whoever calls it a text
        label = f"{version.model}@{version.number}"
        if not texts:
            what = "No text" if rows is None else f"No text of row {', '.join(map(str, rows))}"
            raise RecordsError(
                f"{what} is kept with {label}.", fix=f"See what is with: tsugiki registry evidence {label}"
            )
        _refuse_shared_hold(connection, texts)
        about: dict[str, Any] = {"what": "texts", "rows": None if rows is None else list(rows), "files": len(texts)}
        event = _append(connection, label, texts, about, actor=actor, reason=reason)
    for digest in texts:  # after the commit; what a crash leaves here goes with the next deletion or collection
        records.store.delete(digest)
    return Erased(label, None, len(texts), event)


def apply(records: Records, *, actor: Actor, now: datetime | None = None, dry_run: bool = True) -> list[Erased]:
    """Erase what is older than its period and not on hold; one event per pack and kind of content."""
    require(actor, "retention")
    periods, at = read_periods(records.folder), now or datetime.now(UTC)
    done: list[Erased] = []
    with records.database.reading() if dry_run else records.database.writing() as connection:
        kept = set(erased(connection)) | _still_needed(connection, periods, at)
        for pack, label, kind, days in _due(connection, periods, at):
            files = files_of(connection, pack.seq).items()
            left = {digest for path, digest in files if kind == "evidence" or path.startswith(TEXTS)} - kept
            if not left:
                continue
            kept |= left
            event = None
            if not dry_run:
                about = {"what": kind, "rows": None, "files": len(left), "pack": pack.digest}
                event = _append(connection, label, left, about, actor=actor, reason=f"older than {days} days")
            done.append(Erased(label, pack.seq, len(left), event))
    if not dry_run:
        with records.database.reading() as connection:
            remove_erased(records, connection)
    return done


def _due(connection: Connection, periods: Periods, at: datetime) -> list[tuple[PackRow, str, str, int]]:
    """Packs older than a period and on no hold: with the version's name, the kind of content and its days."""
    names, held = _names(connection), holds(connection)
    kinds = (("texts", periods.texts_days), ("evidence", periods.evidence_days))
    return [
        (pack, f"{names[pack.version][0]}@{names[pack.version][1]}", kind, days)
        for pack in packs_of(connection)
        for kind, days in kinds
        if days is not None and at - moment_of(pack.at) > timedelta(days=days)
        if _hold_on(held, *names[pack.version]) is None
    ]


def _still_needed(connection: Connection, periods: Periods, at: datetime) -> set[str]:
    """Files of versions, and files that a pack names which is not due: equal files are stored once."""
    due = {(pack.seq, kind) for pack, _, kind, _ in _due(connection, periods, at)}
    found = set(connection.scalars(select(version_files.c.digest)))
    for pack in packs_of(connection):
        for path, digest in files_of(connection, pack.seq).items():
            if (pack.seq, "evidence") not in due and not (path.startswith(TEXTS) and (pack.seq, "texts") in due):
                found.add(digest)
    return found


def _names(connection: Connection) -> dict[int, tuple[str, int]]:
    rows = connection.execute(select(versions.c.seq, versions.c.model, versions.c.number))
    return {row.seq: (row.model, row.number) for row in rows}


def _texts(records: Records, connection: Connection, pack: PackRow, rows: Sequence[int] | None) -> Iterator[str]:
    """Digests of the kept texts of the pack that belong to one of these rows."""
    files = files_of(connection, pack.seq)
    if rows is None:
        yield from (digest for path, digest in files.items() if path.startswith(TEXTS))
        return
    if ITEMS not in files or not records.store.exists(files[ITEMS]):
        return
    for item in json.loads(records.store.read(files[ITEMS])):
        if item["path"] in files and set(item["rows"]) & set(rows):
            yield files[item["path"]]


def _held(records: Records, what: str, kind: str, *, actor: Actor, reason: str) -> Event:
    require(actor, "retention")
    _reasoned(reason)
    with records.database.writing() as connection:
        held = holds(connection)
        if (what in held) == (kind == HELD):
            state = f"on hold already, by event {held[what].seq}" if kind == HELD else "not on hold"
            raise RecordsError(f"{what} is {state}.", fix="See all holds with: tsugiki registry retention show")
        _refuse_unknown(connection, what)
        return append(connection, NewEvent(actor, kind, f"hold:{what}", reason=reason))


def _refuse_unknown(connection: Connection, what: str) -> None:
    known = {EVERYTHING}
    for model, number in _names(connection).values():
        known |= {model, f"{model}@{number}"}
    if what not in known:
        raise RecordsError(f"There is no {what} in this registry.", fix="Name a version, a model, or * for everything.")


def _hold_on(held: Mapping[str, Event], model: str, number: int) -> str | None:
    return next((what for what in (f"{model}@{number}", model, EVERYTHING) if what in held), None)


def _refuse_held(connection: Connection, model: str, number: int) -> None:
    held = holds(connection)
    what = _hold_on(held, model, number)
    if what is not None:
        event = held[what]
        raise RecordsError(
            f"{model}@{number} is on hold: {what} since event {event.seq} by {event.actor['name']} ({event.reason}).",
            fix=f"Let go of it first: tsugiki registry retention release {what}",
        )


def _refuse_shared_hold(connection: Connection, digests: set[str]) -> None:
    """A text that another version's pack shares is under that version's hold as well."""
    held = holds(connection)
    if not held:
        return
    names = _names(connection)
    for pack in packs_of(connection):
        if _hold_on(held, *names[pack.version]) and digests & set(files_of(connection, pack.seq).values()):
            _refuse_held(connection, *names[pack.version])


def _reasoned(reason: str) -> None:
    if not reason.strip():
        raise RecordsError(
            "Erasing and holding need a reason.", fix="Say it with --reason, without the content itself."
        )


def _append(
    connection: Connection, label: str, digests: set[str], about: Mapping[str, Any], *, actor: Actor, reason: str
) -> Event:
    event = NewEvent(actor, "content.erased", label, after=about, reason=reason)
    return append(connection, event, {"erasures": [{"digest": digest} for digest in sorted(digests)]})
