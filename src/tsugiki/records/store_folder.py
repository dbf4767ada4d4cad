"""A folder as the place of a registry's files.

Used by `store`. A file is written under a `.partial` name in the same folder, flushed, made read-only and renamed to
its digest; then the folders are flushed. A power cut at any moment leaves the whole file or none. A writer holds a lock
on its partial file, so that sweeping takes only what dead writers have left.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tsugiki.files import sync_folder
from tsugiki.records.store import key_of

PARTIAL = ".partial"
READ_ONLY = 0o444
STORED_NAME = re.compile(r"[0-9a-f]{64}")


class FolderPlace:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    @contextmanager
    def incoming(self) -> Iterator[_PartialFile]:
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root.parent)
        partial = self._locked_partial()
        try:
            yield partial
        finally:
            partial.end()

    def open(self, digest: str) -> BinaryIO:
        handle = os.open(self._path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(0, f"{self._path(digest)} is not a regular file")
        return os.fdopen(handle, "rb")

    def exists(self, digest: str) -> bool:
        return os.path.lexists(self._path(digest))

    def modified(self, digest: str) -> float:
        return self._path(digest).lstat().st_mtime

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)

    def digests(self) -> Iterator[str]:
        for path in self._root.glob("sha256/??/*"):
            if STORED_NAME.fullmatch(path.name) and path.parent.name == path.name[:2]:
                yield f"sha256:{path.name}"

    def sweep(self) -> int:
        swept = 0
        for path in self._root.glob(f"*{PARTIAL}"):
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    swept += 1
                except BlockingIOError:
                    pass  # its writer lives
                finally:
                    os.close(handle)
        if swept:
            sync_folder(self._root)
        return swept

    def _path(self, digest: str) -> Path:
        return self._root / key_of(digest)

    def _locked_partial(self) -> _PartialFile:
        """A new partial file that sweeping leaves alone; one that was swept before it was locked is made again."""
        while True:
            path = self._root / f"{secrets.token_hex(16)}{PARTIAL}"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return _PartialFile(handle, path, self._root)
            os.close(handle)


class _PartialFile:
    def __init__(self, handle: int, path: Path, root: Path) -> None:
        self._handle, self._path, self._root = handle, path, root

    def write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(self._handle, left) :]

    def keep(self, digest: str) -> None:
        target = self._root / key_of(digest)
        os.fchmod(self._handle, READ_ONLY)
        os.fsync(self._handle)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(target.parent.parent)
            sync_folder(self._root)
        self._path.replace(target)
        sync_folder(target.parent)
        sync_folder(self._root)

    def end(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._handle)
