"""When does an order fill, and at what price: along the minutes that a session still has.

Prices of a session are known beforehand (they are history, or drawn from a seed), so an order's
next event is found once, when it comes to rest, and not looked for again each minute: a step of
the market costs as much as happens in it, however many orders rest.

An order fills at the quote of the first minute at which it is marketable: a buy at the ask, a
sell at the bid, whatever the size (as Alpaca's paper trading does). Stops are elected by the
last price and become market or limit orders at that same minute. Orders for the auctions fill at
the opening or the closing price itself.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.common.money import decimal_of
from services.exchange.engine.orders import (
    AUCTIONS,
    NEEDS_LIMIT,
    NEEDS_STOP,
    Order,
    OrderType,
    Side,
    TimeInForce,
)
from services.exchange.prices.history import Floats
from services.exchange.prices.market import SessionQuotes


class Happening(Enum):
    FILL = "fill"
    ELECT = "elect"  # the stop is reached, and the order is now a market or limit order


class Next(NamedTuple):
    """An order's next event: its minute in the session, and of a fill the price."""

    minute: int
    what: Happening
    price: float
    hwm: Decimal | None = None


def next_event(order: Order, quotes: SessionQuotes, first: int) -> Next | None:
    """`quotes` are those of the whole session; `value` is the last price of a stock, the model's
    value of an option. None when nothing happens from minute `first` to the close."""
    if first >= len(quotes.value):
        return None
    if order.time_in_force in AUCTIONS:
        opening = order.time_in_force is TimeInForce.OPG
        return _auction(order, quotes, 0 if opening else len(quotes.value) - 1, first)
    if order.type is OrderType.TRAILING_STOP and not order.elected:
        return _trail(order, quotes, first)
    if order.type in NEEDS_STOP and not order.elected:
        return _elect(order, quotes, first)
    return _fill(order, quotes, first)


def hwm_after(order: Order, value: Floats) -> Decimal | None:
    """The high-water mark (low-water for a buy) after these prices."""
    if len(value) == 0:
        return order.hwm
    best = float(value.max() if order.side is Side.SELL else value.min())
    known = float(order.hwm) if order.hwm is not None else best
    best = max(best, known) if order.side is Side.SELL else min(best, known)
    return order.hwm if best == known and order.hwm is not None else _mark(best)


def _mark(price: float) -> Decimal:
    return decimal_of(round(price, 4))


def _auction(order: Order, quotes: SessionQuotes, minute: int, first: int) -> Next | None:
    if minute < first:
        return None
    price = float(quotes.value[minute])
    limit = float(order.limit_price or 0)
    buying = order.side is Side.BUY
    if order.type in NEEDS_LIMIT and (price > limit if buying else price < limit):
        return None
    return Next(minute, Happening.FILL, price)


def _elect(order: Order, quotes: SessionQuotes, first: int) -> Next | None:
    stop = float(order.stop_price or 0)
    last = quotes.value[first:]
    reached = _first(last <= stop if order.side is Side.SELL else last >= stop)
    return None if reached is None else Next(first + reached, Happening.ELECT, stop)


def _trail(order: Order, quotes: SessionQuotes, first: int) -> Next | None:
    selling = order.side is Side.SELL
    last = quotes.value[first:]
    known = float(order.hwm) if order.hwm is not None else float(last[0])
    extreme = np.maximum if selling else np.minimum
    marks = extreme(extreme.accumulate(last), known)
    distance = (
        float(order.trail_price)
        if order.trail_price is not None
        else marks * (float(order.trail_percent or 0) / 100)
    )
    stops = np.round(marks - distance if selling else marks + distance, 2 if known >= 1 else 4)
    reached = _first(last <= stops if selling else last >= stops)
    if reached is None:
        return None
    mark = _mark(float(marks[reached]))
    return Next(first + reached, Happening.ELECT, float(stops[reached]), mark)


def _fill(order: Order, quotes: SessionQuotes, first: int) -> Next | None:
    """The first minute at which the other side is there, and within the limit."""
    buying = order.side is Side.BUY
    best = quotes.lowest_ask[first] if buying else quotes.highest_bid[first]
    limit = float(order.limit_price or 0) if order.type in NEEDS_LIMIT else None
    if limit is not None and (best > limit if buying else best < limit):
        return None
    prices = (quotes.ask if buying else quotes.bid)[first:]
    good = prices > 0
    if limit is not None:
        good &= (prices <= limit) if buying else (prices >= limit)
    offset = _first(good)
    if offset is None:
        return None
    return Next(first + offset, Happening.FILL, float(prices[offset]))


def _first(flags: NDArray[np.bool_]) -> int | None:
    index = int(flags.argmax())
    return index if flags[index] else None
