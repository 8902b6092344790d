"""One tick: read the account once, then each symbol, and publish as it goes.

Orders are read before positions and positions before the account, so that an order that fills
meanwhile can be counted twice but never missed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import msgspec

from libs.common import wire
from libs.common.broker import BrokerError, BrokerRefusedError
from libs.common.bus import Bus, BusError
from libs.common.contracts import (
    AlpacaEnv,
    MarketTicked,
    PortfolioObserved,
    StockQuote,
)
from libs.common.runtime import utc_now
from libs.common.settings import Settings
from services.market import snapshot as make
from services.market.alpaca import SYMBOLS_PER_REQUEST, MarketReader, is_unknown_symbol
from services.market.coverage import chain_filters, expirations, symbols_to_read
from services.market.schedule import Cause, Session

READERS = 4
"""Threads that read chains at once; the request window bounds them all together."""

T = TypeVar("T")
Read = Callable[[], T]
Complain = Callable[[str, str, str | None], Awaitable[None]]
"""Raises an alert: kind, text, symbol."""


class _OpenInterest(msgspec.Struct):
    """Contract facts by underlying, good for one session."""

    session: dt.date | None = None
    facts: dict[str, dict[str, make.ContractFacts]] = {}


class Ticker:
    def __init__(
        self, settings: Settings, reader: MarketReader, bus: Bus, complain: Complain
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._bus = bus
        self._complain = complain
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._open_interest = _OpenInterest()
        self._told: tuple[dt.date | None, set[str]] = (None, set())

    async def read(self, read: Read[T]) -> T:
        """A blocking read on one of our threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    async def tick(
        self, session: Session, as_of: dt.datetime, at: dt.datetime, cause: Cause
    ) -> MarketTicked:
        """Publishes the portfolio, the snapshots and the tick itself, and returns the latter.

        A broken symbol is left out and said; a broker that does not answer for the account makes
        a tick with errors and no snapshots. Raises BusError when the tick cannot be published.
        """
        started = asyncio.get_running_loop().time()
        requests_before = self._reader.requests
        tick = make.Pass(
            tick_id=make.tick_id_of(as_of, at),
            at=at,
            as_of=as_of,
            session=session,
            synthetic=self._settings.alpaca.env is AlpacaEnv.SIM,
        )
        errors: list[str] = []
        book: PortfolioObserved | None = None
        counts = (0, 0, 0)
        try:
            book, problems = await self._portfolio(tick)
            errors += problems
            await self._bus.publish(book)
            counts = await self._snapshots(tick, book, errors)
        except (BrokerError, wire.WireError) as error:
            errors.append(f"the account could not be read: {error}")
        for error_text in self._news(errors, session.date):
            await self._complain("tick", error_text, None)
        ticked = MarketTicked(
            message_id=tick.tick_id,
            at=at,
            tick_id=tick.tick_id,
            as_of=as_of,
            session=session.date,
            cause=cause.value,
            duration_ms=round((asyncio.get_running_loop().time() - started) * 1000, 1),
            requests=self._reader.requests - requests_before,
            symbols=counts[0],
            snapshots=counts[1],
            contracts=counts[2],
            account=book.account if book else None,
            errors=errors,
            bot_mode=self._settings.bot.mode,
            alpaca_env=self._settings.alpaca.env,
        )
        await self._bus.publish(ticked)
        return ticked

    def _news(self, errors: list[str], session: dt.date) -> list[str]:
        """Those not yet said today: a symbol that does not exist is one alert a day, not one a
        tick. The tick itself carries them all.
        """
        if self._told[0] != session:
            self._told = (session, set())
        told = self._told[1]
        fresh = [error for error in errors if error not in told]
        told.update(fresh)
        return fresh

    async def _portfolio(self, tick: make.Pass) -> tuple[PortfolioObserved, list[str]]:
        orders = await self.read(self._reader.open_orders)
        positions = await self.read(self._reader.positions)
        account = await self.read(self._reader.account)
        return make.portfolio(tick, utc_now(), account, positions, orders)

    async def _snapshots(
        self, tick: make.Pass, book: PortfolioObserved, errors: list[str]
    ) -> tuple[int, int, int]:
        """How many symbols were asked for, snapshots published, contracts in them."""
        universe = self._settings.planner.universe
        symbols = symbols_to_read(universe, book.positions)
        quotes = await self._quotes(symbols, errors)
        await self._refresh_open_interest(tick, [s for s in universe if s in quotes], errors)
        errors += [
            f"{symbol}: the broker does not know it; it is skipped"
            for symbol in symbols
            if symbol not in quotes
        ]
        made = await asyncio.gather(*(self._one(tick, s, book, quotes[s]) for s in quotes))
        errors += [outcome for outcome in made if isinstance(outcome, str)]
        contracts = [outcome for outcome in made if isinstance(outcome, int)]
        return len(symbols), len(contracts), sum(contracts)

    async def _one(
        self, tick: make.Pass, symbol: str, book: PortfolioObserved, quote: StockQuote
    ) -> int | str:
        """The number of contracts published, or what went wrong."""
        problems: list[str] = []
        chain: dict[str, wire.WireOptionSnapshot] = {}
        spot = quote.spot
        if spot is not None:
            filters = chain_filters(
                symbol, spot, book.positions, tick.session.date, self._settings.planner
            )
            for part in filters:
                try:
                    found, broken = await self.read(partial(self._reader.chain, symbol, part))
                    chain |= found
                    if broken:
                        problems.append(
                            f"{len(broken)} of its contracts do not decode: {broken[0]} …"
                        )
                except (BrokerError, wire.WireError) as error:
                    problems.append(f"its chain of {part.right.value}s could not be read: {error}")
        facts = self._open_interest.facts.get(symbol, {})
        message = make.snapshot(
            tick,
            symbol,
            book,
            quote,
            make.contract_quotes(chain, facts),
            in_universe=symbol in self._settings.planner.universe,
            problems=problems,
        )
        try:
            await self._bus.publish(message)
        except BusError as error:
            return f"{symbol}: {error}"
        for problem in problems:
            await self._complain("snapshot", f"{symbol}: {problem}", symbol)
        return len(message.contracts)

    async def _quotes(self, symbols: Sequence[str], errors: list[str]) -> dict[str, StockQuote]:
        """By symbol, for those the broker knows; the rest are simply absent."""
        quotes: dict[str, StockQuote] = {}
        batches = [
            list(symbols[i : i + SYMBOLS_PER_REQUEST])
            for i in range(0, len(symbols), SYMBOLS_PER_REQUEST)
        ]
        while batches:
            batch = batches.pop(0)
            try:
                answer = await self.read(partial(self._reader.stock_snapshots, batch))
            except BrokerRefusedError as error:
                if is_unknown_symbol(error) and len(batch) > 1:
                    half = len(batch) // 2  # find the stranger by halves
                    batches += [batch[:half], batch[half:]]
                elif not is_unknown_symbol(error):
                    errors.append(f"no quotes for {', '.join(batch)}: {error}")
                continue
            except (BrokerError, wire.WireError) as error:
                errors.append(f"no quotes for {', '.join(batch)}: {error}")
                continue
            for symbol, found in answer.items():
                if found is not None and symbol in batch:
                    quotes[symbol] = wire.stock_quote(found)
        return {symbol: quotes[symbol] for symbol in symbols if symbol in quotes}

    async def _refresh_open_interest(
        self, tick: make.Pass, universe: Sequence[str], errors: list[str]
    ) -> None:
        """Once per session and underlying; open interest changes overnight."""
        cache = self._open_interest
        if cache.session != tick.session.date:
            cache.session, cache.facts = tick.session.date, {}
        missing = [symbol for symbol in universe if symbol not in cache.facts]
        if not missing:
            return
        windows = [
            expirations(tick.session.date, self._settings.planner.wheel_for(symbol))
            for symbol in missing
        ]
        first, last = min(w[0] for w in windows), max(w[1] for w in windows)
        for start in range(0, len(missing), SYMBOLS_PER_REQUEST):
            batch = missing[start : start + SYMBOLS_PER_REQUEST]
            try:
                contracts = await self.read(partial(self._reader.contracts, batch, first, last))
            except (BrokerError, wire.WireError) as error:
                errors.append(f"no open interest for {', '.join(batch)}: {error}")
                continue
            for symbol in batch:
                own = [c for c in contracts if c.underlying_symbol == symbol]
                cache.facts[symbol] = make.contract_facts(own)
