"""The trading API, base path /v2."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from libs.common.symbols import parse_option_symbol, underlying_of
from services.exchange.engine.numbers import ordinary
from services.exchange.engine.orders import Order
from services.exchange.engine.refusals import Refusal, not_found, unprocessable
from services.exchange.http import query as q
from services.exchange.http.call import Call, Encoded, Endpoints, MultiStatus
from services.exchange.http.views import (
    View,
    asset_id,
    asset_view,
    calendar_view,
    clock_view,
    order_view,
    position_view,
)
from services.exchange.prices.calendar import NEW_YORK

CALENDAR_DAYS_DEFAULT = 365
DATE_TYPES = ("TRADING", "SETTLEMENT")
SETTLEMENT_DAYS_MAX = dt.timedelta(days=14)  # after the trade, at the longest closure there was
EXCHANGES = ("AMEX", "ARCA", "BATS", "NYSE", "NASDAQ", "NYSEARCA", "OTC", "CRYPTO", "")
ORDERS_DEFAULT, ORDERS_MAX = 50, 500
NO_CONTENT = None
ASSET_CLASSES = frozenset(
    {
        "us_equity",
        "us_option",
        "crypto",
        "crypto_perp",
        "treasury",
        "corporate",
        "global_equity",
        "us_index",
        "us_equity_chain",
        "ipo",
        "all",
    }
)


def clock(call: Call) -> Any:
    return clock_view(call.market.calendar, call.moment)


def calendar(call: Call) -> Any:
    today = call.moment.now.astimezone(NEW_YORK).date()
    start = q.date(call.query, "start") or today - dt.timedelta(days=CALENDAR_DAYS_DEFAULT)
    end = q.date(call.query, "end") or today + dt.timedelta(days=CALENDAR_DAYS_DEFAULT)
    by_settlement = q.choice(call.query, "date_type", DATE_TYPES, "TRADING") == "SETTLEMENT"
    if start > end:
        raise unprocessable("start must not be after end")
    sessions = call.market.calendar
    first = start - SETTLEMENT_DAYS_MAX if by_settlement else start
    days = [calendar_view(sessions, session) for session in sessions.between(first, end)]
    if not by_settlement:
        return days
    return [day for day in days if str(start) <= day["settlement_date"] <= str(end)]


def assets(call: Call) -> Any:
    q.choice(call.query, "status", ("active", "inactive"), "active")
    asset_class = call.query.get("asset_class") or "us_equity"
    exchange = q.choice(call.query, "exchange", EXCHANGES, "")
    attributes = set(q.symbols(call.query, "attributes"))
    if asset_class != "us_equity" or call.query.get("status") == "inactive":
        return []
    return [
        view
        for view in map(asset_view, call.market.history.symbols)
        if (not exchange or view["exchange"] == exchange)
        and (not attributes or attributes & set(view["attributes"]))
    ]


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
    held = call.account.position(_held_symbol(call))
    return position_view(call.books, call.market, held, call.moment)


def close_position(call: Call) -> Any:
    qty, percentage = _amount(call, "qty"), _amount(call, "percentage")
    if qty is not None and percentage is not None:
        raise unprocessable("only one of qty or percentage is accepted")
    if percentage is not None and percentage > 100:
        raise unprocessable("percentage must be above 0 and at most 100")
    symbol = _held_symbol(call)
    return order_view(call.account.close_position(symbol, qty, percentage, call.moment.now))


def close_positions(call: Call) -> Any:
    """One entry per position: the order that closes it, or why it was refused."""
    account, now = call.account, call.moment.now
    if q.flag(call.query, "cancel_orders"):
        account.cancel_all(now)
    # Calls before the shares that cover them.
    held = sorted(call.books.positions, key=lambda symbol: parse_option_symbol(symbol) is None)
    parts: list[View] = []
    for symbol in held:
        try:
            order = order_view(account.close_position(symbol, None, None, now))
            parts.append({"symbol": symbol, "status": 200, "body": order})
        except Refusal as refusal:
            body = {"code": refusal.code, "message": refusal.message, **refusal.details}
            parts.append({"symbol": symbol, "status": refusal.status, "body": body})
    return MultiStatus(parts)


def exercise(call: Call) -> Any:
    call.account.exercise(_held_symbol(call), call.moment.now)
    return Encoded(b"", "application/json")


def refuse_exercise(call: Call) -> Any:
    call.account.refuse_exercise(_held_symbol(call), call.moment.now)
    return Encoded(b"", "application/json")


def _amount(call: Call, name: str) -> Decimal | None:
    """A number above zero with at most nine decimals; None when absent."""
    text = call.query.get(name)
    if not text:
        return None
    value = ordinary(text)
    if value is None or value <= 0 or value != round(value, 9):
        raise unprocessable(f"invalid {name} {text[:40]!r}: a number above 0, up to 9 decimals")
    return value


def _held_symbol(call: Call) -> str:
    """The position's symbol, from a symbol or an asset id; as it stands when nothing is held."""
    wanted: str = call.path["symbol"]
    if wanted in call.books.positions:
        return wanted
    return next((s for s in call.books.positions if asset_id(s) == wanted), wanted)


# --- orders ------------------------------------------------------------------------------------


def submit_order(call: Call) -> Any:
    order = call.account.submit(call.json(), call.moment.now)
    return order_view(order, _legs(call, order))


