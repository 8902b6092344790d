"""Who may do what in the database: one table, from which the GRANTs are made. Pure.

A role for each process that keeps or reads books; none for those that do not. The tables belong
to whoever migrates, so no role may change the schema. Rows are inserted whole and afterwards only
their columns of state change: what was ordered, and under which id, is never rewritten, and
nothing is deleted.

Roles are no revision of the schema: they live beside the databases, are not in a back-up of one,
and are brought to this table at every `alpaclaudia migrate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

ROLE_PREFIX = "alpaclaudia_"


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """One process's rights. Every role may read every table."""

    name: str
    inserts: tuple[str, ...] = ()
    updates: Mapping[str, tuple[str, ...]] = {}
    """By table, the columns it may change."""

    @property
    def login(self) -> str:
        """The role's name in Postgres."""
        return f"{ROLE_PREFIX}{self.name}"


_REPORTS = {"reports_sent": ("status", "attempts", "changed_at", "detail")}

ROLES: tuple[Role, ...] = (
    Role(
        name="executor",
        inserts=(
            "ticks",
            "order_intents",
            "events",
            "plans",
            "decisions",
            "orders",
            "fills",
            "ledger",
            "wheel_cycles",
            "portfolios",
            "trading_states",
            "opening_balances",
            "differences",
        ),
        updates={
            "order_intents": ("submitted", "alpaca_order_id", "status"),
            "orders": (
                "state",
                "broker_status",
                "order_id",
                "filled_qty",
                "filled_avg_price",
                "changed_at",
                "doubt_since",
                "note",
                "revision",
                "published_revision",
                "epoch",
            ),
            "ledger": ("published", "epoch"),
            "executor_epoch": ("epoch", "holder", "taken_at"),
            "differences": ("seen_at", "explained_at", "ours", "theirs", "delta"),
            "wheel_cycles": (
                "underlying",
                "opened_at",
                "closed_at",
                "phase",
                "puts_sold",
                "calls_sold",
                "open_puts",
                "open_calls",
                "premium",
                "assigned_shares",
                "assigned_cost",
                "called_away_shares",
                "called_away_proceeds",
            ),
            "portfolios": ("ts", "payload_json", "message_id"),
        },
    ),
    Role(name="reporter", inserts=("reports_sent",), updates=_REPORTS),
    Role(name="dashboard"),
    Role(
        name="operator",
        inserts=("reports_sent", "trading_states", "opening_balances"),
        updates=_REPORTS
        | {
            "differences": (
                "acknowledged_at",
                "acknowledged_by",
                "explained_at",
                "why",
            )
        },
    ),
)
BY_NAME = {role.name: role for role in ROLES}


def login_path(folder: Path, role: str) -> Path:
    """Where a role's address, with its password, is kept."""
    return folder / f"{role}.url"


def creations() -> list[str]:
    """What makes the roles where they are missing; without a password nobody signs in as one."""
    return [
        "do $$ begin"
        f" if not exists (select from pg_roles where rolname = '{role.login}') then"
        f" create role {role.login} nologin; end if; end $$"
        for role in ROLES
    ]


def grants(tables: tuple[str, ...]) -> list[str]:
    """What brings the rights on `tables`, of the current database, to this table's."""
    everybody = ", ".join(role.login for role in ROLES)
    statements = [
        "revoke create on schema public from public",
        "do $$ begin execute format('revoke temporary on database %I from public',"
        " current_database()); end $$",
        f"revoke all on all tables in schema public from {everybody}, public",
        f"grant usage on schema public to {everybody}",
        f"grant select on {', '.join(tables)} to {everybody}",
        # pg_dump reads them too.
        f"grant select on all sequences in schema public to {everybody}",
    ]
    for role in ROLES:
        if role.inserts:
            statements.append(f"grant insert on {', '.join(role.inserts)} to {role.login}")
        statements += [
            f"grant update ({', '.join(columns)}) on {table} to {role.login}"
            for table, columns in role.updates.items()
        ]
    return statements
