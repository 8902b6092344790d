"""Parts of the executor's stories: an approval, the row it became, the broker's word on it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from libs.common.contracts import (
    AlpacaEnv,
    GateResult,
    IntentApproved,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    TimeInForce,
)
from libs.common.order_ids import client_order_id
from libs.common.signing import generate_keypair, sign
from libs.common.wire import WireOrder
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderRow

WALL = dt.datetime(2026, 3, 4, 15, 0, tzinfo=dt.UTC)
MARKET = dt.datetime(2024, 3, 4, 15, 0, tzinfo=dt.UTC)
EXPIRES = WALL + dt.timedelta(seconds=60)
ACCOUNT = "PA1"
PUT = "KO240315P00057500"
KEYS = generate_keypair()


def after(seconds: float) -> dt.datetime:
    return WALL + dt.timedelta(seconds=seconds)


def put_intent(**changes: Any) -> OrderIntended:
    fields: dict[str, Any] = {
        "message_id": "intent-1",
        "at": WALL,
        "tick_id": "tick-1",
        "strategy": "wheel:cash_secured_put",
        "underlying": "KO",
        "symbol": PUT,
        "side": Side.SELL,
        "qty": 1,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "as_of": MARKET,
        "position_intent": PositionIntent.SELL_TO_OPEN,
        "limit_price": Decimal("0.38"),
    }
    return OrderIntended(**(fields | changes))


def stop_intent(**changes: Any) -> OrderIntended:
    fields: dict[str, Any] = {
        "strategy": "trailing_stop",
        "symbol": "KO",
        "qty": 45,
        "order_type": OrderType.TRAILING_STOP,
        "time_in_force": TimeInForce.GTC,
        "position_intent": None,
        "limit_price": None,
        "trail_percent": Decimal("6.5"),
    }
    return put_intent(**(fields | changes))


def approved(intent: OrderIntended | None = None, **changes: Any) -> IntentApproved:
    """Risk's yes, signed."""
    fields: dict[str, Any] = {
        "message_id": "ok-intent-1",
        "at": WALL,
        "tick_id": "tick-1",
        "intent": intent or put_intent(),
        "checks": [GateResult(gate="cash_secured_put", ok=True, reason="enough")],
        "account_number": ACCOUNT,
        "alpaca_env": AlpacaEnv.PAPER,
        "collateral": Decimal(5750),
        "expires_at": EXPIRES,
        "signature": "",
    }
    return sign(KEYS.private, IntentApproved(**(fields | changes)))


def row(state: OrderState = OrderState.SUBMITTING, **changes: Any) -> OrderRow:
    approval = changes.pop("approval", None) or approved()
    fields: dict[str, Any] = {
        "client_order_id": client_order_id(ACCOUNT, "intent-1"),
        "state": state,
        "approval": approval,
        "revision": 2,
        "published_revision": 1,
    }
    return OrderRow(**(fields | changes))


def shown(**changes: Any) -> WireOrder:
    """The broker's order, as it takes it."""
    fields: dict[str, Any] = {
        "id": "61e69015",
        "client_order_id": client_order_id(ACCOUNT, "intent-1"),
        "symbol": PUT,
        "side": "sell",
        "type": "limit",
        "status": "new",
        "qty": Decimal(1),
        "filled_qty": Decimal(0),
        "limit_price": Decimal("0.38"),
        "submitted_at": MARKET,
    }
    return WireOrder(**(fields | changes))
