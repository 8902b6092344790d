"""What happened to orders, for those who listen (Alpaca's `trade_updates`)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from services.exchange.engine.orders import Order


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`order` is a copy as it stood after the event; `event` is Alpaca's name of it.

    Fills carry the execution's id, the price in dollars a share, the quantity of this fill and
    the position after it.
    """

    event: str
    at: dt.datetime
    order: Order
    execution_id: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    position_qty: Decimal | None = None
