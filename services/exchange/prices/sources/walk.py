"""A seeded random walk: any symbols, any dates of the calendar. Pure."""

from __future__ import annotations

import math

import numpy as np

from libs.common.symbols import is_stock_symbol
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.draws import generator, key_of, uniform
from services.exchange.prices.history import (
    LONG_WINDOW,
    TRADING_DAYS_PER_YEAR,
    Floats,
    History,
)
from services.exchange.prices.sources.config import SourceError, Walk

DEFAULT_SYMBOLS = ("AAPL", "AMD", "BAC", "KO", "MSFT", "XOM")
SESSIONS_MAX = 2_600  # ten years and more


def walk_history(walk: Walk, calendar: Calendar, *, start_day: int, seed: int) -> History:
    """Closes by geometric Brownian motion, from a year before session `start_day` on.

    Raises SourceError.
    """
    symbols = list(dict.fromkeys(walk.symbols or DEFAULT_SYMBOLS))
    _check(walk, symbols)
    first = max(0, start_day - LONG_WINDOW)
    last = min(len(calendar) - 2, first + SESSIONS_MAX)
    closes = np.full((last + 1, len(symbols)), np.nan)
    for column, symbol in enumerate(symbols):
        closes[first:, column] = _closes(walk, symbol, seed, last + 1 - first)
    return History(calendar.dates[: last + 1], symbols, closes, first_day=first)


def _check(walk: Walk, symbols: list[str]) -> None:
    for symbol in symbols:
        if not is_stock_symbol(symbol):
            raise SourceError(f"source walk: {symbol[:20]!r} is not a stock's symbol")
    bounds = (
        ("start_price", walk.start_price, 1.0, 10_000.0),
        ("volatility", walk.volatility, 0.01, 3.0),
        ("drift", walk.drift, -2.0, 2.0),
    )
    for name, value, least, most in bounds:
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            raise SourceError(f"source walk: {name} {value} must be {least} to {most}")


def _closes(walk: Walk, symbol: str, seed: int, count: int) -> Floats:
    draw = uniform(key_of(seed, "walk", symbol), [0, 1])
    start = walk.start_price or float(np.round(20 * 20 ** draw[0], 2))
    yearly = walk.volatility or float(0.15 + 0.45 * draw[1])
    daily = yearly / np.sqrt(TRADING_DAYS_PER_YEAR)
    drift = walk.drift / TRADING_DAYS_PER_YEAR - daily**2 / 2
    steps = generator(seed, "walk", symbol).standard_normal(count) * daily + drift
    steps[0] = 0.0
    path = start * np.exp(np.cumsum(steps))
    return np.asarray(np.clip(np.round(path, 2), 0.5, 100_000.0))
