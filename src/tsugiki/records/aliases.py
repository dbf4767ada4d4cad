"""What a name like `hinshitsu-qa@production` points to, now or at any time, and the event that moves it.

Called by the verbs that promote, roll back and stop, and by whoever serves. The answer is one indexed lookup in
`alias_moves`, which only grows; an instruction in pending/ that no writer has recorded yet counts as recorded. Decides
nothing: who may move what is for `work/` to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from tsugiki.errors import RecordsError
from tsugiki.records import ledger, pending, times
from tsugiki.records.ledger import Acting, Event, NewEvent, Rows
from tsugiki.records.schema import alias_moves, versions

_MOVES = select(alias_moves.c.seq, alias_moves.c.at, alias_moves.c.version).where(
    alias_moves.c.model == bindparam("model"), alias_moves.c.alias == bindparam("alias")
)
_NOW = _MOVES.order_by(alias_moves.c.seq.desc()).limit(1)
# Times never go back in the ledger, so the order by time is the order by seq, and the index by time serves.
_AT = _MOVES.where(alias_moves.c.at <= bindparam("moment")).order_by(alias_moves.c.at.desc(), alias_moves.c.seq.desc())
_AT = _AT.limit(1)
_VERSION = select(versions.c.number, versions.c.digest).where(
    versions.c.seq == bindparam("version"), versions.c.model == bindparam("model")
)


@dataclass(frozen=True)
class AliasState:
    """Where an alias points. All but the names is None before its first move.

    `version` is the seq of the version's row, `number` and `digest` name it; all three are None while the alias points
    nowhere (stopped or withdrawn). `since` is when it came to point there, `seq` the event (None while it waits in
    pending/).
    """

    model: str
    alias: str
    version: int | None = None
    number: int | None = None
    digest: str | None = None
    since: str | None = None
    seq: int | None = None

    @property
    def named(self) -> dict[str, Any] | None:
        """As events write it: `{"version": "name@3", "digest": …}`."""
        return {"version": f"{self.model}@{self.number}", "digest": self.digest} if self.version is not None else None


def alias_at(connection: Connection, model: str, alias: str, at: str | datetime | None = None) -> AliasState:
    """Where `model@alias` points now, or pointed at a time with a zone (the moves of that very moment included).

    Raises RecordsError for a time that is none, and for a file in pending/ that this registry did not sign.
    """
    when = times.utc(at) if at is not None else None
    waiting = pending.newest_move(connection, model, alias, when)
    if waiting is not None:
        seq, since = waiting
        return _state(connection, model, alias, seq, since, None)
    asked = {"model": model, "alias": alias}
    row = connection.execute(*((_NOW, asked) if when is None else (_AT, {**asked, "moment": when}))).first()
    if row is None:
        return AliasState(model, alias)
    return _state(connection, model, alias, row.version, row.at, row.seq)


def aliases_of(connection: Connection, model: str) -> list[str]:
    """Every alias that a model ever had, sorted."""
    query = select(alias_moves.c.alias).where(alias_moves.c.model == model).distinct()
    return sorted(alias for (alias,) in connection.execute(query))


def move(
    connection: Connection,
    actor: Acting,
    model: str,
    alias: str,
    version: int | None,
    *,
    kind: str = "alias.moved",
    reason: str = "",
    request: str | None = None,
) -> tuple[NewEvent, Rows]:
    """The event and the row that point `model@alias` to a version (the seq of its row), or nowhere.

    For `ledger.append`, or for `pending.leave` where the database cannot be written. Raises RecordsError when there is
    no such version of this model.
    """
    before, after = alias_at(connection, model, alias), _state(connection, model, alias, version, None, None)
    event = NewEvent(actor, kind, f"{model}@{alias}", before.named, after.named, reason, request)
    return event, {alias_moves.name: [{"model": model, "alias": alias, "version": version}]}


def move_alias(connection: Connection, actor: Acting, model: str, alias: str, version: int | None, **how: Any) -> Event:
    """Append what `move` makes of the same arguments."""
    event, rows = move(connection, actor, model, alias, version, **how)
    return ledger.append(connection, event, rows)


def _state(
    connection: Connection, model: str, alias: str, version: int | None, since: str | None, seq: int | None
) -> AliasState:
    if version is None:
        return AliasState(model, alias, since=since, seq=seq)
    row = connection.execute(_VERSION, {"version": version, "model": model}).first()
    if row is None:
        raise RecordsError(f"{model} has no version with the seq {version}.", fix="Run: tsugiki registry verify")
    return AliasState(model, alias, version, row.number, row.digest, since, seq)
