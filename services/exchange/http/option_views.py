"""Option contracts as Alpaca's market-data API shows them; what a contract lacks is absent."""

from __future__ import annotations

import datetime as dt

import numpy as np

from services.exchange.http.market_views import (
    View,
    bar_rows,
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


def option_snapshots(
    market: Market, chain: Chain, rows: list[int], moment: Moment
) -> dict[str, View]:
    """Snapshots of those rows by symbol."""
    stamp = moment_stamp(moment)
    columns = _Columns(chain, rows)
    views = traded(market, chain.listing, rows, moment)
    for place, view in enumerate(views):
        if columns.has_greeks[place]:
            view["greeks"] = columns.greeks(place)
            view["impliedVolatility"] = columns.volatility[place]
        if columns.has_quote[place]:
            view["latestQuote"] = columns.quote(place, stamp)
    contracts = chain.listing.contracts
    return {contracts[row].symbol: view for row, view in zip(rows, views, strict=True)}


def traded(market: Market, listing: Listing, rows: list[int], moment: Moment) -> list[View]:
    """Of each row what there is of latestTrade, minuteBar, dailyBar and prevDailyBar.

    Trades are those of the moment's session and the one before; older ones are not looked for.
    """
    views: list[View] = [{} for _ in rows]
    session, underlying = moment.session, listing.underlying
    before = market.calendar.session(session.index - 1)
    # After a split a symbol may name another contract than on the day before.
    if not market.actions.splits(underlying, before.index, session.index):
        row_of = market.listings.listing(underlying, before).row_of
        symbols = [listing.contracts[row].symbol for row in rows]
        known = [place for place, symbol in enumerate(symbols) if symbol in row_of]
        yesterday = market.option_trades(underlying, before).columns(
            [row_of[symbols[place]] for place in known]
        )
        _fill([views[place] for place in known], yesterday, before, before.minutes, "prevDailyBar")
    today = market.option_trades(underlying, session).columns(rows)
    _fill(views, today, session, moment.minute, "dailyBar")
    return views


def _fill(
    views: list[View], trades: OptionTrades, session: Session, minute: int, day_bar: str
) -> None:
    """The trades up to that minute of the session into the views, which they are columns for."""
    days, latest, whole = trades.day_bars(minute), trades.latest(minute), trades.latest(minute - 1)
    rows = zip(
        views,
        days.trades.tolist(),
        bar_rows(midnight_of(session.date), days),
        option_trade_rows(session.open, latest),
        whole.trades.tolist(),
        bar_rows(session.open, whole),
        strict=True,
    )
    for view, count, day, trade, count_of_whole, bar in rows:
        if count:
            view["latestTrade"], view[day_bar] = trade, day
        if count_of_whole:
            view["minuteBar"] = bar


def option_trade_rows(origin: dt.datetime, trades: Bars) -> list[View]:
    """Trades, each a bar of its minute after `origin`."""
    rows = zip(
        stamps_of(origin, trades.minute, "us"),
        np.round(trades.close, 2).tolist(),
        trades.volume.astype(np.int64).tolist(),
        strict=True,
    )
    return [{"t": t, "x": "C", "p": price, "s": size, "c": "I"} for t, price, size in rows]


class _Columns:
    """The rows' numbers as Python lists: one conversion per column, not one per cell."""

    def __init__(self, chain: Chain, rows: list[int]) -> None:
        self.has_greeks = chain.has_greeks[rows].tolist()
        self.has_quote = chain.has_quote[rows].tolist()
        self.volatility = np.round(chain.volatility[rows], 6).tolist()
        g = chain.greeks
        self._delta = np.round(g.delta[rows], 8).tolist()
        self._gamma = np.round(g.gamma[rows], 8).tolist()
        self._theta = np.round(g.theta[rows], 8).tolist()
        self._vega = np.round(g.vega[rows], 8).tolist()
        self._rho = np.round(g.rho[rows], 8).tolist()
        self._bid = chain.quotes.bid[rows].tolist()
        self._ask = chain.quotes.ask[rows].tolist()
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
