"""The statements of an order's way to the broker, made once: making one costs more than asking it.

Each is a transaction of its own, all of it or nothing, in one round trip.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import IntentApproved
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderRow, shown_status
from services.executor.rows import as_json, intent_values

_orders, _intents, _events, _differences = (
    db.orders,
    db.order_intents,
    db.events,
    db.differences,
)
_ORDER_VALUES = (
    "client_order_id", "intent_id", "state", "strategy", "underlying", "symbol", "side", "qty",
    "order_type", "approval_json", "expires_at", "epoch", "replaces",
)  # fmt: skip
_INTENT_VALUES = (
    "id", "ts", "strategy", "symbol", "underlying", "side", "qty", "order_type", "limit_price",
    "stop_price", "trail_percent", "details_json", "status", "tick_id",
)  # fmt: skip
_CHANGED = (
    "state", "revision", "broker_status", "order_id", "filled_qty", "filled_avg_price",
    "changed_at", "doubt_since", "note", "epoch",
)  # fmt: skip
_STATUS = ("status", "submitted", "alpaca_order_id")
_EVENT = ("ts", "kind", "payload_json", "message_id")


def _given(
    table: sa.Table, names: tuple[str, ...], prefix: str
) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(prefix + name, type_=table.c[name].type) for name in names}


# The prefixes keep parameters apart from columns: one named as a column would become its new value.


def _named(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


# --- an order begins ----------------------------------------------------------------------------

KNOWN = sa.select(_orders).where(
    _orders.c.client_order_id == sa.bindparam("the_order_client_order_id")
)


def _begin() -> sa.CompoundSelect[Any]:
    before = _orders.alias("before")
    # Since when the first order of the chain rests: no re-pricing makes it rest longer.
    rests_since = sa.func.coalesce(
        sa.select(before.c.rests_since)
        .where(before.c.client_order_id == sa.bindparam("the_order_replaces", type_=sa.Text))
        .scalar_subquery(),
        sa.bindparam("the_order_as_of", type_=_orders.c.rests_since.type),
    )
    made = (
        insert(_orders)
        .values(_given(_orders, _ORDER_VALUES, "the_order_") | {"rests_since": rests_since})
        .on_conflict_do_nothing()
        .returning(_orders)
        .cte("made")
    )
    with_intent = (
        insert(_intents)
        .values(_given(_intents, _INTENT_VALUES, "the_intent_"))
        .on_conflict_do_nothing(index_elements=["id"])
        .cte("with_intent")
    )
    # Of the two only one has the row: a statement does not see what it inserts itself.
    return sa.select(made).union_all(KNOWN).add_cte(with_intent)


BEGIN = _begin()
"""Gives the row, made in state `approved` if it was not there; nothing when another transaction
made it meanwhile (KNOWN has it then).
"""


def begin_values(
    approval: IntentApproved, client_order_id: str, epoch: int | None
) -> dict[str, Any]:
    intent = approval.intent
    order = {
        "client_order_id": client_order_id,
        "intent_id": intent.message_id,
        "state": OrderState.APPROVED.value,
        "strategy": intent.strategy,
        "underlying": intent.underlying,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "qty": intent.qty,
        "order_type": intent.order_type.value,
        "approval_json": as_json(approval),
        "expires_at": approval.expires_at,
        "epoch": epoch,
        "replaces": intent.replaces,
        "as_of": intent.as_of,
    }
    return _named("the_order_", order) | _named("the_intent_", intent_values(intent, "pending_new"))


# --- an order changes ---------------------------------------------------------------------------

UPDATE = (
    sa.update(_orders)
    .where(
        _orders.c.client_order_id == sa.bindparam("read_client_order_id"),
        _orders.c.revision == sa.bindparam("read_revision"),
    )
    .values(_given(_orders, _CHANGED, "the_order_"))
    .returning(_orders.c.client_order_id)
)
"""The order alone. Gives its id, or nothing when its revision is another."""

INTENT_STATUS = (
    sa.update(_intents)
    .where(_intents.c.id == sa.bindparam("the_intent_id"))
    .values(_given(_intents, _STATUS, "the_intent_"))
)


def _change() -> sa.Select[int]:
    done = UPDATE.cte("done")
    changed_it = sa.exists(sa.select(done.c.client_order_id))
    intent = INTENT_STATUS.where(changed_it).cte("with_intent")
    given = _given(_events, _EVENT, "the_event_").values()
    event = (
        insert(_events)
        .from_select(list(_EVENT), sa.select(*given).where(changed_it), include_defaults=False)
        .on_conflict_do_nothing(index_elements=["message_id"])
        .cte("with_event")
    )
    return sa.select(sa.func.count()).select_from(done).add_cte(intent, event)


CHANGE = _change()
"""The order, its intent's status and the event: all of it or, where the revision is another,
nothing. Gives the number of orders.
"""


def change_values(
    read: OrderRow, written: OrderRow, ts: dt.datetime, epoch: int | None
) -> dict[str, Any]:
    order = {name: getattr(written, name) for name in _CHANGED if name != "epoch"}
    order |= {"state": written.state.value, "epoch": epoch}
    return (
        {"read_client_order_id": read.client_order_id, "read_revision": read.revision}
        | _named("the_order_", order)
        | status_values(written)
        | _named("the_event_", event_values(written, ts))
    )


def status_values(row: OrderRow) -> dict[str, Any]:
    status = {
        "id": row.approval.intent.message_id,
        "status": shown_status(row.state, row.broker_status),
        "submitted": row.order_id is not None,
        "alpaca_order_id": row.order_id,
    }
    return _named("the_intent_", status)


def event_values(row: OrderRow, ts: dt.datetime) -> dict[str, Any]:
    intent = row.approval.intent
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
    return {
        "ts": ts,
        "kind": f"order.{shown_status(row.state, row.broker_status)}",
        "payload_json": payload,
        "message_id": f"{row.client_order_id}-r{row.revision}",
    }


# --- before the POST, and after the fact ----------------------------------------------------------

LAST_LOOK = sa.select(
    db.executor_epoch.c.epoch,
    sa.select(sa.func.min(_differences.c.id))
    .where(
        _differences.c.stops_entries,
        _differences.c.explained_at.is_(None),
        _differences.c.acknowledged_at.is_(None),
    )
    .scalar_subquery()
    .label("difference"),
    sa.select(sa.func.jsonb_agg(sa.text("trading_states order by id")))
    .select_from(db.trading_states)
    .scalar_subquery()
    .label("trading_states"),
)
"""The current epoch, the first difference that stops entries, and the table's log of trading
states, oldest first, in one look.
"""

MARK_PUBLISHED = (
    sa.update(_orders)
    .where(_orders.c.client_order_id == sa.bindparam("the_order_client_order_id"))
    .values(
        epoch=sa.bindparam("the_order_epoch"),
        published_revision=sa.func.greatest(
            _orders.c.published_revision, sa.bindparam("said_revision", type_=sa.Integer)
        ),
    )
)
