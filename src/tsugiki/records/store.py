"""The files of a registry, kept under the digest of their content, in a folder or in an S3 bucket.

Called by `work.register`, by evidence packs, exports, backup and garbage collection. Nothing is ever changed in place.
A file is complete and verified before its digest is returned, so a row that names it never names a half; and every
reading compares size and digest first, so that a flipped bit is refused and never handed on. Knows nothing of versions:
what is referenced by whom is the database's business.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tsugiki.errors import RecordsError
from tsugiki.files import write_whole
from tsugiki.records.safe_names import shown

CHUNK = 1 << 20  # bytes
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESTORE = "Restore it from a backup, or add what it belongs to again."


@dataclass(frozen=True)
class Blob:
    """A stored file: its digest and its size in bytes."""

    digest: str
    bytes: int


class Incoming(Protocol):
    """A file that is being stored and is not there yet."""

    def write(self, content: bytes, /) -> None: ...

    def keep(self, digest: str) -> None:
        """Let the content appear under its digest, whole and for good."""


class Place(Protocol):
    """Where files are kept. Raises OSError; `Store` says it in one sentence."""

    name: str

    def incoming(self) -> AbstractContextManager[Incoming]:
        """Room for one file; what was not kept is gone afterwards."""

    def open(self, digest: str) -> BinaryIO:
        """The content as it lies there, seekable. FileNotFoundError when there is none."""

    def exists(self, digest: str) -> bool: ...

    def modified(self, digest: str) -> float:
        """Seconds since the epoch at which it appeared. FileNotFoundError when there is none."""

    def delete(self, digest: str) -> None: ...

    def digests(self) -> Iterator[str]: ...

    def sweep(self) -> int: ...


class Store:
    """Files by digest at one place. Every method raises RecordsError, in one sentence."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def put(self, source: Path | bytes, *, expected: str | None = None) -> Blob:
        """Store a file, or nothing: the digest is of what was written, and was read back before it is returned.

        Content that is there already is left as it is, if it is sound, and replaced if it is not. `expected` refuses a
        file that has changed since somebody took that digest of it.
        """
        with self._told("stored"):
            with self._place.incoming() as incoming:
                blob = _copy(source, incoming)
                if expected not in (None, blob.digest):
                    raise RecordsError(
                        f"{_name(source)} changed while it was being stored.",
                        fix="Wait until it is written, then try again.",
                    )
                if not (self._place.exists(blob.digest) and self._is_sound(blob)):
                    incoming.keep(blob.digest)
                    self.verify(blob.digest, blob.bytes)
            return blob

    def open(self, digest: str, size: int | None = None) -> BinaryIO:
        """The verified content, at its beginning. `size` in bytes is compared too where the caller knows it."""
        with self._told("read"):
            try:
                file = self._place.open(_checked(digest))
            except FileNotFoundError:
                raise RecordsError(f"The file {digest} is missing from {self._place.name}.", fix=RESTORE) from None
            try:
                self._check(file, digest, size)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file

    def read(self, digest: str, size: int | None = None) -> bytes:
        """The whole content; for what is small."""
        with self.open(digest, size) as file, self._told("read"):
            return file.read()

    def fetch(self, digest: str, to: Path, size: int | None = None) -> None:
        """Write the content to `to`, which appears whole and verified, or not at all; an existing file is replaced."""

        def write(temporary: Path) -> None:
            with self.open(digest, size) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            with temporary.open("rb") as copy:
                self._check(copy, digest, size)

        with self._told(f"written to {to}"):
            write_whole(to, write)

    def verify(self, digest: str, size: int | None = None) -> None:
        """Read the whole content and compare."""
        self.open(digest, size).close()

    def exists(self, digest: str) -> bool:
        """Whether there is something under that digest; says nothing about its content."""
        with self._told("read"):
            return self._place.exists(_checked(digest))

    def modified(self, digest: str) -> float | None:
        """Seconds since the epoch at which a file appeared; None where there is none (any more)."""
        with self._told("read"):
            try:
                return self._place.modified(_checked(digest))
            except FileNotFoundError:
                return None

    def delete(self, digest: str) -> None:
        """Remove a file that nothing references; nothing to do when it is gone already."""
        with self._told("deleted"):
            self._place.delete(_checked(digest))

    def digests(self) -> Iterator[str]:
        """Everything that is stored, in no particular order."""
        with self._told("read"):
            yield from self._place.digests()

    def sweep(self) -> int:
        """Remove what writers that died have left behind; returns how many. Those at work are left alone."""
        with self._told("swept"):
            return self._place.sweep()

    def _is_sound(self, blob: Blob) -> bool:
        try:
            self.verify(blob.digest, blob.bytes)
        except RecordsError:
            return False
        return True

    def _check(self, file: BinaryIO, digest: str, size: int | None) -> None:
        found_size = file.seek(0, os.SEEK_END)
        if size not in (None, found_size):
            raise self._broken(digest, f"has {found_size} bytes instead of {size}")
        file.seek(0)
        sha256 = hashlib.sha256()
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
        found = "sha256:" + sha256.hexdigest()
        if found != digest:
            raise self._broken(digest, f"is damaged (its content has the digest {found})")

    def _broken(self, digest: str, fault: str) -> RecordsError:
        return RecordsError(f"The file {digest} in {self._place.name} {fault}.", fix=RESTORE)

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fix = (
                "Free some space and run the command again."
                if error.errno in NO_ROOM
                else "Look at it, then try again."
            )
            why = error.strerror or str(error) or type(error).__name__
            raise RecordsError(f"A file of {self._place.name} could not be {done}: {why}.", fix=fix) from None


def open_store(where: str, folder: Path) -> Store:
    """The store at `where`: a folder, counted from `folder`, or an s3:// URL. Raises RecordsError."""
    if where.startswith("s3://"):
        from tsugiki.records.store_bucket import BucketPlace

        return Store(BucketPlace(where))
    if "://" in where:
        raise RecordsError(f"{shown(where)} is not a place for files.", fix="Name a folder or an s3:// URL.")
    from tsugiki.records.store_folder import FolderPlace

    return Store(FolderPlace(folder / where))


def _copy(source: Path | bytes, incoming: Incoming) -> Blob:
    sha256, size = hashlib.sha256(), 0
    for chunk in _chunks(source):
        sha256.update(chunk)
        size += len(chunk)
        incoming.write(chunk)
    return Blob("sha256:" + sha256.hexdigest(), size)


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    # A link or a pipe in the place of a file is not what the caller has looked at.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _name(source: Path | bytes) -> str:
    return shown(str(source)) if isinstance(source, Path) else "The content"


def _checked(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise RecordsError(f"{shown(digest)} is not a digest.", fix="A digest is sha256: and 64 hexadecimal digits.")
    return digest


def key_of(digest: str) -> str:
    """Where a file lies below its place: `sha256/ab/abcd…`."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}/{value[:2]}/{value}"
