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
    TradingStateSet,
)
from libs.common.database import alone, database_errors
from libs.common.money import plain
from libs.common.trading_store import records_of
from services.executor.cycle_store import note_event, note_fill
from services.executor.fence import STALE_EPOCH, Fence, FencedError
from services.executor.lifecycle import (
    FINAL,
    ILLEGAL_STATE,
    IllegalTransitionError,
    OrderState,
    advance,
)
from services.executor.order_statements import (
    BEGIN,
    CHANGE,
    INTENT_STATUS,
    KNOWN,
    LAST_LOOK,
    MARK_PUBLISHED,
    UPDATE,
    begin_values,
    change_values,
    event_values,
    status_values,
)
from services.executor.orders import (
    FillPart,
    OrderChange,
    OrderRow,
    changed,
    fill_part,
)
from services.executor.rows import write_event


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
        self._alone = alone(engine)
        self.fence = Fence(engine)

    def last_look(self, *, entry: bool) -> list[TradingStateSet]:
        """The last thing before a POST: the table's log of trading states. Raises FencedError when
        another executor took over, EntriesStoppedError when this order would open something and
        may not.
        """
        with database_errors("looking before a POST"), self._alone.connect() as connection:
            found = connection.execute(LAST_LOOK).one()
        if found.epoch != self.fence.epoch:
            raise FencedError(f"another executor took over (epoch {found.epoch})")
        if entry and found.difference is not None:
            raise EntriesStoppedError(
                f"difference {found.difference} between books and broker is not explained;"
                " see `alpaclaudia reconcile`"
            )
        return records_of(found.trading_states or [])

    # --- orders --------------------------------------------------------------------------------

    def begin(self, approval: IntentApproved, client_order_id: str) -> OrderRow:
        """The order's row, made in state `approved` the first time this approval is seen."""
        values = begin_values(approval, client_order_id, self.fence.epoch)
        with self._writing_alone("writing an order") as connection:
            row = connection.execute(BEGIN, values).first()
            return _order_row(row or connection.execute(KNOWN, values).one())

    def change(self, row: OrderRow, change: OrderChange) -> OrderRow:
        """Writes a change of state, its fill, its event and the intent's status together.

        Raises IllegalTransitionError when the table forbids it, StaleRowError when the row is no
        longer what `row` says; it is then untouched.
        """
        advance(row.state, change.state)
        part = fill_part(row, change)
        written = changed(row, change)
        values = change_values(row, written, change.ts, self.fence.epoch)
        if part is None:
            with self._writing_alone("writing an order") as connection:
                count = connection.scalar(CHANGE, values) or 0
        else:
            with self._writing("writing an order") as connection:
                count = len(connection.execute(UPDATE, values).all())
                if count:
                    _write_fill(connection, written, change.ts, part)
        if count != 1:
            raise StaleRowError(f"the order {row.client_order_id} was changed meanwhile")
        return written

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sa.Connection]:
        """One transaction under our epoch."""
        with self._refusals(doing), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing_alone(self, doing: str) -> Iterator[sa.Connection]:
        """Single statements under our epoch, each a transaction: one round trip, one commit."""
        with self._refusals(doing), self._alone.connect() as connection:
            yield connection

    @contextmanager
    def _refusals(self, doing: str) -> Iterator[None]:
        try:
            with database_errors(doing):
                yield
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
        """Those of which something is to be said: a row that is only approved is no news."""
        orders = db.orders.c
        return self._rows(
            sa.and_(
                orders.published_revision < orders.revision,
                orders.state != OrderState.APPROVED.value,
            )
        )

    def mark_published(self, row: OrderRow) -> None:
        with self._writing_alone("writing an order") as connection:
            connection.execute(
                MARK_PUBLISHED,
                {
                    "the_order_client_order_id": row.client_order_id,
                    "the_order_epoch": self.fence.epoch,
                    "said_revision": row.revision,
                },
            )

    def _rows(self, condition: sa.ColumnElement[bool]) -> list[OrderRow]:
        with database_errors("reading the orders"), self._alone.connect() as connection:
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


def _write_fill(connection: sa.Connection, row: OrderRow, ts: dt.datetime, part: FillPart) -> None:
    """The intent's status, the fill and the event that go with an order that filled."""
    intent = row.approval.intent
    connection.execute(INTENT_STATUS, status_values(row))
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
    event = event_values(row, ts)
    write_event(connection, event["kind"], ts, event["payload_json"], event["message_id"])
