"""Entries that have rested long enough are let go; what guards or closes is not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from libs.common.contracts import OrderIntended, PositionIntent, Side
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderRow
from services.executor.resting import to_let_go
from tests.unit.executor.orders_kit import MARKET, approved, put_intent, stop_intent


def working(intent: OrderIntended | None = None, **changes: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "client_order_id": "acl-1",
        "state": OrderState.ACCEPTED,
        "approval": approved(intent),
        "revision": 2,
        "published_revision": 2,
        "order_id": "o1",
        "broker_status": "new",
    }
    return OrderRow(**(fields | changes))


def let_go(
    row: OrderRow, minutes: float = 0.0, *, market_open: bool = True, rest_minutes: int = 30
) -> bool:
    now = MARKET + dt.timedelta(minutes=minutes)
    return bool(to_let_go([row], now=now, market_open=market_open, rest_minutes=rest_minutes))


def test_an_entry_rests_its_time_and_no_longer() -> None:
    assert not let_go(working(), 29.9)
    assert let_go(working(), 30.0)
    assert let_go(working(state=OrderState.PARTIALLY_FILLED), 30.0)
    assert not let_go(working(), 1000.0, rest_minutes=0)


def test_what_took_anothers_place_rests_since_the_first() -> None:
    wished_later = put_intent(as_of=MARKET + dt.timedelta(minutes=20), replaces="acl-0")
    walked = working(wished_later, rests_since=MARKET)
    assert not let_go(walked, 29.9)
    assert let_go(walked, 30.0)


def test_at_the_close_every_entry_is_let_go() -> None:
    assert let_go(working(), market_open=False)
    assert let_go(working(), market_open=False, rest_minutes=0)


def test_while_the_brokers_time_is_not_known_nothing_is() -> None:
    assert to_let_go([working()], now=None, market_open=None, rest_minutes=1) == []


@pytest.mark.parametrize(
    "row",
    [
        working(stop_intent()),
        working(put_intent(side=Side.BUY, position_intent=PositionIntent.BUY_TO_CLOSE)),
        working(state=OrderState.UNKNOWN, order_id=None),
        working(state=OrderState.FILLED),
        working(broker_status="pending_cancel"),
        working(broker_status="pending_replace"),
    ],
    ids=["a stop", "what closes", "in doubt", "filled", "asked already", "being replaced"],
)
def test_what_is_left_alone(row: OrderRow) -> None:
    assert not let_go(row, 600.0, market_open=False)
