"""The events and checkpoints of a ledger, read in order and believed one by one.

Called by `verify`. Every link is checked before an event is handed on: its hash, its form, the hash of the event before
it, and the checkpoint over it. When a link is broken, the record that was changed is looked for on both sides of the
break. Reads rows as plain tuples, so that it does not matter which database or file they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tsugiki.records import canonical, checkpoints, event_body, ledger, times
from tsugiki.records.checkpoints import Checkpoint
from tsugiki.records.keys import PublicKey

Row = Sequence[Any]
Read = Callable[[str], Iterator[Row]]  # the rows of a table, all columns as the schema has them, in the order of seq

COLUMNS = ("actor", "kind", "object")  # of events, repeated from the body for the indices


@dataclass(frozen=True)
class BadRecord:
    """The first record that is not as it was written. Without a seq it is the table as a whole."""

    table: str
    seq: int | None
    problem: str

    def __str__(self) -> str:
        return f"{self.table}{f' {self.seq}' if self.seq is not None else ''}: {self.problem}"


class TamperedError(Exception):
    """Ends a verification; never leaves `verify`."""

    def __init__(self, table: str, seq: int | None, problem: str) -> None:
        self.bad = BadRecord(table, seq, problem)
        super().__init__(str(self.bad))


class Signed(Protocol):
    """A checkpoint that the caller knows from elsewhere."""

    @property
    def registry(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def hash(self) -> str: ...
    @property
    def at(self) -> str: ...


@dataclass(frozen=True)
class Start:
    """Where a part of a ledger begins: after event `seq`, whose hash and time another part has to confirm."""

    seq: int
    hash: str
    at: str
    newest: tuple[int, bytes, str] | None  # the checkpoint before it: seq, body, signature


class Chain:
    """One pass over a ledger, or over a part of it from `start` that does not reach the ledger's end (`is_last`).

    `events` is the newest event that was read, `checkpoints` counts, and `newest` is the last checkpoint.
    """

    def __init__(
        self,
        read: Read,
        public: PublicKey,
        registry: str | None,
        known: Iterable[Signed] = (),
        *,
        start: Start | None = None,
        is_last: bool = True,
    ) -> None:
        self._read, self._public, self._is_last = read, public, is_last
        self._rows = read("events")
        self._signed = Stream("checkpoints", read("checkpoints"))
        self._known = iter(known)
        self._next_known = next(self._known, None)
        self.registry = registry or self._registry_of_first_checkpoint()
        self._start = start or Start(0, ledger.genesis(self.registry, public), "", None)
        self.events, self.checkpoints = self._start.seq, 0
        self.newest = self._start.newest

    def believed(self) -> Iterator[dict[str, Any]]:
        """The bodies of the events, each after the next one has confirmed it.

        Raises TamperedError at the first bad record; what was handed on is proved when the iterator has ended.
        """
        link, at, held = self._start.hash, self._start.at, None
        for row in self._rows:
            position = self.events + 1
            facts, hash = self._own(row, position)
            if facts["previous"] != link:
                self._blame(position, facts, hash)
            if facts["seq"] != position:
                raise TamperedError("events", position, f"its body says that it is event {facts['seq']}")
            if facts["at"] < at:
                raise TamperedError("events", position, f"its time {facts['at']} is before that of the event before it")
            if held is not None:
                yield held
            self.events, link, at, held = position, hash, facts["at"], facts
            if self._signed.seq <= position:
                self._check_signed(position, hash, at)
            if self._next_known is not None:
                self._check_known(position, hash)
        if self._is_last:
            self._check_end()
        if held is not None:
            yield held

    def _own(self, row: Row, position: int) -> tuple[dict[str, Any], str]:
        """What can be said of an event by looking at it alone."""
        seq, stored, at, *columns, body = row
        if seq != position:
            where = seq if isinstance(seq, int) and seq < position else position
            raise TamperedError("events", where, "it is missing" if where == position else "no event comes before 1")
        body = as_bytes(body, "events", position)
        hash = "sha256:" + hashlib.sha256(body).hexdigest()
        if stored != hash:
            raise TamperedError("events", position, "its body does not have its hash")
        try:
            facts = canonical.parse(body)
        except ValueError as error:
            raise TamperedError("events", position, f"its body cannot be read: {error}") from None
        problem = event_body.shape_problem(facts)
        if problem:
            raise TamperedError("events", position, problem)
        told = (facts["at"], facts["actor"]["name"], facts["kind"], facts["object"])
        if (at, *columns) != told:
            pairs = zip(("at", *COLUMNS), (at, *columns), told, strict=True)
            name, column, inside = next(pair for pair in pairs if pair[1] != pair[2])
            raise TamperedError("events", position, f"its column {name} is {column!r}, its body says {inside!r}")
        if not times.is_stored(at):
            raise TamperedError("events", position, f"{at!r} is not a time")
        return facts, hash

    def _blame(self, position: int, facts: dict[str, Any], hash: str) -> None:
        """Event `position` does not name the event before it. If what follows confirms it, the one before is wrong."""
        if position == 1 and facts["seq"] == 1:
            known = "the registry that the checkpoints name, with this key" if self.registry else "any checkpoint"
            raise TamperedError("events", 1, f"it is not the first event of {known}")
        if not self._is_confirmed(position, hash):
            raise TamperedError("events", position, f"it does not follow event {position - 1}")
        if facts["seq"] > position:
            raise TamperedError("events", position, f"it is missing; event {facts['seq']} stands in its place")
        if facts["seq"] < position:
            raise TamperedError("events", position - 1, "it was put in; the events around it belong together")
        raise TamperedError("events", position - 1, f"it is not the event that event {position} followed")

    def _is_confirmed(self, position: int, hash: str) -> bool:
        if self._signed.seq == position:
            try:
                _, body, signature = self._signed.row
                checkpoint = checkpoints.read_checkpoint(bytes(body), signature)
            except (ValueError, TypeError):
                return False
            return checkpoint.hash == hash and checkpoints.is_signed(checkpoint, self._public)
        following = next(self._rows, None)
        if following is None:
            return False
        try:
            facts, _ = self._own(following, position + 1)
        except TamperedError:
            return False
        return facts["previous"] == hash

    def _check_signed(self, position: int, hash: str, at: str) -> None:
        if self._signed.seq < position:
            raise TamperedError("checkpoints", int(self._signed.seq), "there is no such event")
        _, body, signature = self._signed.row
        body = as_bytes(body, "checkpoints", position)
        if not isinstance(signature, str):
            raise TamperedError("checkpoints", position, "its signature is not text")
        before = checkpoints.link(*self.newest[1:]) if self.newest else None
        if body != checkpoints.fast_body(self.registry, position, hash, at, self._public.digest, before):
            self._diagnose(body, Checkpoint(self.registry, position, hash, at, self._public.digest, before, signature))
        self.newest = (position, body, signature)
        self.checkpoints += 1
        self._signed.advance()

    def _diagnose(self, body: bytes, expected: Checkpoint) -> None:
        """A checkpoint is not the one that belongs here: is it the checkpoint that was changed, or what it signs?"""
        position = expected.seq
        try:
            found = checkpoints.read_checkpoint(body, expected.signature)
        except ValueError as error:
            raise TamperedError("checkpoints", position, f"it cannot be read: {error}") from None
        if found.key != expected.key:
            raise TamperedError("checkpoints", position, "it is signed with another key")
        if not checkpoints.is_signed(found, self._public):
            raise TamperedError("checkpoints", position, "its signature is not genuine")
        if found.registry != expected.registry:
            raise TamperedError("checkpoints", position, f"it is of the registry {found.registry}")
        if found.seq != position:
            raise TamperedError("checkpoints", position, f"it was made for event {found.seq}")
        if found.hash != expected.hash:
            since = f" (or one since event {self.newest[0]})" if self.newest and self.newest[0] < position - 1 else ""
            raise TamperedError("events", position, f"it{since} is not what was signed")
        if self.newest is None:
            raise TamperedError("checkpoints", position, "the checkpoint before it is missing")
        seq, body, signature = self.newest
        try:
            genuine = checkpoints.is_signed(checkpoints.read_checkpoint(body, signature), self._public)
        except ValueError:
            genuine = False
        if genuine:
            raise TamperedError("checkpoints", position, f"a checkpoint between event {seq} and it is missing")
        raise TamperedError("checkpoints", seq, "its signature is not genuine")

    def _check_known(self, position: int, hash: str) -> None:
        while self._next_known is not None and self._next_known.seq <= position:
            known = self._next_known
            if known.registry != self.registry:
                raise TamperedError("events", None, f"the anchor is of the registry {known.registry}, not of this one")
            if known.seq == position and known.hash != hash:
                raise TamperedError("events", position, f"it is not what was anchored at {known.at}")
            self._next_known = next(self._known, None)

    def _check_end(self) -> None:
        if self._signed.seq != END:
            seq = int(self._signed.seq)
            raise TamperedError("events", self.events + 1, f"it is missing, and there is a checkpoint of event {seq}")
        if self._next_known is not None:
            known = self._next_known
            raise TamperedError(
                "events", self.events + 1, f"it is missing: event {known.seq} was anchored at {known.at}"
            )
        if self.events == 0:
            raise TamperedError("events", 1, "it is missing")
        signed = self.newest[0] if self.newest else 0
        if signed < self.events:
            raise TamperedError("events", signed + 1, "it is not signed: the checkpoint over it is missing")
        assert self.newest is not None
        if not self._public.verifies(*self.newest[1:]):
            self._name_first_forgery()

    def _name_first_forgery(self) -> None:
        """The newest signature is not genuine; how far back does that go?"""
        for seq, body, signature in self._read("checkpoints"):
            if not self._public.verifies(bytes(body), signature):
                raise TamperedError("checkpoints", seq, "its signature is not genuine")

    def _registry_of_first_checkpoint(self) -> str:
        if self._signed.seq == END:
            return ""  # nothing is signed; the end of the pass says so
        seq, body, signature = self._signed.row
        try:
            return checkpoints.read_checkpoint(as_bytes(body, "checkpoints", seq), signature).registry
        except ValueError as error:
            raise TamperedError("checkpoints", seq, f"it cannot be read: {error}") from None


END = float("inf")


class Stream:
    """The rows of a table with a look at the next one's seq."""

    def __init__(self, table: str, rows: Iterator[Row]) -> None:
        self._table, self._rows = table, rows
        self.advance()

    def advance(self) -> None:
        row = next(self._rows, None)
        self.row: Row = row if row is not None else ()
        self.seq: float = row[0] if row is not None else END
        if row is not None and not isinstance(row[0], int):
            raise TamperedError(self._table, None, f"a row has the seq {row[0]!r}")


def as_bytes(value: Any, table: str, seq: int) -> bytes:
    if not isinstance(value, bytes):
        raise TamperedError(table, seq, "its body is not bytes")
    return value
