"""Rows of evidence packs: what is attached to a version, which files belong to it, and what of them was erased.

Called by the verbs of `work/` that attach, archive, back up, collect and erase. Plain values in and out; the rows
themselves are written by `ledger.append`, with the event that attaches a pack.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, insert, select

from tsugiki.errors import RecordsError
from tsugiki.records import times
from tsugiki.records.schema import blobs, erasures, pack_files, packs, version_files
from tsugiki.records.store import Blob


class Version(Protocol):
    """What evidence needs to know of a version; `digest` is that of its manifest."""

    @property
    def seq(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def digest(self) -> str: ...


@dataclass(frozen=True)
class PackRow:
    """One pack as it was attached: `body` is its manifest's canonical JSON, `version` the seq of its version."""

    seq: int
    version: int
    kind: str
    digest: str
    at: str
    body: bytes

    @property
    def manifest(self) -> Mapping[str, Any]:
        return json.loads(self.body)


def packs_of(connection: Connection, version: int | None = None) -> list[PackRow]:
    """The packs of the version with that seq, or of all versions, oldest first."""
    query = select(packs).order_by(packs.c.seq)
    if version is not None:
        query = query.where(packs.c.version == version)
    return [
        PackRow(row.seq, row.version, row.kind, row.digest, row.at, bytes(row.body))
        for row in connection.execute(query)
    ]


def trained_files(connection: Connection, version: int) -> dict[str, str]:
    """Path to digest of the files of the version with that seq."""
    query = select(version_files.c.path, version_files.c.digest).where(version_files.c.seq == version)
    return {row.path: row.digest for row in connection.execute(query)}


def files_of(connection: Connection, pack: int) -> dict[str, str]:
    """Path to digest of the files that were stored with the pack, also of those that were erased since."""
    query = select(pack_files.c.path, pack_files.c.digest).where(pack_files.c.seq == pack).order_by(pack_files.c.path)
    return {row.path: row.digest for row in connection.execute(query)}


def erased(connection: Connection) -> frozenset[str]:
    """Digests of everything that was erased: those files must not come back."""
    return frozenset(connection.scalars(select(erasures.c.digest)))


def referenced(connection: Connection) -> dict[str, int]:
    """Digest and bytes of every file that a version or a pack names and that was not erased.

    Raises RecordsError where the size of one is not known, since its row was deleted: no file may be left out.
    """
    found: dict[str, int] = {}
    for table in (version_files, pack_files):
        query = select(table.c.digest, blobs.c.bytes).outerjoin(blobs, blobs.c.digest == table.c.digest)
        found |= {row.digest: row.bytes for row in connection.execute(query)}
    gone = erased(connection)
    for digest, size in found.items():
        if size is None:
            raise RecordsError(f"The row of the file {digest} is missing.", fix="Restore the registry from a backup.")
    return {digest: size for digest, size in found.items() if digest not in gone}


def record_blobs(connection: Connection, stored: Iterable[Blob]) -> None:
    """Rows for stored files that have none yet; in the transaction of the event that refers to them."""
    new = {blob.digest: blob.bytes for blob in stored}
    # One lookup each: a version has a handful of files, the registry may have a million.
    for digest in [one for one in new if connection.scalar(select(blobs.c.digest).where(blobs.c.digest == one))]:
        del new[digest]
    if new:
        at = times.now()
        rows = [{"digest": digest, "bytes": size, "added_at": at} for digest, size in new.items()]
        connection.execute(insert(blobs), rows)
