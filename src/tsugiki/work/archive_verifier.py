"""Verify an evidence archive of tsugiki on any machine: python verify.py ARCHIVE --public-key ledger.pub

Needs Python 3.11 and `cryptography`, nothing else: this file travels inside every archive as verify.py, and is called
by `tsugiki registry verify-archive`. Use the public key that you were given earlier, by another way than the archive:
the one inside proves nothing. Exit status 0: everything in the archive is as the registry signed it; 1: it is not, and
the first bad file or record is named. Never unpacks, never writes, never runs what it reads, and imports nothing of
tsugiki.

What it proves: the layout is a plain zip with nothing hidden in it · every file is as the signed list says · the ledger
is one unbroken chain from the registry's first event to a signed checkpoint · every record of the version (manifest,
evidence, requests, decisions) is the one the ledger names, and none is missing · every file of the evidence is whole ·
nobody approved what they asked for or made.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FORMAT = 1
LIST, SIGNATURE = "archive.json", "archive.sig"
EVENTS, CHECKPOINT = "ledger/events.jsonl", "ledger/checkpoint.json"
TABLES = ("versions", "packs", "requests", "decisions")
OWNERS = (("packs", "version", "versions"), ("requests", "version", "versions"), ("decisions", "request", "requests"))
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,7}")
LARGEST_JSON = 256 * 2**20  # bytes of one file that is read whole
LARGEST_EVENT = 64 * 2**20
LARGEST_KEY = 4096  # or a whole archive would do, since there is a key somewhere in it
CHUNK = 2**20
EVENT_FIELDS = {
    "seq", "previous", "at", "actor", "kind", "object", "before", "after", "reason", "request", "tool", "rows",
}  # fmt: skip

Json = dict[str, Any]


class BadArchive(Exception):
    """The first thing that is wrong: which file or record, and what about it."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


