"""From the JSON body of `POST /v2/orders` to an OrderRequest, or a refusal that says what is wrong.

alpaca-py sends numbers as JSON numbers, the specification says strings: both are read.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from libs.common.symbols import is_stock_symbol
from services.exchange.engine.orders import (
    NEEDS_LIMIT,
    NEEDS_STOP,
    Intent,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from services.exchange.engine.refusals import malformed, not_offered, unprocessable

QTY_MAX = Decimal(1_000_000)
PRICE_MAX = Decimal(1_000_000)
CLIENT_ID_LENGTH_MAX = 128
_DIGITS_MAX = 24

Choice = TypeVar("Choice", bound=StrEnum)
Body = dict[str, Any]


def parse_order(body: object) -> OrderRequest:
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    _refuse_not_offered(body)
    order_type = _choice(body, "type", OrderType)
    request = OrderRequest(
        symbol=_symbol(body),
        qty=_required(body, "qty", QTY_MAX),
        side=_choice(body, "side", Side),
        type=order_type,
        time_in_force=_choice(body, "time_in_force", TimeInForce),
        limit_price=_price(body, "limit_price", wanted=order_type in NEEDS_LIMIT),
        stop_price=_price(body, "stop_price", wanted=order_type in NEEDS_STOP),
        trail_price=_optional(body, "trail_price", PRICE_MAX),
        trail_percent=_optional(body, "trail_percent", PRICE_MAX),
        client_order_id=_client_order_id(body),
        position_intent=_intent(body),
    )
    _check_trail(request)
    return request


def _refuse_not_offered(body: Body) -> None:
    if body.get("notional") is not None:
        raise not_offered("a notional order")
    if body.get("order_class") not in (None, "", "simple"):
        raise not_offered(f"order_class {str(body['order_class'])[:20]!r}")
    if body.get("legs"):
        raise not_offered("a multi-leg order")
    if body.get("take_profit") or body.get("stop_loss"):
        raise not_offered("a bracket order")
    if body.get("time_in_force") in ("opg", "cls", "ioc", "fok"):
        raise not_offered(f"time_in_force {body['time_in_force']}")
    if body.get("extended_hours") not in (None, False):
        raise not_offered("trading in extended hours")


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
    try:
        return choices(value)
    except ValueError:
        allowed = ", ".join(choices)
        raise unprocessable(f"invalid {name} {str(value)[:40]!r}, allowed: {allowed}") from None


def _intent(body: Body) -> Intent | None:
    if body.get("position_intent") in (None, ""):
        return None
    return _choice(body, "position_intent", Intent)


def _price(body: Body, name: str, *, wanted: bool) -> Decimal | None:
    if wanted:
        return _required(body, name, PRICE_MAX)
    if body.get(name) is not None:
        raise unprocessable(f"{name} does not go with a {body['type']} order")
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
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise unprocessable(f"{name} must be a number")
    text = repr(raw) if isinstance(raw, float) else str(raw)[: _DIGITS_MAX + 1]
    if len(text) > _DIGITS_MAX or not text.isascii():
        raise unprocessable(f"{name} is not a number of ordinary size")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise unprocessable(f"{name} {text!r} is not a number") from None
    if not value.is_finite() or not 0 < value <= maximum:
        raise unprocessable(f"{name} must be above 0 and at most {maximum}")
    if value != round(value, 9):
        raise unprocessable(f"{name} has more than 9 decimals")
    return value.normalize() + Decimal(0)


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
