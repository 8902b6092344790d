"""the first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("intent_id", sa.Text(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("checks_json", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("collateral", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("intent_id", name=op.f("uq_decisions_intent_id")),
        sa.UniqueConstraint("message_id", name=op.f("uq_decisions_message_id")),
    )
    op.create_index(op.f("ix_decisions_ts"), "decisions", ["ts"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload_json", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("message_id", name=op.f("uq_events_message_id")),
    )
    op.create_index(op.f("ix_events_kind"), "events", ["kind"], unique=False)
    op.create_index(op.f("ix_events_ts"), "events", ["ts"], unique=False)
    op.create_table(
        "fills",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("price", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint("message_id", name=op.f("uq_fills_message_id")),
    )
    op.create_index(op.f("ix_fills_client_order_id"), "fills", ["client_order_id"], unique=False)
    op.create_index(op.f("ix_fills_ts"), "fills", ["ts"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "ts", sa.DateTime(timezone=True), nullable=False, comment="when our books first saw it"
        ),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("activity_type", sa.Text(), nullable=False),
        sa.Column("underlying", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("net_amount", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False, comment="the activity's id"),
        sa.Column("published", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
        sa.UniqueConstraint("message_id", name=op.f("uq_ledger_message_id")),
    )
    op.create_index(op.f("ix_ledger_date"), "ledger", ["date"], unique=False)
    op.create_index(op.f("ix_ledger_event"), "ledger", ["event"], unique=False)
    op.create_index(op.f("ix_ledger_ts"), "ledger", ["ts"], unique=False)
    op.create_table(
        "order_intents",
        sa.Column("id", sa.Text(), nullable=False, comment="the intent's message id"),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("limit_price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("stop_price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("trail_percent", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("details_json", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("submitted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("alpaca_order_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("underlying", sa.Text(), nullable=False),
        sa.Column("tick_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_intents")),
    )
    op.create_index(op.f("ix_order_intents_ts"), "order_intents", ["ts"], unique=False)
    op.create_table(
        "orders",
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("intent_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("broker_status", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("underlying", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column(
            "filled_qty", sa.Numeric(precision=18, scale=9), server_default="0", nullable=False
        ),
        sa.Column("filled_avg_price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "approval_json",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the signed approval as received",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the broker's time of the last change",
        ),
        sa.Column(
            "doubt_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the answer to the submit went missing",
        ),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("published_revision", sa.Integer(), server_default="-1", nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("client_order_id", name=op.f("pk_orders")),
        sa.UniqueConstraint("intent_id", name=op.f("uq_orders_intent_id")),
    )
    op.create_index(op.f("ix_orders_order_id"), "orders", ["order_id"], unique=False)
    op.create_index(op.f("ix_orders_state"), "orders", ["state"], unique=False)
    op.create_table(
        "plans",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("tick_id", sa.Text(), nullable=False),
        sa.Column("payload_json", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("message_id", name=op.f("uq_plans_message_id")),
    )
    op.create_index(op.f("ix_plans_symbol"), "plans", ["symbol"], unique=False)
    op.create_index(op.f("ix_plans_ts"), "plans", ["ts"], unique=False)
    op.create_table(
        "portfolios",
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "first_json",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the session's first portfolio",
        ),
        sa.Column(
            "payload_json",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the session's last portfolio",
        ),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_portfolios")),
    )
    op.create_table(
        "reports_sent",
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="sending, sent, refused, unknown, printed"
        ),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "ledger_through", sa.BigInteger(), nullable=False, comment="last ledger id in it"
        ),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_reports_sent")),
    )
    op.create_table(
        "ticks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("cash", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("buying_power", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("tick_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticks")),
        sa.UniqueConstraint("message_id", name=op.f("uq_ticks_message_id")),
    )
    op.create_index(op.f("ix_ticks_session"), "ticks", ["session"], unique=False)
    op.create_index(op.f("ix_ticks_ts"), "ticks", ["ts"], unique=False)
    op.create_table(
        "wheel_cycles",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("underlying", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "phase", sa.Text(), nullable=False, comment="short_put, holding, short_call, closed"
        ),
        sa.Column("puts_sold", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("calls_sold", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("open_puts", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("open_calls", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("premium", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("assigned_shares", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("assigned_cost", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("called_away_shares", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("called_away_proceeds", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wheel_cycles")),
    )
    op.create_index(
        "uq_wheel_cycles_open",
        "wheel_cycles",
        ["underlying"],
        unique=True,
        postgresql_where=sa.text("closed_at is null"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_wheel_cycles_open",
        table_name="wheel_cycles",
        postgresql_where=sa.text("closed_at is null"),
    )
    op.drop_table("wheel_cycles")
    op.drop_index(op.f("ix_ticks_ts"), table_name="ticks")
    op.drop_index(op.f("ix_ticks_session"), table_name="ticks")
    op.drop_table("ticks")
    op.drop_table("reports_sent")
    op.drop_table("portfolios")
    op.drop_index(op.f("ix_plans_ts"), table_name="plans")
    op.drop_index(op.f("ix_plans_symbol"), table_name="plans")
    op.drop_table("plans")
    op.drop_index(op.f("ix_orders_state"), table_name="orders")
    op.drop_index(op.f("ix_orders_order_id"), table_name="orders")
    op.drop_table("orders")
    op.drop_index(op.f("ix_order_intents_ts"), table_name="order_intents")
    op.drop_table("order_intents")
    op.drop_index(op.f("ix_ledger_ts"), table_name="ledger")
    op.drop_index(op.f("ix_ledger_event"), table_name="ledger")
    op.drop_index(op.f("ix_ledger_date"), table_name="ledger")
    op.drop_table("ledger")
    op.drop_index(op.f("ix_fills_ts"), table_name="fills")
    op.drop_index(op.f("ix_fills_client_order_id"), table_name="fills")
    op.drop_table("fills")
    op.drop_index(op.f("ix_events_ts"), table_name="events")
    op.drop_index(op.f("ix_events_kind"), table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("ix_decisions_ts"), table_name="decisions")
    op.drop_table("decisions")
