"""What the recorder writes: ticks, plans, decisions, portfolios, alerts, dead letters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

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
from services.executor.rows import as_json, intent_row, write_event


class RecordStore:
    """Blocking; every method is one transaction and raises DatabaseError when the base is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, message: Message, now: dt.datetime) -> None:
        """Writes one message of the bus to its table; `now` is the broker's time, for those that
        carry none. Unknown types are a programming error.
        """
        writer = _WRITERS[type(message)]
        doing = f"recording {message.subject}"
        with database_errors(doing), self._engine.begin() as connection:
            writer(connection, message, now)

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


def _record_tick(connection: sa.Connection, ticked: MarketTicked, _now: dt.datetime) -> None:
    account = ticked.account
    note = "; ".join([ticked.cause, *ticked.errors])
    connection.execute(
        insert(db.ticks)
        .values(
            ts=ticked.as_of,
            equity=account.equity if account else None,
            cash=account.cash if account else None,
            buying_power=account.buying_power if account else None,
            mode=f"{ticked.bot_mode.value}/{ticked.alpaca_env.value}",
            note=note,
            session=ticked.session,
            tick_id=ticked.tick_id,
            message_id=ticked.message_id,
        )
        .on_conflict_do_nothing(index_elements=["message_id"])
    )


def _record_plan(connection: sa.Connection, plan: PlanMade, _now: dt.datetime) -> None:
    connection.execute(
        insert(db.plans)
        .values(
            ts=plan.as_of,
            symbol=plan.symbol,
            tick_id=plan.tick_id,
            payload_json=as_json(plan),
            message_id=plan.message_id,
        )
        .on_conflict_do_nothing(index_elements=["message_id"])
    )


def _record_decision(
    connection: sa.Connection, decision: IntentApproved | IntentBlocked, _now: dt.datetime
) -> None:
    approved = isinstance(decision, IntentApproved)
    status = "pending_new" if approved else "blocked"
    connection.execute(intent_row(decision.intent, status))
    connection.execute(
        insert(db.decisions)
        .values(
            ts=decision.intent.as_of,
            intent_id=decision.intent.message_id,
            approved=approved,
            reason="" if isinstance(decision, IntentApproved) else decision.reason,
            checks_json=as_json(decision.checks),
            collateral=decision.collateral if isinstance(decision, IntentApproved) else None,
            expires_at=decision.expires_at if isinstance(decision, IntentApproved) else None,
            message_id=decision.message_id,
        )
        .on_conflict_do_nothing()
    )
    if isinstance(decision, IntentBlocked):
        payload = {"symbol": decision.intent.symbol, "reason": decision.reason}
        write_event(connection, "blocked", decision.intent.as_of, payload, decision.message_id)


def _record_portfolio(
    connection: sa.Connection, book: PortfolioObserved, _now: dt.datetime
) -> None:
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


def _record_alert(connection: sa.Connection, alert: AlertRaised, now: dt.datetime) -> None:
    write_event(connection, f"alert.{alert.severity.value}", now, alert, alert.message_id)


_WRITERS: dict[type[Message], Callable[[sa.Connection, Any, dt.datetime], None]] = {
    MarketTicked: _record_tick,
    PlanMade: _record_plan,
    IntentApproved: _record_decision,
    IntentBlocked: _record_decision,
    PortfolioObserved: _record_portfolio,
    AlertRaised: _record_alert,
}
