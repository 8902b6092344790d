"""An order as our books have it, what may be written over it, and how it is shown. Pure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.contracts import IntentApproved, OrderChanged
from services.executor.lifecycle import FINAL, OrderState


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order as our books have it."""

    client_order_id: str
    state: OrderState
    approval: IntentApproved
    revision: int
    published_revision: int
    broker_status: str | None = None
    order_id: str | None = None
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    changed_at: dt.datetime | None = None
    doubt_since: dt.datetime | None = None
    note: str = ""
    rests_since: dt.datetime | None = None
    """The snapshot that the first of its chain came of; None in rows older than chains."""

    @property
    def final(self) -> bool:
        return self.state in FINAL


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to write over a row. `ts` is the broker's time where known, else ours."""

    state: OrderState
    ts: dt.datetime
    broker_status: str | None = None
    order_id: str | None = None
    filled_qty: Decimal | None = None
    filled_avg_price: Decimal | None = None
    changed_at: dt.datetime | None = None
    doubt_since: dt.datetime | None = None
    note: str = ""


def changed(row: OrderRow, change: OrderChange) -> OrderRow:
    """The row with the change written over it, one revision on.

    What is filled only grows, and never without its price: a look at the broker that is older
    than what we know, or that lacks the average price, moves neither, so that the parts in the
    table of fills always add up to the row.
    """
    filled_qty, filled_avg_price = row.filled_qty, row.filled_avg_price
    priced = change.filled_avg_price is not None or change.filled_qty == filled_qty
    if change.filled_qty is not None and change.filled_qty >= filled_qty and priced:
        filled_qty = change.filled_qty
        filled_avg_price = change.filled_avg_price or filled_avg_price
    return msgspec.structs.replace(
        row,
        state=change.state,
        revision=row.revision + 1,
        broker_status=change.broker_status or row.broker_status,
        order_id=change.order_id or row.order_id,
        filled_qty=filled_qty,
        filled_avg_price=filled_avg_price,
        changed_at=change.changed_at or row.changed_at,
        doubt_since=change.doubt_since,
        note=change.note or row.note,
    )


class FillPart(msgspec.Struct, frozen=True, kw_only=True):
    qty: Decimal
    price: Decimal


def fill_part(row: OrderRow, change: OrderChange) -> FillPart | None:
    """What was filled since the row was written: the growth of the quantity, at the price that
    moves the old average to the new one. None when nothing was.
    """
    if change.filled_qty is None or change.filled_avg_price is None:
        return None
    qty = change.filled_qty - row.filled_qty
    if qty <= 0:
        return None
    before = row.filled_qty * (row.filled_avg_price or Decimal(0))
    price = (change.filled_qty * change.filled_avg_price - before) / qty
    return FillPart(qty=qty, price=price.quantize(Decimal("0.000001")))


def shown_status(state: OrderState, broker_status: str | None) -> str:
    """The word the promised table `order_intents` shows: ours for what never left, the broker's
    for what did, and Alpaca's `pending_new` while the answer is out.
    """
    if state in (OrderState.DRY_RUN, OrderState.ERROR):
        return state.value
    if state in (OrderState.APPROVED, OrderState.SUBMITTING, OrderState.UNKNOWN):
        return "pending_new"
    return broker_status or state.value


def order_changed(row: OrderRow, at: dt.datetime) -> OrderChanged:
    """The fact to publish about a row; its id names the revision, so repeats are dropped."""
    intent = row.approval.intent
    return OrderChanged(
        message_id=f"{row.client_order_id}-r{row.revision}",
        at=at,
        tick_id=intent.tick_id,
        intent_id=intent.message_id,
        client_order_id=row.client_order_id,
        strategy=intent.strategy,
        underlying=intent.underlying,
        symbol=intent.symbol,
        side=intent.side,
        qty=Decimal(intent.qty),
        order_type=intent.order_type,
        status=row.broker_status or row.state.value,
        final=row.final,
        filled_qty=row.filled_qty,
        filled_avg_price=row.filled_avg_price,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        trail_percent=intent.trail_percent,
        order_id=row.order_id,
        changed_at=row.changed_at,
        note=row.note,
    )
