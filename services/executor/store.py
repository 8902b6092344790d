"""Postgres as the executor sees it: the order rows, and everything the recorder writes.

Every method is one transaction and blocks; each raises DatabaseError when the database is gone.
Rows that came from the bus carry their message id, so writing one twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import (
    AlertRaised,
    IntentApproved,
    IntentBlocked,
    LedgerEntered,
    LedgerEvent,
    MarketTicked,
    Message,
    OrderIntended,
    PlanMade,
    PortfolioObserved,
)
from libs.common.database import database_errors
from libs.common.money import plain
from services.executor.lifecycle import FINAL, OrderState, advance
from services.executor.orders import (
    FillPart,
    OrderChange,
    OrderRow,
    changed,
    fill_part,
    shown_status,
)

ACTIVE_EXECUTOR_LOCK = 7_305_002


class StaleRowError(Exception):
    """Somebody else changed the row since it was read."""


class ExecutorStore:
    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock: sa.Connection | None = None

    def take_lock(self) -> bool:
        """True when this process is now the one active executor."""
        with database_errors("taking the executor's lock"):
            if self._lock is None:
                self._lock = self._engine.connect()
            taken = self._lock.scalar(
                sa.text("select pg_try_advisory_lock(:key)"), {"key": ACTIVE_EXECUTOR_LOCK}
            )
            self._lock.commit()
            return bool(taken)

    def holds_lock(self) -> bool:
        """Whether the connection that holds the lock still lives."""
        try:
            with database_errors("asking after the executor's lock"):
                if self._lock is None:
                    return False
                self._lock.execute(sa.text("select 1"))
                self._lock.commit()
                return True
        except db.DatabaseError:
            return False

    # --- orders --------------------------------------------------------------------------------

    def begin(self, approval: IntentApproved, client_order_id: str) -> OrderRow:
        """The order's row, made in state `approved` the first time this approval is seen."""
        with database_errors("writing an order"), self._engine.begin() as connection:
            intent = approval.intent
            connection.execute(
                insert(db.orders)
                .values(
                    client_order_id=client_order_id,
                    intent_id=intent.message_id,
                    state=OrderState.APPROVED.value,
                    strategy=intent.strategy,
                    underlying=intent.underlying,
                    symbol=intent.symbol,
                    side=intent.side.value,
                    qty=intent.qty,
                    order_type=intent.order_type.value,
                    approval_json=_json(approval),
                    expires_at=approval.expires_at,
                )
                .on_conflict_do_nothing()
            )
            connection.execute(_intent_row(intent, "pending_new"))
            row = connection.execute(
                sa.select(db.orders).where(db.orders.c.client_order_id == client_order_id)
            ).one()
        return _order_row(row)

    def change(self, row: OrderRow, change: OrderChange) -> OrderRow:
        """Writes a change of state, its fill, its event and the intent's status together.

        Raises IllegalTransitionError when the table forbids it, StaleRowError when the row is no
        longer what `row` says; it is then untouched.
        """
        advance(row.state, change.state)
        part = fill_part(row, change)
        written = changed(row, change)
        with database_errors("writing an order"), self._engine.begin() as connection:
            done = connection.execute(
                sa.update(db.orders)
                .where(
                    db.orders.c.client_order_id == row.client_order_id,
                    db.orders.c.revision == row.revision,
                )
                .values(
                    state=written.state.value,
                    revision=written.revision,
                    broker_status=written.broker_status,
                    order_id=written.order_id,
                    filled_qty=written.filled_qty,
                    filled_avg_price=written.filled_avg_price,
                    changed_at=written.changed_at,
                    doubt_since=written.doubt_since,
                    note=written.note,
                )
            )
            if done.rowcount != 1:
                raise StaleRowError(f"the order {row.client_order_id} was changed meanwhile")
            _write_consequences(connection, written, change.ts, part)
        return written

    def open_rows(self) -> list[OrderRow]:
        """Everything that may still change, oldest first."""
        return self._rows(db.orders.c.state.not_in([state.value for state in FINAL]))

    def unpublished_rows(self) -> list[OrderRow]:
        return self._rows(db.orders.c.published_revision < db.orders.c.revision)

    def mark_published(self, row: OrderRow) -> None:
        with database_errors("writing an order"), self._engine.begin() as connection:
            connection.execute(
                sa.update(db.orders)
                .where(db.orders.c.client_order_id == row.client_order_id)
                .values(
                    published_revision=sa.func.greatest(
                        db.orders.c.published_revision, row.revision
                    )
                )
            )

    def _rows(self, condition: sa.ColumnElement[bool]) -> list[OrderRow]:
        with database_errors("reading the orders"), self._engine.connect() as connection:
            query = sa.select(db.orders).where(condition).order_by(db.orders.c.recorded_at)
            return [_order_row(row) for row in connection.execute(query)]

    # --- ledger --------------------------------------------------------------------------------

    def enter(self, entry: LedgerEntered, ts: dt.datetime) -> bool:
        """True when this activity is new to our books."""
        with database_errors("writing the ledger"), self._engine.begin() as connection:
            entered = connection.execute(
                insert(db.ledger)
                .values(
                    ts=ts,
                    date=entry.date or ts.date(),
                    event=entry.event.value,
                    activity_type=entry.activity_type,
                    underlying=entry.underlying,
                    symbol=entry.symbol,
                    qty=entry.qty,
                    price=entry.price,
                    net_amount=entry.net_amount,
                    message_id=entry.activity_id,
                )
                .on_conflict_do_nothing(index_elements=["message_id"])
                .returning(db.ledger.c.id)
            ).first()
            if entered is not None:
                _write_event(connection, f"ledger.{entry.event.value}", ts, entry, entry.message_id)
            return entered is not None

    def unpublished_entries(self) -> list[LedgerEntered]:
        with database_errors("reading the ledger"), self._engine.connect() as connection:
            query = sa.select(db.ledger).where(~db.ledger.c.published).order_by(db.ledger.c.id)
            return [_ledger_entry(row) for row in connection.execute(query)]

    def mark_entry_published(self, activity_id: str) -> None:
        with database_errors("writing the ledger"), self._engine.begin() as connection:
            connection.execute(
                sa.update(db.ledger)
                .where(db.ledger.c.message_id == activity_id)
                .values(published=True)
            )

    def last_ledger_date(self) -> dt.date | None:
        with database_errors("reading the ledger"), self._engine.connect() as connection:
            found: dt.date | None = connection.scalar(sa.select(sa.func.max(db.ledger.c.date)))
            return found

    # --- recording -----------------------------------------------------------------------------

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
            _write_event(
                connection,
                "dead_letter",
                ts,
                {"subject": subject, "advisory": payload},
                message_id,
            )


