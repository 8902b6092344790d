"""The only door to SQLAlchemy outside the stores: engine, tables (tables.py), the schema check."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from libs.common.database_roles import login_path
from libs.common.promises import BrokenPromiseError
from libs.common.settings import DatabaseSettings, Secret
from libs.common.small_files import read_small_text
from libs.common.tables import (
    decisions,
    differences,
    events,
    executor_epoch,
    fills,
    ledger,
    metadata,
    opening_balances,
    order_intents,
    orders,
    plans,
    portfolios,
    reports_sent,
    ticks,
    trading_states,
    wheel_cycles,
)

__all__ = [
    "DatabaseError",
    "Engine",
    "ForbiddenError",
    "SchemaMismatchError",
    "UnstorableError",
    "address_for",
    "alone",
    "check_schema",
    "database_errors",
    "decisions",
    "differences",
    "engine_for",
    "events",
    "executor_epoch",
    "fills",
    "found_revision",
    "ledger",
    "metadata",
    "opening_balances",
    "order_intents",
    "orders",
    "plans",
    "portfolios",
    "reports_sent",
    "revisions",
    "ticks",
    "trading_states",
    "wait_for_schema",
    "wheel_cycles",
]

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT_MS = 10_000
RETRY_SECONDS = 0.5
_MIGRATIONS = Path(__file__).parent / "migrations"

Engine = sa.Engine


class DatabaseError(Exception):
    """The database did not answer in time, or refused us."""


class UnstorableError(ValueError):
    """A value no column takes (a NUL in a text, an infinite price): trying again is no use."""


class ForbiddenError(BrokenPromiseError):
    """Something our role has no right to."""


class SchemaMismatchError(BrokenPromiseError):
    """The database's schema is older or newer than this program's."""


def address_for(settings: DatabaseSettings, role: str) -> str:
    """The address a process signs in with: its role's, where there are logins.

    Raises BrokenPromiseError when there is none.
    """
    if settings.logins_folder is not None:
        path = login_path(Path(settings.logins_folder), role)
        try:
            url = Secret(read_small_text(path).strip())
        except (OSError, ValueError):
            raise BrokenPromiseError(
                f"{path} cannot be read; `alpaclaudia migrate --logins FOLDER` makes it"
            ) from None
        settings = msgspec.structs.replace(settings, url=url)
    address = settings.address
    if address is None:
        raise BrokenPromiseError("DATABASE_URL is not set, so there is no database to connect to")
    return address


def engine_for(
    url: str, *, application: str, idle_in_transaction_ms: int | None = None
) -> sa.Engine:
    """An engine with a small pool, short connect and statement timeouts, and UTC sessions; with
    `idle_in_transaction_ms` the server ends a transaction whose process went silent.

    A pooled connection that broke meanwhile is replaced when it is taken, as with `pool_pre_ping`
    but without a round trip for one that is well (`_replace_if_broken`).
    """
    idle = f" -c idle_in_transaction_session_timeout={idle_in_transaction_ms or 0}"
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise BrokenPromiseError(
            f"DATABASE_URL begins with {parsed.drivername}://; only postgresql:// is supported"
        )
    engine = sa.create_engine(
        parsed,
        pool_size=4,
        max_overflow=4,
        json_serializer=_json_text,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "connect_timeout": 3,
            # A server that is gone without a word is noticed in seconds, not in hours.
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": 5000,
            "application_name": f"alpaclaudia-{application}",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC" + idle,
        },
    )
    sa.event.listen(engine, "checkout", _replace_if_broken)
    return engine


def alone(engine: Engine) -> Engine:
    """The same pool for single statements: each is a transaction of its own, in one round trip."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _replace_if_broken(connection: Any, _record: object, _proxy: object) -> None:
    """A server that ended a connection, or was killed, made its socket readable, and an idle
    connection has nothing else to read. Only then is it asked.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if not poller.poll(0):
        return
    try:
        connection.execute("select 1")
        connection.rollback()
    except Exception as error:
        raise sa.exc.InvalidatePoolError("it broke while it was idle") from error


_INSUFFICIENT_PRIVILEGE = "42501"
_GONE = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.InternalError,  # a read-only server, say
    sa.exc.PendingRollbackError,  # a connection whose server went away under it
    sa.exc.TimeoutError,
)


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turns what a lost or refusing database raises into a DatabaseError that says what failed,
    what it will never take into an UnstorableError, and what our role may not do into a
    ForbiddenError.
    """
    try:
        yield
    except _GONE as error:
        reason = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error)
        raise DatabaseError(f"{doing}: {reason.strip().splitlines()[0]}") from error
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        reason = str(error.orig).strip().splitlines()[0]
        raise ForbiddenError(f"{doing}: {reason}; `alpaclaudia migrate` gives rights") from error
    except sa.exc.DataError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise UnstorableError(f"{doing}: {reason}") from error


def revisions() -> list[str]:
    """The revisions this program knows, oldest first: the numbers its migrations' files begin
    with. Read from the names, because importing Alembic costs a service half a second.
    """
    return sorted(path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def found_revision(connection: sa.Connection) -> str | None:
    """The schema's revision, or None for a database without one.

    Raises SchemaMismatchError for a revision this program does not know, and for our tables
    without any.
    """
    made = connection.scalar(sa.text("select to_regclass('alembic_version')"))
    query = sa.text("select version_num from alembic_version")
    found: str | None = connection.scalar(query) if made else None
    if found is not None and found not in revisions():
        raise SchemaMismatchError(
            f"the database is at revision {found}, which this program does not know (it needs"
            f" {revisions()[-1]}); it was made by a newer alpaclaudia, so upgrade this one"
        )
    if found is None and connection.scalar(sa.text("select to_regclass('order_intents')")):
        raise SchemaMismatchError(
            "the database has alpaclaudia's tables but no revision; restore a back-up, or point"
            " DATABASE_URL at an empty database"
        )
    return found


def check_schema(engine: sa.Engine) -> None:
    """Raises SchemaMismatchError, naming both revisions and the remedy, or DatabaseError."""
    with database_errors("reading the schema's revision"), engine.connect() as connection:
        found = found_revision(connection)
    wanted = revisions()[-1]
    if found != wanted:
        raise SchemaMismatchError(
            f"the database is at revision {found or 'none'} and this program needs {wanted};"
            " run `alpaclaudia migrate`"
        )


def wait_for_schema(engine: sa.Engine, *, patience_seconds: float) -> None:
    """Blocks until the database answers, then checks its schema.

    Raises BrokenPromiseError when it has not answered in time, or SchemaMismatchError.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            check_schema(engine)
            return
        except DatabaseError as error:
            if time.monotonic() > deadline:
                raise BrokenPromiseError(
                    f"{error}; start Postgres or correct DATABASE_URL"
                ) from error
            time.sleep(RETRY_SECONDS)
