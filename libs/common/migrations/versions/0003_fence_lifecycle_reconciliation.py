"""The executor's fence, the order table as a trigger, and what reconciliation found.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FENCE = """
create function executor_fence() returns trigger language plpgsql as $$
declare
    now_epoch bigint;
begin
    -- Shared: whoever raises the epoch waits for those who write under the old one.
    select epoch into now_epoch from executor_epoch where id = 1 for share;
    if new.epoch is distinct from now_epoch then
        raise exception 'fenced: written under epoch %, it is %', new.epoch, now_epoch
            using errcode = 'AC001';
    end if;
    return new;
end
$$
"""

# Made by services.executor.lifecycle.trigger_body().
_LIFECYCLE = """
create function orders_lifecycle() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' and new.state <> 'approved' then
        raise exception 'an order cannot begin as %', new.state using errcode = 'AC002';
    end if;
    if tg_op = 'UPDATE' and new.state <> old.state and (old.state, new.state) not in (
        ('approved', 'dry_run'),
        ('approved', 'error'),
        ('approved', 'submitting'),
        ('approved', 'expired'),
        ('submitting', 'unknown'),
        ('submitting', 'accepted'),
        ('submitting', 'partially_filled'),
        ('submitting', 'filled'),
        ('submitting', 'canceled'),
        ('submitting', 'expired'),
        ('submitting', 'rejected'),
        ('submitting', 'replaced'),
        ('unknown', 'submitting'),
        ('unknown', 'accepted'),
        ('unknown', 'partially_filled'),
        ('unknown', 'filled'),
        ('unknown', 'canceled'),
        ('unknown', 'expired'),
        ('unknown', 'rejected'),
        ('unknown', 'replaced'),
        ('accepted', 'partially_filled'),
        ('accepted', 'filled'),
        ('accepted', 'canceled'),
        ('accepted', 'expired'),
        ('accepted', 'rejected'),
        ('accepted', 'replaced'),
        ('partially_filled', 'filled'),
        ('partially_filled', 'canceled'),
        ('partially_filled', 'expired'),
        ('partially_filled', 'replaced')
    ) then
        raise exception 'an order cannot go from % to %', old.state, new.state
            using errcode = 'AC002';
    end if;
    return new;
end
$$
"""

_TIME = sa.DateTime(timezone=True)


def _recorded_at() -> sa.Column[object]:
    return sa.Column("recorded_at", _TIME, server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "executor_epoch",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), server_default="", nullable=False),
        sa.Column("taken_at", _TIME, nullable=True),
        _recorded_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executor_epoch")),
    )
    op.execute("insert into executor_epoch (id, epoch) values (1, 0)")
    op.add_column("orders", sa.Column("epoch", sa.BigInteger(), nullable=True))
    op.add_column("ledger", sa.Column("epoch", sa.BigInteger(), nullable=True))
    op.execute(_FENCE)
    op.execute(_LIFECYCLE)
    for table in ("orders", "ledger"):
        op.execute(
            f"create trigger fenced before insert or update on {table}"
            " for each row execute function executor_fence()"
        )
    op.execute(
        "create trigger lifecycle before insert or update on orders"
        " for each row execute function orders_lifecycle()"
    )
    _reconciliation()


def _reconciliation() -> None:
    op.create_table(
        "opening_balances",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_number", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False, comment="empty: cash, in dollars"),
        sa.Column("qty", sa.Numeric(28, 9), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False, comment="first read, or a difference's key"),
        _recorded_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opening_balances")),
        sa.UniqueConstraint(
            "account_number", "symbol", "cause", name=op.f("uq_opening_balances_account_number")
        ),
    )
    op.create_table(
        "differences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_number", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("ours", sa.Text(), nullable=False),
        sa.Column("theirs", sa.Text(), nullable=False),
        sa.Column("delta", sa.Numeric(28, 9), nullable=True, comment="theirs less ours"),
        sa.Column("stops_entries", sa.Boolean(), nullable=False),
        sa.Column("found_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False, comment="by the last read that had it"),
        sa.Column("explained_at", _TIME, nullable=True, comment="by the first read without it"),
        sa.Column("acknowledged_at", _TIME, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        _recorded_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_differences")),
    )
    op.create_index(
        "uq_differences_open",
        "differences",
        ["account_number", "key"],
        unique=True,
        postgresql_where=sa.text("explained_at is null"),
    )


def downgrade() -> None:
    op.drop_table("differences")
    op.drop_table("opening_balances")
    for trigger, table in (("lifecycle", "orders"), ("fenced", "orders"), ("fenced", "ledger")):
        op.execute(f"drop trigger {trigger} on {table}")
    op.execute("drop function orders_lifecycle()")
    op.execute("drop function executor_fence()")
    op.drop_column("ledger", "epoch")
    op.drop_column("orders", "epoch")
    op.drop_table("executor_epoch")
