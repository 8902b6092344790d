"""The market's events of one minute, made once for all who want them.

The numbers are those the REST endpoints show at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.symbols import underlying_of
from services.exchange.http.market_views import (
    MINUTE,
    View,
    daily_bar,
    last_minute_bar,
    quote_view,
    trade_view,
)
from services.exchange.http.option_views import of_the_minute
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.market import Market, Moment
from services.exchange.streams.endpoints import STAR, Endpoint
from services.exchange.streams.session import Event

CHAINS_MAX = 20  # per step: pricing holds up whatever else there is to do
Subscriptions = dict[str, list[str]]
_OPTION_PARTS = {"trades": "latestTrade", "quotes": "latestQuote"}


def latest_minutes(calendar: Calendar, before: Moment, after: Moment, most: int) -> list[Moment]:
    """The minutes played since `before`, oldest first; of more than `most`, the latest.

    A session has its opening price (minute 0) and one after each of its minutes.
    """
    found: list[Moment] = []
    session, minute = after.session, after.minute
    start = (before.session.index, before.minute)
    while len(found) < most and (session.index, minute) > start:
        found.append(Moment(now=session.open + minute * MINUTE, session=session, minute=minute))
        if minute > 0:
            minute -= 1
        else:
            session = calendar.session(session.index - 1)
            minute = session.minutes
    return found[::-1]


def underlyings_of(market: Market, subscriptions: Subscriptions) -> set[str]:
    """Whose chains must be priced for those option subscriptions."""
    asked = {symbol for symbols in subscriptions.values() for symbol in symbols}
    if STAR in asked:
        return set(market.history.symbols)
    return {underlying_of(symbol) for symbol in asked} & set(market.history.symbols)


def option_minutes_max(underlyings: int, most: int) -> int:
    """How many minutes of options one step sends, so that it prices few enough chains."""
    return max(1, min(most, CHAINS_MAX // max(underlyings, 1)))


class Tape:
    def __init__(self, market: Market, moment: Moment) -> None:
        self._market = market
        self._moment = moment
        self._stocks: dict[tuple[str, str], Event | None] = {}
        self._options: dict[str, View] = {}
        self._whole: set[str] = set()  # underlyings whose every contract is in `_options`

    def events(self, endpoint: Endpoint, subscriptions: Subscriptions) -> list[Event]:
        """What is due to one who has those subscriptions: channel by channel."""
        if endpoint.options:
            return self._option_events(endpoint, subscriptions)
        known = self._market.history.symbols
        return [
            event
            for name, symbols in subscriptions.items()
            for symbol in (known if STAR in symbols else symbols)
            if (event := self._stock_event(endpoint, name, symbol)) is not None
        ]

    def _stock_event(self, endpoint: Endpoint, channel: str, symbol: str) -> Event | None:
        which = (channel, symbol)
        if which not in self._stocks:
            view = self._stock_view(channel, symbol)
            kind = endpoint.channels[channel].type
            self._stocks[which] = None if view is None else {"T": kind, "S": symbol, **view}
        return self._stocks[which]

    def _stock_view(self, channel: str, symbol: str) -> View | None:
        market, moment = self._market, self._moment
        if symbol not in market.history:
            return None
        match channel:
            case "trades":
                return trade_view(market, symbol, moment)
            case "quotes":
                return quote_view(market, symbol, moment)
            case "bars":
                return last_minute_bar(market, symbol, moment)
            case "dailyBars":
                return daily_bar(market, symbol, moment.session, moment.minute)
        return None

    def _option_events(self, endpoint: Endpoint, subscriptions: Subscriptions) -> list[Event]:
        found: list[Event] = []
        for name, part in _OPTION_PARTS.items():
            symbols: Iterable[str] = subscriptions[name]
            kind = endpoint.channels[name].type
            if STAR in symbols:
                self._price_all()
                symbols = list(self._options)
            else:
                self._price(symbols)
            for symbol in symbols:
                view = self._options.get(symbol, {}).get(part)
                if view is not None:
                    found.append({"T": kind, "S": symbol, **view})
        return found

    def _price(self, symbols: Iterable[str]) -> None:
        missing: dict[str, list[str]] = {}
        for symbol in symbols:
            underlying = underlying_of(symbol)
            if underlying in self._whole or symbol in self._options:
                continue
            if underlying in self._market.history:
                missing.setdefault(underlying, []).append(symbol)
        for underlying, wanted in missing.items():
            chain = self._market.chain(underlying, self._moment)
            rows = [chain.listing.row_of[s] for s in wanted if s in chain.listing.row_of]
            self._options |= of_the_minute(self._market, chain, rows, self._moment)

    def _price_all(self) -> None:
        for underlying in self._market.history.symbols:
            if underlying not in self._whole:
                self._whole.add(underlying)
                chain = self._market.chain(underlying, self._moment)
                rows = list(range(len(chain.listing.contracts)))
                self._options |= of_the_minute(self._market, chain, rows, self._moment)
