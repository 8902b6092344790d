"""Assignment before expiration, overnight and seeded.

Holders of American options exercise early when the time value left is less than what they gain
by exercising: for deep puts the interest on the strike, for calls a dividend that goes ex the
next day (Hull, Options, Futures, and Other Derivatives, chapters 11 and 15).
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from libs.common.symbols import Right
from services.exchange.engine.bookings import (
    When,
    book_delivery,
    cancel_needless_closing,
    option_of,
)
from services.exchange.engine.books import Books
from services.exchange.engine.marks import closing_price
from services.exchange.engine.positions import Position
from services.exchange.prices.actions import CashDividend
from services.exchange.prices.calendar import Session
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.market import Market
from services.exchange.terms import Terms

TIME_VALUE_DEEP = 0.001  # of the strike: below it an option is deep in the money
DIVIDEND_RATE = 0.9  # of the calls whose dividend is more than their time value


def assign_early(books: Books, market: Market, terms: Terms, session: Session, when: When) -> None:
    """After the close: short contracts that their holders exercise tonight."""
    short = [p for p in books.positions.values() if p.qty < 0 and p.option is not None]
    for position in sorted(short, key=lambda p: p.symbol):
        rate = _rate(market, terms, session, position)
        if rate == 0:
            continue
        contracts = np.arange(int(-position.qty))
        key = key_of(books.seed, "assigned early", position.symbol, session.index)
        assigned = int((uniform(key, contracts) < rate).sum())
        if assigned:
            book_delivery(books, position, Decimal(assigned), when)
            cancel_needless_closing(books, position.symbol, when.at)


def _rate(market: Market, terms: Terms, session: Session, position: Position) -> float:
    """The chance of each contract to be assigned tonight."""
    if terms.early_assignment_rate == 0:
        return 0.0
    option = option_of(position)
    strike, shares = float(option.strike), float(position.deliverable) / 100
    spot = float(closing_price(market, option.underlying, session)) * shares
    intrinsic = spot - strike if option.right is Right.CALL else strike - spot
    if intrinsic <= 0:
        return 0.0
    value = float(market.session_quotes(position.symbol, session).value[-1])
    time_value = value - intrinsic
    if option.right is Right.CALL:
        tomorrow = market.calendar.session(session.index + 1)
        dividend = sum(
            float(action.rate)
            for action in market.actions.on(tomorrow)
            if isinstance(action, CashDividend) and action.symbol == option.underlying
        )
        if dividend * shares > time_value:
            return DIVIDEND_RATE
    return terms.early_assignment_rate if time_value < TIME_VALUE_DEEP * strike else 0.0
