"""A small registry with one of everything, and hands that tamper with it, for the tests of verification.

`fill` writes thirteen events in ten transactions. A `Desk` is another program's access to the database: it knows no
triggers and no foreign keys, and can rewrite history with or without the registry's key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.records.conftest import Person
from tsugiki.fingerprint import canonical_json, digest_bytes
from tsugiki.records.checkpoints import Checkpoint, read_checkpoint
from tsugiki.records.keys import SigningKey
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.people import add_person
from tsugiki.records.tokens import create_token

OPERATOR = Person("田中", "operator", "token:1")
APPROVER = Person("佐藤", "approver", "token:2")
LAST = 13
SIGNED = (1, 3, 4, 5, 6, 7, 8, 11, 12, 13)  # the events with a checkpoint; 9 to 11 are one transaction


def fill(records: Records) -> None:
    """Events 2 to 13. Their rows are in every table that an event writes."""
    with records.database.writing() as connection:
        add_person(connection, "田中", "operator", actor=Person("admin", "admin", "init"), reason="")
        create_token(connection, "田中", actor=Person("admin", "admin", "init"), reason="")
    for number in (1, 2):
        add_version(records, number)
    body = canonical_json({"verdict": "adopt", "estimate": 0.9})
    write(records, "evidence.attached", "qa@1", {
        "packs": [{"version": 4, "kind": "study", "digest": digest_bytes(body), "body": body}],
        "pack_files": [{"path": "results.json", "digest": digest_bytes(b"qa 1 0")}],
    })  # fmt: skip
    request = {"id": "r-1", "version": 4, "stage": "production", "requester": "田中", "body": b'{"purpose":"answers"}'}
    write(records, "request.made", "qa@1", {"requests": [request]})
    decision = {"request": 7, "verdict": "approve", "actor": "佐藤", "expires_at": None, "body": b"{}"}
    write(records, "request.decided", "qa@1", {"decisions": [decision]}, APPROVER)
    with records.database.writing() as connection:
        for alias, version in (("production", 4), ("pilot", 5), ("production", 5)):
            append(connection, NewEvent(OPERATOR, "alias.moved", f"qa@{alias}"), moved(alias, version))
    write(records, "alias.rolled_back", "qa@production", moved("production", 4))
    write(records, "policy.changed", "policy", {})


def moved(alias: str, version: int | None) -> dict[str, list[dict[str, Any]]]:
    return {"alias_moves": [{"model": "qa", "alias": alias, "version": version}]}


def add_version(records: Records, number: int, model: str = "qa") -> int:
    """A version with two files; returns its seq."""
    manifest = {"format": 1, "name": model, "number": number, "rate": 0.001}
    body = canonical_json(manifest)
    digest = digest_bytes(body)
    files = [digest_bytes(f"{model} {number} {file}".encode()) for file in range(2)]
    with records.database.writing() as connection:
        for file in files:
            connection.exec_driver_sql(
                f"INSERT INTO blobs (digest, bytes, added_at) VALUES ('{file}', 3, '2026-11-02T05:05:12.123456Z')"
            )
        event = append(connection, NewEvent(OPERATOR, "version.added", f"{model}@{number}", reason="初回"), {
            "versions": [{
                "model": model, "number": number, "digest": digest, "creator": "田中",
                "created_at": "2026-11-02T05:05:12.123456Z", "body": body,
                "signature": records.database.key.sign(digest.encode()),
            }],
            "version_files": [{"path": f"file-{place}", "digest": file} for place, file in enumerate(files)],
        })  # fmt: skip
    return event.seq


def write(records: Records, kind: str, object: str, rows: dict[str, Any], actor: Person = OPERATOR) -> None:
    with records.database.writing() as connection:
        append(connection, NewEvent(actor, kind, object, reason="なぜなら"), rows)


@dataclass
class Desk:
    """`run` takes SQL with ? for values and returns what it selects."""

    run: Callable[..., list[tuple[Any, ...]]]
    key: SigningKey
    other: SigningKey
    postgres: bool

    def body(self, seq: int) -> dict[str, Any]:
        return json.loads(self.raw(seq))

    def raw(self, seq: int) -> bytes:
        return bytes(self.run("SELECT body FROM events WHERE seq = ?", seq)[0][0])

    def put(self, seq: int, body: bytes, *, rehash: bool = False) -> None:
        self.run("UPDATE events SET body = ? WHERE seq = ?", body, seq)
        if rehash:
            self.run("UPDATE events SET hash = ? WHERE seq = ?", digest_bytes(body), seq)

    def edit(self, seq: int, *, rehash: bool = False, **changes: Any) -> None:
        self.put(seq, canonical_json({**self.body(seq), **changes}), rehash=rehash)

    def shift(self, start: int, by: int, tables: tuple[str, ...]) -> None:
        """Renumber the rows from `start` on."""
        for table in tables:
            self.run(f"UPDATE {table} SET seq = seq + 1000 WHERE seq >= ?", start)
            self.run(f"UPDATE {table} SET seq = seq + ? WHERE seq >= 1000", by - 1000)

    def swap(self, one: int, other: int) -> None:
        for old, new in ((one, 500), (other, one), (500, other)):
            self.run("UPDATE events SET seq = ? WHERE seq = ?", new, old)

    def checkpoint(self, seq: int) -> Checkpoint:
        body, signature = self.run("SELECT body, signature FROM checkpoints WHERE seq = ?", seq)[0]
        return read_checkpoint(bytes(body), signature)

    def sign(self, checkpoint: Checkpoint, key: SigningKey) -> Checkpoint:
        """Put a checkpoint in its place, signed by `key`."""
        signed = replace(checkpoint, signature=key.sign(checkpoint.body))
        self.run(
            "UPDATE checkpoints SET body = ?, signature = ? WHERE seq = ?", signed.body, signed.signature, signed.seq
        )
        return signed

    def rewrite(
        self,
        start: int,
        change: Callable[[dict[str, Any]], dict[str, Any] | bytes],
        *,
        key: SigningKey | None = None,
        named: SigningKey | None = None,
        previous: str | None = None,
    ) -> None:
        """Change event `start` and chain everything after it anew.

        With `key` the checkpoints are signed anew as well, as those of `named` where that is another key.
        """
        link = previous or self.run("SELECT hash FROM events WHERE seq = ?", start - 1)[0][0]
        signed = [row[0] for row in self.run("SELECT seq FROM checkpoints ORDER BY seq")]
        last = self.checkpoint(max(seq for seq in signed if seq < start)).digest if start > 1 else None
        for (seq,) in self.run("SELECT seq FROM events WHERE seq >= ? ORDER BY seq", start):
            facts = {**self.body(seq), "previous": link}
            changed = change(facts) if seq == start else facts
            body = changed if isinstance(changed, bytes) else canonical_json(changed)
            self.put(seq, body, rehash=True)
            if isinstance(changed, dict):
                self.run("UPDATE events SET at = ? WHERE seq = ?", changed["at"], seq)
            link = digest_bytes(body)
            if key is not None and seq in signed:
                digest = (named or key).public.digest
                facts_at = changed["at"] if isinstance(changed, dict) else facts["at"]
                old = self.checkpoint(seq)
                made = replace(old, hash=link, at=facts_at, key=digest, previous=last)
                last = self.sign(made, key).digest
