"""Registries with versions, evidence and people, for the tests of the lifecycle; files lie in the real store."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.records.registries import APPROVER, MAKER, OPERATOR, registry
from tests.work.shown import SUMMARY, report
from tsugiki.fingerprint import canonical_json, digest_bytes
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.packs import record_blobs
from tsugiki.records.versions import (
    BaseFacts,
    CodeFacts,
    DataFacts,
    FileFacts,
    VersionManifest,
    find_version,
    rows_of,
    tree_digest,
)
from tsugiki.work.decisions import approve
from tsugiki.work.promotion import Promoted, promote
from tsugiki.work.requests import Standing, request

MODEL = "hinshitsu-qa"
WORDS = {
    "purpose": "answers about the quality manual",
    "criteria": "below 60 % right in a month",
    "scope": "line 3",
}
WHY = "it is time"


def add(records: Records, number: int = 1, *, licence: str | None = "in-house") -> str:
    """A version made by Tanaka; says its name."""
    blob = records.store.put(f"weights {MODEL} {number}".encode())
    path = "adapter_model.safetensors"
    nothing: dict[str, Any] = dict.fromkeys(("plan", "peft", "template", "recipe", "seeds", "parent", "study"))
    manifest = VersionManifest(
        name=MODEL,
        number=number,
        files=(FileFacts(path=path, digest=blob.digest, bytes=blob.bytes),),
        tree=tree_digest({path: blob.digest}),
        base=BaseFacts(**dict.fromkeys(BaseFacts.model_fields)),
        method="lora",
        data=(DataFacts(digest="sha256:" + "ab" * 32, rows=100, licence=licence, purpose="sorting reports"),),
        code=CodeFacts(tsugiki="0.1.0", packages=None, environment=None),
        creator=MAKER.name,
        created_at="2026-11-02T05:00:00.000000Z",
        note="",
        unknown={},
        **nothing,
    )
    with records.database.writing() as connection:
        record_blobs(connection, [blob])
        event = NewEvent(MAKER, "version.registered", manifest.label, after={"digest": manifest.digest}, reason=WHY)
        signature = records.database.key.sign(manifest.digest.encode("ascii"))
        append(connection, event, rows_of(manifest, signature))
    return manifest.label


def attach(records: Records, name: str, summary: Mapping[str, Any], kind: str = "study") -> None:
    with records.database.writing() as connection:
        version = find_version(connection, name)
        body = canonical_json({"format": 1, "kind": kind, "version": version.digest, "files": [], "summary": summary})
        row = {"version": version.seq, "kind": kind, "digest": digest_bytes(body), "body": body}
        append(connection, NewEvent(MAKER, "evidence.attached", name, reason=WHY), {"packs": [row]})


def summary(**changes: Any) -> dict[str, Any]:
    """Of a study that ended just now."""
    found = copy.deepcopy(SUMMARY)
    found["made_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    return {**found, **changes}


def ready(records: Records, number: int = 1) -> str:
    """A version that every gate lets through."""
    name = add(records, number)
    attach(records, name, summary())
    attach(records, name, report("embedded", "pass"), "compatibility")
    return name


def alive(folder: Path, versions: int = 1) -> Records:
    records = registry(folder)
    for number in range(1, versions + 1):
        ready(records, number)
    return records


def asked(records: Records, name: str = f"{MODEL}@1", stage: str = "poc") -> Standing:
    return request(records, name, stage, **WORDS, actor=OPERATOR, reason=WHY)


def promoted_to(records: Records, name: str = f"{MODEL}@1", *stages: str) -> Promoted:
    """Through all of the stages, poc alone where none is named."""
    for stage in stages or ("poc",):
        approve(records, asked(records, name, stage).request.id, actor=APPROVER, reason=WHY)
        last = promote(records, name, stage, actor=OPERATOR, reason=WHY)
    return last
