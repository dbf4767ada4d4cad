"""Requests, and what people decided about them, as rows: read here, written with their events by the lifecycle.

Called by the lifecycle and by whoever lists what is open. A request names exact digests; a decision answers one.
Rows are kept for good, so what a request came to is read from them in the order they came. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json
from tsugiki.records import schema


@dataclass(frozen=True)
class Request:
    """`version` is the seq of the version's row; `body` holds purpose, criteria, scope, digests and gates."""

    seq: int
    id: str
    version: int
    stage: str
    requester: str
    at: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """`verdict` is comment, approve, reject, promote or renew; `expires_at` is of an approval, or the next review."""

    seq: int
    request: int
    verdict: str
    actor: str
    at: str
    expires_at: str | None
    body: Mapping[str, Any]


def find_request(connection: Connection, id: str) -> Request:
    """Raises RecordsError where there is none of this id."""
    row = connection.execute(select(schema.requests).where(schema.requests.c.id == id)).one_or_none()
    if row is None:
        raise RecordsError(f"There is no request {id}.", fix="List them with: tsugiki registry requests.")
    return _request(row)


def requests_of(connection: Connection, version: int | None = None, stage: str | None = None) -> list[Request]:
    """All requests, or those for one version, or for one stage of it; the oldest first."""
    wanted = select(schema.requests).order_by(schema.requests.c.seq)
    if version is not None:
        wanted = wanted.where(schema.requests.c.version == version)
    if stage is not None:
        wanted = wanted.where(schema.requests.c.stage == stage)
    return [_request(row) for row in connection.execute(wanted)]


def decisions_on(connection: Connection, request: Request) -> Sequence[Decision]:
    """The oldest first."""
    rows = select(schema.decisions).where(schema.decisions.c.request == request.seq).order_by(schema.decisions.c.seq)
    return [
        Decision(row.seq, row.request, row.verdict, row.actor, row.at, row.expires_at, json.loads(bytes(row.body)))
        for row in connection.execute(rows)
    ]


def decision_row(
    request: Request, verdict: str, *, by: str, expires_at: str | None, body: Mapping[str, Any]
) -> dict[str, str | int | bytes | None]:
    """What `append` takes for one decision."""
    return {
        "request": request.seq,
        "verdict": verdict,
        "actor": by,
        "expires_at": expires_at,
        "body": canonical_json(body),
    }


def _request(row: Row[Any]) -> Request:
    return Request(row.seq, row.id, row.version, row.stage, row.requester, row.at, json.loads(bytes(row.body)))
