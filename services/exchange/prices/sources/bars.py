"""From bars, daily or shorter, to the history a market is made of. Pure."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from services.exchange.prices.calendar import NEW_YORK, Calendar, Session
from services.exchange.prices.history import Bar, Floats, History
from services.exchange.prices.sources.config import SourceError

SESSIONS_MIN = 24  # of returns before the first session that can be played, and one to play
_FIELDS = ("open", "high", "low", "close")


class Row(NamedTuple):
    """A bar: its symbol, its beginning (aware, or a New York date), prices in dollars, and where
    it was read, for errors. Prices other than the close may be NaN."""

    symbol: str
    at: dt.datetime | dt.date
    open: float
    high: float
    low: float
    close: float
    where: str


def history_of(rows: Iterable[Row], calendar: Calendar) -> History:
    """The sessions that every symbol has bars for. Raises SourceError that names a bar."""
    by_symbol: defaultdict[str, dict[int, list[tuple[int, Row]]]] = defaultdict(dict)
    intraday = False
    for row in rows:
        _check(row)
        session = _session(row, calendar)
        minute = _minute(row, session)
        intraday = intraday or minute is not None
        by_symbol[row.symbol].setdefault(session.index, []).append((minute or 0, row))
    if not by_symbol:
        raise SourceError("the source has no bars")
    first, last = _common(by_symbol, calendar)
    symbols = sorted(by_symbol)
    closes = np.full((last + 1, len(symbols)), np.nan)
    bars: dict[tuple[str, int], Bar] = {}
    paths: dict[tuple[str, int], Floats] = {}
    for column, symbol in enumerate(symbols):
        for day in range(first, last + 1):
            found = _sorted(by_symbol[symbol].get(day), symbol, calendar.session(day))
            closes[day, column] = found[-1][1].close
            if intraday:
                paths[symbol, day] = _path(found, calendar.session(day).minutes)
            elif math.isfinite(found[0][1].open):
                row = found[0][1]
                bars[symbol, day] = Bar(row.open, row.high, row.low)
    dates = calendar.dates[: last + 1]
    return History(dates, symbols, closes, first_day=first, bars=bars, paths=paths)


def _check(row: Row) -> None:
    for name in _FIELDS:
        price = getattr(row, name)
        if math.isnan(price) and name != "close":
            continue
        if not (math.isfinite(price) and 0 < price < 10**7):
            raise SourceError(f"{row.where}: {name} {price} is not a price above 0")
    known = [p for p in (row.open, row.close) if math.isfinite(p)]
    if row.high < max(known) or row.low > min(known):  # NaN compares as false
        raise SourceError(f"{row.where}: high and low do not enclose open and close")


def _session(row: Row, calendar: Calendar) -> Session:
    date = row.at.astimezone(NEW_YORK).date() if isinstance(row.at, dt.datetime) else row.at
    session = calendar.on(date)
    if session is None:
        raise SourceError(
            f"{row.where}: {date} is no session of the New York Stock Exchange "
            f"({calendar.dates[0]} to {calendar.dates[-1]}); leave the row out"
        )
    return session


def _minute(row: Row, session: Session) -> int | None:
    """The minute of its session a bar begins at; None for a day's bar."""
    if not isinstance(row.at, dt.datetime):
        return None
    if row.at.astimezone(NEW_YORK).time() == dt.time():
        return None  # Alpaca stamps days with New York midnight
    minute = int((row.at - session.open).total_seconds()) // 60
    if not 0 <= minute < session.minutes:
        raise SourceError(
            f"{row.where}: {row.at.isoformat()} is outside the session's hours; leave such rows out"
        )
    return minute


def _common(
    by_symbol: dict[str, dict[int, list[tuple[int, Row]]]], calendar: Calendar
) -> tuple[int, int]:
    first = max(min(days) for days in by_symbol.values())
    last = min(max(days) for days in by_symbol.values())
    if last - first + 1 < SESSIONS_MIN:
        raise SourceError(
            f"all symbols together have {max(last - first + 1, 0)} sessions in common; at least "
            f"{SESSIONS_MIN} are needed, for volatility is taken from the days before"
        )
    for symbol, days in sorted(by_symbol.items()):
        gaps = [day for day in range(first, last + 1) if day not in days]
        if gaps:
            raise SourceError(
                f"{symbol} has no bar on {calendar.dates[gaps[0]]}, a trading session "
                f"({len(gaps)} missing); add them or leave the symbol out"
            )
    return first, last


def _sorted(
    found: list[tuple[int, Row]] | None, symbol: str, session: Session
) -> list[tuple[int, Row]]:
    rows = sorted(found or [], key=lambda pair: pair[0])
    for (minute, _), (following, row) in pairwise(rows):
        if minute == following:
            raise SourceError(f"{row.where}: {symbol} has two bars at one time on {session.date}")
    return rows


def _path(rows: list[tuple[int, Row]], minutes: int) -> Floats:
    """A price a minute through the bars: each begins at its open, goes by its low and its high
    (the one against its direction first), and the last ends at its close."""
    times: list[float] = []
    prices: list[float] = []
    for place, (minute, row) in enumerate(rows):
        until = rows[place + 1][0] if place + 1 < len(rows) else minutes
        opening = row.open if math.isfinite(row.open) else row.close
        times.append(minute)
        prices.append(opening)
        third = (until - minute) / 3
        if third >= 1 and math.isfinite(row.high) and math.isfinite(row.low):
            turns = (row.low, row.high) if row.close >= opening else (row.high, row.low)
            times += [minute + round(third), minute + round(2 * third)]
            prices += turns
    times.append(minutes)
    prices.append(rows[-1][1].close)
    path = np.interp(np.arange(minutes + 1), times, prices)
    path = np.where(path >= 1.0, np.round(path, 2), np.maximum(np.round(path, 4), 0.0001))
    path[-1] = rows[-1][1].close
    return np.asarray(path)
