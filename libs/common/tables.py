"""The tables, as SQLAlchemy sees them; the migrations beside this make them.

Three tables are promised to users and change only by addition: `ticks`, `order_intents`, `events`.
Every row that came from the bus carries its message id, unique, so replaying changes nothing.
Times in `ts` columns are the broker's clock; `recorded_at` is ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_MONEY = sa.Numeric(18, 6)
_QTY_OR_CASH = sa.Numeric(28, 9)
"""Shares, contracts, or an account's cash: a fund's billion must fit."""
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
    sa.Column("epoch", sa.BigInteger),
    sa.Column(
        "replaces",
        sa.Text,
        index=True,
        comment="the client_order_id of the order whose place it takes",
    ),
    sa.Column(
        "rests_since", _TIME, comment="the snapshot that the first order of its chain came of"
    ),
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
    sa.Column("epoch", sa.BigInteger),
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

executor_epoch = sa.Table(
    "executor_epoch",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False, server_default=""),
    sa.Column("taken_at", _TIME),
    _recorded_at(),
)

opening_balances = sa.Table(
    "opening_balances",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("account_number", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False, comment="empty: cash, in dollars"),
    sa.Column("qty", _QTY_OR_CASH, nullable=False),
    sa.Column("cause", sa.Text, nullable=False, comment="first read, or a difference's key"),
    sa.UniqueConstraint("account_number", "symbol", "cause"),
    _recorded_at(),
)

differences = sa.Table(
    "differences",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("account_number", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("ours", sa.Text, nullable=False),
    sa.Column("theirs", sa.Text, nullable=False),
    sa.Column("delta", _QTY_OR_CASH, comment="theirs less ours"),
    sa.Column("stops_entries", sa.Boolean, nullable=False),
    sa.Column("found_at", _TIME, nullable=False),
    sa.Column("seen_at", _TIME, nullable=False, comment="by the last read that had it"),
    sa.Column("explained_at", _TIME, comment="by the first read without it"),
    sa.Column("acknowledged_at", _TIME),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("why", sa.Text),
    sa.Index(
        "uq_differences_open",
        "account_number",
        "key",
        unique=True,
        postgresql_where=sa.text("explained_at is null"),
    ),
    _recorded_at(),
)
