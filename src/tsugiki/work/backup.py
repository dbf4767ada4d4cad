"""A copy of a whole registry while it is being written to, and the way back: complete or absent, never a half.

Called by `tsugiki registry backup` and `restore`. A backup is a folder in which everything is named by its digest and
backup.json, signed and written last, says which files make it up; so a run that dies leaves the backup before it. The
next run into the same folder copies only what is new, reads what is there, and removes what the registry no longer
holds (erased contents above all). The database is always kept as one SQLite file, whatever the registry uses. Restoring
verifies every signature, event, row and file before the folder appears under its name. A backup holds the private key
and is to be kept as safe as the registry.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection, create_engine, insert, inspect, select

from tsugiki.errors import RecordsError
from tsugiki.files import make_folder, sync_folder, write_bytes, write_text, write_whole
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_file
from tsugiki.records import times
from tsugiki.records.keys import PRIVATE, PUBLIC, PublicKey, load_given, load_public
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import DEFAULT_DATABASE, DEFAULT_STORE, SETTINGS, Records, open_registry
from tsugiki.records.packs import erased, referenced
from tsugiki.records.pending import FOLDER as PENDING
from tsugiki.records.rights import Actor, require
from tsugiki.records.safe_names import inside
from tsugiki.records.schema import append_only_statements, metadata
from tsugiki.records.sqlite_files import open_read_only
from tsugiki.records.store import key_of
from tsugiki.records.verify import verify
from tsugiki.work.policy import POLICY_FILE
from tsugiki.work.retention import PERIODS

FORMAT = 1
MANIFEST, LOCK, OWNER = "backup.json", "backup.lock", "backup.id"
BLOBS, FILES = "blobs", "files"
SQLITE = "registry.db"  # of a restored registry; the default database names it too
TRIES = 3  # contents may be erased between the copy of the database and that of the files


@dataclass(frozen=True)
class Backup:
    """`event` is the newest event in it; `copied` files were new, `kept` were there, `removed` are no longer needed."""

    folder: Path
    registry: str
    event: int
    digest: str
    files: int
    copied: int
    removed: int


@dataclass(frozen=True)
class Restored:
    folder: Path
    registry: str
    event: int
    files: int


def backup(records: Records, out: Path, *, actor: Actor, reason: str = "") -> Backup:
    """Bring the backup in `out` to the registry's present state; made where there is none.

    Raises RecordsError where the registry does not verify, a file is missing or damaged, `out` holds something else, or
    the disk refuses. The backup that was there before then still stands.
    """
    require(actor, "backup")
    if out.resolve().is_relative_to(records.folder):
        raise RecordsError(f"{out} lies in the registry itself.", fix="Name a folder on another disk with --out.")
    make_folder(out, "--out")
    with _in_one_sentence(out), _alone(records, out):
        small, database, copied = _copy(records, out)
        signed = _finish(records, out, small, database)
        body = signed["body"]
        removed = _remove_others(out, body)
    made = Backup(
        out, records.settings.id, body["seq"], digest_bytes(canonical_json(signed)), body["blobs"], copied, removed
    )
    after = {"seq": made.event, "digest": made.digest, "files": made.files}
    with records.database.writing() as connection:
        append(connection, NewEvent(actor, "backup.made", "registry", after=after, reason=reason))
    return made


def restore(folder: Path, out: Path, *, public_key: Path | None = None) -> Restored:
    """Make the registry of the backup in `folder` again, in `out`, which must be new or empty.

    `public_key`: a key known from elsewhere, which must be the backup's. Raises RecordsError naming what is missing,
    damaged or not as it was signed; then `out` is left as it was.
    """
    body, public = _read(folder, public_key)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecordsError(
            f"{out} is {'not empty' if out.is_dir() else 'a file'}.", fix="Name another folder with --out."
        )
    out = out.resolve()
    with _in_one_sentence(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            files = _rebuild(folder, body, public, building)
            building.chmod(0o755)
            building.replace(out)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        sync_folder(out.parent)
    return Restored(out, body["registry"], body["seq"], files)


@contextmanager
def _alone(records: Records, out: Path) -> Iterator[None]:
    """One backup at a time into a folder that is empty or holds backups of this registry."""
    owner = out / OWNER
    ours = (LOCK, OWNER, f".{OWNER}.")  # the last: what is left of a run that died while writing it
    if not owner.is_file() and any(not path.name.startswith(ours) for path in out.iterdir()):
        raise RecordsError(
            f"{out} holds something else than a backup.", fix="Name an empty or a new folder with --out."
        )
    with (out / LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordsError(f"Another backup into {out} is running.", fix="Wait for it.") from None
        if not owner.is_file():
            write_text(owner, records.settings.id)
        found = owner.read_text(encoding="utf-8")
        if found != records.settings.id:
            raise RecordsError(f"{out} holds backups of the registry {found}.", fix="Name another folder with --out.")
        yield


def _copy(records: Records, out: Path) -> tuple[Mapping[str, bytes], Path, int]:
    """The small files, the database, and every file that it refers to; all again where they changed in between."""
    for _ in range(TRIES):
        small = _small_files(records)
        database = _copy_database(records, out)
        copied = _copy_blobs(records, out, database)
        if copied is not None and _small_files(records) == small:
            return small, database, copied
    raise RecordsError("The registry's settings or contents change all the time.", fix="Run the backup again later.")


def _small_files(records: Records) -> dict[str, bytes]:
    """What stands beside the database: settings (of a registry in one folder), policy, periods, keys, instructions."""
    settings = records.settings.model_copy(update={"database": DEFAULT_DATABASE, "store": DEFAULT_STORE})
    found = {SETTINGS: yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True).encode()}
    names = [POLICY_FILE, PERIODS, f"keys/{PRIVATE}", f"keys/{PUBLIC}"]
    names += [f"{PENDING}/{path.name}" for path in sorted(records.folder.glob(f"{PENDING}/*.json"))]
    return found | {name: (records.folder / name).read_bytes() for name in names if (records.folder / name).is_file()}


def _copy_database(records: Records, out: Path) -> Path:
    """One SQLite file with everything that was committed at one moment, verified; named by its digest."""
    handle, name = tempfile.mkstemp(prefix="database.", suffix=".partial", dir=out)
    os.close(handle)
    path = Path(name)
    try:
        if records.database.path is None:
            _from_server(records, path)
        else:
            with closing(open_read_only(records.database.path)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
        with closing(sqlite3.connect(path)) as target:
            target.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
        found = verify(path, records.database.home.public, registry=records.settings.id)
        if found.bad is not None:
            raise RecordsError(
                f"The registry does not verify ({found.bad}), so it is not backed up.",
                fix="Run: tsugiki registry verify; an earlier backup still stands.",
            )
        return _named(path, out / FILES)
    finally:
        path.unlink(missing_ok=True)


def _from_server(records: Records, path: Path) -> None:
    """All tables in one transaction that sees one moment."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        with records.database.reading() as source, engine.begin() as target:
            metadata.create_all(target)
            for table in metadata.sorted_tables:
                rows = source.execution_options(stream_results=True, yield_per=1000).execute(select(table))
                for block in rows.mappings().partitions():
                    target.execute(insert(table), [dict(row) for row in block])
            for statement in append_only_statements("sqlite"):
                target.exec_driver_sql(statement)
            if inspect(source).has_table("alembic_version"):
                target.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
                for (number,) in source.exec_driver_sql("SELECT version_num FROM alembic_version"):
                    target.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (number,))
    finally:
        engine.dispose()


