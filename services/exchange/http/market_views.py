"""Prices as Alpaca's market-data API shows them: numbers are JSON numbers, keys are one letter."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import numpy as np

from services.exchange.http.views import rfc3339
from services.exchange.prices.bars import Bars, Ints, stacked
from services.exchange.prices.calendar import NEW_YORK, Session
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.market import Market, Moment

View = dict[str, Any]
MINUTE = dt.timedelta(minutes=1)


def moment_stamp(moment: Moment) -> str:
    """When the moment's prices were made: the whole minute."""
    return rfc3339(moment.session.open + moment.minute * MINUTE)


def midnight_of(date: dt.date) -> dt.datetime:
    """New York's midnight in UTC: the time of bars of a day and more."""
    return dt.datetime.combine(date, dt.time(), NEW_YORK).astimezone(dt.UTC)


def trade_view(market: Market, symbol: str, moment: Moment) -> View:
    return trade_rows(market, symbol, moment.session, np.array([moment.minute]))[0]


def quote_view(market: Market, symbol: str, moment: Moment) -> View:
    return quote_rows(market, symbol, moment.session, np.array([moment.minute]))[0]


def snapshot_view(market: Market, symbol: str, moment: Moment) -> View:
    before = market.calendar.session(moment.session.index - 1)
    view = {
        "latestTrade": trade_view(market, symbol, moment),
        "latestQuote": quote_view(market, symbol, moment),
        "dailyBar": daily_bar(market, symbol, moment.session, moment.minute),
        "prevDailyBar": daily_bar(market, symbol, before, before.minutes),
    }
    minute = last_minute_bar(market, symbol, moment)
    return view | {"minuteBar": minute} if minute else view


def last_minute_bar(market: Market, symbol: str, moment: Moment) -> View | None:
    """The bar of the last whole minute; None in a session's first."""
    if moment.minute == 0:
        return None
    bars = market.stock_bars(symbol, moment.session, moment.minute)
    return bar_rows(moment.session.open, bars.part(moment.minute - 1, moment.minute))[0]


def daily_bar(market: Market, symbol: str, session: Session, minute: int) -> View:
    """The session's bar up to `minute`; stamped at New York midnight as Alpaca does."""
    day = stacked([market.day_bar(symbol, session, minute)], np.array([0]))
    return bar_rows(midnight_of(session.date), day)[0]


def bar_rows(origin: dt.datetime, bars: Bars) -> list[View]:
    """Each bar at `origin` + its minute."""
    return [
        {"t": t, "o": o, "h": h, "l": low, "c": c, "v": v, "n": n, "vw": vw}
        for t, o, h, low, c, v, n, vw in zip(*bar_columns(origin, bars), strict=True)
    ]


def bar_columns(origin: dt.datetime, bars: Bars) -> list[list[Any]]:
    """The fields of the rows, in Alpaca's order: t, o, h, l, c, v, n, vw."""
    prices = (bars.open, bars.high, bars.low, bars.close)
    return [
        stamps_of(origin, bars.minute, "s"),
        *(np.round(price, 4).tolist() for price in prices),
        bars.volume.astype(np.int64).tolist(),
        bars.trades.tolist(),
        np.round(bars.vwap, 4).tolist(),
    ]


def stamps_of(origin: dt.datetime, minutes: Ints, unit: Literal["s", "us"]) -> list[str]:
    """RFC 3339 times of `origin` + each minute, with whole seconds or microseconds."""
    start = np.datetime64(origin.astimezone(dt.UTC).replace(tzinfo=None), unit)
    if len(minutes) > 1 and minutes.min() == minutes.max():  # a day's bars of a whole chain
        return stamps_of(origin, minutes[:1], unit) * len(minutes)
    times = start + minutes * np.timedelta64(60, "s")
    return list(np.datetime_as_string(times, unit=unit, timezone="UTC").tolist())


def trade_rows(market: Market, symbol: str, session: Session, minutes: Ints) -> list[View]:
    """One trade a minute: what `trade_view` shows at that minute."""
    numbers = session.index * 1000 + minutes
    rows = zip(
        stamps_of(session.open, minutes, "us"),
        market.path(symbol, session)[minutes].tolist(),
        _sizes(market, symbol, numbers, "trade"),
        numbers.tolist(),
        strict=True,
    )
    return [
        {"t": t, "x": "V", "p": round(price, 4), "s": size, "c": ["@"], "i": number, "z": "C"}
        for t, price, size, number in rows
    ]


def quote_rows(market: Market, symbol: str, session: Session, minutes: Ints) -> list[View]:
    """One quote a minute: what `quote_view` shows at that minute."""
    quotes = market.session_quotes(symbol, session)
    numbers = session.index * 1000 + minutes
    rows = zip(
        stamps_of(session.open, minutes, "us"),
        quotes.ask[minutes].tolist(),
        _sizes(market, symbol, numbers, "ask"),
        quotes.bid[minutes].tolist(),
        _sizes(market, symbol, numbers, "bid"),
        strict=True,
    )
    return [
        {
            "t": t, "ax": "V", "ap": ask, "as": ask_size, "bx": "V", "bp": bid, "bs": bid_size,
            "c": ["R"], "z": "C",
        }
        for t, ask, ask_size, bid, bid_size in rows
    ]  # fmt: skip


def _sizes(market: Market, symbol: str, numbers: Ints, what: str) -> list[int]:
    drawn = uniform(key_of(market.seed, what, symbol), numbers)
    return list((1 + (drawn * 20).astype(np.int64)).tolist())
