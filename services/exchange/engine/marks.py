"""What positions are worth now: the last price of a stock, the middle of an option's quote."""

from __future__ import annotations

from decimal import Decimal

from libs.common.money import ZERO, decimal_of
from services.exchange.engine.books import Books, Position
from services.exchange.prices.market import Market, Moment


def mark(market: Market, symbol: str, moment: Moment) -> Decimal:
    """Dollars per share; zero for an option that is no longer listed."""
    if symbol in market.history:
        return decimal_of(market.last(symbol, moment))
    quotes = market.option_quote(symbol, moment)
    if quotes is None:
        return ZERO
    return decimal_of(round((float(quotes.bid[0]) + float(quotes.ask[0])) / 2, 4))


def market_value(market: Market, position: Position, moment: Moment) -> Decimal:
    """Dollars; negative for a short position."""
    return position.qty * position.multiplier * mark(market, position.symbol, moment)


def equity(market: Market, books: Books, moment: Moment) -> Decimal:
    """Cash and positions at their marks."""
    values = (market_value(market, p, moment) for p in books.positions.values())
    return books.cash + sum(values, ZERO)
