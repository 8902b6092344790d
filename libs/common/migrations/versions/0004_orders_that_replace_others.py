"""Orders that take another's place: which, and since when the first of them rests.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "orders",
        sa.Column(
            "replaces",
            sa.Text(),
            nullable=True,
            comment="the client_order_id of the order whose place it takes",
        ),
    )
    op.add_column(
        "orders",
        sa.Column(
            "rests_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the snapshot that the first order of its chain came of",
        ),
    )
    op.create_index(op.f("ix_orders_replaces"), "orders", ["replaces"])


def downgrade() -> None:
    op.drop_index(op.f("ix_orders_replaces"), table_name="orders")
    op.drop_column("orders", "rests_since")
    op.drop_column("orders", "replaces")