@dataclass(frozen=True)
class Entry:
    """One file of the archive: `offset` is that of its first byte."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass
class Report:
    """What was found to be true, and what stands in the ledger about this version, oldest first."""

    version: str = ""
    digest: str = ""
    registry: str = ""
    key: str = ""
    events: int = 0
    until: str = ""
    packs: int = 0
    requests: int = 0
    decisions: int = 0
    files: int = 0
    files_erased: int = 0
    texts: int = 0
    texts_elsewhere: int = 0  # kept in the registry and left out of the archive
    texts_erased: int = 0
    history: list[Json] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Verify an evidence archive of tsugiki.")
    parser.add_argument("archive", type=Path)
    parser.add_argument(
        "--public-key", type=Path, required=True, help="the registry's ledger.pub, as you were given it"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    given = parser.parse_args(arguments)
    try:
        found = verify(given.archive, given.public_key.read_bytes())
    except (BadArchive, OSError) as error:
        bad = error if isinstance(error, BadArchive) else BadArchive(str(error.filename), str(error.strerror))
        if given.json:
            print(json.dumps({"good": False, "where": bad.where, "why": bad.why}))  # noqa: T201
        sys.stderr.write(f"BAD  {bad}\n")
        return 1
    print(json.dumps({"good": True, **vars(found)}, indent=2) if given.json else told(found))  # noqa: T201
    return 0


def told(found: Report) -> str:
    lines = [
        f"GOOD  {found.version} ({found.digest})",
        f"registry {found.registry}, key {found.key}",
        f"{found.events} events to {found.until}; {found.requests} requests, {found.decisions} decisions",
        f"{found.packs} packs with {found.files} files, {found.files_erased} deleted",
        f"rows with texts: {found.texts} here, {found.texts_elsewhere} in the registry, {found.texts_erased} deleted",
    ]
    lines += [f"{one['seq']:>8}  {one['at']}  {one['actor']}  {one['kind']}  {one['object']}" for one in found.history]
    return "\n".join(lines)


def verify(path: Path, public_key: bytes) -> Report:
    """Raises BadArchive at the first thing that is wrong, OSError where the file cannot be read."""
    key = _key(public_key)
    with path.open("rb") as file:
        return _Archive(file, key, {entry.name: entry for entry in entries(file)}).verified()


def local_header(name: str, size: int, crc: int) -> bytes:
    encoded = name.encode("ascii")
    return struct.pack("<4s5H3L2H", b"PK\3\4", 10, 0, 0, 0, 33, crc, size, size, len(encoded), 0) + encoded


def directory(found: list[Entry], start: int) -> bytes:
    """The central directory and the end record of a plain zip: nothing compressed, no links, no comments, no dates."""
    lines = []
    for one in found:
        encoded, offset = one.name.encode("ascii"), one.offset - 30 - len(one.name)
        sizes = (one.crc, one.size, one.size, len(encoded), 0, 0, 0, 0, 0o100644 << 16, offset)
        lines.append(struct.pack("<4s6H3L5H2L", b"PK\1\2", 3 << 8 | 10, 10, 0, 0, 0, 33, *sizes) + encoded)
    whole = b"".join(lines)
    return whole + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(found), len(found), len(whole), start, 0)


def entries(file: IO[bytes]) -> list[Entry]:
    """Read the layout from its first byte to its last, and take nothing but the one way in which archives are written.

    So there is no room for compressed bombs, links, paths that lead out, two files of one name, or bytes between.
    """
    found: list[Entry] = []
    seen: set[str] = set()
    while True:
        start = file.tell()
        head = file.read(30)
        if head[:4] != b"PK\3\4":
            break
        if len(head) < 30:
            raise BadArchive("the zip", f"it ends at byte {start}")
        *_, crc, size, _, length, _ = struct.unpack("<4s5H3L2H", head)
        raw = file.read(min(length, 1000))
        name = raw.decode("ascii", "replace")
        if not NAME.fullmatch(name) or len(raw) != length:
            raise BadArchive(repr(name), "not a name that an archive may hold")
        if head + raw != local_header(name, size, crc):
            raise BadArchive(name, "it is compressed, encrypted, or otherwise not stored as it is")
        if (found and name <= found[-1].name) or name.lower() in seen:
            raise BadArchive(name, "it is there twice, or out of order")
        entry = Entry(name, file.tell(), size, crc)
        if _crc(file, entry) != crc:
            raise BadArchive(name, "its content is damaged or cut off")
        found.append(entry)
        seen.add(name.lower())
    wanted = directory(found, start)
    file.seek(start)
    if not found or file.read(len(wanted) + 1) != wanted:
        raise BadArchive("the zip", "its directory does not say what lies in it, or something stands behind it")
    return found


def _crc(file: IO[bytes], entry: Entry) -> int:
    crc = 0
    for block in _blocks(file, entry):
        crc = zlib.crc32(block, crc)
    return crc if file.tell() == entry.offset + entry.size else -1


def _blocks(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    file.seek(entry.offset)
    left = entry.size
    while left and (block := file.read(min(left, CHUNK))):
        left -= len(block)
        yield block


def _key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem) if len(pem) <= LARGEST_KEY else None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadArchive("the public key", "it is no Ed25519 key in PEM form")
    return key


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _canonical(value: Any) -> bytes:
    """RFC 8785, for values without floats."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _object(where: str, content: bytes) -> Json:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadArchive(where, "it is no JSON object")
    return value