def _named(path: Path, folder: Path) -> Path:
    """Move a finished file to the name of its digest."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    folder.mkdir(mode=0o700, exist_ok=True)  # the private key comes to lie in it
    place = folder / digest_file(path).removeprefix("sha256:")
    path.replace(place)
    sync_folder(folder)
    return place


@contextmanager
def _opened(database: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///file:{database.resolve()}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _copy_blobs(records: Records, out: Path, database: Path) -> int | None:
    """Every file that the copied database refers to; None where one was erased in the meantime."""
    copied = 0
    with _opened(database) as connection:
        needed = referenced(connection)
    for digest, size in needed.items():
        place = out / BLOBS / key_of(digest)
        if place.is_file() and place.stat().st_size == size and digest_file(place) == digest:
            continue
        try:
            records.store.fetch(digest, place, size)
        except RecordsError:
            with records.database.reading() as connection:
                if digest in erased(connection):
                    return None
            raise
        copied += 1
    return copied


def _finish(records: Records, out: Path, small: Mapping[str, bytes], database: Path) -> Mapping[str, Any]:
    """The small files, and backup.json, which makes the backup what it is."""
    files = {SQLITE: f"sha256:{database.name}"}
    for name, content in small.items():
        files[name] = digest_bytes(content)
        place = out / FILES / files[name].removeprefix("sha256:")
        if not place.is_file() or place.read_bytes() != content:
            write_bytes(place, content)
        if name.endswith(PRIVATE):
            place.chmod(0o600)
    found = verify(database, records.database.home.public)
    assert found.newest is not None, "a registry without its first event"
    with _opened(database) as connection:
        needed = referenced(connection)
    body = {
        "format": FORMAT,
        "registry": records.settings.id,
        "at": times.now(),
        "seq": found.newest.seq,
        "hash": found.newest.hash,
        "key": records.database.home.public.digest,
        "files": files,
        "blobs": len(needed),
        "bytes": sum(needed.values()),
    }
    signed = {"body": body, "signature": records.database.key.sign(canonical_json(body))}
    write_bytes(out / MANIFEST, canonical_json(signed) + b"\n")
    return signed


def _remove_others(out: Path, body: Mapping[str, Any]) -> int:
    """What this backup does not need: older databases, and files that the registry no longer holds."""
    named = {digest.removeprefix("sha256:") for digest in body["files"].values()}
    with _opened(out / FILES / body["files"][SQLITE].removeprefix("sha256:")) as connection:
        needed = {out / BLOBS / key_of(digest) for digest in referenced(connection)}
    others = [path for path in (out / FILES).iterdir() if path.name not in named]
    others += [path for path in (out / BLOBS).rglob("*") if path.is_file() and path not in needed]
    others += out.glob("*.partial")
    for path in others:
        path.unlink()
    return len(others)


def _read(folder: Path, public_key: Path | None) -> tuple[Mapping[str, Any], PublicKey]:
    """backup.json and the key it is signed with."""
    path = folder / MANIFEST
    try:
        signed: Any = json.loads(path.read_bytes())
        body, signature = signed["body"], signed["signature"]
        key = body["files"][f"keys/{PUBLIC}"]
    except (FileNotFoundError, NotADirectoryError):
        raise RecordsError(
            f"{folder} holds no finished backup (there is no {MANIFEST} in it).", fix="Name the folder of a backup."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise RecordsError(f"{path} is damaged.", fix="Use another backup.") from None
    if body.get("format") != FORMAT:
        raise RecordsError(
            f"{path} has the format {body.get('format')!r}; this program reads {FORMAT}.", fix="Use a newer tsugiki."
        )
    own = load_public(_file(folder, key))
    if public_key is not None and load_given(public_key) != own:
        raise RecordsError(
            f"The backup in {folder} was made with another key than {public_key}.", fix="Use a backup of this registry."
        )
    if body["key"] != own.digest or not own.verifies(canonical_json(body), signature):
        raise RecordsError(f"{path} is not as it was signed.", fix="Use another backup.")
    return body, own


def _rebuild(folder: Path, body: Mapping[str, Any], public: PublicKey, building: Path) -> int:
    for name, digest in body["files"].items():
        place = inside(building, name)
        write_whole(place, lambda path, digest=digest: _put(_file(folder, digest), path))  # type: ignore[misc]
    (building / "keys").chmod(0o700)
    (building / "keys" / PRIVATE).chmod(0o600)
    found = verify(building / SQLITE, public, registry=body["registry"])
    if found.bad is not None:
        raise RecordsError(f"The backup in {folder} does not verify: {found.bad}.", fix="Use another backup.")
    if found.newest is None or (found.newest.seq, found.newest.hash) != (body["seq"], body["hash"]):
        raise RecordsError(
            f"The database of the backup in {folder} is not the one that was signed.", fix="Use another."
        )
    records = open_registry(building)
    try:
        with records.database.reading() as connection:
            needed = referenced(connection)
        for digest, size in needed.items():
            _file(folder, digest, BLOBS, key_of(digest), size)
            records.store.put(folder / BLOBS / key_of(digest), expected=digest)
    finally:
        records.database.engine.dispose()
    return len(needed)


def _put(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _file(folder: Path, digest: str, room: str = FILES, name: str | None = None, size: int | None = None) -> Path:
    """A file of the backup, read and compared. Raises RecordsError."""
    path = folder / room / (name or digest.removeprefix("sha256:"))
    if not path.is_file():
        raise RecordsError(f"The backup in {folder} lacks the file {digest}.", fix="Use another backup.")
    if digest_file(path) != digest or size not in (None, path.stat().st_size):
        raise RecordsError(f"{path} is damaged: its content has another digest.", fix="Use another backup.")
    return path


@contextmanager
def _in_one_sentence(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RecordsError(
            f"{getattr(error, 'filename', None) or place} cannot be written: {why or error}.",
            fix="See to the disk, then run the command again; nothing was left half done.",
        ) from error
