"""What Alembic runs for each command; it works on the connection that `migration` gives it."""

from __future__ import annotations

from alembic import context

from shoal.stores.sqlite.schema import metadata


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


_run()
