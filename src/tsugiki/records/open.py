"""Make and open the folder of a registry.

Called by the verbs of `work/` and by the command line. `registry.yaml` says which registry it is, where its database is
and where its files are; everything else follows from it. Never repairs, and never upgrades by itself.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import inspect, text

from tsugiki.errors import RecordsError
from tsugiki.files import sync_folder, write_text
from tsugiki.records import migrations
from tsugiki.records.database import Database, open_database
from tsugiki.records.filesystem import refuse_network
from tsugiki.records.keys import PUBLIC, create_key, load_public
from tsugiki.records.ledger import Home, NewEvent, append
from tsugiki.records.schema import append_only_statements, events, metadata
from tsugiki.records.store import Store, open_store

FORMAT = 1
SETTINGS = "registry.yaml"
DEFAULT_DATABASE = "sqlite:///registry.db"
DEFAULT_STORE = "blobs"


class Settings(BaseModel):
    """registry.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int = Field(description="the layout of the folder; this program reads 1")
    id: str = Field(description="names the registry in every signature")
    database: str = Field(DEFAULT_DATABASE, description="URL of the database; SQLite paths count from this folder")
    store: str = Field(DEFAULT_STORE, description="URL or folder of the files; a folder counts from this folder")


@dataclass(frozen=True)
class Records:
    """An open registry."""

    folder: Path
    settings: Settings
    database: Database

    @cached_property
    def store(self) -> Store:
        """Its files."""
        return open_store(self.settings.store, self.folder)


@dataclass(frozen=True)
class Founder:
    """Who the first event is by: there are no people yet."""

    name: str
    role: str = "admin"
    auth: str = "init"


def create_records(
    folder: Path, *, admin: str, database: str = DEFAULT_DATABASE, store: str = DEFAULT_STORE
) -> Records:
    """Make an empty registry in `folder`, with a key and its first event. Raises RecordsError when there is one."""
    folder = folder.resolve()
    if (folder / SETTINGS).exists():
        raise RecordsError(f"{folder} is a registry already.", fix="Name another folder with --registry.")
    settings = Settings(format=FORMAT, id=str(uuid.uuid4()), database=database, store=store)
    if database.startswith("sqlite"):
        refuse_network(next(parent for parent in folder.parents if parent.is_dir()))
    # Built beside the folder and renamed to it, so that a crash leaves no half of a registry.
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            _fill(building, settings, admin)
            building.chmod(0o755)
            building.rename(folder)
        except BaseException:
            shutil.rmtree(building)
            raise
        sync_folder(folder.parent)
    except OSError as error:
        taken = folder.exists() and error.errno in (errno.ENOTEMPTY, errno.EEXIST)
        why = "it is not empty" if taken else "a file is in its way" if error.errno == errno.EEXIST else error.strerror
        raise RecordsError(
            f"The registry {folder} cannot be made: {why}.", fix="Name another folder with --registry."
        ) from None
    return open_registry(folder)


def _fill(folder: Path, settings: Settings, admin: str) -> None:
    key = create_key(folder / "keys")
    database = open_database(settings.database, Home(settings.id, folder, key.public))
    created = NewEvent(Founder(admin), "registry.created", settings.id, after={"format": FORMAT, "id": settings.id})
    try:
        with database.transaction() as connection:
            if inspect(connection).has_table(events.name):
                raise RecordsError(
                    f"The database {database.name} holds a registry already.", fix="Name an empty database."
                )
            metadata.create_all(connection)
            for statement in append_only_statements(connection.dialect.name):
                connection.execute(text(statement))
            migrations.stamp(connection)
        with database.writing() as connection:
            append(connection, created)
    finally:
        database.engine.dispose()
    write_text(folder / SETTINGS, yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True))


def open_registry(folder: Path, *, to_upgrade: bool = False) -> Records:
    """Open the registry in `folder`; one with an older schema only `to_upgrade` it.

    Raises RecordsError when there is none, when it is of a format or schema that this program does not read, or when
    SQLite would lie on a network file system.
    """
    folder = folder.resolve()
    settings = read_settings(folder)
    home = Home(settings.id, folder, load_public(folder / "keys" / PUBLIC))
    database = open_database(settings.database, home)
    if database.path is not None:
        refuse_network(folder)
        if not database.path.exists():  # SQLite would make an empty one
            raise RecordsError(
                f"The database {database.path} is missing.",
                fix="Restore it from a backup with: tsugiki registry restore",
            )
    with database.reading() as connection:
        found = migrations.revision_of(connection)
    if found is None:
        raise RecordsError(
            f"The database {database.name} of {folder} holds no registry.",
            fix="Restore it from a backup with: tsugiki registry restore",
        )
    if found not in migrations.REVISIONS:
        raise RecordsError(
            f"The database of {folder} has the schema {found}; this program reads {migrations.NEWEST}.",
            fix="Use the version of tsugiki that wrote it, or a newer one.",
        )
    if found != migrations.NEWEST and not to_upgrade:
        raise RecordsError(
            f"The database of {folder} has the schema {found}; this program reads {migrations.NEWEST}.",
            fix="Make a backup, then run: tsugiki registry upgrade",
        )
    return Records(folder, settings, database)


def read_settings(folder: Path) -> Settings:
    """registry.yaml. Raises RecordsError when it is missing, broken or of another format."""
    path = folder / SETTINGS
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordsError(
            f"{folder} holds no registry (there is no {SETTINGS} in it).",
            fix="Make one with: tsugiki registry init --admin NAME, or name another folder with --registry.",
        ) from None
    except NotADirectoryError:
        raise RecordsError(f"{folder} is no folder.", fix="Name the registry's folder with --registry.") from None
    except OSError as error:
        raise RecordsError(
            f"{path} cannot be read: {error.strerror}.", fix="Run the command as a user who may read the registry."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        value = None
    if not isinstance(value, Mapping):
        raise RecordsError(
            f"{path} is not a registry's settings: it holds no YAML keys.", fix="Restore it from a backup."
        )
    if value.get("format") != FORMAT:
        raise RecordsError(
            f"{path} has the format {value.get('format')!r}; this program reads {FORMAT}.",
            fix="Use the version of tsugiki that wrote it, or a newer one.",
        )
    try:
        return Settings.model_validate(value)
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"])) or "the file"
        raise RecordsError(
            f"{path} is not a registry's settings: {where}: {found['msg']}.", fix="Restore it from a backup."
        ) from None
