"""A SQLite file read by somebody who may not write beside it: an auditor, a viewer, a read-only disk.

Called by `database`, where a connection that could also write cannot be had, and by `verify`, which never wants one. A
file in WAL mode needs a log and shared memory beside it even for reading; where none is there and none can be made,
nobody is writing, and SQLite is told so. Never changes a file.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from tsugiki.errors import RecordsError


class FrozenFile(sqlite3.Connection):
    """Reads a file that SQLite was told nobody writes to; it looks for no log and takes no lock."""


def open_read_only(path: Path) -> sqlite3.Connection:
    """The file, for reading. Raises RecordsError when there is none, or none that SQLite can read."""
    quoted, problem = quote(str(path.resolve())), ""
    for options, kind in (("mode=ro", sqlite3.Connection), ("mode=ro&immutable=1", FrozenFile)):
        connection = None
        try:
            connection = sqlite3.connect(
                f"file:{quoted}?{options}", uri=True, isolation_level=None, check_same_thread=False, factory=kind
            )
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            problem = str(error)
            if connection is not None:
                connection.close()
            if is_written(path):
                break
            continue
        return connection
    raise RecordsError(f"The database {path} cannot be read: {problem}.", fix="Name the registry.db of a registry.")


def is_written(path: Path) -> bool:
    """Whether some program has the file open for writing, or was ended while it had."""
    return Path(f"{path}-wal").exists()
