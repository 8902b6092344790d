"""Postgres as the executor sees it: the order rows, and everything the recorder writes.

Every method is one transaction and blocks; each raises DatabaseError when the database is gone.
Rows that came from the bus carry their message id, so writing one twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import (
    IntentApproved,
    LedgerEntered,
    LedgerEvent,
    OrderIntended,
)
from libs.common.database import database_errors
from libs.common.money import plain
from services.executor.cycle_store import note_event, note_fill
from services.executor.fence import STALE_EPOCH, Fence, FencedError
from services.executor.lifecycle import (
    FINAL,
    ILLEGAL_STATE,
    IllegalTransitionError,
    OrderState,
    advance,
)
from services.executor.orders import (
    FillPart,
    OrderChange,
    OrderRow,
    changed,
    fill_part,
    shown_status,
)
from services.executor.rows import as_json, intent_row, write_event


class StaleRowError(Exception):
    """Somebody else changed the row since it was read."""


class EntriesStoppedError(Exception):
    """The books and the broker differ: nothing that opens a position may leave."""


class ExecutorStore:
    """Every write to orders and ledger carries the fence's epoch, and raises FencedError when it
    is no longer the current one.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.fence = Fence(engine)

    def last_look(self, *, entry: bool) -> None:
        """The last thing before a POST. Raises FencedError when another executor took over,
        EntriesStoppedError when this order would open something and may not.
        """
        differences = db.differences.c
        with database_errors("looking before a POST"), self._engine.connect() as connection:
            found = connection.execute(
                sa.select(
                    db.executor_epoch.c.epoch,
                    sa.select(sa.func.min(differences.id))
                    .where(
                        differences.stops_entries,
                        differences.explained_at.is_(None),
                        differences.acknowledged_at.is_(None),
                    )
                    .scalar_subquery()
                    .label("difference"),
                )
            ).one()
        if found.epoch != self.fence.epoch:
            raise FencedError(f"another executor took over (epoch {found.epoch})")
        if entry and found.difference is not None:
            raise EntriesStoppedError(
                f"difference {found.difference} between books and broker is not explained;"
                " see `alpaclaudia reconcile`"
            )

    # --- orders --------------------------------------------------------------------------------

    def begin(self, approval: IntentApproved, client_order_id: str) -> OrderRow:
        """The order's row, made in state `approved` the first time this approval is seen."""
        with self._writing("writing an order") as connection:
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
                    approval_json=as_json(approval),
                    expires_at=approval.expires_at,
                    epoch=self.fence.epoch,
                    replaces=intent.replaces,
                    rests_since=_rests_since(connection, intent),
                )
                .on_conflict_do_nothing()
            )
            connection.execute(intent_row(intent, "pending_new"))
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
        with self._writing("writing an order") as connection:
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
                    epoch=self.fence.epoch,
                )
            )
            if done.rowcount != 1:
                raise StaleRowError(f"the order {row.client_order_id} was changed meanwhile")
            _write_consequences(connection, written, change.ts, part)
        return written

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sa.Connection]:
        """One transaction under our epoch."""
        try:
            with database_errors(doing), self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            reason = str(error.orig).strip().splitlines()[0]
            if state == STALE_EPOCH:
                raise FencedError(f"{doing}: {reason}") from error
            if state == ILLEGAL_STATE:
                raise IllegalTransitionError(f"{doing}: {reason}") from error
            raise

    def row(self, client_order_id: str) -> OrderRow | None:
        found = self._rows(db.orders.c.client_order_id == client_order_id)
        return found[0] if found else None

    def rows_replacing(self, client_order_id: str) -> list[OrderRow]:
        """The orders that were to take this one's place, whatever became of them."""
        return self._rows(db.orders.c.replaces == client_order_id)

    def open_rows(self) -> list[OrderRow]:
        """Everything that may still change, oldest first."""
        return self._rows(db.orders.c.state.not_in([state.value for state in FINAL]))

    def unpublished_rows(self) -> list[OrderRow]:
        return self._rows(db.orders.c.published_revision < db.orders.c.revision)

    def mark_published(self, row: OrderRow) -> None:
        with self._writing("writing an order") as connection:
            connection.execute(
                sa.update(db.orders)
                .where(db.orders.c.client_order_id == row.client_order_id)
                .values(
                    epoch=self.fence.epoch,
                    published_revision=sa.func.greatest(
                        db.orders.c.published_revision, row.revision
                    ),
                )
            )

    def _rows(self, condition: sa.ColumnElement[bool]) -> list[OrderRow]:
        with database_errors("reading the orders"), self._engine.connect() as connection:
            query = sa.select(db.orders).where(condition).order_by(db.orders.c.recorded_at)
            return [_order_row(row) for row in connection.execute(query)]

    # --- ledger --------------------------------------------------------------------------------

    def enter(self, entry: LedgerEntered, ts: dt.datetime) -> bool:
        """True when this activity is new to our books."""
        with self._writing("writing the ledger") as connection:
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
                    epoch=self.fence.epoch,
                )
                .on_conflict_do_nothing(index_elements=["message_id"])
                .returning(db.ledger.c.id)
            ).first()
            if entered is not None:
                write_event(connection, f"ledger.{entry.event.value}", ts, entry, entry.message_id)
                note_event(connection, entry, ts)
            return entered is not None

    def unpublished_entries(self) -> list[LedgerEntered]:
        with database_errors("reading the ledger"), self._engine.connect() as connection:
            query = sa.select(db.ledger).where(~db.ledger.c.published).order_by(db.ledger.c.id)
            return [_ledger_entry(row) for row in connection.execute(query)]

    def mark_entry_published(self, activity_id: str) -> None:
        with self._writing("writing the ledger") as connection:
            connection.execute(
                sa.update(db.ledger)
                .where(db.ledger.c.message_id == activity_id)
                .values(published=True, epoch=self.fence.epoch)
            )

    def last_ledger_date(self) -> dt.date | None:
        with database_errors("reading the ledger"), self._engine.connect() as connection:
            found: dt.date | None = connection.scalar(sa.select(sa.func.max(db.ledger.c.date)))
            return found


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
        rests_since=row.rests_since,
    )


def _rests_since(connection: sa.Connection, intent: OrderIntended) -> dt.datetime:
    """Since when the first order of the chain rests, so that no re-pricing makes it rest longer."""
    orders = db.orders.c
    first: dt.datetime | None = connection.scalar(
        sa.select(orders.rests_since).where(orders.client_order_id == intent.replaces)
    )
    return first or intent.as_of


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
        filled = connection.execute(
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
            .returning(db.fills.c.id)
        ).first()
        if filled is not None:
            note_fill(connection, intent.symbol, intent.side, part.qty, part.price, ts)
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
    write_event(connection, f"order.{status}", ts, payload, message_id)
