"""The log of trading states: rows are added and never changed.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUSE = """
create function trading_states_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'trading_states only grows: % is refused', tg_op;
end $$
"""


def upgrade() -> None:
    op.create_table(
        "trading_states",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "ts", sa.DateTime(timezone=True), nullable=False, comment="when it was said, wall time"
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("lifts_json", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_states")),
        sa.UniqueConstraint("message_id", name=op.f("uq_trading_states_message_id")),
    )
    op.execute(_REFUSE)
    op.execute(
        "create trigger trading_states_only_grows before update or delete or truncate"
        " on trading_states for each statement execute function trading_states_refuse()"
    )
    # The log begins with the table, so that an empty one means that somebody lost it.
    op.execute(
        "insert into trading_states (ts, state, verb, who, why, lifts_json, message_id) values"
        " ('1970-01-01T00:00:00Z', 'active', 'begin', 'migrate', 'the log was made', '[]',"
        " 'trading-begins')"
    )


def downgrade() -> None:
    op.drop_table("trading_states")
    op.execute("drop function trading_states_refuse()")
