"""What the recorder writes: ticks, plans, decisions, portfolios, alerts, dead letters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert

from libs.common import database as db
from libs.common.contracts import (
    AlertRaised,
    IntentApproved,
    IntentBlocked,
    MarketTicked,
    Message,
    PlanMade,
    PortfolioObserved,
)
from libs.common.database import database_errors
from services.executor.rows import as_json, intent_values, write_event

Rows = Iterator[tuple[sa.Table, dict[str, Any]]]


class RecordStore:
    """Blocking; every method is one transaction and raises DatabaseError when the base is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, message: Message, now: dt.datetime) -> None:
        self.record_all([message], now)

    def record_all(self, messages: Iterable[Message], now: dt.datetime) -> None:
        """Writes messages of the bus to their tables, all of them or none; what is there already
        is left. `now` is the broker's time, for those that carry none.

        Unknown types are a programming error. Raises UnstorableError when one of them is such.
        """
        rows: dict[sa.Table, list[dict[str, Any]]] = {}
        books: list[PortfolioObserved] = []
        subjects: list[str] = []
        for message in messages:
            subjects.append(message.subject)
            if isinstance(message, PortfolioObserved):
                books.append(message)
                continue
            for table, row in _ROWS[type(message)](message, now):
                rows.setdefault(table, []).append(row)
        others = len(subjects) - 1
        doing = f"recording {subjects[0]}" + (f" and {others} more" if others else "")
        with database_errors(doing), self._engine.begin() as connection:
            for table, found in rows.items():
                connection.execute(_insert_all(table, tuple(found[0])), {"rows": found})
            for book in books:
                _record_portfolio(connection, book)

    def record_dead_letter(
        self, subject: str, payload: Any, message_id: str, ts: dt.datetime
    ) -> None:
        with database_errors("recording a dead letter"), self._engine.begin() as connection:
            write_event(
                connection,
                "dead_letter",
                ts,
                {"subject": subject, "advisory": payload},
                message_id,
            )


@cache
def _insert_all(table: sa.Table, names: tuple[str, ...]) -> Insert:
    """Any number of rows in one statement: they go over as one JSON text and Postgres takes it
    apart, which costs a fifth of a statement's parameters for each.
    """
    rows = sa.bindparam("rows", type_=JSONB)
    shape: sa.ColumnClause[Any] = sa.literal_column(f"null::{table.name}")
    given = sa.func.jsonb_populate_recordset(shape, rows).table_valued(*names)
    return (
        insert(table)
        .from_select(list(names), sa.select(*given.c), include_defaults=False)
        .on_conflict_do_nothing()
    )


def _tick_rows(ticked: MarketTicked, _now: dt.datetime) -> Rows:
    account = ticked.account
    yield (
        db.ticks,
        {
            "ts": ticked.as_of,
            "equity": account.equity if account else None,
            "cash": account.cash if account else None,
            "buying_power": account.buying_power if account else None,
            "mode": f"{ticked.bot_mode.value}/{ticked.alpaca_env.value}",
            "note": "; ".join([ticked.cause, *ticked.errors]),
            "session": ticked.session,
            "tick_id": ticked.tick_id,
            "message_id": ticked.message_id,
        },
    )


def _plan_rows(plan: PlanMade, _now: dt.datetime) -> Rows:
    yield (
        db.plans,
        {
            "ts": plan.as_of,
            "symbol": plan.symbol,
            "tick_id": plan.tick_id,
            "payload_json": plan,
            "message_id": plan.message_id,
        },
    )


def _decision_rows(decision: IntentApproved | IntentBlocked, _now: dt.datetime) -> Rows:
    intent = decision.intent
    approved = isinstance(decision, IntentApproved)
    yield db.order_intents, intent_values(intent, "pending_new" if approved else "blocked")
    yield (
        db.decisions,
        {
            "ts": intent.as_of,
            "intent_id": intent.message_id,
            "approved": approved,
            "reason": "" if isinstance(decision, IntentApproved) else decision.reason,
            "checks_json": decision.checks,
            "collateral": decision.collateral if isinstance(decision, IntentApproved) else None,
            "expires_at": decision.expires_at if isinstance(decision, IntentApproved) else None,
            "message_id": decision.message_id,
        },
    )
    if isinstance(decision, IntentBlocked):
        payload = {"symbol": intent.symbol, "reason": decision.reason}
        yield _event("blocked", intent.as_of, payload, decision.message_id)


def _alert_rows(alert: AlertRaised, now: dt.datetime) -> Rows:
    yield _event(f"alert.{alert.severity.value}", now, alert, alert.message_id)


def _event(
    kind: str, ts: dt.datetime, payload: object, message_id: str
) -> tuple[sa.Table, dict[str, Any]]:
    row = {"ts": ts, "kind": kind, "payload_json": payload, "message_id": message_id}
    return db.events, row


def _record_portfolio(connection: sa.Connection, book: PortfolioObserved) -> None:
    """Only the newest of each session is kept: the day's closing book."""
    statement = insert(db.portfolios).values(
        session=book.session,
        ts=book.as_of,
        first_json=as_json(book),
        payload_json=as_json(book),
        message_id=book.message_id,
    )
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["session"],
            set_={"ts": new.ts, "payload_json": new.payload_json, "message_id": new.message_id},
            where=db.portfolios.c.ts <= new.ts,
        )
    )


_ROWS: dict[type[Message], Callable[[Any, dt.datetime], Rows]] = {
    MarketTicked: _tick_rows,
    PlanMade: _plan_rows,
    IntentApproved: _decision_rows,
    IntentBlocked: _decision_rows,
    AlertRaised: _alert_rows,
}
