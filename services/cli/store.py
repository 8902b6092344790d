"""Postgres as the operator's commands see it: counts, and everything for a dump."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from libs.common import database as db
from libs.common.database import database_errors
from services.cli.tally import Tally

ROWS_MAX = 200


class OperatorStore:
    """Blocking; every method raises DatabaseError when the database is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def tally(self, since: dt.datetime) -> Tally:
        """Counts of rows our books recorded since a wall time."""
        orders, ledger = db.orders.c, db.ledger.c
        taken = orders.order_id.is_not(None)
        filled = orders.state == "filled"
        with database_errors("counting the books"), self._engine.connect() as connection:

            def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
                query = sa.select(sa.func.count()).select_from(table)
                query = query.where(table.c.recorded_at >= since, *conditions)
                return int(connection.scalar(query) or 0)

            last = connection.execute(
                sa.select(db.ticks.c.equity, db.ticks.c.ts)
                .where(db.ticks.c.equity.is_not(None))
                .order_by(db.ticks.c.ts.desc())
                .limit(1)
            ).first()
            return Tally(
                ticks=count(db.ticks),
                intents=count(db.order_intents),
                approved=count(db.decisions, db.decisions.c.approved),
                blocked=count(db.decisions, ~db.decisions.c.approved),
                submitted=count(db.orders, taken),
                filled=count(db.orders, filled),
                puts_filled=count(db.orders, filled, orders.strategy == "wheel:cash_secured_put"),
                calls_filled=count(db.orders, filled, orders.strategy == "wheel:covered_call"),
                trailing_stops=count(db.orders, taken, orders.order_type == "trailing_stop"),
                assigned=count(db.ledger, ledger.event == "assigned"),
                expired=count(db.ledger, ledger.event == "expired"),
                called_away=count(db.ledger, ledger.event == "called_away"),
                errors=count(db.events, db.events.c.kind == "alert.error"),
                equity=f"{last.equity:.2f}" if last else "",
                market_time=last.ts.isoformat() if last else "",
            )

    def dump(self, rows_max: int = ROWS_MAX) -> dict[str, list[dict[str, Any]]]:
        """The newest rows of every table, as plain JSON values. Approvals' signatures are left
        out: they are no secret, but of no use to a reader.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        with database_errors("dumping the books"), self._engine.connect() as connection:
            for table in db.metadata.sorted_tables:
                columns = [column for column in table.c if column.name != "approval_json"]
                query = sa.select(*columns).order_by(table.c.recorded_at.desc()).limit(rows_max)
                found[table.name] = [
                    {name: _plain(value) for name, value in row._mapping.items()}
                    for row in connection.execute(query)
                ]
        return found

    def what_came_of(self, tick_id: str) -> list[dict[str, Any]]:
        """The intents of one tick with their status."""
        intents = db.order_intents.c
        with database_errors("reading the intents"), self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(
                    intents.id,
                    intents.strategy,
                    intents.symbol,
                    intents.side,
                    intents.qty,
                    intents.order_type,
                    intents.limit_price,
                    intents.trail_percent,
                    intents.status,
                    db.decisions.c.reason,
                )
                .outerjoin(db.decisions, db.decisions.c.intent_id == intents.id)
                .where(intents.tick_id == tick_id)
                .order_by(intents.strategy, intents.symbol)
            )
            return [{k: _plain(v) for k, v in row._mapping.items()} for row in rows]

    def plans_of(self, tick_id: str) -> list[dict[str, Any]]:
        with database_errors("reading the plans"), self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(db.plans.c.payload_json)
                .where(db.plans.c.tick_id == tick_id)
                .order_by(db.plans.c.symbol)
            )
            return [row.payload_json for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize() + Decimal(0), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return value
