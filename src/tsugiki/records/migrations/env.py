"""What Alembic runs for a registry: the revisions of versions/, on the connection that `upgrade` hands it.

Called by Alembic only. There is no configuration file and no URL here: the caller has the connection, holds the
writers' lock and commits.
"""

from __future__ import annotations

from alembic import context

from tsugiki.records.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
