"""The market as the exchange sees it at one moment: prices, quotes, listings, chains.

Pure but for its caches: the same (seed, symbol, moment) gives the same numbers. A moment is a
session and a whole minute of it; prices hold from minute to minute.
"""

from __future__ import annotations

import datetime as dt
from functools import cached_property, lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from libs.common.symbols import parse_option_symbol, underlying_of
from services.exchange.prices import bars, chains, trades, volatility
from services.exchange.prices.actions import Action, Actions
from services.exchange.prices.bars import Bars, DayBar
from services.exchange.prices.calendar import Calendar, Session
from services.exchange.prices.chains import Chain, Levels, Quotes
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.history import SHORT_WINDOW, Floats, History
from services.exchange.prices.listing import Contract, Listing, Listings
from services.exchange.prices.paths import Paths
from services.exchange.prices.trades import OptionTrades

STOCK_SPREAD_SHARE = 0.00005  # half a basis point on each side
CHAINS_KEPT = 64
SESSION_QUOTES_KEPT = 4096
DAY_BARS_KEPT = 32_768
DAYS_BEFORE = SHORT_WINDOW + 1  # sessions of returns that the first one needs before it


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """`now`, the session it belongs to (or that closed last before it) and its whole minute."""

    now: dt.datetime
    session: Session
    minute: int

    @property
    def is_open(self) -> bool:
        return self.session.open <= self.now < self.session.close


class StockQuote(NamedTuple):
    bid: float
    ask: float
    last: float


class SessionQuotes:
    """One symbol's quotes at each minute of a session, 0 (the open) to `minutes`.

    An absent side is quoted as zero. What is still to come (`lowest_ask`, `highest_bid`: the best
    from each minute to the close) tells of most orders at a glance that nothing happens to them.
    """

    def __init__(self, quotes: Quotes) -> None:
        self.bid, self.ask, self.value = quotes

    @cached_property
    def lowest_ask(self) -> list[float]:
        """Infinite where nothing is offered any more."""
        asks = np.where(self.ask > 0, self.ask, np.inf)
        lowest: list[float] = np.minimum.accumulate(asks[::-1])[::-1].tolist()
        return lowest

    @cached_property
    def highest_bid(self) -> list[float]:
        highest: list[float] = np.maximum.accumulate(self.bid[::-1])[::-1].tolist()
        return highest


