"""What an account was worth, minute by minute and day by day.

Nothing is sampled while the market plays: closes are kept each day, and within a day the worth
is computed backwards from what is held now, the moves of cash and holdings since, and prices.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

import numpy as np

from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol
from services.exchange.engine.books import Books
from services.exchange.engine.positions import Move
from services.exchange.prices.calendar import Session
from services.exchange.prices.history import Floats
from services.exchange.prices.market import Market


def equity_by_minute(market: Market, books: Books, session: Session) -> Floats:
    """Dollars at each minute of the session, 0 (the open) to `minutes` (the close), as far as the
    market was played; the moves since must still be kept (settlement.MOVES_KEPT)."""
    last = books.minute if session.index == books.day else session.minutes
    cash, held = _at_open(books, session)
    moves: defaultdict[str, list[Move]] = defaultdict(list)
    for move in books.moves:
        if session.open <= move.at <= session.close:
            moves[move.symbol].append(move)
    total = _along(cash, [(m.at, float(m.cash)) for m in moves.pop("", [])], session, last)
    for symbol in dict.fromkeys([*held, *moves]):  # sums of floats depend on the order
        steps = [(m.at, float(m.qty)) for m in moves.get(symbol, [])]
        qty = _along(held.get(symbol, 0.0), steps, session, last)
        if qty.any():
            total += qty * _values(market, symbol, session)[: last + 1]
    return total


def _at_open(books: Books, session: Session) -> tuple[float, dict[str, float]]:
    cash = books.cash
    held = {symbol: position.qty for symbol, position in books.positions.items()}
    for move in books.moves:
        if move.at >= session.open:
            cash -= move.cash
            if move.symbol:
                held[move.symbol] = held.get(move.symbol, 0) - move.qty
    return float(cash), {symbol: float(qty) for symbol, qty in held.items() if qty}


def _along(
    start: float, steps: list[tuple[dt.datetime, float]], session: Session, last: int
) -> Floats:
    """A quantity at each minute, from where it began and how it changed."""
    line = np.full(last + 1, start)
    for at, change in steps:
        minute = int((at - session.open).total_seconds()) // 60
        line[min(minute, last) :] += change
    return line


def _values(market: Market, symbol: str, session: Session) -> Floats:
    """Dollars per share or contract at each minute; zeros when it was not listed."""
    try:
        quotes = market.session_quotes(symbol, session)
    except KeyError:
        return np.zeros(session.minutes + 1)
    if parse_option_symbol(symbol) is None:
        return quotes.value
    return np.asarray((quotes.bid + quotes.ask) / 2 * SHARES_PER_CONTRACT)
