"""When does an order fill, and at what price: along a stretch of a session, minute by minute.

An order fills at the quote of the first minute at which it is marketable: a buy at the ask, a
sell at the bid, whatever the size (as Alpaca's paper trading does). Stops are elected by the
last price and become market or limit orders at that same minute.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.common.money import decimal_of
from services.exchange.engine.orders import NEEDS_LIMIT, NEEDS_STOP, Order, OrderType, Side
from services.exchange.prices.chains import Quotes
from services.exchange.prices.history import Floats


class Outcome(NamedTuple):
    """What a stretch did to an order. Offsets count minutes from the stretch's first."""

    fill_offset: int | None = None
    price: Decimal | None = None
    elected: bool = False
    hwm: Decimal | None = None


def walk(order: Order, quotes: Quotes) -> Outcome:
    """`quotes.value` is the last price of a stock, the model's value of an option."""
    if order.type is OrderType.TRAILING_STOP and not order.elected:
        return _walk_trailing(order, quotes)
    start = 0
    if order.type in NEEDS_STOP and not order.elected:
        reached = _first(_stop_reached(order, quotes.value, float(order.stop_price or 0)))
        if reached is None:
            return Outcome()
        start = reached
    return _fill(order, quotes, start, elected=order.type in NEEDS_STOP)


def _walk_trailing(order: Order, quotes: Quotes) -> Outcome:
    selling = order.side is Side.SELL
    extreme = np.maximum if selling else np.minimum
    known = float(order.hwm) if order.hwm is not None else float(quotes.value[0])
    marks = extreme.accumulate(extreme(quotes.value, known))
    distance = (
        float(order.trail_price)
        if order.trail_price is not None
        else marks * float(order.trail_percent or 0) / 100
    )
    stops = np.round(marks - distance if selling else marks + distance, 2 if known >= 1 else 4)
    reached = _first(_stop_reached(order, quotes.value, stops))
    last = len(marks) - 1 if reached is None else reached
    hwm = decimal_of(round(float(marks[last]), 4))
    if reached is None:
        return Outcome(hwm=hwm)
    return _fill(order, quotes, reached, elected=True)._replace(hwm=hwm)


def _stop_reached(order: Order, last: Floats, stop: Floats | float) -> NDArray[np.bool_]:
    return np.asarray(last <= stop if order.side is Side.SELL else last >= stop)


def _fill(order: Order, quotes: Quotes, start: int, *, elected: bool) -> Outcome:
    """The first minute from `start` at which the other side is there, and within the limit."""
    buying = order.side is Side.BUY
    prices = (quotes.ask if buying else quotes.bid)[start:]
    fillable = prices > 0
    if order.type in NEEDS_LIMIT:
        limit = float(order.limit_price or 0)
        fillable &= (prices <= limit) if buying else (prices >= limit)
    offset = _first(fillable)
    if offset is None:
        return Outcome(elected=elected)
    return Outcome(
        fill_offset=start + offset, price=decimal_of(float(prices[offset])), elected=elected
    )


def _first(flags: NDArray[np.bool_]) -> int | None:
    index = int(np.argmax(flags))
    return index if flags[index] else None
