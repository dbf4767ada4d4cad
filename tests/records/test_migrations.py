"""The revisions make what schema.py describes, and every released schema is still read."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from tests.records.filled import LAST, fill
from tests.records.registries import ADMIN, OPERATOR
from tsugiki.errors import RecordsError
from tsugiki.records import migrations
from tsugiki.records.open import Records, open_registry
from tsugiki.records.schema import metadata
from tsugiki.records.upgrade import run_revisions, upgrade
from tsugiki.records.verify import verify

FIXTURES = Path(__file__).parent / "fixtures"


def described(path: Path) -> set[tuple[str, str, str]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {(kind, name, " ".join(sql.replace('"', "").split())) for kind, name, sql in rows}


def test_the_revisions_make_what_a_new_registry_has(sqlite_records: Records, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/revisions.db")
    with engine.begin() as connection:
        run_revisions(connection)
    engine.dispose()
    sqlite_records.database.engine.dispose()
    made, new = described(tmp_path / "revisions.db"), described(sqlite_records.folder / "registry.db")
    assert {(kind, name) for kind, name, _ in made} == {(kind, name) for kind, name, _ in new}
    assert {entry for entry in made if entry[0] != "table"} == {entry for entry in new if entry[0] != "table"}


def test_a_new_registry_is_what_the_schema_says(records: Records) -> None:
    with records.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert migrations.revision_of(connection) == migrations.NEWEST


def test_the_revisions_run_on_postgresql(empty_postgres: str) -> None:
    engine = create_engine(empty_postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        run_revisions(connection)
    with engine.connect() as connection:
        assert migrations.revision_of(connection) == migrations.NEWEST
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with engine.begin() as connection, pytest.raises(Exception, match="append-only"):
        connection.execute(text("TRUNCATE events CASCADE"))
    engine.dispose()


def test_another_schema_is_refused_and_an_older_one_opened_only_to_upgrade(
    sqlite_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sqlite_records.folder
    with sqlite_records.database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordsError, match=r"has the schema 9999; this program reads 0001\. Use the version"):
        open_registry(folder)
    with sqlite_records.database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    monkeypatch.setattr(migrations, "REVISIONS", ("0000", "0001"))
    with pytest.raises(RecordsError, match=r"has the schema 0000.*tsugiki registry upgrade"):
        open_registry(folder)
    assert open_registry(folder, to_upgrade=True).folder == folder


@pytest.mark.parametrize("schema", migrations.REVISIONS)
def test_a_registry_of_each_released_schema_is_upgraded_and_true(schema: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / schema, tmp_path / "registry"))
    with sqlite3.connect(folder / "registry.db") as connection:
        connection.executescript((folder / "registry.sql").read_text(encoding="utf-8"))
    connection.close()
    (folder / "keys" / "ledger.key").chmod(0o600)
    records = open_registry(folder, to_upgrade=True)
    with pytest.raises(RecordsError, match="operator and may not upgrade"):
        upgrade(records, actor=OPERATOR)
    assert upgrade(records, actor=ADMIN) == migrations.REVISIONS[migrations.REVISIONS.index(schema) + 1 :]
    with records.database.reading() as connection:
        report = verify(connection, records.database.home.public, registry=records.settings.id)
    assert report.bad is None
    assert report.events == LAST + (schema != migrations.NEWEST)
    open_registry(folder)


def write_fixture(folder: Path, records: Records) -> None:
    """How the fixtures were made: `python -m tests.records.test_migrations` before a release, never again after it."""
    fill(records)
    records.database.engine.dispose()
    with sqlite3.connect(records.folder / "registry.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    target = folder / migrations.NEWEST
    for name in ("registry.yaml", "keys/ledger.key", "keys/ledger.pub"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(records.folder / name, target / name)
    (target / "registry.sql").write_text(dump + "\n", encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    from tsugiki.records.open import create_records

    write_fixture(FIXTURES, create_records(Path(tempfile.mkdtemp()) / "registry", admin="admin"))
