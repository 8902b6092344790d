"""Bringing a database to this program's schema: the only door to Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from libs.common.database import (
    Engine,
    database_errors,
    engine_for,
    found_revision,
    revisions,
)

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_305_001


def configuration(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine) -> str:
    """Brings the schema to this program's revision and returns it. Two at once wait for each
    other. Raises DatabaseError, and SchemaMismatchError for a database newer than this program.
    """
    with database_errors("migrating the database"), engine.connect() as lock:
        lock.execute(text("select pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        found_revision(lock)
        command.upgrade(configuration(engine), "head")
    return revisions()[-1]


def migrate_url(url: str) -> str:
    """The same for a database named by its URL."""
    engine = engine_for(url, application="migrate")
    try:
        return migrate(engine)
    finally:
        engine.dispose()
