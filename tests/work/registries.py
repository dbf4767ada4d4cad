"""Registries with people and versions, at once: what evidence, archives, backups and deletion are tested on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tsugiki.fingerprint import canonical_json, digest_bytes
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records, create_records
from tsugiki.records.packs import record_blobs
from tsugiki.records.rights import SCOPES_OF_ROLE, Actor, Role


@dataclass(frozen=True)
class Made:
    """A version as evidence sees it."""

    seq: int
    model: str
    number: int
    digest: str


def person(name: str, role: Role) -> Actor:
    return Actor(name, role, "token:test", SCOPES_OF_ROLE[role])


ADMIN, MAKER = person("anna", "admin"), person("ota", "operator")
APPROVER, AUDITOR = person("kaneko", "approver"), person("sato", "auditor")


def new_registry(folder: Path, **options: str) -> Records:
    return create_records(folder, admin=ADMIN.name, **options)


def add_version(records: Records, folder: Path, model: str = "分類", number: int = 1) -> Made:
    """A version with the files of an adapter folder, as `registry add` writes it."""
    paths = sorted(folder.iterdir())
    stored = {path.name: records.store.put(path) for path in paths}
    files = [{"path": name, "digest": blob.digest, "bytes": blob.bytes} for name, blob in stored.items()]
    body = canonical_json({"format": 1, "name": model, "number": number, "files": files, "creator": MAKER.name})
    digest = digest_bytes(body)
    row = {
        "model": model, "number": number, "digest": digest, "creator": MAKER.name,
        "created_at": "2026-11-02T05:05:12.123456Z", "body": body,
        "signature": records.database.key.sign(digest.encode()),
    }  # fmt: skip
    with records.database.writing() as connection:
        record_blobs(connection, stored.values())
        event = append(
            connection,
            NewEvent(MAKER, "version.added", f"{model}@{number}", after={"digest": digest}),
            {
                "versions": [row],
                "version_files": [{"path": one["path"], "digest": one["digest"]} for one in files],
            },
        )
    return Made(event.seq, model, number, digest)


def approve(records: Records, version: Made, *, asker: Actor = MAKER, approver: Actor = APPROVER) -> None:
    """A request, its approval, and the alias production moved, as the lifecycle writes them."""
    asked = {"version": version.digest, "purpose": "sort reports", "stage": "production"}
    decided = {"verdict": "approve", "conditions": []}
    with records.database.writing() as connection:
        request = append(
            connection,
            NewEvent(asker, "approval.requested", f"{version.model}@{version.number}", after=asked),
            {
                "requests": [
                    {
                        "id": f"request-{version.seq}", "version": version.seq, "stage": "production",
                        "requester": asker.name, "body": canonical_json(asked),
                    }
                ]
            },
        )  # fmt: skip
        append(
            connection,
            NewEvent(approver, "approval.decided", f"{version.model}@{version.number}", after=decided),
            {
                "decisions": [
                    {
                        "request": request.seq, "verdict": "approve", "actor": approver.name,
                        "body": canonical_json(decided),
                    }
                ]
            },
        )  # fmt: skip
        append(
            connection,
            NewEvent(asker, "alias.moved", f"{version.model}@production", after={"version": version.digest}),
            {"alias_moves": [{"model": version.model, "alias": "production", "version": version.seq}]},
        )


def busy_with(records: Records, count: int) -> None:
    """Events that concern no version."""
    for number in range(count):
        with records.database.writing() as connection:
            append(connection, NewEvent(ADMIN, "note.made", f"note:{number}", reason="because"))


def everything_on_disk(folder: Path) -> bytes:
    """All bytes of all files below the folder."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def summary_of(body: bytes) -> dict[str, object]:
    return json.loads(body)["summary"]
