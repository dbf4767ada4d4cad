"""An evidence archive for auditors: one zip with all that the registry knows of a version, which proves itself offline.

Called by `tsugiki registry export-evidence`. The archive holds the version's manifest with its signature, its evidence,
requests and decisions, the whole ledger up to a signed checkpoint, the public key, and the verifier that checks it on a
machine without tsugiki. The ledger is there whole: an event that is left out would break the chain that proves the
others, and events hold no contents, only names, reasons and digests. The zip has no compression and no dates, so the
same registry gives the same bytes. Weights and the texts of rows stay out (the texts unless asked for); their digests
are in. The verifier itself is in archive_verifier.py, which knows the layout.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError, UsageError
from tsugiki.files import write_whole
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_file
from tsugiki.records.checkpoints import newest_checkpoint
from tsugiki.records.keys import load_given
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.packs import Version, erased, files_of, packs_of
from tsugiki.records.rights import Actor, require
from tsugiki.records.schema import decisions, events, requests, versions
from tsugiki.work.archive_verifier import (
    CHECKPOINT,
    CHUNK,
    EVENTS,
    FORMAT,
    LIST,
    NAME,
    SIGNATURE,
    BadArchive,
    Entry,
    Report,
    directory,
    local_header,
    verify,
)

MOST_FILES, MOST_BYTES = 65_000, 4 * 10**9  # what a zip without extensions can hold
Contents = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Exported:
    """What was written: `digest` is of the archive, `checkpoint` the event up to which it holds the ledger."""

    path: Path
    digest: str
    bytes: int
    files: int
    checkpoint: int


def export_evidence(
    records: Records, version: Version, out: Path, *, texts: bool, actor: Actor, reason: str
) -> Exported:
    """Write the archive of a version to `out` and record that it was exported. `texts`: with the rows' texts.

    Raises UsageError for a file that is there already, RecordsError where evidence is missing or damaged; then nothing
    is left behind. The archive is verified before it appears under its name.
    """
    require(actor, "export-evidence")
    if out.exists():
        raise UsageError(f"{out} is there already.", fix="Name another file with --out.")
    found: list[tuple[int, int]] = []
    with records.database.reading() as connection:
        write_whole(out, lambda path: found.append(_write(records, connection, version, path, texts=texts)))
    ((files, checkpoint),) = found
    exported = Exported(out, digest_file(out), out.stat().st_size, files, checkpoint)
    about = {"archive": exported.digest, "version": version.digest, "checkpoint": exported.checkpoint, "texts": texts}
    event = NewEvent(actor, "evidence.exported", f"{version.model}@{version.number}", after=about, reason=reason)
    try:
        with records.database.writing() as writing:
            append(writing, event)
    except BaseException:
        with suppress(OSError):  # the disk that refused the event may refuse this too
            out.unlink(missing_ok=True)  # what is not in the ledger was not exported
        raise
    return exported


def verify_archive(path: Path, public_key: Path) -> Report:
    """Verify an archive with the key in a file. Raises RecordsError naming the first bad file or record."""
    load_given(public_key)  # a file that is no key is not the archive's fault
    try:
        return verify(path, public_key.read_bytes())
    except BadArchive as bad:
        raise RecordsError(
            f"{path} is not what the registry exported: {bad}.", fix="Ask for the archive again, by another way."
        ) from None
    except OSError as error:
        raise RecordsError(f"{error.filename} cannot be read: {error.strerror}.", fix="Name another file.") from None


def _write(records: Records, connection: Connection, version: Version, path: Path, *, texts: bool) -> tuple[int, int]:
    """Returns how many files were written, and up to which event."""
    with tempfile.TemporaryFile(dir=path.parent) as ledger:
        checkpoint = newest_checkpoint(connection)
        assert checkpoint is not None, "a registry without its first event"
        _write_ledger(connection, ledger, checkpoint.seq)
        contents = sorted(_contents(records, connection, version, texts=texts), key=lambda one: one[0])
        plain = {
            **dict(contents),
            CHECKPOINT: checkpoint.body,
            "ledger/checkpoint.sig": (checkpoint.signature + "\n").encode(),
        }
        files = [_listed(name, content) for name, content in plain.items()]
        files.append({"path": EVENTS, "digest": _digest_of(ledger), "bytes": ledger.tell()})
        listed = canonical_json(
            {
                "format": FORMAT,
                "registry": records.settings.id,
                "key": records.database.home.public.digest,
                "version": {
                    "seq": version.seq, "model": version.model, "number": version.number, "digest": version.digest,
                },
                "checkpoint": {"seq": checkpoint.seq, "hash": checkpoint.hash},
                "files": sorted(files, key=lambda one: str(one["path"])),
            }
        )  # fmt: skip
        plain |= {LIST: listed, SIGNATURE: (records.database.key.sign(listed) + "\n").encode()}
        with path.open("wb") as out:
            count = _write_zip(out, plain, ledger)
    try:
        verify(path, records.database.home.public.pem())
    except BadArchive as bad:
        raise RecordsError(
            f"The evidence of {version.model}@{version.number} does not verify: {bad}.",
            fix="Run: tsugiki registry verify",
        ) from None
    return count, checkpoint.seq


def _contents(records: Records, connection: Connection, version: Version, *, texts: bool) -> Contents:
    yield "README.md", _template("archive.en.md")
    yield "README.ja.md", _template("archive.ja.md")
    yield "verify.py", resources.files("tsugiki.work").joinpath("archive_verifier.py").read_bytes()
    yield "keys/ledger.pub", records.database.home.public.pem()
    for table, rows in _rows(connection, version).items():
        for seq, body in rows.items():
            yield f"records/{table}-{seq}.json", body
    gone = erased(connection)
    for pack in packs_of(connection, version.seq):
        listed = {one["path"] for one in pack.manifest["files"]}
        for name, digest in files_of(connection, pack.seq).items():
            if digest not in gone and (texts or name in listed):
                yield f"packs/{pack.seq}/{name}", records.store.read(digest)


def _rows(connection: Connection, version: Version) -> dict[str, dict[int, bytes]]:
    asked = select(requests.c.seq, requests.c.body).where(requests.c.version == version.seq)
    decided = (
        select(decisions.c.seq, decisions.c.body)
        .join(requests, requests.c.seq == decisions.c.request)
        .where(requests.c.version == version.seq)
    )
    made = select(versions.c.seq, versions.c.body).where(versions.c.seq == version.seq)
    found = {"versions": made, "requests": asked, "decisions": decided}
    rows = {table: {row.seq: bytes(row.body) for row in connection.execute(query)} for table, query in found.items()}
    return {**rows, "packs": {pack.seq: pack.body for pack in packs_of(connection, version.seq)}}


def _write_ledger(connection: Connection, out: IO[bytes], until: int) -> None:
    """Every event's bytes on a line of its own; canonical JSON holds no line ends."""
    query = select(events.c.body).where(events.c.seq <= until).order_by(events.c.seq)
    for (body,) in connection.execution_options(stream_results=True, yield_per=1000).execute(query):
        out.write(bytes(body) + b"\n")


