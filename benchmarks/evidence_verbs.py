"""The verbs around evidence for the crash benchmark: attach, export, erase, collect, back up, restore.

Taken into `VERBS` by registry_crashes.py. Whatever a strike leaves, every file that a row refers to is there and whole,
backups are complete or absent, archives verify or are absent, and what was erased is gone once the verb ran again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.work.registries import ADMIN, AUDITOR, MAKER, Made, add_version
from tsugiki.errors import RecordsError, UsageError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records.open import Records, create_records, open_registry
from tsugiki.records.packs import packs_of, referenced
from tsugiki.records.versions import Version
from tsugiki.work.archive import export_evidence
from tsugiki.work.archive_verifier import verify
from tsugiki.work.attach import attach_bundle
from tsugiki.work.backup import backup, restore
from tsugiki.work.collect import collect
from tsugiki.work.retention import erase

SECRET = b"the answer of one person"
VERSION = Made(2, "qa", 1, "")  # its digest is read where it is needed


def prepare(folder: Path) -> None:
    """A registry with a version and, as a pack with one text, evidence."""
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    records = create_records(folder / "registry", admin=ADMIN.name)
    made = add_version(records, adapter, "qa")
    files = {"texts.json": b"[]", "texts/1.json": SECRET}
    attach_bundle(records, made, "study", files, {"n": 1}, actor=MAKER, reason="")
    records.store.put(b"rubbish")
    records.database.engine.dispose()


def prepare_backup(folder: Path) -> None:
    prepare(folder)
    _backup(folder)


def prepare_next_backup(folder: Path) -> None:
    """A backup, and a registry that has gone on since."""
    prepare_backup(folder)
    _attach(folder)


def _attach(folder: Path) -> None:
    records = open_registry(folder / "registry")
    try:
        files = {"a.json": b"{}", "b.json": b"[1]"}
        attach_bundle(records, _version(records), "compatibility", files, {"results": []}, actor=MAKER, reason="")
    except RecordsError as error:
        if "already" not in str(error):  # the strike came after the commit
            raise
    finally:
        records.database.engine.dispose()


def _export(folder: Path) -> None:
    records = open_registry(folder / "registry")
    try:
        export_evidence(records, _version(records), folder / "a.zip", texts=True, actor=AUDITOR, reason="")
    except UsageError:  # it is there: the strike came after the rename
        pass
    finally:
        records.database.engine.dispose()


def _erase(folder: Path) -> None:
    records = open_registry(folder / "registry")
    try:
        erase(records, _version(records), None, actor=ADMIN, reason="asked for")
    except RecordsError as error:
        if "No text is kept" not in str(error):
            raise
    finally:
        records.database.engine.dispose()


def _collect(folder: Path) -> None:
    records = open_registry(folder / "registry")
    try:
        collect(records, actor=ADMIN, dry_run=False, clock=lambda: time.time() + 10**6)
    finally:
        records.database.engine.dispose()


def _backup(folder: Path) -> None:
    records = open_registry(folder / "registry")
    try:
        backup(records, folder / "backup", actor=ADMIN)
    finally:
        records.database.engine.dispose()


def _restore(folder: Path) -> None:
    if not (folder / "again").exists():  # else the strike came after the rename
        restore(folder / "backup", folder / "again")


def _version(records: Records) -> Version:
    from tsugiki.records.schema import versions

    with records.database.reading() as connection:
        digest = connection.execute(versions.select().with_only_columns(versions.c.digest)).scalar_one()
    return Made(VERSION.seq, VERSION.model, VERSION.number, digest)  # type: ignore[return-value]


def whole(folder: Path, _again: bool) -> Iterable[str]:
    """Every file that a row refers to is there and whole."""
    records = open_registry(folder / "registry")
    try:
        with records.database.reading() as connection:
            needed = referenced(connection)
        for digest, size in needed.items():
            records.store.verify(digest, size)
    except RecordsError as error:
        yield str(error)
    finally:
        records.database.engine.dispose()


def _attached(folder: Path, again: bool) -> Iterable[str]:
    yield from whole(folder, again)
    records = open_registry(folder / "registry")
    with records.database.reading() as connection:
        count = len(packs_of(connection))
    records.database.engine.dispose()
    if count > 2 or (again and count != 2):
        yield f"{count} packs"


def _exported(folder: Path, again: bool) -> Iterable[str]:
    path = folder / "a.zip"
    if path.exists():
        verify(path, (folder / "registry/keys/ledger.pub").read_bytes())
    elif again:
        yield "no archive"


def _erased(folder: Path, again: bool) -> Iterable[str]:
    yield from whole(folder, again)
    if again and list(folder.glob(f"registry/blobs/**/{digest_bytes(SECRET)[7:]}")):
        yield "what was erased is still there"


def _collected(folder: Path, again: bool) -> Iterable[str]:
    yield from whole(folder, again)
    if again and list(folder.glob(f"registry/blobs/**/{digest_bytes(b'rubbish')[7:]}")):
        yield "the rubbish is still there"


def _backed_up(folder: Path, again: bool) -> Iterable[str]:
    if (folder / "backup/backup.json").exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder / "tried")
        try:
            restore(folder / "backup", folder / "tried")
        except RecordsError as error:
            yield str(error)
    elif again:
        yield "no backup"


def _restored(folder: Path, again: bool) -> Iterable[str]:
    if (folder / "again").exists():
        shutil.rmtree(folder / "tried", ignore_errors=True)
        (folder / "tried").mkdir()
        shutil.copytree(folder / "again", folder / "tried/registry")
        yield from whole(folder / "tried", again)
    elif again:
        yield "nothing was restored"


EVIDENCE_VERBS = (
    ("attach evidence", prepare, _attach, _attached),
    ("export evidence", prepare, _export, _exported),
    ("erase", prepare, _erase, _erased),
    ("gc", prepare, _collect, _collected),
    ("first backup", prepare, _backup, _backed_up),
    ("next backup", prepare_next_backup, _backup, _backed_up),
    ("restore", prepare_backup, _restore, _restored),
)
