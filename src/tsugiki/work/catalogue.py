"""What is in a registry, for people and programs: the list of versions, and everything about one of them.

Called by `tsugiki registry list` and `show`. Only reads. The list is one query over columns with an index, so that it
stays quick with tens of thousands of versions; what a version says of itself is read, and verified, for one alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from tsugiki.records.aliases import alias_at, aliases_of
from tsugiki.records.approvals import decisions_on, requests_of
from tsugiki.records.open import Records
from tsugiki.records.packs import erased, packs_of
from tsugiki.records.safe_names import check_name
from tsugiki.records.schema import alias_moves, blobs, pack_files, packs
from tsugiki.records.store import Store
from tsugiki.records.versions import Version, files_of, find_version, version_lines

Json = dict[str, Any]


def list_versions(records: Records, model: str | None = None) -> list[Json]:
    """Every version, or those of one model, newest first, with the aliases that point to each.

    Raises RecordsError for a text that names no model.
    """
    if model is not None:
        model = check_name(model, "the name of a model")
    with records.database.reading() as connection:
        pointing = _pointing(connection, model)
        return [
            {**vars(line), "aliases": pointing.get((line.model, line.number), [])}
            for line in version_lines(connection, model)
        ]


def show_version(records: Records, reference: str, *, verify: bool = False) -> Json:
    """Manifest, evidence, aliases and approvals of the version that `reference` names.

    With `verify` every file is read and compared, those of the evidence too; the first that is not what it was raises
    RecordsError. Without it `verified` is null.
    """
    with records.database.reading() as connection:
        version = find_version(connection, reference)
        files = files_of(connection, version)
        found = {
            "version": version.label,
            "digest": version.digest,
            "signature": version.signature,
            "signed": records.database.home.public.verifies(version.digest.encode("ascii"), version.signature),
            "manifest": dict(version.manifest),
            "aliases": _aliases(connection, version),
            "evidence": [
                {"digest": pack.digest, "kind": pack.kind, "at": pack.at, "seq": pack.seq}
                for pack in packs_of(connection, version.seq)
            ],
            "requests": _requests(connection, version),
        }
        wanted = {file.digest: file.bytes for file in files} | _evidence_files(connection, version)
        gone = erased(connection)
    return {**found, "verified": _verified(records.store, wanted, gone) if verify else None}


def _verified(store: Store, wanted: Mapping[str, int], gone: frozenset[str]) -> Json:
    """Read every file; those that were erased on purpose are counted instead."""
    kept = {digest: size for digest, size in wanted.items() if digest not in gone}
    for digest, size in kept.items():
        store.verify(digest, size)
    return {"files": len(kept), "bytes": sum(kept.values()), "erased": len(wanted) - len(kept)}


def _evidence_files(connection: Connection, version: Version) -> dict[str, int]:
    """Digest and bytes of everything that is attached to the version."""
    query = (
        select(blobs.c.digest, blobs.c.bytes)
        .join(pack_files, pack_files.c.digest == blobs.c.digest)
        .join(packs, packs.c.seq == pack_files.c.seq)
        .where(packs.c.version == version.seq)
    )
    return {row.digest: row.bytes for row in connection.execute(query)}


def _pointing(connection: Connection, model: str | None) -> dict[tuple[str, int], list[str]]:
    """The aliases that point to each version now."""
    moves = alias_moves.c
    query = select(moves.model, moves.alias, func.max(moves.seq)).group_by(moves.model, moves.alias)
    if model is not None:
        query = query.where(moves.model == model)
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for of, alias, _ in connection.execute(query.order_by(moves.model, moves.alias)):
        state = alias_at(connection, of, alias)
        if state.number is not None:
            found[of, state.number].append(alias)
    return found


def _aliases(connection: Connection, version: Version) -> list[Json]:
    states = [alias_at(connection, version.model, alias) for alias in aliases_of(connection, version.model)]
    return [{"alias": state.alias, "since": state.since} for state in states if state.version == version.seq]


def _requests(connection: Connection, version: Version) -> list[Json]:
    return [
        {
            "id": request.id,
            "stage": request.stage,
            "requester": request.requester,
            "at": request.at,
            "decisions": [
                {"verdict": one.verdict, "actor": one.actor, "at": one.at, "expires_at": one.expires_at}
                for one in decisions_on(connection, request)
            ],
        }
        for request in requests_of(connection, version.seq)
    ]
