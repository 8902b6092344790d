"""Option contracts as Alpaca's market-data API shows them; what a contract lacks is absent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from services.exchange.http.market_views import (
    View,
    bar_columns,
    midnight_of,
    moment_stamp,
    stamps_of,
)
from services.exchange.prices.bars import Bars
from services.exchange.prices.calendar import Session
from services.exchange.prices.chains import Chain
from services.exchange.prices.listing import Listing
from services.exchange.prices.market import Market, Moment
from services.exchange.prices.trades import OptionTrades


class Bar(msgspec.Struct, gc=False):
    """A chain has thousands: without the garbage collector's care, and encoded by position."""

    t: str
    o: float
    h: float
    l: float  # noqa: E741  # its name in Alpaca's answer
    c: float
    v: int
    n: int
    vw: float


class Greeks(msgspec.Struct, gc=False):
    delta: float
    gamma: float
    rho: float
    theta: float
    vega: float


def option_snapshots(
    market: Market, chain: Chain, rows: list[int], moment: Moment
) -> dict[str, View]:
    """Snapshots of those rows by symbol."""
    stamp = moment_stamp(moment)
    quotes = _Quotes(chain, rows)
    views = traded(market, chain.listing, rows, moment)
    greeks = _greeks(chain, rows)
    volatility = np.round(chain.volatility[rows], 6).tolist()
    has_greeks = chain.has_greeks[rows].tolist()
    for place, view in enumerate(views):
        if has_greeks[place]:
            view["greeks"] = greeks[place]
            view["impliedVolatility"] = volatility[place]
        if quotes.has_quote[place]:
            view["latestQuote"] = quotes.quote(place, stamp)
    contracts = chain.listing.contracts
    return {contracts[row].symbol: view for row, view in zip(rows, views, strict=True)}


def of_the_minute(market: Market, chain: Chain, rows: list[int], moment: Moment) -> dict[str, View]:
    """The rows' quotes, and the trades of this very minute, by symbol: what a stream sends."""
    stamp = moment_stamp(moment)
    quotes = _Quotes(chain, rows)
    views: list[View] = [{} for _ in rows]
    trades = market.option_trades(chain.listing.underlying, moment.session).columns(rows)
    latest = trades.latest(moment.minute)
    now = latest._replace(trades=np.where(latest.minute == moment.minute, latest.trades, 0))
    _put(views, "latestTrade", option_trade_rows, moment.session.open, now)
    for place, view in enumerate(views):
        if quotes.has_quote[place]:
            view["latestQuote"] = quotes.quote(place, stamp)
    contracts = chain.listing.contracts
    return {contracts[row].symbol: view for row, view in zip(rows, views, strict=True)}


def traded(market: Market, listing: Listing, rows: list[int], moment: Moment) -> list[View]:
    """Of each row what there is of latestTrade, minuteBar, dailyBar and prevDailyBar.

    Trades are those of the moment's session and the one before; older ones are not looked for.
    """
    views: list[View] = [{} for _ in rows]
    session = moment.session
    today = market.option_trades(listing.underlying, session).columns(rows)
    _put(views, "dailyBar", _bars, midnight_of(session.date), today.day_bars(moment.minute))
    _put_latest(views, today, session, moment.minute)
    symbols = [listing.contracts[row].symbol for row in rows]
    views_by_symbol = dict(zip(symbols, views, strict=True))
    _put_the_day_before(views_by_symbol, market, listing.underlying, session)
    return views


def _put_the_day_before(
    views: dict[str, View], market: Market, underlying: str, session: Session
) -> None:
    """Its bar, and its latest where the session has none."""
    before = market.calendar.session(session.index - 1)
    # After a split a symbol may name another contract than on the day before.
    if market.actions.splits(underlying, before.index, session.index):
        return
    row_of = market.listings.listing(underlying, before).row_of
    trades = market.option_trades(underlying, before)
    known = [symbol for symbol in views if symbol in row_of]
    bars = trades.columns([row_of[symbol] for symbol in known]).day_bars(before.minutes)
    found = [views[symbol] for symbol in known]
    _put(found, "prevDailyBar", _bars, midnight_of(before.date), bars)
    idle = [symbol for symbol in known if "minuteBar" not in views[symbol]]
    latest = trades.columns([row_of[symbol] for symbol in idle])
    _put_latest([views[symbol] for symbol in idle], latest, before, before.minutes)


def _put_latest(views: list[View], trades: OptionTrades, session: Session, minute: int) -> None:
    """The last trade, and the bar of the last minute with one that has passed."""
    _put(views, "latestTrade", option_trade_rows, session.open, trades.latest(minute))
    _put(views, "minuteBar", _bars, session.open, trades.latest(minute - 1))


def _put(
    views: list[View],
    name: str,
    render: Callable[[dt.datetime, Bars], list[Any]],
    origin: dt.datetime,
    bars: Bars,
) -> None:
    """What was traded into the views that are there for it and do not have it yet."""
    there = np.flatnonzero(bars.trades)
    for place, row in zip(there.tolist(), render(origin, bars.at(there)), strict=True):
        views[place].setdefault(name, row)


def _bars(origin: dt.datetime, bars: Bars) -> list[Bar]:
    return list(map(Bar, *bar_columns(origin, bars)))


def _greeks(chain: Chain, rows: list[int]) -> list[Greeks]:
    g = chain.greeks
    columns = (g.delta, g.gamma, g.rho, g.theta, g.vega)
    return list(map(Greeks, *(np.round(column[rows], 8).tolist() for column in columns)))


def option_trade_rows(origin: dt.datetime, trades: Bars) -> list[View]:
    """Trades, each a bar of its minute after `origin`."""
    rows = zip(
        stamps_of(origin, trades.minute, "us"),
        np.round(trades.close, 2).tolist(),
        trades.volume.astype(np.int64).tolist(),
        strict=True,
    )
    return [{"t": t, "x": "C", "p": price, "s": size, "c": "I"} for t, price, size in rows]


class _Quotes:
    """The rows' quotes as Python lists: one conversion per column, not one per cell."""

    def __init__(self, chain: Chain, rows: list[int]) -> None:
        self.has_quote = chain.has_quote[rows].tolist()
        self._bid = chain.quotes.bid[rows].tolist()
        self._ask = chain.quotes.ask[rows].tolist()
        self._bid_size = chain.bid_size[rows].tolist()
        self._ask_size = chain.ask_size[rows].tolist()

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