class Market:
    def __init__(self, calendar: Calendar, history: History, seed: int) -> None:
        self.calendar = calendar
        self.history = history
        self.seed = seed
        self.actions = Actions(calendar, history.close)
        self.listings = Listings(calendar, history, seed, self.actions)
        self._session = calendar.session(history.first_day)  # the one asked for last
        self._paths = Paths(history, seed, self.actions)
        self._levels = lru_cache(maxsize=1024)(self._levels_of)
        self._closing = lru_cache(maxsize=CHAINS_KEPT)(self._closing_of)
        self._session_quotes = lru_cache(maxsize=SESSION_QUOTES_KEPT)(self._session_quotes_of)
        self._chain = lru_cache(maxsize=CHAINS_KEPT)(self._chain_of)
        self._day_bar = lru_cache(maxsize=DAY_BARS_KEPT)(self._day_bar_of)
        self.option_trades = lru_cache(maxsize=CHAINS_KEPT)(self._option_trades_of)

    @property
    def last_day(self) -> int:
        """Index of the last session with prices."""
        return len(self.history) - 1

    @property
    def first_day(self) -> int:
        """Index of the first session that can be played."""
        return self.history.first_day + DAYS_BEFORE

    def inject(self, action: Action, now: dt.datetime) -> None:
        """Let a dividend or split happen on a later session; raises ValueError."""
        if action.symbol not in self.history:
            raise ValueError(f"{action.symbol[:20]} is not a stock of this exchange")
        session = self.calendar.on(action.ex_date)
        if session is not None and (session.open <= now or session.index > self.last_day):
            raise ValueError(f"ex_date {action.ex_date} must be a session still to come")
        self.actions.add(action)
        self.forget()

    def forget(self) -> None:
        """Prices of days to come changed: what was worked out is worked out anew."""
        for symbol in self.history.symbols:
            self._paths.forget(symbol)
        self.listings.forget()
        for cache in (self._session_quotes, self._closing, self._chain, self._day_bar):
            cache.cache_clear()
        self.option_trades.cache_clear()

    def moment(self, now: dt.datetime) -> Moment:
        """Before an open: the close of the session before. After the data's end: its close."""
        session = self._session
        if not session.open <= now < session.close:
            found = self.calendar.current_or_next(now)
            index = self.last_day + 1 if found is None else found.index
            if found is None or index > self.last_day or now < found.open:
                session = self.calendar.session(min(index, self.last_day + 1) - 1)
                return Moment(now=now, session=session, minute=session.minutes)
            self._session = session = found
        minute = int((now - session.open).total_seconds()) // 60
        return Moment(now=now, session=session, minute=minute)

    def path(self, symbol: str, session: Session) -> Floats:
        return self._paths.path(symbol, session.index, session.minutes)

    def last(self, symbol: str, moment: Moment) -> float:
        return float(self.path(symbol, moment.session)[moment.minute])

    def previous_close(self, symbol: str, moment: Moment) -> float:
        return self.actions.price(symbol, moment.session.index - 1)

    def stock_quote(self, symbol: str, moment: Moment) -> StockQuote:
        quotes, minute = self.session_quotes(symbol, moment.session), moment.minute
        return StockQuote(
            float(quotes.bid[minute]), float(quotes.ask[minute]), float(quotes.value[minute])
        )

    def listing(self, underlying: str, moment: Moment) -> Listing:
        return self.listings.listing(underlying, moment.session)

    def contract(self, symbol: str, moment: Moment) -> Contract | None:
        """A contract listed in the moment's session, or None."""
        parts = parse_option_symbol(symbol)
        if parts is None or parts.underlying not in self.history:
            return None
        return self.listing(parts.underlying, moment).find(symbol)

    def listed(self, symbol: str, session: Session) -> Contract:
        """A contract that is known to be listed; KeyError when it is not."""
        listing = self.listings.listing(underlying_of(symbol), session)
        return listing.contracts[listing.row_of[symbol]]

    def chain(self, underlying: str, moment: Moment) -> Chain:
        return self._chain(underlying, moment.session, moment.minute)

    def option_quote(self, symbol: str, moment: Moment) -> Quotes | None:
        """The quote of one contract as arrays of length one; None when it is not listed."""
        contract = self.contract(symbol, moment)
        if contract is None:
            return None
        return self.option_quotes(contract, moment.session, moment.minute, moment.minute)

    def option_quotes(
        self, contract: Contract, session: Session, first_minute: int, last_minute: int
    ) -> Quotes:
        """Quotes of one contract at each minute of the interval, both ends included."""
        spots = self.path(contract.underlying, session)[first_minute : last_minute + 1]
        expiration = contract.parts.expiration.toordinal()
        minutes = np.arange(first_minute, first_minute + len(spots))
        return chains.contract_along(
            contract,
            spots=spots,
            years=self._years(np.array([expiration]), session, minutes),
            levels=self._levels(contract.underlying, session.index),
            seed=self.seed,
        )

    def session_quotes(self, symbol: str, session: Session) -> SessionQuotes:
        """Bid, ask and value at each minute of the session, 0 (the open) to `minutes`.

        Raises KeyError for an option that is not listed then.
        """
        return self._session_quotes(symbol, session.index)

    def _session_quotes_of(self, symbol: str, day: int) -> SessionQuotes:
        session = self.calendar.session(day)
        if symbol in self.history:
            return SessionQuotes(stock_quotes(self.path(symbol, session)))
        contract = self.listed(symbol, session)
        return SessionQuotes(self.option_quotes(contract, session, 0, session.minutes))

    def closing_values(self, listing: Listing, moment: Moment) -> Floats:
        """What today's contracts were worth at the close before, in whole cents."""
        return self._closing(listing.underlying, moment.session)

    def open_interest(self, listing: Listing, moment: Moment) -> chains.Ints:
        return chains.open_interest(listing, self.seed, moment.session.index)

    def volume(self, symbol: str, session: Session) -> Floats:
        """Shares traded per minute, seeded, heavier at the open and the close."""
        minutes = np.arange(session.minutes)
        draw = uniform(key_of(self.seed, "volume", symbol, session.index), minutes)
        shape = 0.6 + 1.6 * (2 * minutes / session.minutes - 1) ** 2
        return np.floor(20_000 * shape * (0.5 + draw))

    def stock_bars(self, symbol: str, session: Session, minutes: int) -> Bars:
        """The session's first `minutes` whole minutes."""
        return bars.minute_bars(self.path(symbol, session), self.volume(symbol, session), minutes)

    def day_bar(self, symbol: str, session: Session, minute: int) -> DayBar:
        """The session up to that minute; at its first price a bar of that alone."""
        if minute >= session.minutes:
            return self._day_bar(symbol, session.index)
        path, volume = self.path(symbol, session), self.volume(symbol, session)
        if minute == 0:
            return bars.day_bar(path[[0, 0]], volume[:1])
        return bars.day_bar(path[: minute + 1], volume[:minute])

    def _day_bar_of(self, symbol: str, day: int) -> DayBar:
        session = self.calendar.session(day)
        return bars.day_bar(self.path(symbol, session), self.volume(symbol, session))

    def contract_trades(self, symbol: str, session: Session) -> OptionTrades | None:
        """One contract's, as a single column; None when it was not listed then."""
        row = self.listings.listing(underlying_of(symbol), session).row_of.get(symbol)
        if row is None:
            return None
        return self._trades(underlying_of(symbol), session, slice(row, row + 1))

    def _option_trades_of(self, underlying: str, session: Session) -> OptionTrades:
        """Every contract's, columns as the listing's rows."""
        return self._trades(underlying, session, slice(None))

    def _trades(self, underlying: str, session: Session, rows: slice) -> OptionTrades:
        listing = self.listings.listing(underlying, session)
        drawn = trades.draw(listing.keys[rows], self.seed, session.index, session.minutes)
        value = chains.values(
            listing,
            rows,
            spots=self.path(underlying, session)[drawn.minute],
            years=self._years(listing.expiration[rows], session, drawn.minute),
            levels=self._levels(underlying, session.index),
        )
        return trades.priced(drawn, value)

    def _levels_of(self, underlying: str, day: int) -> Levels:
        return Levels(
            near=volatility.level(self.history, underlying, day),
            far=volatility.long_run(self.history, underlying, day),
        )

    def _closing_of(self, underlying: str, session: Session) -> Floats:
        before = self.calendar.session(session.index - 1)
        listing = self.listings.listing(underlying, session)
        chain = chains.chain_at(
            listing,
            spot=self._yesterday_in_todays_shares(underlying, session),
            years=self._years(listing.expiration, before, np.array([before.minutes])),
            levels=self._levels(underlying, before.index),
            seed=self.seed,
            minute_key=0,
        )
        return np.maximum(np.round(chain.quotes.value, 2), 0.01)

    def _yesterday_in_todays_shares(self, underlying: str, session: Session) -> float:
        actions, day = self.actions, session.index
        split = actions.split_factor(underlying, day) / actions.split_factor(underlying, day - 1)
        return actions.price(underlying, day - 1) * split

    def _chain_of(self, underlying: str, session: Session, minute: int) -> Chain:
        listing = self.listings.listing(underlying, session)
        return chains.chain_at(
            listing,
            spot=float(self.path(underlying, session)[minute]),
            years=self._years(listing.expiration, session, np.array([minute])),
            levels=self._levels(underlying, session.index),
            seed=self.seed,
            minute_key=session.index * 1000 + minute,
        )

    def _years(self, expirations: chains.Ints, session: Session, minutes: chains.Ints) -> Floats:
        """Years to the expiration's close: calendar time, at least one minute.

        Every close is taken at the session's own time of day; half days differ by three hours.
        """
        days = expirations - session.date.toordinal()
        seconds = days * 86_400.0 + (session.minutes - minutes) * 60.0
        return np.asarray(np.maximum(seconds / chains.SECONDS_PER_YEAR, chains.YEARS_MIN))


def stock_quotes(last: Floats) -> Quotes:
    """Bid and ask around each price, at least a tick apart, on the stock grid."""
    ticks_per_dollar = np.where(last >= 1.0, 100.0, 10_000.0)
    half = np.maximum(0.5 / ticks_per_dollar, STOCK_SPREAD_SHARE * last)
    bid = np.floor((last - half) * ticks_per_dollar + 1e-7) / ticks_per_dollar
    ask = np.ceil((last + half) * ticks_per_dollar - 1e-7) / ticks_per_dollar
    return Quotes(bid=np.maximum(bid, 1e-4), ask=ask, value=last)
