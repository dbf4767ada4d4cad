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


def add(records: Records, number: int = 1, model: str = MODEL, data: Any = None) -> str:
    """A version made by Tanaka; says its name."""
    blob = records.store.put(f"weights {model} {number}".encode())
    stated = [{"digest": "sha256:" + "ab" * 32, "rows": 100, "licence": "in-house", "purpose": "sorting reports"}]
    files = [{"path": "adapter_model.safetensors", "digest": blob.digest, "bytes": blob.bytes}]
    manifest = {"format": 1, "name": model, "number": number, "files": files, "data": stated if data is None else data}
    body = canonical_json(manifest)
    row = {
        "model": model, "number": number, "digest": digest_bytes(body), "creator": MAKER.name, "body": body,
        "created_at": "2026-11-02T05:00:00.000000Z", "signature": records.database.key.sign(body),
    }  # fmt: skip
    with records.database.writing() as connection:
        record_blobs(connection, [blob])
        event = NewEvent(MAKER, "version.added", f"{model}@{number}", after={"digest": row["digest"]}, reason=WHY)
        append(connection, event, {
            "versions": [row], "version_files": [{"path": files[0]["path"], "digest": blob.digest}],
        })  # fmt: skip
    return f"{model}@{number}"


def attach(records: Records, name: str, summary: Mapping[str, Any], kind: str = "study") -> None:
    from tsugiki.records.versions import find_version

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