def replace_order(call: Call) -> Any:
    order_id = call.path["order_id"]
    return order_view(call.account.replace(order_id, call.json(), call.moment.now))


def order(call: Call) -> Any:
    found = call.account.order(call.path["order_id"])
    return order_view(found, _legs(call, found) if q.flag(call.query, "nested") else None)


def order_by_client_id(call: Call) -> Any:
    client_order_id = call.query.get("client_order_id", "")
    if not client_order_id:
        raise unprocessable("client_order_id is required")
    return order_view(call.account.order_by_client_id(client_order_id))


def cancel_order(call: Call) -> Any:
    call.account.cancel(call.path["order_id"], call.moment.now)
    return NO_CONTENT


def cancel_orders(call: Call) -> Any:
    """One entry per open order, as Alpaca's multi-status answer."""
    ended = call.account.cancel_all(call.moment.now)
    return MultiStatus([{"id": order_id, "status": 200} for order_id in ended])


def orders(call: Call) -> Any:
    """Bounds are exclusive; newest first unless direction=asc."""
    limit = q.whole(call.query, "limit", default=ORDERS_DEFAULT, maximum=ORDERS_MAX)
    newest_first = q.choice(call.query, "direction", ("asc", "desc"), "desc") == "desc"
    nested = bool(q.flag(call.query, "nested"))
    wanted = _order_filter(call)
    chosen = []
    for one in _of_status(call, newest_first):
        if wanted.admits(one) and not (nested and one.parent is not None):
            chosen.append(order_view(one, _legs(call, one) if nested else None))
            if len(chosen) == limit:
                break
    return chosen


class _OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    symbols: frozenset[str]
    side: str
    asset_classes: frozenset[str]
    after: dt.datetime | None
    until: dt.datetime | None
    after_number: int | None
    before_number: int | None

    def admits(self, order: Order) -> bool:
        return (
            self._of_symbols(order)
            and (not self.side or order.side == self.side)
            and (self.after is None or order.created_at > self.after)
            and (self.until is None or order.created_at < self.until)
            and (self.after_number is None or order.number > self.after_number)
            and (self.before_number is None or order.number < self.before_number)
        )

    def _of_symbols(self, order: Order) -> bool:
        asset_class = "us_option" if order.option else "us_equity"
        if self.asset_classes and not self.asset_classes & {asset_class, "all"}:
            return False
        if not self.symbols or order.symbol in self.symbols:
            return True
        # With asset_class=us_option, option orders may be asked for by their underlying.
        by_underlying = "us_option" in self.asset_classes
        return by_underlying and underlying_of(order.symbol) in self.symbols


def _order_filter(call: Call) -> _OrderFilter:
    query = call.query
    after, until = q.instant(query, "after"), q.instant(query, "until")
    after_id, before_id = query.get("after_order_id"), query.get("before_order_id")
    if after_id and before_id:
        raise unprocessable("only one of after_order_id or before_order_id is accepted")
    if (after_id or before_id) and (after or until):
        raise unprocessable("after_order_id and before_order_id do not go with after and until")
    classes = q.symbols(query, "asset_class")
    unknown = set(classes) - ASSET_CLASSES
    if unknown:
        raise unprocessable(f"invalid asset_class {sorted(unknown)[0][:40]!r}")
    return _OrderFilter(
        symbols=frozenset(q.symbols(query)),
        side=q.choice(query, "side", ("buy", "sell", ""), ""),
        asset_classes=frozenset(classes),
        after=after,
        until=until,
        after_number=call.account.order(after_id).number if after_id else None,
        before_number=call.account.order(before_id).number if before_id else None,
    )


def _of_status(call: Call, newest_first: bool) -> Iterable[Order]:
    books = call.books
    match q.choice(call.query, "status", ("open", "closed", "all"), "open"):
        case "open":
            found = list(books.open_orders.values())
        case "closed":
            found = list(books.final_orders.values())
        case _:
            found = [*books.final_orders.values(), *books.open_orders.values()]
    found.sort(key=lambda order: order.number, reverse=newest_first)
    return found


def _legs(call: Call, order: Order) -> list[Order] | None:
    if not order.legs:
        return None
    return [leg for leg_id in order.legs if (leg := call.books.order(leg_id)) is not None]


ENDPOINTS: Endpoints = {
    ("POST", "/v2/orders"): submit_order,
    ("GET", "/v2/orders"): orders,
    ("DELETE", "/v2/orders"): cancel_orders,
    ("GET", "/v2/orders:by_client_order_id"): order_by_client_id,
    ("GET", "/v2/orders/{order_id}"): order,
    ("PATCH", "/v2/orders/{order_id}"): replace_order,
    ("DELETE", "/v2/orders/{order_id}"): cancel_order,
    ("GET", "/v2/positions"): positions,
    ("DELETE", "/v2/positions"): close_positions,
    ("GET", "/v2/positions/{symbol}"): position,
    ("DELETE", "/v2/positions/{symbol}"): close_position,
    ("POST", "/v2/positions/{symbol}/exercise"): exercise,
    ("POST", "/v2/positions/{symbol}/do-not-exercise"): refuse_exercise,
}
REFERENCE: Endpoints = {
    ("GET", "/v2/clock"): clock,
    ("GET", "/v2/calendar"): calendar,
    ("GET", "/v2/assets"): assets,
    ("GET", "/v2/assets/{symbol}"): asset,
}
