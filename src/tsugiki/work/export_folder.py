"""What every export shares: a folder that appears whole or not at all, and a record of what went into it.

Called by the export files of `work`. Never writes into a folder that exists, so a failed export leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsugiki import __version__
from tsugiki.errors import AdapterError, UsageError
from tsugiki.files import make_folder, sync_folder, write_json
from tsugiki.fingerprint import digest_file
from tsugiki.work.adapter_facts import AdapterFacts

RECORD = "tsugiki-export.json"


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well and is removed when it does not.

    Raises UsageError where `out` exists, AdapterError where the disk refuses.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already.", fix="Name another folder with --out, or delete it.")
    make_folder(out.parent, "--out")
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        yield partial
        _flush(partial)
        partial.chmod(0o755)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise AdapterError(
            f"{out} cannot be written: {error.strerror or error}.", fix="Free space, or name another folder with --out."
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(out.parent)


def write_record(folder: Path, kind: str, facts: AdapterFacts, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write what was exported from what, with the digests of all files already in `folder`; returns it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    record = {
        "format": 1,
        "kind": kind,
        "tsugiki": __version__,
        "adapter": {"name": facts.name, "files": {name: digest for name, (digest, _) in facts.files.items()}},
        "base": asdict(facts.base),
        "files": {path.relative_to(folder).as_posix(): digest_file(path) for path in files},
        **found,
    }
    write_json(folder / RECORD, record)
    return record


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        else:
            path.chmod(0o755)
            sync_folder(path)
    sync_folder(folder)
