"""Kill a function, or fail it, at the n-th call that writes anything; used by benchmarks/registry_crashes.py.

A forked child runs the function with every write-like call counted: opening for writing, write, flush, fsync, rename,
link, unlink, mkdir, chmod, truncate, locks, and every writing statement and commit of a database. At the n-th call it
is killed with SIGKILL (half of what it was writing is written), or the call fails with ENOSPC (and every later one, as
on a full disk) or EIO (that one alone).
"""

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from tsugiki.errors import TsugikiError

Kind = Literal["kill", "ENOSPC", "EIO"]
KINDS: tuple[Kind, ...] = ("kill", "ENOSPC", "EIO")
FORK = multiprocessing.get_context("fork")
AUDITED = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "fcntl.flock",
}  # fmt: skip
SAID = {"ENOSPC": "database or disk is full", "EIO": "disk I/O error"}
SECONDS = 60  # after which a child counts as hanging


@dataclass(frozen=True)
class Outcome:
    """`ended` is done, killed, refused (one sentence), raised (a traceback: a bug) or hanging; `calls` in order."""

    ended: str
    said: str
    calls: tuple[str, ...]


class Faults:
    """Counts the calls of this process and strikes at the one with the number `at`; 0 never strikes."""

    def __init__(self, at: int, kind: Kind) -> None:
        self.at, self.kind = at, kind
        self.calls: list[str] = []
        self._busy = False

    def point(self, name: str, half: Callable[[], Any] = lambda: None) -> None:
        """Raises OSError, or never returns. `half` does half of what was to be done."""
        if self._busy:
            return
        self.calls.append(name)
        number = len(self.calls)
        if not self.at or (number < self.at if self.kind == "ENOSPC" else number != self.at):
            return
        if self.kind == "kill":
            self._busy = True
            half()
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self.kind)
        raise OSError(code, os.strerror(code))

    def install(self) -> None:
        """For the rest of this process's life."""
        sys.addaudithook(self._audit)
        for name in ("fsync", "fdatasync", "write"):
            self._wrap(name)
        real_open = io.open

        def counted_open(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+"):
                return real_open(file, mode, *rest, **options)
            self.point(f"open {_name(file)}")
            return _CountedFile(real_open(file, mode, *rest, **options), self, _name(file))

        builtins.open = io.open = counted_open  # type: ignore[assignment]
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self._database("COMMIT"))

    def _wrap(self, name: str) -> None:
        real = getattr(os, name)

        def counted(handle: int, *content: bytes) -> Any:
            self.point(f"os.{name}", lambda: real(handle, content[0][: len(content[0]) // 2]) if content else None)
            return real(handle, *content)

        setattr(os, name, counted)

    def _audit(self, name: str, details: tuple[Any, ...]) -> None:
        if name in AUDITED:
            self.point(f"{name} {_name(details[0])}")
        elif name == "open" and details[1] is None and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.point(f"os.open {_name(details[0])}")  # io.open, which is counted elsewhere, names a mode

    def _statement(self, _c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        word = statement.split(None, 1)[0].upper()
        if word not in ("SELECT", "PRAGMA", "BEGIN", "ROLLBACK", "WITH"):
            self._database(" ".join(statement.split()[:3]))

    def _database(self, name: str) -> None:
        try:
            self.point(name)
        except OSError:
            raise OperationalError(name, {}, sqlite3.OperationalError(SAID[self.kind])) from None


class _CountedFile:
    """A file that is open for writing; every write and flush is a call."""

    def __init__(self, file: Any, faults: Faults, name: str) -> None:
        self._file, self._faults, self._name = file, faults, name

    def write(self, content: Any) -> Any:
        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._faults.point(f"write {self._name}", half)
        return self._file.write(content)

    def flush(self) -> None:
        self._faults.point(f"flush {self._name}")
        self._file.flush()

    def __enter__(self) -> _CountedFile:
        self._file.__enter__()
        return self

    def __exit__(self, *reason: Any) -> Any:
        return self._file.__exit__(*reason)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def run(function: Callable[[], Any], at: int = 0, kind: Kind = "kill") -> Outcome:
    """Run `function` in a forked child that is struck at its call `at`; with 0 it runs through and counts.

    The caller must hold no open SQLite connection, which a child would inherit.
    """
    told, telling = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_child, args=(function, at, kind, telling))
    child.start()
    telling.close()
    child.join(SECONDS)
    if child.exitcode is None:
        child.kill()
        child.join()
        return Outcome("hanging", f"not done after {SECONDS} s", ())
    with told:
        try:
            ended, said, calls = told.recv()
        except EOFError:
            return Outcome("killed", f"exit code {child.exitcode}", ())
    return Outcome(ended, said, tuple(calls))


def _child(function: Callable[[], Any], at: int, kind: Kind, telling: Any) -> None:
    faults = Faults(at, kind)
    faults.install()
    try:
        function()
        ended, said = "done", ""
    except TsugikiError as error:
        ended, said = "refused", str(error)
    except BaseException:
        ended, said = "raised", traceback.format_exc()
    faults.at = 0
    faults._busy = True
    telling.send((ended, said, faults.calls))


def _name(file: Any) -> str:
    text = os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else "a handle"
    return text.rsplit("/", 1)[-1]