def _order_row(row: sa.Row[Any]) -> OrderRow:
    return OrderRow(
        client_order_id=row.client_order_id,
        state=OrderState(row.state),
        approval=msgspec.convert(row.approval_json, IntentApproved, strict=False),
        revision=row.revision,
        published_revision=row.published_revision,
        broker_status=row.broker_status,
        order_id=row.order_id,
        filled_qty=plain(row.filled_qty),
        filled_avg_price=row.filled_avg_price,
        changed_at=row.changed_at,
        doubt_since=row.doubt_since,
        note=row.note,
    )


def _ledger_entry(row: sa.Row[Any]) -> LedgerEntered:
    return LedgerEntered(
        message_id=f"ledger-{row.message_id}",
        at=row.recorded_at,
        activity_id=row.message_id,
        event=LedgerEvent(row.event),
        activity_type=row.activity_type,
        underlying=row.underlying,
        symbol=row.symbol,
        qty=plain(row.qty),
        price=row.price,
        net_amount=row.net_amount,
        date=row.date,
    )


def _json(value: object) -> Any:
    """As plain JSON values: decimals and times as the strings the bus carries."""
    return msgspec.to_builtins(value)


def _intent_row(intent: OrderIntended, status: str) -> sa.Executable:
    details = {"reason": intent.reason, **intent.details}
    return (
        insert(db.order_intents)
        .values(
            id=intent.message_id,
            ts=intent.as_of,
            strategy=intent.strategy,
            symbol=intent.symbol,
            underlying=intent.underlying,
            side=intent.side.value,
            qty=intent.qty,
            order_type=intent.order_type.value,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            trail_percent=intent.trail_percent,
            details_json=_json(details),
            status=status,
            tick_id=intent.tick_id,
        )
        .on_conflict_do_nothing(index_elements=["id"])
    )


