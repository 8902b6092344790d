"""The trading API, base path /v2."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from services.exchange.engine.books import Activity
from services.exchange.engine.orders import Order
from services.exchange.engine.refusals import not_found, unprocessable
from services.exchange.http import query as q
from services.exchange.http.call import Call, MultiStatus
from services.exchange.http.views import (
    account_view,
    activity_view,
    asset_id,
    asset_view,
    calendar_view,
    clock_view,
    order_view,
    position_view,
)
from services.exchange.prices.calendar import NEW_YORK

CALENDAR_DAYS_DEFAULT = 365
ORDERS_DEFAULT, ORDERS_MAX = 50, 500
ACTIVITIES_MAX = 100
NO_CONTENT = None


def account(call: Call) -> Any:
    return account_view(call.books, call.market, call.moment)


def clock(call: Call) -> Any:
    return clock_view(call.market.calendar, call.moment)


def calendar(call: Call) -> Any:
    today = call.moment.now.astimezone(NEW_YORK).date()
    start = q.date(call.query, "start") or today - dt.timedelta(days=CALENDAR_DAYS_DEFAULT)
    end = q.date(call.query, "end") or today + dt.timedelta(days=CALENDAR_DAYS_DEFAULT)
    if start > end:
        raise unprocessable("start must not be after end")
    sessions = call.market.calendar.between(start, end)
    return [calendar_view(call.market.calendar, session) for session in sessions]


def assets(call: Call) -> Any:
    q.choice(call.query, "status", ("active", "inactive"), "active")
    asset_class = call.query.get("asset_class") or "us_equity"
    if asset_class != "us_equity" or call.query.get("status") == "inactive":
        return []
    return [asset_view(symbol) for symbol in call.market.history.symbols]


def asset(call: Call) -> Any:
    wanted = call.path["symbol"]
    for symbol in call.market.history.symbols:
        if wanted in (symbol, asset_id(symbol)):
            return asset_view(symbol)
    raise not_found(f"asset not found for {wanted[:40]}")


# --- positions ---------------------------------------------------------------------------------


def positions(call: Call) -> Any:
    held = call.books.positions.values()
    return [position_view(call.books, call.market, p, call.moment) for p in held]


def position(call: Call) -> Any:
    wanted = call.path["symbol"]
    for held in call.books.positions.values():
        if wanted in (held.symbol, asset_id(held.symbol)):
            return position_view(call.books, call.market, held, call.moment)
    raise not_found("position does not exist")


# --- orders ------------------------------------------------------------------------------------


def submit_order(call: Call) -> Any:
    return order_view(call.venue.exchange.submit(call.json(), call.moment.now))


def order(call: Call) -> Any:
    return order_view(call.venue.exchange.order(call.path["order_id"]))


def order_by_client_id(call: Call) -> Any:
    client_order_id = call.query.get("client_order_id", "")
    return order_view(call.venue.exchange.order_by_client_id(client_order_id))


def cancel_order(call: Call) -> Any:
    call.venue.exchange.cancel(call.path["order_id"], call.moment.now)
    return NO_CONTENT


def cancel_orders(call: Call) -> Any:
    """One entry per open order, as Alpaca's multi-status answer."""
    order_ids = list(call.books.open_orders)
    for order_id in order_ids:
        call.venue.exchange.cancel(order_id, call.moment.now)
    return MultiStatus([{"id": order_id, "status": 200} for order_id in order_ids])


def orders(call: Call) -> Any:
    """Bounds are exclusive; newest first unless direction=asc."""
    limit = q.whole(call.query, "limit", default=ORDERS_DEFAULT, maximum=ORDERS_MAX)
    direction = q.choice(call.query, "direction", ("asc", "desc"), "desc")
    q.flag(call.query, "nested")
    chosen = [order for order in _of_status(call) if _wanted(call, order)]
    chosen.sort(key=lambda order: order.number, reverse=direction == "desc")
    after, until = q.instant(call.query, "after"), q.instant(call.query, "until")
    if after is not None:
        chosen = [order for order in chosen if order.created_at > after]
    if until is not None:
        chosen = [order for order in chosen if order.created_at < until]
    return [order_view(order) for order in chosen[:limit]]


def _of_status(call: Call) -> Iterable[Order]:
    books = call.books
    match q.choice(call.query, "status", ("open", "closed", "all"), "open"):
        case "open":
            return books.open_orders.values()
        case "closed":
            return books.final_orders.values()
        case _:
            return [*books.final_orders.values(), *books.open_orders.values()]


def _wanted(call: Call, order: Order) -> bool:
    symbols = q.symbols(call.query)
    side = q.choice(call.query, "side", ("buy", "sell", ""), "")
    return (not symbols or order.symbol in symbols) and (not side or order.side == side)


# --- activities --------------------------------------------------------------------------------


def activities(call: Call) -> Any:
    """Rows known by now; page_token is the id of the last row of the page before."""
    kinds = [call.path["type"]] if "type" in call.path else _kinds(call)
    direction = q.choice(call.query, "direction", ("asc", "desc"), "desc")
    size = q.whole(call.query, "page_size", default=ACTIVITIES_MAX, maximum=ACTIVITIES_MAX)
    rows = [a for a in call.books.activities if a.known_at <= call.moment.now]
    if kinds:
        rows = [a for a in rows if a.activity_type in kinds]
    rows = sorted(_within(call, rows), key=lambda a: a.id, reverse=direction == "desc")
    last = call.query.get("page_token")
    if last:
        rows = [a for a in rows if (a.id < last if direction == "desc" else a.id > last)]
    return [activity_view(row) for row in rows[:size]]


def _kinds(call: Call) -> list[str]:
    return q.symbols(call.query, "activity_types")


def _within(call: Call, rows: list[Activity]) -> list[Activity]:
    """`date` is the row's own date; `after` and `until` bound when the row became known."""
    date = q.date(call.query, "date")
    if date is not None:
        return [a for a in rows if a.date == date]
    after, until = q.instant(call.query, "after"), q.instant(call.query, "until")
    if after is not None:
        rows = [a for a in rows if a.known_at > after]
    if until is not None:
        rows = [a for a in rows if a.known_at < until]
    return rows
