"""Attach evidence to a version: its files into the store, its manifest and event into the database, both or neither.

Called by `tsugiki registry attach-evidence` and by whatever else makes evidence (`attach_bundle`). Files are stored
before the transaction and looked for again inside it, since a collection of rubbish may have come between; so no pack
ever names a file that is not there. Texts of rows are kept only where `texts` says so, and never those that were
erased. Never changes a pack that is attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json, digest_bytes
from tsugiki.records.ledger import Event, NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.packs import PackRow, Version, erased, files_of, packs_of, record_blobs, trained_files
from tsugiki.records.rights import Actor, require
from tsugiki.records.safe_names import check_path
from tsugiki.records.store import Blob
from tsugiki.work.evidence_pack import bound, make_pack

FORMAT = 1


@dataclass(frozen=True)
class Attached:
    """`texts` and `erased` count the items whose texts were stored, and those that were left out as erased."""

    event: Event
    digest: str
    manifest: Mapping[str, Any]
    texts: int
    erased: int


def attach_study(
    records: Records, version: Version, folder: Path, *, texts: bool, actor: Actor, reason: str
) -> Attached:
    """Make the pack of a finished study and attach it. `texts`: keep the rows' texts as well.

    Raises StudyError for a study that cannot be evidence, RecordsError where it did not train this version, where the
    pack is attached already, and where the registry cannot be written to.
    """
    require(actor, "attach")
    pack = make_pack(folder)
    with records.database.reading() as connection:
        manifest = bound(pack, version.digest, trained_files(connection, version.seq))
    kept = {item.path: item.content for item in pack.texts} if texts else {}
    return _attach(records, version, manifest, pack.files, kept, actor=actor, reason=reason)


def attach_bundle(
    records: Records,
    version: Version,
    kind: str,
    files: Mapping[str, bytes],
    summary: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str,
) -> Attached:
    """Attach evidence of another kind (a compatibility report, a re-evaluation): files by path, and what gates read."""
    require(actor, "attach")
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "version": version.digest,
        "files": [
            {"path": check_path(path), "digest": digest_bytes(content), "bytes": len(content)}
            for path, content in sorted(files.items())
        ],
        "summary": dict(summary),
    }
    return _attach(records, version, manifest, files, {}, actor=actor, reason=reason)


def _attach(
    records: Records,
    version: Version,
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    texts: Mapping[str, bytes],
    *,
    actor: Actor,
    reason: str,
) -> Attached:
    with records.database.reading() as connection:
        _refuse_again(connection, version, manifest, texts)
        gone = erased(connection)
    for path, content in files.items():
        if digest_bytes(content) in gone:
            raise RecordsError(
                f"{path} of this evidence was erased here, and what was erased does not come back.",
                fix="Attach newer evidence.",
            )
    kept = {path: content for path, content in texts.items() if digest_bytes(content) not in gone}
    wanted = {**files, **kept}
    stored = {path: records.store.put(content) for path, content in wanted.items()}
    with records.database.writing() as connection:
        if erased(connection) != gone:
            raise RecordsError("Something was erased in this moment.", fix="Run the command again.")
        _refuse_again(connection, version, manifest, texts)
        for path, blob in stored.items():
            if not records.store.exists(blob.digest):
                records.store.put(wanted[path])
        record_blobs(connection, stored.values())
        event = _append(connection, version, manifest, stored, actor=actor, reason=reason, texts=len(kept))
    return Attached(event, digest_bytes(canonical_json(manifest)), manifest, len(kept), len(texts) - len(kept))


def _append(
    connection: Connection,
    version: Version,
    manifest: Mapping[str, Any],
    stored: Mapping[str, Blob],
    *,
    actor: Actor,
    reason: str,
    texts: int,
) -> Event:
    body = canonical_json(manifest)
    digest = digest_bytes(body)
    row = {"version": version.seq, "kind": manifest["kind"], "digest": digest, "body": body}
    files: Sequence[Mapping[str, str]] = [
        {"path": path, "digest": blob.digest} for path, blob in sorted(stored.items())
    ]
    event = NewEvent(
        actor=actor,
        kind="evidence.attached",
        object=f"{version.model}@{version.number}",
        after={"digest": digest, "kind": manifest["kind"], "version": version.digest, "texts": texts},
        reason=reason,
    )
    return append(connection, event, {"packs": [row], "pack_files": files})


def _refuse_again(
    connection: Connection, version: Version, manifest: Mapping[str, Any], texts: Mapping[str, bytes]
) -> None:
    """The same pack twice says nothing new, unless this time it brings the texts."""
    digest = digest_bytes(canonical_json(manifest))
    same: list[PackRow] = [pack for pack in packs_of(connection, version.seq) if pack.digest == digest]
    if same and (not texts or any(path in texts for path in files_of(connection, same[-1].seq))):
        raise RecordsError(
            f"This evidence is attached to {version.model}@{version.number} already, by event {same[-1].seq}.",
            fix=f"See it with: tsugiki registry evidence {version.model}@{version.number}",
        )
