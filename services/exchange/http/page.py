"""The page of the exchange's state, and the two answers that only it needs."""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

from services.exchange.engine.orders import Order
from services.exchange.http.call import Call, Encoded, Endpoints
from services.exchange.http.views import (
    View,
    account_view,
    activity_view,
    money,
    order_view,
    position_view,
)

PAGE_PATH = "/"
LATEST_ORDERS, LATEST_ACTIVITIES, EQUITY_CLOSES, OPEN_ORDERS_MAX = 30, 40, 250, 200


def page(_call: Call) -> Any:
    return Encoded(_html(), "text/html; charset=utf-8")


@cache
def _html() -> bytes:
    return (resources.files("services.exchange.http") / "page.html").read_bytes()


def books(call: Call) -> Any:
    """One account's figures, positions and latest happenings, as its owner would see them."""
    tenant = call.venue.tenant(call.path["key"])
    own, moment, market = tenant.books, call.moment, call.market
    known = [a for a in own.activities if a.known_at <= moment.now]
    return {
        "account": account_view(own, market, moment),
        "positions": [position_view(own, market, p, moment) for p in own.positions.values()],
        "open_orders": _newest(own.open_orders, OPEN_ORDERS_MAX),
        "latest_orders": _newest(own.final_orders, LATEST_ORDERS),
        "activities": [activity_view(a) for a in reversed(known[-LATEST_ACTIVITIES:])],
        "opening_equity": money(own.opening_equity),
        "equity_closes": [
            {"date": str(date), "equity": money(equity)}
            for date, equity in own.equity_closes[-EQUITY_CLOSES:]
        ],
    }


def _newest(orders: dict[str, Order], most: int) -> list[View]:
    """The dictionaries are in the order in which orders arrived, or ended."""
    return [order_view(order) for order in islice(reversed(orders.values()), most)]


def quotes(call: Call) -> Any:
    return [_quote(call, symbol) for symbol in call.market.history.symbols]


def _quote(call: Call, symbol: str) -> View:
    quote = call.market.stock_quote(symbol, call.moment)
    return {
        "symbol": symbol,
        "last": call.market.last(symbol, call.moment),
        "bid": quote.bid,
        "ask": quote.ask,
        "previous_close": call.market.previous_close(symbol, call.moment),
    }


ENDPOINTS: Endpoints = {
    ("GET", PAGE_PATH): page,
    ("GET", "/sim/books/{key}"): books,
    ("GET", "/sim/quotes"): quotes,
}
