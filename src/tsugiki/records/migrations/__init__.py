"""Which schemas a registry's database has had, oldest first, and how to tell which one it has.

Read by `open`, which refuses a newer one, and by `upgrade`, which runs the revisions in versions/ through Alembic. The
names are here as well, so that opening a registry does not import Alembic. Changes nothing.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

REVISIONS = ("0001",)
NEWEST = REVISIONS[-1]
TABLE = "alembic_version"


def revision_of(connection: Connection) -> str | None:
    """The schema that the database says it has, which a newer program may have named; nothing for no registry."""
    if not inspect(connection).has_table(TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar()  # noqa: S608 - a name of our own


def stamp(connection: Connection) -> None:
    """Mark tables that were just made from schema.py as the newest schema, as Alembic does."""
    connection.execute(text(f"CREATE TABLE {TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {TABLE} VALUES ('{NEWEST}')"))  # noqa: S608 - a name of our own
