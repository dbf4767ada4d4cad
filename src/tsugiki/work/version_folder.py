"""An adapter by folder or by name: `adapters/x` is taken as it is, `name@3` is fetched from a registry and checked.

Called by the export and by the compatibility check. The copy of a version lives as long as the block, its files
verified against their digests; nothing is written into a registry here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tsugiki.records.open import Records, open_registry
from tsugiki.records.packs import packs_of
from tsugiki.records.versions import Version, files_of, find_version


@dataclass(frozen=True)
class Found:
    """Where the adapter's files are; for a registered one also which version it is and its newest study's summary."""

    folder: Path
    records: Records | None = None
    version: Version | None = None
    summary: Mapping[str, Any] | None = None


@contextmanager
def adapter_named(reference: str, registry: Path) -> Iterator[Found]:
    """The adapter that a text names: a folder, or `name@3` and `name@production` of the registry.

    Raises RecordsError where the registry, the version or one of its files is not there or not sound.
    """
    folder = Path(reference).expanduser()
    if folder.exists() or "@" not in reference:
        yield Found(folder)
        return
    records = open_registry(registry)
    with records.database.reading() as connection:
        version = find_version(connection, reference)
        files = files_of(connection, version)
        packs = [pack for pack in packs_of(connection, version.seq) if pack.kind in ("study", "re-evaluation")]
    with TemporaryDirectory(prefix="tsugiki-version-") as name:
        copy = Path(name) / version.label
        copy.mkdir()
        for file in files:
            records.store.fetch(file.digest, copy / file.path)
        summary = json.loads(packs[-1].body)["summary"] if packs else None
        yield Found(copy, records, version, summary)
