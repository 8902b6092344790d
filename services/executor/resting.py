"""Which working entries have rested long enough. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from libs.common.contracts import OrderType
from libs.common.trading_state import lowers_risk
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderRow

WORKING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
UNDER_WAY = frozenset({"pending_cancel", "pending_replace"})
"""The broker's words for an order that is not to be asked for anything else now."""


def to_let_go(
    rows: Iterable[OrderRow],
    *,
    now: dt.datetime | None,
    market_open: bool | None,
    rest_minutes: int,
) -> list[OrderRow]:
    """Limit orders that open something and were wished for longer than `rest_minutes` ago (0:
    never; what took another's place counts from the first of the chain), or that still work when
    the market has closed: their price is an old wish, and what they bind is free for a new one.
    What closes or guards a position goes on working.

    `now` and `market_open` are the broker's, None while they are not known; then none is let go.
    """
    if now is None:
        return []
    rest = dt.timedelta(minutes=rest_minutes)

    def rested(row: OrderRow) -> bool:
        since = row.rests_since or row.approval.intent.as_of
        old = rest_minutes > 0 and now - since >= rest
        return old or market_open is False

    return [row for row in rows if is_entry_at_work(row) and rested(row)]


def is_entry_at_work(row: OrderRow) -> bool:
    intent = row.approval.intent
    return (
        row.state in WORKING
        and row.order_id is not None
        and row.broker_status not in UNDER_WAY
        and intent.order_type is OrderType.LIMIT
        and not lowers_risk(intent)
    )
