"""An event as it is stored: the one JSON object whose bytes are hashed, chained and signed.

Called by `ledger`, which appends events, by `history` and by verification. An event's body names the rows that the
event wrote into the other tables, so that a fold of the events can be compared with them. Touches no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import canonical
from tsugiki.records.schema import APPEND_ONLY

FIELDS = ("seq", "previous", "at", "actor", "kind", "object", "before", "after", "reason", "request", "tool", "rows")
ACTOR_FIELDS = ("name", "role", "auth")
PROJECTIONS = tuple(name for name in APPEND_ONLY if name not in ("events", "checkpoints"))
_FIELDS, _ACTOR_FIELDS = frozenset(FIELDS), frozenset(ACTOR_FIELDS)
_TEXTS = ("previous", "at", "kind", "object", "reason", "tool")
_KINDS: dict[str, tuple[type, ...]] = {
    "seq": (int,), "actor": (dict,), "rows": (dict,), "request": (str, type(None)), **dict.fromkeys(_TEXTS, (str,)),
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One event as it was recorded. `at` is UTC text; `rows` are the rows it wrote, binary columns as digests."""

    seq: int
    previous: str
    at: str
    actor: Mapping[str, str]
    kind: str
    object: str
    before: Any
    after: Any
    reason: str
    request: str | None
    tool: str
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    hash: str


def read_event(body: bytes) -> Event:
    """An event from its stored bytes. Raises RecordsError when they are not one."""
    try:
        facts = canonical.parse(body)
        check_shape(facts)
    except ValueError as error:
        raise RecordsError(
            f"An event of the ledger cannot be read: {error}.", fix="Run: tsugiki registry verify"
        ) from None
    return Event(**facts, hash=digest_bytes(body))


def check_shape(facts: Any) -> None:
    """Raise ValueError for what cannot be an event's body."""
    problem = shape_problem(facts)
    if problem:
        raise ValueError(problem)


def shape_problem(facts: Any) -> str | None:
    """What keeps a parsed body from being an event's: nothing in every registry that was left alone."""
    if not isinstance(facts, dict):
        return "it is no object"
    if facts.keys() != _FIELDS:
        lacking, extra = sorted(_FIELDS - facts.keys()), sorted(facts.keys() - _FIELDS)
        return f"it lacks {', '.join(lacking)}" if lacking else f"it holds {', '.join(extra)}, which no event has"
    for name, kinds in _KINDS.items():
        if type(facts[name]) not in kinds:
            return f"its {name} has the wrong type"
    actor = facts["actor"]
    if actor.keys() != _ACTOR_FIELDS or {type(text) for text in actor.values()} != {str}:
        return f"its actor must hold {', '.join(ACTOR_FIELDS)} as text"
    for name, several in facts["rows"].items():
        if name not in PROJECTIONS or not isinstance(several, list) or not all(type(row) is dict for row in several):
            return f"its rows of {name} are no rows of a table that events write"
    return None


def recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the event names it: without its seq, binary columns as digests."""
    return {
        name: digest_bytes(bytes(value)) if isinstance(value, bytes | memoryview) else value
        for name, value in row.items()
        if name != "seq"
    }
