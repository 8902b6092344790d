"""From the JSON body of `POST /v2/orders` to an OrderRequest, or a refusal that says what is wrong.

alpaca-py sends numbers as JSON numbers, the specification says strings: both are read.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import is_stock_symbol
from services.exchange.engine.numbers import ordinary
from services.exchange.engine.orders import (
    NEEDS_LIMIT,
    NEEDS_STOP,
    Exits,
    Intent,
    OrderClass,
    OrderRequest,
    OrderType,
    Replacement,
    Side,
    TimeInForce,
)
from services.exchange.engine.refusals import malformed, not_offered, unprocessable

QTY_MAX = Decimal(1_000_000)
PRICE_MAX = Decimal(1_000_000)
CLIENT_ID_LENGTH_MAX = 128

Choice = TypeVar("Choice", bound=StrEnum)
Body = dict[str, Any]
_SMALLEST = Decimal("1e-9")
_NO_EXITS = Exits()
_NOTIONAL_MAX = PRICE_MAX * 100


def parse_order(body: object) -> OrderRequest:
    """Raises Refusal."""
    body = _object(body)
    _refuse_not_offered(body)
    order_class = _order_class(body)
    exits = _exits(body, order_class)
    order_type = _choice(body, "type", OrderType)
    limit_price = _price(body, "limit_price", order_type, NEEDS_LIMIT, exits.take_profit)
    notional = _optional(body, "notional", _NOTIONAL_MAX)
    request = OrderRequest(
        symbol=_symbol(body),
        qty=ZERO if notional is not None else _required(body, "qty", QTY_MAX),
        notional=notional,
        side=_choice(body, "side", Side),
        type=order_type,
        time_in_force=_choice(body, "time_in_force", TimeInForce),
        limit_price=limit_price,
        stop_price=_price(body, "stop_price", order_type, NEEDS_STOP, None),
        trail_price=_optional(body, "trail_price", PRICE_MAX),
        trail_percent=_optional(body, "trail_percent", PRICE_MAX),
        client_order_id=_client_order_id(body),
        position_intent=_intent(body),
        order_class=order_class,
        exits=exits,
    )
    if notional is not None and body.get("qty") not in (None, ""):
        raise unprocessable("only one of qty or notional is accepted")
    _check_trail(request)
    return request


def parse_replacement(body: object) -> Replacement:
    """The body of `PATCH /v2/orders/{id}`; raises Refusal."""
    body = _object(body)
    if body.get("notional") is not None:
        raise unprocessable("notional orders cannot be replaced")
    replacement = Replacement(
        qty=_optional(body, "qty", QTY_MAX),
        time_in_force=(
            None
            if body.get("time_in_force") in (None, "")
            else _choice(body, "time_in_force", TimeInForce)
        ),
        limit_price=_optional(body, "limit_price", PRICE_MAX),
        stop_price=_optional(body, "stop_price", PRICE_MAX),
        trail=_optional(body, "trail", PRICE_MAX),
        client_order_id=_client_order_id(body),
    )
    if replacement == Replacement():
        raise unprocessable("nothing to replace: no qty, time_in_force, price or trail is given")
    return replacement


def _object(body: object) -> Body:
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    return body


def _refuse_not_offered(body: Body) -> None:
    if body.get("order_class") == "mleg" or body.get("legs"):
        raise not_offered("a multi-leg order")
    extended = body.get("extended_hours")
    if not isinstance(extended, bool | None):
        raise unprocessable("extended_hours must be true or false")
    if extended:
        raise not_offered("trading in extended hours")


def _order_class(body: Body) -> OrderClass:
    if body.get("order_class") in (None, ""):
        return OrderClass.SIMPLE
    return _choice(body, "order_class", OrderClass)


def _exits(body: Body, order_class: OrderClass) -> Exits:
    """take_profit {limit_price} and stop_loss {stop_price, limit_price}, as the class wants."""
    profit, loss = _part(body, "take_profit"), _part(body, "stop_loss")
    if order_class is OrderClass.SIMPLE and not (profit or loss):
        return _NO_EXITS
    exits = Exits(
        take_profit=_optional(profit, "limit_price", PRICE_MAX),
        stop=_optional(loss, "stop_price", PRICE_MAX),
        stop_limit=_optional(loss, "limit_price", PRICE_MAX),
    )
    if order_class is OrderClass.OCO and exits.take_profit is None:
        exits = msgspec.structs.replace(
            exits, take_profit=_optional(body, "limit_price", PRICE_MAX)
        )
    given = (exits.take_profit is not None) + (exits.stop is not None)
    if exits.stop_limit is not None and exits.stop is None:
        raise unprocessable("stop_loss.stop_price is required")
    match order_class:
        case OrderClass.SIMPLE if profit or loss:
            raise unprocessable("take_profit and stop_loss go with bracket, oto and oco orders")
        case OrderClass.BRACKET | OrderClass.OCO if given < 2:
            raise unprocessable(
                f"{order_class} orders require take_profit.limit_price and stop_loss.stop_price"
            )
        case OrderClass.OTO if given != 1:
            raise unprocessable("oto orders require take_profit or stop_loss, one of them")
        case _:
            return exits


def _part(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unprocessable(f"{name} must be an object")
    return value


def _symbol(body: Body) -> str:
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise unprocessable("symbol is required")
    if len(symbol) > 32 or not (is_stock_symbol(symbol) or symbol.isalnum()):
        raise unprocessable(f"invalid symbol {symbol[:40]!r}")
    return symbol


def _choice(body: Body, name: str, choices: type[Choice]) -> Choice:
    value = body.get(name)
    if value is None:
        raise unprocessable(f"{name} is required")
    found: Choice | None = _named(choices).get(value) if isinstance(value, str) else None
    if found is None:
        allowed = ", ".join(choices)
        raise unprocessable(f"invalid {name} {str(value)[:40]!r}, allowed: {allowed}")
    return found


@cache
def _named(choices: type[Choice]) -> dict[str, Choice]:
    """By value; asking the class itself takes ten times as long, and every order asks thrice."""
    return {choice.value: choice for choice in choices}


def _intent(body: Body) -> Intent | None:
    if body.get("position_intent") in (None, ""):
        return None
    return _choice(body, "position_intent", Intent)


def _price(
    body: Body,
    name: str,
    order_type: OrderType,
    needed_by: frozenset[OrderType],
    instead: Decimal | None,
) -> Decimal | None:
    """`instead` is taken when an OCO order states its limit as a take-profit."""
    wanted = order_type in needed_by
    if wanted and body.get(name) is None and body.get("order_class") == OrderClass.OCO:
        return instead
    if wanted:
        return _required(body, name, PRICE_MAX)
    if body.get(name) is not None:
        raise unprocessable(f"{name} does not go with a {order_type} order")
    return None


def _required(body: Body, name: str, maximum: Decimal) -> Decimal:
    value = _optional(body, name, maximum)
    if value is None:
        raise unprocessable(f"{name} is required")
    return value


def _optional(body: Body, name: str, maximum: Decimal) -> Decimal | None:
    """A positive number of ordinary size, from a JSON number or string; None when absent."""
    raw = body.get(name)
    if raw is None or raw == "":
        return None
    value = ordinary(raw)
    if value is None:
        raise unprocessable(f"{name} {str(raw)[:40]!r} is not a number of ordinary size")
    if not 0 < value <= maximum:
        raise unprocessable(f"{name} must be above 0 and at most {maximum}")
    if value % _SMALLEST:
        raise unprocessable(f"{name} has more than 9 decimals")
    return value.normalize() + ZERO


def _client_order_id(body: Body) -> str | None:
    value = body.get("client_order_id")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > CLIENT_ID_LENGTH_MAX:
        raise unprocessable(f"client_order_id must be text of at most {CLIENT_ID_LENGTH_MAX}")
    return value


def _check_trail(request: OrderRequest) -> None:
    given = [t for t in (request.trail_price, request.trail_percent) if t is not None]
    if request.type is OrderType.TRAILING_STOP:
        if len(given) != 1:
            raise unprocessable("a trailing_stop order needs trail_price or trail_percent, one of")
        if request.trail_percent is not None and request.trail_percent >= 100:
            raise unprocessable("trail_percent must be below 100")
    elif given:
        raise unprocessable("trail_price and trail_percent go with trailing_stop orders only")
