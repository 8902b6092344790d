"""Rows that more than one store writes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import OrderIntended


def as_json(value: object) -> Any:
    """As plain JSON values: decimals and times as the strings the bus carries."""
    return msgspec.to_builtins(value)


def intent_values(intent: OrderIntended, status: str) -> dict[str, Any]:
    details = {"reason": intent.reason, **intent.details}
    if intent.replaces is not None:
        details["replaces"] = intent.replaces
    return {
        "id": intent.message_id,
        "ts": intent.as_of,
        "strategy": intent.strategy,
        "symbol": intent.symbol,
        "underlying": intent.underlying,
        "side": intent.side.value,
        "qty": intent.qty,
        "order_type": intent.order_type.value,
        "limit_price": intent.limit_price,
        "stop_price": intent.stop_price,
        "trail_percent": intent.trail_percent,
        "details_json": as_json(details),
        "status": status,
        "tick_id": intent.tick_id,
    }


def write_event(
    connection: sa.Connection, kind: str, ts: dt.datetime, payload: object, message_id: str
) -> None:
    connection.execute(
        insert(db.events)
        .values(ts=ts, kind=kind, payload_json=as_json(payload), message_id=message_id)
        .on_conflict_do_nothing(index_elements=["message_id"])
    )