class _Archive:
    """The checks in their order; each stands on those before it."""

    def __init__(self, file: IO[bytes], key: Ed25519PublicKey, found: Mapping[str, Entry]) -> None:
        self.file, self.key, self.entries = file, key, found
        self.key_digest = _digest(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        self.digests: dict[str, str] = {}
        self.named: dict[str, set[int]] = {table: set() for table in TABLES}  # seq of the records that must be here
        self.bodies: dict[tuple[str, int], str] = {}  # digest of each of them, as the ledger has it
        self.rows: dict[tuple[str, int], Json] = {}
        self.pack_files: dict[int, dict[str, str]] = {}
        self.erased: set[str] = set()
        self.report = Report(key=self.key_digest)

    def verified(self) -> Report:
        listed = self._list()
        version = listed["version"]
        self.report.version, self.report.digest = f"{version['model']}@{version['number']}", version["digest"]
        self.report.registry = listed["registry"]
        self._ledger(listed["registry"], version)
        for table in TABLES:
            for seq in sorted(self.named[table]):
                self._record(table, seq)
        for seq in sorted(self.named["packs"]):
            self._pack(seq, version["digest"])
        self._nothing_else()
        self._separation(version["seq"])
        return self.report

    def _read(self, name: str) -> bytes:
        entry = self.entries.get(name)
        if entry is None:
            raise BadArchive(name, "it is missing")
        if entry.size > LARGEST_JSON:
            raise BadArchive(name, f"it has {entry.size} bytes, and at most {LARGEST_JSON} are read")
        self.file.seek(entry.offset)
        return self.file.read(entry.size)

    def _signed(self, name: str, content: bytes, signature: str) -> None:
        try:
            self.key.verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            raise BadArchive(name, "it is not signed by the owner of this public key") from None

    def _list(self) -> Json:
        """archive.json: what lies in the archive, signed."""
        content = self._read(LIST)
        self._signed(LIST, content, self._read(SIGNATURE).decode("ascii", "replace").strip())
        listed = _object(LIST, content)
        if listed.get("format") != FORMAT:
            raise BadArchive(LIST, f"its format is {listed.get('format')!r}, and this program reads {FORMAT}")
        named = {one["path"]: one for one in listed["files"]}
        for name, entry in self.entries.items():
            if name in (LIST, SIGNATURE):
                continue
            if name not in named:
                raise BadArchive(name, "the signed list does not name it")
            digest = hashlib.sha256()
            for block in _blocks(self.file, entry):
                digest.update(block)
            self.digests[name] = "sha256:" + digest.hexdigest()
            if (named[name]["digest"], named[name]["bytes"]) != (self.digests[name], entry.size):
                raise BadArchive(name, "it is not the file that the signed list names")
        for name in named:
            if name not in self.entries:
                raise BadArchive(name, "it is missing")
        return listed

    def _ledger(self, registry: str, version: Json) -> None:
        """One chain from the registry's first event to the signed checkpoint; picks up what it says on the way."""
        previous = _digest(_canonical({"registry": registry, "key": self.key_digest}))
        at, seq = "", 0
        for seq, line in enumerate(self._lines(), start=1):
            where = f"{EVENTS}, event {seq}"
            event = _object(where, line)
            if set(event) != EVENT_FIELDS or _canonical(event) != line:
                raise BadArchive(where, "it is not an event as the ledger writes them")
            if event["seq"] != seq or event["previous"] != previous:
                raise BadArchive(where, "it does not follow the event before it")
            if event["at"] < at:
                raise BadArchive(where, "it is earlier than the event before it")
            previous, at = _digest(line), event["at"]
            self._note(event, version)
        self._checkpoint(registry, seq, previous)
        if ("versions", version["seq"]) not in self.rows:
            raise BadArchive(EVENTS, f"no event {version['seq']} added the version {self.report.version}")
        self.report.events, self.report.until = seq, at

    def _lines(self) -> Iterator[bytes]:
        entry = self.entries.get(EVENTS)
        if entry is None:
            raise BadArchive(EVENTS, "it is missing")
        place, end = entry.offset, entry.offset + entry.size
        while place < end:
            self.file.seek(place)
            line = self.file.readline(min(LARGEST_EVENT, end - place))
            if not line.endswith(b"\n"):
                raise BadArchive(EVENTS, "its last event is cut off or too long")
            place += len(line)
            yield line[:-1]

    def _checkpoint(self, registry: str, seq: int, hash: str) -> None:
        content = self._read(CHECKPOINT)
        self._signed(CHECKPOINT, content, self._read("ledger/checkpoint.sig").decode("ascii", "replace").strip())
        body = _object(CHECKPOINT, content)
        if (body.get("registry"), body.get("seq"), body.get("hash")) != (registry, seq, hash):
            raise BadArchive(CHECKPOINT, f"it signs event {body.get('seq')}, and the ledger here ends at {seq}")

    def _note(self, event: Json, version: Json) -> None:
        """Which of the event's rows concern the version: they name the records that have to be here."""
        seq, ours = event["seq"], event["object"] == self.report.version
        for row in event["rows"].get("versions", ()):
            if row["digest"] == version["digest"]:
                ours = self._want("versions", seq, row)
        for table, column, owner in OWNERS:
            for row in event["rows"].get(table, ()):
                if row[column] in self.named[owner]:
                    ours = self._want(table, seq, row)
        ours = ours or any(row["version"] == version["seq"] for row in event["rows"].get("alias_moves", ()))
        if seq in self.named["packs"]:
            self.pack_files[seq] = {row["path"]: row["digest"] for row in event["rows"].get("pack_files", ())}
        self.erased.update(row["digest"] for row in event["rows"].get("erasures", ()))
        if ours:
            about = {name: event[name] for name in ("seq", "at", "kind", "object", "reason")}
            self.report.history.append({**about, "actor": event["actor"]["name"], "role": event["actor"]["role"]})

    def _want(self, table: str, seq: int, row: Json) -> bool:
        self.named[table].add(seq)
        self.bodies[table, seq] = row["body"]
        self.rows[table, seq] = row
        return True

    def _record(self, table: str, seq: int) -> None:
        name = f"records/{table}-{seq}.json"
        content = self._read(name)
        if _digest(content) != self.bodies[table, seq]:
            raise BadArchive(name, f"it is not what event {seq} of the ledger recorded")
        if table == "versions":
            self._signed(name, self.rows[table, seq]["digest"].encode(), self.rows[table, seq]["signature"])
        elif table == "packs":
            self.report.packs += 1
        elif table == "requests":
            self.report.requests += 1
        else:
            self.report.decisions += 1

    def _pack(self, seq: int, version: str) -> None:
        """Every file of its manifest is here and whole; texts may be here, only in the registry, or deleted."""
        name = f"records/packs-{seq}.json"
        manifest = _object(name, self._read(name))
        if manifest.get("version") != version:
            raise BadArchive(name, "it is evidence for another version")
        listed = {one["path"]: one["digest"] for one in manifest["files"]}
        for path, digest in listed.items():
            place = f"packs/{seq}/{path}"
            if place not in self.digests and digest in self.erased:
                self.report.files_erased += 1
                continue
            if self.digests.get(place) != digest:
                why = "it is not the file that the evidence names" if place in self.digests else "it is missing"
                raise BadArchive(place, why)
            self.report.files += 1
        for path, digest in self.pack_files[seq].items():
            if path in listed:
                continue
            place = f"packs/{seq}/{path}"
            if place not in self.digests:
                self.report.texts_erased += digest in self.erased
                self.report.texts_elsewhere += digest not in self.erased
            elif self.digests[place] != digest:
                raise BadArchive(place, f"it is not the text that event {seq} of the ledger recorded")
            else:
                self.report.texts += 1

    def _nothing_else(self) -> None:
        """A file that no rule above has asked for has no place here, even where it is signed."""
        wanted = {"README.md", "README.ja.md", "verify.py", "keys/ledger.pub", LIST, SIGNATURE}
        wanted |= {EVENTS, CHECKPOINT, "ledger/checkpoint.sig"}
        wanted |= {f"records/{table}-{seq}.json" for table in TABLES for seq in self.named[table]}
        for seq, files in self.pack_files.items():
            wanted |= {f"packs/{seq}/{path}" for path in files}
        for name in self.entries:
            if name not in wanted:
                raise BadArchive(name, "nothing in the ledger asks for it")

    def _separation(self, version: int) -> None:
        maker = self.rows["versions", version]["creator"]
        for seq in sorted(self.named["decisions"]):
            row = self.rows["decisions", seq]
            asker = self.rows["requests", row["request"]]["requester"]
            if row["verdict"] == "approve" and row["actor"] in (maker, asker):
                what = "made the version" if row["actor"] == maker else "asked for it"
                raise BadArchive(f"event {seq}", f"{row['actor']} approved, who {what}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
