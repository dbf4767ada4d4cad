"""Empty registries on both databases: every test that takes `records` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from tests.records.postgres import server
from tsugiki.records.open import Records, create_records

_numbers = itertools.count()


@dataclass(frozen=True)
class Person:
    """Somebody who acts, for events."""

    name: str = "田中"
    role: str = "operator"
    auth: str = "token"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture
def empty_postgres(postgres_url: str) -> str:
    """The URL of a schema of its own in the session's server."""
    return new_schema(postgres_url)


@pytest.fixture(scope="module")
def module_postgres(postgres_url: str) -> str:
    """The same, once for a file of tests."""
    return new_schema(postgres_url)


def new_schema(url: str) -> str:
    name = f"test_{next(_numbers)}"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite:///registry.db"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def records(tmp_path: Path, database_url: str) -> Iterator[Records]:
    """An empty registry in `tmp_path / "registry"`, on each database."""
    opened = create_records(tmp_path / "registry", admin="admin", database=database_url)
    yield opened
    opened.database.engine.dispose()


@pytest.fixture
def sqlite_records(tmp_path: Path) -> Iterator[Records]:
    """An empty registry on SQLite only."""
    opened = create_records(tmp_path / "registry", admin="admin")
    yield opened
    opened.database.engine.dispose()


@pytest.fixture
def person() -> Person:
    return Person()
