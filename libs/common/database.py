"""The only door to SQLAlchemy outside the stores: engine, tables, the schema check.

Three tables are promised to users and change only by addition: `ticks`, `order_intents`, `events`.
Every row that came from the bus carries its message id, unique, so replaying changes nothing.
Times in `ts` columns are the broker's clock; `recorded_at` is ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from libs.common.database_roles import login_path
from libs.common.promises import BrokenPromiseError
from libs.common.settings import DatabaseSettings, Secret
from libs.common.small_files import read_small_text

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT_MS = 10_000
RETRY_SECONDS = 0.5
_MIGRATIONS = Path(__file__).parent / "migrations"

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_MONEY = sa.Numeric(18, 6)
_TIME = sa.DateTime(timezone=True)


def _recorded_at() -> sa.Column[object]:
    return sa.Column("recorded_at", _TIME, nullable=False, server_default=sa.func.now())


ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("equity", _MONEY),
    sa.Column("cash", _MONEY),
    sa.Column("buying_power", _MONEY),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("session", sa.Date, nullable=False, index=True),
    sa.Column("tick_id", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)

order_intents = sa.Table(
    "order_intents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, comment="the intent's message id"),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("qty", sa.Numeric(18, 9), nullable=False),
    sa.Column("order_type", sa.Text, nullable=False),
    sa.Column("limit_price", _MONEY),
    sa.Column("stop_price", _MONEY),
    sa.Column("trail_percent", _MONEY),
    sa.Column("details_json", JSONB, nullable=False),
    sa.Column("submitted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("alpaca_order_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("underlying", sa.Text, nullable=False),
    sa.Column("tick_id", sa.Text, nullable=False),
    _recorded_at(),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("payload_json", JSONB, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)

plans = sa.Table(
    "plans",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("symbol", sa.Text, nullable=False, index=True),
    sa.Column("tick_id", sa.Text, nullable=False),
    sa.Column("payload_json", JSONB, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("intent_id", sa.Text, nullable=False, unique=True),
    sa.Column("approved", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("checks_json", JSONB, nullable=False),
    sa.Column("collateral", _MONEY),
    sa.Column("expires_at", _TIME),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("client_order_id", sa.Text, primary_key=True),
    sa.Column("intent_id", sa.Text, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("broker_status", sa.Text),
    sa.Column("order_id", sa.Text, index=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("underlying", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("qty", sa.Numeric(18, 9), nullable=False),
    sa.Column("order_type", sa.Text, nullable=False),
    sa.Column("filled_qty", sa.Numeric(18, 9), nullable=False, server_default="0"),
    sa.Column("filled_avg_price", _MONEY),
    sa.Column("approval_json", JSONB, nullable=False, comment="the signed approval as received"),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("changed_at", _TIME, comment="the broker's time of the last change"),
    sa.Column("doubt_since", _TIME, comment="when the answer to the submit went missing"),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("published_revision", sa.Integer, nullable=False, server_default="-1"),
    _recorded_at(),
)

fills = sa.Table(
    "fills",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True),
    sa.Column("client_order_id", sa.Text, nullable=False, index=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("qty", sa.Numeric(18, 9), nullable=False),
    sa.Column("price", _MONEY, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, index=True, comment="when our books first saw it"),
    sa.Column("date", sa.Date, nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False, index=True),
    sa.Column("activity_type", sa.Text, nullable=False),
    sa.Column("underlying", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("qty", sa.Numeric(18, 9), nullable=False),
    sa.Column("price", _MONEY),
    sa.Column("net_amount", _MONEY),
    sa.Column("message_id", sa.Text, nullable=False, unique=True, comment="the activity's id"),
    sa.Column("published", sa.Boolean, nullable=False, server_default=sa.false()),
    _recorded_at(),
)

wheel_cycles = sa.Table(
    "wheel_cycles",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("underlying", sa.Text, nullable=False),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("closed_at", _TIME),
    sa.Column("phase", sa.Text, nullable=False, comment="short_put, holding, short_call, closed"),
    sa.Column("puts_sold", sa.Numeric(18, 9), nullable=False),
    sa.Column("calls_sold", sa.Numeric(18, 9), nullable=False),
    sa.Column("open_puts", sa.Numeric(18, 9), nullable=False),
    sa.Column("open_calls", sa.Numeric(18, 9), nullable=False),
    sa.Column("premium", _MONEY, nullable=False),
    sa.Column("assigned_shares", sa.Numeric(18, 9), nullable=False),
    sa.Column("assigned_cost", _MONEY, nullable=False),
    sa.Column("called_away_shares", sa.Numeric(18, 9), nullable=False),
    sa.Column("called_away_proceeds", _MONEY, nullable=False),
    sa.Index(
        "uq_wheel_cycles_open",
        "underlying",
        unique=True,
        postgresql_where=sa.text("closed_at is null"),
    ),
    _recorded_at(),
)

portfolios = sa.Table(
    "portfolios",
    metadata,
    sa.Column("session", sa.Date, primary_key=True),
    sa.Column("ts", _TIME, nullable=False),
    sa.Column("first_json", JSONB, nullable=False, comment="the session's first portfolio"),
    sa.Column("payload_json", JSONB, nullable=False, comment="the session's last portfolio"),
    sa.Column("message_id", sa.Text, nullable=False),
    _recorded_at(),
)

reports_sent = sa.Table(
    "reports_sent",
    metadata,
    sa.Column("session", sa.Date, primary_key=True),
    sa.Column(
        "status", sa.Text, nullable=False, comment="sending, sent, refused, unknown, printed"
    ),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("ledger_through", sa.BigInteger, nullable=False, comment="last ledger id in it"),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
    sa.Column("changed_at", _TIME, nullable=False, server_default=sa.func.now()),
    _recorded_at(),
)

trading_states = sa.Table(
    "trading_states",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("ts", _TIME, nullable=False, comment="when it was said, wall time"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("lifts_json", JSONB, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    _recorded_at(),
)


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


def engine_for(url: str, *, application: str) -> sa.Engine:
    """An engine with a small pool, short connect and statement timeouts, and UTC sessions."""
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise BrokenPromiseError(
            f"DATABASE_URL begins with {parsed.drivername}://; only postgresql:// is supported"
        )
    return sa.create_engine(
        parsed,
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            # A server that is gone without a word is noticed in seconds, not in hours.
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": 5000,
            "application_name": f"alpaclaudia-{application}",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        },
    )


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
