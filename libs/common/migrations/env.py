"""Alembic's entry: the engine comes from libs.common.database, never from an ini file."""

from __future__ import annotations

from alembic import context

from libs.common.database import metadata

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
