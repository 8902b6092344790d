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
from libs.common.database_logins import apply_roles, make_logins

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_305_001


def configuration(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine) -> str:
    """Brings schema and roles to this program's and returns the revision. Two at once wait for each
    other. Raises DatabaseError, and SchemaMismatchError for a database newer than this program.
    """
    with database_errors("migrating the database"), engine.connect() as lock:
        lock.execute(text("select pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        try:
            found_revision(lock)
            command.upgrade(configuration(engine), "head")
        finally:  # it belongs to the session, which goes back to the pool
            lock.execute(text("select pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
    apply_roles(engine)
    return revisions()[-1]


def migrate_address(address: str, *, logins_folder: Path | None = None) -> str:
    """The same for a database named by its address; with `logins_folder` the roles may sign in
    with the passwords kept there.
    """
    engine = engine_for(address, application="migrate")
    try:
        revision = migrate(engine)
        if logins_folder is not None:
            make_logins(engine, address, logins_folder)
        return revision
    finally:
        engine.dispose()