def _write_consequences(
    connection: sa.Connection, row: OrderRow, ts: dt.datetime, part: FillPart | None
) -> None:
    """The intent's status, the fill and the event that go with a changed order."""
    intent = row.approval.intent
    status = shown_status(row.state, row.broker_status)
    connection.execute(
        sa.update(db.order_intents)
        .where(db.order_intents.c.id == intent.message_id)
        .values(
            status=status,
            submitted=row.order_id is not None,
            alpaca_order_id=row.order_id,
        )
    )
    if part is not None:
        connection.execute(
            insert(db.fills)
            .values(
                ts=ts,
                client_order_id=row.client_order_id,
                strategy=intent.strategy,
                symbol=intent.symbol,
                side=intent.side.value,
                qty=part.qty,
                price=part.price,
                message_id=f"{row.client_order_id}-{row.filled_qty.normalize():f}",
            )
            .on_conflict_do_nothing(index_elements=["message_id"])
        )
    payload = {
        "client_order_id": row.client_order_id,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "qty": intent.qty,
        "strategy": intent.strategy,
        "filled_qty": str(row.filled_qty),
        "filled_avg_price": None if row.filled_avg_price is None else str(row.filled_avg_price),
        "note": row.note,
    }
    message_id = f"{row.client_order_id}-r{row.revision}"
    _write_event(connection, f"order.{status}", ts, payload, message_id)


def _write_event(
    connection: sa.Connection, kind: str, ts: dt.datetime, payload: object, message_id: str
) -> None:
    connection.execute(
        insert(db.events)
        .values(ts=ts, kind=kind, payload_json=_json(payload), message_id=message_id)
        .on_conflict_do_nothing(index_elements=["message_id"])
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
            payload_json=_json(plan),
            message_id=plan.message_id,
        )
        .on_conflict_do_nothing(index_elements=["message_id"])
    )


def _record_decision(
    connection: sa.Connection, decision: IntentApproved | IntentBlocked, _now: dt.datetime
) -> None:
    approved = isinstance(decision, IntentApproved)
    status = "pending_new" if approved else "blocked"
    connection.execute(_intent_row(decision.intent, status))
    connection.execute(
        insert(db.decisions)
        .values(
            ts=decision.intent.as_of,
            intent_id=decision.intent.message_id,
            approved=approved,
            reason="" if isinstance(decision, IntentApproved) else decision.reason,
            checks_json=_json(decision.checks),
            collateral=decision.collateral if isinstance(decision, IntentApproved) else None,
            expires_at=decision.expires_at if isinstance(decision, IntentApproved) else None,
            message_id=decision.message_id,
        )
        .on_conflict_do_nothing()
    )
    if isinstance(decision, IntentBlocked):
        payload = {"symbol": decision.intent.symbol, "reason": decision.reason}
        _write_event(connection, "blocked", decision.intent.as_of, payload, decision.message_id)


def _record_portfolio(
    connection: sa.Connection, book: PortfolioObserved, _now: dt.datetime
) -> None:
    """Only the newest of each session is kept: the day's closing book."""
    statement = insert(db.portfolios).values(
        session=book.session,
        ts=book.as_of,
        first_json=_json(book),
        payload_json=_json(book),
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
    _write_event(connection, f"alert.{alert.severity.value}", now, alert, alert.message_id)


_WRITERS: dict[type[Message], Callable[[sa.Connection, Any, dt.datetime], None]] = {
    MarketTicked: _record_tick,
    PlanMade: _record_plan,
    IntentApproved: _record_decision,
    IntentBlocked: _record_decision,
    PortfolioObserved: _record_portfolio,
    AlertRaised: _record_alert,
}
