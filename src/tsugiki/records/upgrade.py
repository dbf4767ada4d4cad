"""Bring a registry's database to the newest schema. Only when asked: older programs cannot read it then.

Called by `tsugiki registry upgrade`, after a backup. It runs the missing revisions in one transaction and records an
event. Never goes back to an older schema: that is what the backup is for.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from tsugiki.records import migrations
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require


def upgrade(records: Records, *, actor: Actor, reason: str = "") -> tuple[str, ...]:
    """The revisions that were run, oldest first; none where the schema is the newest already.

    `records` comes from `open_registry(folder, to_upgrade=True)`. Raises RecordsError for whoever is no admin
    and when the database cannot be written; then nothing is changed.
    """
    require(actor, "upgrade")
    with records.database.transaction() as connection:
        before = migrations.revision_of(connection)
        missing = migrations.REVISIONS[migrations.REVISIONS.index(before) + 1 :] if before else migrations.REVISIONS
        if missing:
            run_revisions(connection)
    if missing:
        with records.database.writing() as connection:
            done = NewEvent(actor, "schema.upgraded", records.settings.id, before, migrations.NEWEST, reason)
            append(connection, done)
    return missing


def run_revisions(connection: Connection) -> None:
    """Everything that the database lacks, in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
