"""Prices as Alpaca's market-data API shows them: numbers are JSON numbers, keys are one letter."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from services.exchange.http.views import rfc3339
from services.exchange.prices.calendar import NEW_YORK, Session
from services.exchange.prices.chains import Chain
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.history import Floats
from services.exchange.prices.market import Market, Moment

View = dict[str, Any]
MINUTE = dt.timedelta(minutes=1)


def moment_stamp(moment: Moment) -> str:
    """When the moment's prices were made: the whole minute."""
    return rfc3339(moment.session.open + moment.minute * MINUTE)


# --- stocks ------------------------------------------------------------------------------------


def trade_view(market: Market, symbol: str, moment: Moment) -> View:
    number = moment.session.index * 1000 + moment.minute
    return {
        "t": moment_stamp(moment),
        "x": "V",
        "p": round(market.last(symbol, moment), 4),
        "s": _size(market, symbol, number, "trade"),
        "c": ["@"],
        "i": number,
        "z": "C",
    }


def quote_view(market: Market, symbol: str, moment: Moment) -> View:
    quote = market.stock_quote(symbol, moment)
    number = moment.session.index * 1000 + moment.minute
    return {
        "t": moment_stamp(moment),
        "ax": "V",
        "ap": quote.ask,
        "as": _size(market, symbol, number, "ask"),
        "bx": "V",
        "bp": quote.bid,
        "bs": _size(market, symbol, number, "bid"),
        "c": ["R"],
        "z": "C",
    }


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
    start, session = moment.minute - 1, moment.session
    prices = market.path(symbol, session)[start : start + 2]
    volume = market.volume(symbol, session)[start : start + 1]
    return _bar(session.open + start * MINUTE, prices, volume)


def daily_bar(market: Market, symbol: str, session: Session, minute: int) -> View:
    """The session's bar up to `minute`; stamped at New York midnight as Alpaca does."""
    prices = market.path(symbol, session)[: minute + 1]
    midnight = dt.datetime.combine(session.date, dt.time(), NEW_YORK)
    return _bar(midnight, prices, market.volume(symbol, session)[: max(minute, 1)])


def minute_bars(
    market: Market, symbol: str, session: Session, minute: int, length: int = 1
) -> list[View]:
    """Bars of `length` minutes whose every minute has passed by `minute`, oldest first."""
    prices, volume = market.path(symbol, session), market.volume(symbol, session)
    bars = []
    for start in range(0, session.minutes, length):
        end = min(start + length, session.minutes)
        if end > minute:
            break
        opened = session.open + start * MINUTE
        bars.append(_bar(opened, prices[start : end + 1], volume[start:end]))
    return bars


def _bar(opened: dt.datetime, prices: Floats, volume: Floats) -> View:
    total = int(volume.sum())
    return {
        "t": opened.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "o": round(float(prices[0]), 4),
        "h": round(float(prices.max()), 4),
        "l": round(float(prices.min()), 4),
        "c": round(float(prices[-1]), 4),
        "v": total,
        "n": max(1, total // 120),
        "vw": round(float(np.mean(prices)), 4),
    }


def _size(market: Market, symbol: str, number: int, what: str) -> int:
    return 1 + int(uniform(key_of(market.seed, what, symbol), [number])[0] * 20)


# --- options -----------------------------------------------------------------------------------


def option_snapshots(chain: Chain, rows: list[int], moment: Moment) -> dict[str, View]:
    """Snapshots of those rows by symbol; what a contract lacks is absent, as with Alpaca."""
    stamp = moment_stamp(moment)
    columns = _Columns(chain, rows)
    found: dict[str, View] = {}
    for place, row in enumerate(rows):
        view: View = {}
        if columns.has_greeks[place]:
            view["greeks"] = columns.greeks(place)
            view["impliedVolatility"] = columns.volatility[place]
        if columns.has_quote[place]:
            view["latestQuote"] = columns.quote(place, stamp)
        if columns.has_trade[place]:
            view["latestTrade"] = columns.trade(place, stamp)
        found[chain.listing.contracts[row].symbol] = view
    return found


class _Columns:
    """The rows' numbers as Python lists: one conversion per column, not one per cell."""

    def __init__(self, chain: Chain, rows: list[int]) -> None:
        self.has_greeks = chain.has_greeks[rows].tolist()
        self.has_quote = chain.has_quote[rows].tolist()
        self.has_trade = chain.has_trade[rows].tolist()
        self.volatility = np.round(chain.volatility[rows], 6).tolist()
        g = chain.greeks
        self._delta = np.round(g.delta[rows], 8).tolist()
        self._gamma = np.round(g.gamma[rows], 8).tolist()
        self._theta = np.round(g.theta[rows], 8).tolist()
        self._vega = np.round(g.vega[rows], 8).tolist()
        self._rho = np.round(g.rho[rows], 8).tolist()
        self._bid = chain.quotes.bid[rows].tolist()
        self._ask = chain.quotes.ask[rows].tolist()
        self._value = np.maximum(np.round(chain.quotes.value[rows], 2), 0.01).tolist()
        self._bid_size = chain.bid_size[rows].tolist()
        self._ask_size = chain.ask_size[rows].tolist()

    def greeks(self, place: int) -> View:
        return {
            "delta": self._delta[place],
            "gamma": self._gamma[place],
            "rho": self._rho[place],
            "theta": self._theta[place],
            "vega": self._vega[place],
        }

    def quote(self, place: int, stamp: str) -> View:
        bid = self._bid[place]
        return {
            "t": stamp,
            "ax": "C",
            "ap": self._ask[place],
            "as": self._ask_size[place],
            "bx": "C" if bid else "?",
            "bp": bid,
            "bs": self._bid_size[place] if bid else 0,
            "c": " ",
        }

    def trade(self, place: int, stamp: str) -> View:
        return {"t": stamp, "x": "C", "p": self._value[place], "s": 1, "c": "I"}
