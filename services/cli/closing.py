"""What has to be bought and sold for the account to be flat, as intents for risk. Pure.

Nothing here decides that it may be done: risk judges each intent like any other, and the executor
sends what risk signed.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal

from libs.common.contracts import (
    ContractQuote,
    OrderIntended,
    OrderType,
    PortfolioObserved,
    PositionIntent,
    PositionView,
    Side,
    Strategy,
    TimeInForce,
)
from libs.common.money import CENT, ceil_to, decimal_of, floor_to, option_tick
from libs.common.settings import RiskSettings
from libs.common.symbols import SHARES_PER_CONTRACT, Right, option_root, parse_option_symbol

MARK_WIDTH = Decimal("0.10")
"""How far beyond its last price a contract without a quote is offered, as a share of it."""


def closing_intents(
    portfolio: PortfolioObserved,
    quotes: Mapping[str, ContractQuote],
    settings: RiskSettings,
    *,
    at: dt.datetime,
    label: str,
    why: str,
) -> list[OrderIntended]:
    """One intent for each position that no open order is closing yet, of at most one order's size.

    Shares behind a short call wait until it is bought back. `label` makes the ids: the same
    label and portfolio wish for the same thing once.
    """
    found = []
    for position in portfolio.positions:
        side = Side.SELL if position.qty > 0 else Side.BUY
        working = any((o.symbol, o.side) == (position.symbol, side) for o in portfolio.open_orders)
        qty = _quantity(position, portfolio, settings)
        if working or qty < 1:
            continue
        option = parse_option_symbol(position.symbol)
        limit = None
        if option is not None:
            limit = _limit(position, quotes.get(position.symbol), side)
            if limit is None:
                continue
        found.append(
            OrderIntended(
                message_id=f"{label}-{position.symbol}",
                at=at,
                tick_id=portfolio.tick_id,
                strategy=Strategy.FLATTEN.value,
                underlying=_underlying(position.symbol, portfolio),
                symbol=position.symbol,
                side=side,
                qty=qty,
                order_type=OrderType.MARKET if option is None else OrderType.LIMIT,
                time_in_force=TimeInForce.DAY,
                as_of=portfolio.as_of,
                position_intent=(
                    PositionIntent.SELL_TO_CLOSE
                    if side is Side.SELL
                    else PositionIntent.BUY_TO_CLOSE
                ),
                limit_price=limit,
                reason=why,
            )
        )
    return found


def _underlying(symbol: str, portfolio: PortfolioObserved) -> str:
    """The stock as it is traded: an option on `BRK.B` only says `BRKB`."""
    option = parse_option_symbol(symbol)
    if option is None:
        return symbol
    for position in portfolio.positions:
        is_stock = parse_option_symbol(position.symbol) is None
        if is_stock and option_root(position.symbol) == option_root(option.underlying):
            return position.symbol
    return option.underlying


def _quantity(position: PositionView, portfolio: PortfolioObserved, settings: RiskSettings) -> int:
    held = math.floor(abs(position.qty))
    option = parse_option_symbol(position.symbol)
    if option is not None:
        each = option.strike * SHARES_PER_CONTRACT
        return min(held, settings.max_order_contracts, int(settings.max_order_notional / each))
    most = min(held, settings.max_order_shares)
    price = position.current_price
    if price is not None and math.isfinite(price) and price > 0:
        most = min(most, int(settings.max_order_notional / decimal_of(price)))
    if position.qty < 0:
        return most
    free = math.floor(min(position.qty, position.qty_available))
    return max(0, min(most, free - _behind_calls(position.symbol, portfolio)))


def _behind_calls(symbol: str, portfolio: PortfolioObserved) -> int:
    """Shares that short calls have a claim on."""
    calls = Decimal(0)
    for position in portfolio.positions:
        option = parse_option_symbol(position.symbol)
        if option is None or option.right is not Right.CALL or position.qty >= 0:
            continue
        if option_root(option.underlying) == option_root(symbol):
            calls -= position.qty
    return int(calls) * SHARES_PER_CONTRACT


def _limit(position: PositionView, quote: ContractQuote | None, side: Side) -> Decimal | None:
    """The other side of the market, on the grid; None when nothing tells a price."""
    price, penny = None, quote.penny if quote else True
    if quote is not None:
        price = quote.ask if side is Side.BUY else quote.bid
    if price:
        dollars = decimal_of(price)
    elif position.current_price is not None and math.isfinite(position.current_price):
        sign = 1 if side is Side.BUY else -1
        dollars = decimal_of(position.current_price) * (1 + sign * MARK_WIDTH)
    else:
        return None
    tick = option_tick(dollars, penny=penny)
    rounded = ceil_to(dollars, tick) if side is Side.BUY else floor_to(dollars, tick)
    return max(rounded, CENT)
