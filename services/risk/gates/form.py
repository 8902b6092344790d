"""Whether an intent looks as its strategy's orders must look. Pure."""

from __future__ import annotations

import msgspec

from libs.common.contracts import (
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    Strategy,
    TimeInForce,
)
from libs.common.money import CENT, on_grid
from libs.common.symbols import Right, is_stock_symbol, option_root, parse_option_symbol
from services.risk.gates.case import CheckResult, all_of


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How every order of a strategy must look; `right` None means the stock itself."""

    right: Right | None
    order_type: OrderType
    time_in_force: TimeInForce
    position_intents: tuple[PositionIntent | None, ...]


_OPTION_INTENTS = (PositionIntent.SELL_TO_OPEN,)
_STOCK_INTENTS = (None, PositionIntent.SELL_TO_CLOSE)

_PUT = Form(
    right=Right.PUT,
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    position_intents=_OPTION_INTENTS,
)

FORMS: dict[str, Form] = {
    Strategy.CASH_SECURED_PUT.value: _PUT,
    Strategy.GUEST_PUT.value: _PUT,
    Strategy.COVERED_CALL.value: Form(
        right=Right.CALL,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_intents=_OPTION_INTENTS,
    ),
    Strategy.TRAILING_STOP.value: Form(
        right=None,
        order_type=OrderType.TRAILING_STOP,
        time_in_force=TimeInForce.GTC,
        position_intents=_STOCK_INTENTS,
    ),
}
"""The strategies risk knows. A new one needs its form here and its gate in coverage.py."""


def is_known(strategy: str) -> bool:
    return strategy in FORMS or strategy == Strategy.FLATTEN


def check_known_strategy(intent: OrderIntended) -> CheckResult:
    if is_known(intent.strategy):
        return CheckResult(ok=True, reason=intent.strategy)
    return CheckResult(ok=False, reason=f"unknown strategy {intent.strategy!r}")


def check_well_formed(intent: OrderIntended) -> CheckResult:
    """Whether symbol, side, type, quantity and prices are what the strategy's form demands."""
    if intent.strategy == Strategy.FLATTEN:
        faults = ["replaces an order"] if intent.replaces is not None else []
        return all_of(faults + _flatten_faults(intent), "closes something")
    form = FORMS.get(intent.strategy)
    if form is None:
        return CheckResult(ok=False, reason="no form is known for the strategy")
    demands = {
        "has no id": bool(intent.message_id),
        f"side is {intent.side}": intent.side is Side.SELL,
        f"quantity is {intent.qty}": intent.qty >= 1,
        f"type is {intent.order_type}": intent.order_type is form.order_type,
        f"time in force is {intent.time_in_force}": intent.time_in_force is form.time_in_force,
        f"position intent is {intent.position_intent}": (
            intent.position_intent in form.position_intents
        ),
        f"stop price is {intent.stop_price}": intent.stop_price is None,
        "replaces an order": intent.replaces is None or form.right is not None,
    }
    wrong = [text for text, is_met in demands.items() if not is_met]
    wrong += _stock_faults(intent) if form.right is None else _option_faults(intent, form.right)
    return all_of(wrong, "as the strategy demands")


def _option_faults(intent: OrderIntended, right: Right) -> list[str]:
    option = parse_option_symbol(intent.symbol)
    if option is None:
        return [f"{intent.symbol} is not an option symbol"]
    faults = []
    if option.adjusted:
        faults.append(f"{intent.symbol} is an adjusted contract")
    if option_root(option.underlying) != option_root(intent.underlying):
        faults.append(f"{intent.symbol} is not on {intent.underlying}")
    if option.right is not right:
        faults.append(f"{intent.symbol} is a {option.right}")
    if option.strike <= 0:
        faults.append("strike is zero")
    faults += _limit_faults(intent)
    if intent.trail_percent is not None:
        faults.append("carries a trail percent")
    return faults


def _stock_faults(intent: OrderIntended) -> list[str]:
    faults = []
    if not is_stock_symbol(intent.symbol):
        faults.append(f"{intent.symbol} is not a stock symbol")
    if intent.symbol != intent.underlying:
        faults.append(f"{intent.symbol} is not {intent.underlying}")
    if intent.limit_price is not None:
        faults.append("carries a limit price")
    percent = intent.trail_percent
    if percent is None or not percent.is_finite() or not 0 < percent < 100:
        faults.append(f"trail percent is {percent}")
    return faults


def _limit_faults(intent: OrderIntended) -> list[str]:
    price = intent.limit_price
    if price is None or not price.is_finite() or price <= 0:
        return [f"limit price is {price}"]
    if not on_grid(price, CENT):
        return [f"limit price {price} is not in whole cents"]
    return []


_CLOSING = {
    (Side.BUY, PositionIntent.BUY_TO_CLOSE),
    (Side.SELL, PositionIntent.SELL_TO_CLOSE),
}


def _flatten_faults(intent: OrderIntended) -> list[str]:
    """Options by limit, stock at the market, for the day, and nothing that could open."""
    faults = [] if intent.message_id else ["has no id"]
    if intent.qty < 1:
        faults.append(f"quantity is {intent.qty}")
    if (intent.side, intent.position_intent) not in _CLOSING:
        faults.append(f"{intent.side} with position intent {intent.position_intent}")
    if intent.time_in_force is not TimeInForce.DAY:
        faults.append(f"time in force is {intent.time_in_force}")
    if intent.stop_price is not None or intent.trail_percent is not None:
        faults.append("carries a stop")
    option = parse_option_symbol(intent.symbol)
    traded = intent.symbol if option is None else option.underlying
    if option_root(traded) != option_root(intent.underlying):
        faults.append(f"{intent.symbol} is not on {intent.underlying}")
    wanted = OrderType.MARKET if option is None else OrderType.LIMIT
    if intent.order_type is not wanted:
        faults.append(f"type is {intent.order_type}")
    if option is not None:
        return faults + _limit_faults(intent)
    if not is_stock_symbol(intent.symbol):
        faults.append(f"{intent.symbol} is not a stock symbol")
    if intent.limit_price is not None:
        faults.append("carries a limit price")
    return faults