def _listed(name: str, content: bytes) -> dict[str, Any]:
    return {"path": name, "digest": digest_bytes(content), "bytes": len(content)}


def _digest_of(file: IO[bytes]) -> str:
    """Leaves the file at its end."""
    file.seek(0)
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _write_zip(out: IO[bytes], plain: Mapping[str, bytes], ledger: IO[bytes]) -> int:
    """In the order of the names; the ledger, which may be long, block by block."""
    found: list[Entry] = []
    for name in sorted([*plain, EVENTS]):
        if not NAME.fullmatch(name):
            raise RecordsError(
                f"{name!r} is no name for a file of an archive.", fix="Attach evidence with plain names."
            )
        blocks = _blocks(ledger) if name == EVENTS else iter((plain[name],))
        size = crc = 0
        start = out.tell()
        out.write(local_header(name, 0, 0))
        for block in blocks:
            out.write(block)
            size, crc = size + len(block), zlib.crc32(block, crc)
        end = out.tell()
        if end > MOST_BYTES or len(found) >= MOST_FILES:
            raise RecordsError(
                f"The archive would hold more than {MOST_FILES} files or {MOST_BYTES // 10**9} GB.",
                fix="Export it without the texts of rows.",
            )
        out.seek(start)
        out.write(local_header(name, size, crc))
        out.seek(end)
        found.append(Entry(name, end - size, size, crc))
    out.write(directory(found, out.tell()))
    return len(found)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(CHUNK):
        yield block


def _template(name: str) -> bytes:
    return resources.files("tsugiki.work").joinpath("templates").joinpath(name).read_bytes()
