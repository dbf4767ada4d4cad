"""The tables that events write, compared with a fold of the events.

Called by `verify` with each event in order. Append-only tables must hold exactly the rows that each event names; people
and tokens, which can change, must be as the last events about them left them, the hash of a token included, of which
the ledger knows the digest. Never reads a table twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import LargeBinary

from tsugiki.fingerprint import digest_bytes
from tsugiki.records.chain import END, Read, Row, Stream, TamperedError
from tsugiki.records.event_body import PROJECTIONS
from tsugiki.records.keys import PublicKey
from tsugiki.records.schema import metadata

COLUMNS = {name: tuple(metadata.tables[name].columns.keys()) for name in (*PROJECTIONS, "people", "tokens")}
BINARY = {
    name: [column.name for column in metadata.tables[name].columns if isinstance(column.type, LargeBinary)]
    for name in PROJECTIONS
}

AboutPeople = tuple[int, str, str, Any]  # seq, kind, object, after
NEEDED = {  # what the fold reads in `after`
    "person.added": {"role"},
    "person.role_changed": {"role"},
    "token.created": {"token", "scopes", "expires_at", "hash"},
    "token.revoked": {"token", "revoked_at"},
}


class Fold:
    """One pass over the tables beside the ledger."""

    def __init__(self, read: Read, public: PublicKey) -> None:
        self._read, self._public = read, public
        self._streams = {name: Stream(name, read(name)) for name in PROJECTIONS}
        self._next = {name: stream.seq for name, stream in self._streams.items()}
        self.about_people: list[AboutPeople] = []  # few, however long the ledger is
        self._people: dict[str, tuple[str, int]] = {}  # role, active
        self._tokens: dict[str, dict[str, Any]] = {}

    def follow(self, facts: Mapping[str, Any]) -> None:
        """Compare the rows of one event, in the order of the events. Raises TamperedError."""
        seq, named = facts["seq"], facts["rows"]
        for name in named:
            self._compare(name, seq, named[name])
        if min(self._next.values()) <= seq:
            name = min(self._next, key=self._next.__getitem__)
            raise TamperedError(name, int(self._next[name]), "no event names it")
        kind = facts["kind"]
        if kind.startswith(("person.", "token.")):
            after = facts["after"]
            if kind in NEEDED and not (isinstance(after, dict) and after.keys() >= NEEDED[kind]):
                raise TamperedError("events", seq, f"it is no event of the kind {kind}")
            self.about_people.append((seq, kind, facts["object"], after))

    def end(self, before: Sequence[AboutPeople] = ()) -> None:
        """After the last event, and `about_people` of earlier parts: nothing may be left over. Raises TamperedError."""
        self.end_part()
        for seq, kind, object, after in (*before, *self.about_people):
            try:
                self._follow_people(kind, object.removeprefix("person:"), after)
            except (KeyError, TypeError):
                raise TamperedError("events", seq, f"it is no event of the kind {kind}") from None
        self._compare_people()
        self._compare_tokens()

    def end_part(self) -> None:
        """After the last event of a part that is not the last. Raises TamperedError."""
        for name, stream in self._streams.items():
            if stream.seq != END:
                raise TamperedError(name, int(stream.seq), "no event names it")

    def _compare(self, name: str, seq: int, named: Sequence[Mapping[str, Any]]) -> None:
        stream = self._streams[name]
        if stream.seq < seq:
            raise TamperedError(name, int(stream.seq), "no event names it")
        if len(named) == 1 and stream.seq == seq and self._recorded(name, stream.row) == named[0]:
            stream.advance()
            self._next[name] = stream.seq
            if stream.seq != seq:
                return  # one row and the right one, as nearly always
            named = ()
        found: list[dict[str, Any]] = []
        while stream.seq == seq:
            found.append(self._recorded(name, stream.row))
            stream.advance()
        self._next[name] = stream.seq
        if found == named:
            return
        wanted = list(named)
        for row in found:  # in the tables' order, which is not the events' order where an event names several
            if row in wanted:
                wanted.remove(row)
            elif len(found) > len(named) or not wanted:
                raise TamperedError(name, seq, f"event {seq} does not name {_told(row)}")
            else:
                raise TamperedError(name, seq, _difference(row, _nearest(row, wanted), seq))
        if wanted:
            raise TamperedError(name, seq, f"it is missing: event {seq} names {_told(wanted[0])}")

    def _recorded(self, name: str, row: Row) -> dict[str, Any]:
        """What `event_body.recorded` makes of a row, for a million rows."""
        values = dict(zip(COLUMNS[name], row, strict=True))
        if name == "versions":
            self._check_version(values)
        del values["seq"]
        for column in BINARY[name]:
            if isinstance(values[column], bytes):
                values[column] = digest_bytes(values[column])
        return values

    def _check_version(self, row: Mapping[str, Any]) -> None:
        seq, body, digest, signature = row["seq"], row["body"], row["digest"], row["signature"]
        if not isinstance(body, bytes) or digest_bytes(body) != digest:
            raise TamperedError("versions", seq, "its body does not have its digest")
        if not isinstance(signature, str) or not self._public.verifies(digest.encode(), signature):
            raise TamperedError("versions", seq, "its signature is not genuine")

    def _follow_people(self, kind: str, name: str, after: Any) -> None:
        if kind in ("person.added", "person.role_changed"):
            self._people[name] = (after["role"], 1)
        elif kind == "person.removed":
            self._people[name] = (self._people[name][0], 0)
        elif kind == "token.created":
            scope = ",".join(after["scopes"])
            kept = {"expires_at": after["expires_at"], "hash": after["hash"]}
            self._tokens[after["token"]] = {"person": name, "scope": scope, "revoked_at": None, **kept}
        elif kind == "token.revoked":
            self._tokens[after["token"]]["revoked_at"] = after["revoked_at"]

    def _compare_people(self) -> None:
        for row in self._read("people"):
            name, role, active, _ = row
            if name not in self._people:
                raise TamperedError("people", None, f"no event added {name}")
            wanted = self._people.pop(name)
            if (role, active) != wanted:
                was = f"{wanted[0]}{'' if wanted[1] else ', removed'}"
                raise TamperedError("people", None, f"{name} is {role} (active: {active}), the ledger says {was}")
        for name in self._people:
            raise TamperedError("people", None, f"{name} is missing")

    def _compare_tokens(self) -> None:
        for row in self._read("tokens"):
            values = dict(zip(COLUMNS["tokens"], row, strict=True))
            values["hash"] = digest_bytes(str(values["hash"]).encode())
            wanted = self._tokens.pop(values["id"], None)
            if wanted is None:
                raise TamperedError("tokens", None, f"no event made {values['id']}")
            for column, value in wanted.items():
                if values[column] != value:
                    raise TamperedError(
                        "tokens", None, f"{values['id']} has the {column} {values[column]}, the ledger says {value}"
                    )
        for token in self._tokens:
            raise TamperedError("tokens", None, f"{token} is missing")


def _nearest(row: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return max(wanted, key=lambda other: sum(row[name] == other.get(name) for name in row))


def _difference(row: Mapping[str, Any], wanted: Mapping[str, Any], seq: int) -> str:
    for name, value in row.items():
        if name not in wanted or value != wanted[name]:
            return f"its {name} is {value!r}, event {seq} says {wanted.get(name)!r}"
    return f"event {seq} names more of it: {', '.join(sorted(set(wanted) - set(row)))}"


def _told(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in row.items() if name != "body")
