"""What positions are worth: the last price of a stock, the middle of an option's quote."""

from __future__ import annotations

from decimal import Decimal

from libs.common.money import ZERO, decimal_of
from services.exchange.engine.books import Books
from services.exchange.engine.positions import Position
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market, Moment


def mark(market: Market, symbol: str, moment: Moment) -> Decimal:
    """Dollars per share; zero for an option that is no longer listed."""
    return mark_at(market, symbol, moment.session, moment.minute)


def mark_at(market: Market, symbol: str, session: Session, minute: int) -> Decimal:
    try:
        quotes = market.session_quotes(symbol, session)
    except KeyError:
        return ZERO
    if symbol in market.history:
        return decimal_of(float(quotes.value[minute]))
    return decimal_of(round((float(quotes.bid[minute]) + float(quotes.ask[minute])) / 2, 4))


def closing_price(market: Market, symbol: str, session: Session) -> Decimal:
    """A stock's price at the close of a session, dollars."""
    return decimal_of(float(market.session_quotes(symbol, session).value[-1]))


def market_value(market: Market, position: Position, moment: Moment) -> Decimal:
    """Dollars; negative for a short position."""
    return position.qty * position.multiplier * mark(market, position.symbol, moment)


def equity(market: Market, books: Books, moment: Moment) -> Decimal:
    """Cash and positions at their marks."""
    values = (market_value(market, p, moment) for p in books.positions.values())
    return books.cash + sum(values, ZERO)
