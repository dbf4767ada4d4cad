"""What happened, newest first: to one object, to one alias, to everything about a model, or to all.

Called by the commands that show a history and by the lifecycle. Every question is answered from an index, however long
the ledger is: times are turned into seqs first, since times never go back, and a model's objects are found by jumping
from one to the next.
"""

from __future__ import annotations

import heapq

from sqlalchemy import Connection, select, text

from tsugiki.records import times
from tsugiki.records.event_body import Event, read_event
from tsugiki.records.schema import events

DEFAULT_LIMIT = 100
LAST = 2**31 - 1  # no seq is larger

# Each step of the recursion is one look into the index of objects. An object of the model starts with `model@`, and
# "A" is the character after "@".
_OBJECTS = text(
    """
    WITH RECURSIVE found(object) AS (
      SELECT min(object) FROM events WHERE object >= :low AND object < :high
      UNION ALL
      SELECT (SELECT min(object) FROM events WHERE object > found.object AND object < :high)
      FROM found WHERE found.object IS NOT NULL
    ), newest(object, seq) AS (
      SELECT object, (SELECT max(seq) FROM events WHERE events.object = found.object AND seq BETWEEN :first AND :last)
      FROM found WHERE object IS NOT NULL
    )
    SELECT object, seq FROM newest WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT :limit
    """
)


def history(
    connection: Connection,
    *,
    model: str | None = None,
    alias: str | None = None,
    object: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> list[Event]:
    """At most `limit` events, newest first: of one `object`, of an `alias` of a `model`, of a whole `model`, or all.

    `since` and `until` are times with a zone, both included. Raises RecordsError for a time that is none.
    """
    if alias is not None:
        object = f"{model}@{alias}"
    first, last = _between(connection, since, until)
    if object is None and model is not None:
        found = _of_model(connection, model, first, last, limit)
        query = select(events.c.body).where(events.c.seq.in_(found))
    else:
        query = select(events.c.body).where(events.c.seq.between(first, last)).limit(limit)
        if object is not None:
            query = query.where(events.c.object == object)
    return [read_event(bytes(body)) for (body,) in connection.execute(query.order_by(events.c.seq.desc()))]


def _between(connection: Connection, since: str | None, until: str | None) -> tuple[int, int]:
    first, last = 1, LAST
    if since is not None:
        query = select(events.c.seq).where(events.c.at >= times.utc(since)).order_by(events.c.at, events.c.seq).limit(1)
        first = connection.execute(query).scalar() or LAST
    if until is not None:
        query = (
            select(events.c.seq)
            .where(events.c.at <= times.utc(until))
            .order_by(events.c.at.desc(), events.c.seq.desc())
            .limit(1)
        )
        last = connection.execute(query).scalar() or 0
    return first, last


def _of_model(connection: Connection, model: str, first: int, last: int, limit: int) -> list[int]:
    """The newest events of a model: they are among those of the `limit` objects that changed last."""
    bounds = {"low": f"{model}@", "high": f"{model}A", "first": first, "last": last, "limit": limit}
    found: list[int] = []
    for object, _ in connection.execute(_OBJECTS, bounds).all():
        query = select(events.c.seq).where(events.c.object == object, events.c.seq.between(first, last))
        found += connection.execute(query.order_by(events.c.seq.desc()).limit(limit)).scalars()
    return heapq.nlargest(limit, found)
