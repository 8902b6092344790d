"""Market data of stocks: /v2/stocks. Unknown symbols are left out of maps; alone they are 404."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from libs.common.symbols import is_stock_symbol
from services.exchange.engine.refusals import malformed, not_found
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.history_pages import (
    Chunk,
    Chunks,
    Window,
    history_request,
    page,
    played,
    sessions_by,
)
from services.exchange.http.market_views import (
    MINUTE,
    bar_rows,
    last_minute_bar,
    midnight_of,
    quote_rows,
    quote_view,
    snapshot_view,
    trade_rows,
    trade_view,
)
from services.exchange.http.timeframes import DAYS, date_of, timeframe
from services.exchange.http.views import View
from services.exchange.prices.bars import Bars, Ints, merged, scaled, stacked
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market, Moment

HISTORY_FEEDS = ("sip", "iex", "otc", "boats")
LATEST_FEEDS = (*HISTORY_FEEDS, "delayed_sip", "overnight")
CURRENCIES = ("USD",)
ADJUSTMENTS = frozenset({"raw", "split", "dividend", "spin-off", "all"})

# --- the latest --------------------------------------------------------------------------------

Look = Callable[[Market, str, Moment], View | None]


def _latest(name: str, look: Look) -> Callable[[Call], Any]:
    def endpoint(call: Call) -> Any:
        return {name: _found(call, _stocks(call), look), **_currency(call)}

    return endpoint


def _latest_alone(name: str, look: Look) -> Callable[[Call], Any]:
    def endpoint(call: Call) -> Any:
        symbol, currency = _stock(call), _currency(call)
        found = _found(call, [symbol], look)
        if not found:
            raise not_found(f"no {name} found for {symbol}")
        return {"symbol": symbol, name: found[symbol], **currency}

    return endpoint


def snapshots(call: Call) -> Any:
    _currency(call)  # checked only: the answer is a map of symbols and has no place for it
    return _found(call, _stocks(call), snapshot_view)


def snapshot(call: Call) -> Any:
    symbol, currency = _stock(call), _currency(call)
    found = _found(call, [symbol], snapshot_view)
    if not found:
        raise not_found(f"no snapshot found for {symbol}")
    return {"symbol": symbol, **found[symbol], **currency}


def _found(call: Call, symbols: list[str], look: Look) -> dict[str, View]:
    """By symbol; without those that there is nothing of."""
    _check_feed(call, LATEST_FEEDS)
    market, moment = call.market, call.moment
    views = {s: look(market, s, moment) for s in symbols if s in market.history}
    return {symbol: view for symbol, view in views.items() if view is not None}


# --- history -----------------------------------------------------------------------------------

Maker = Callable[[Call, bool], Chunks]


def _history(name: str, maker: Maker) -> Callable[[Call], Any]:
    def endpoint(call: Call) -> Any:
        rows, token = _page(call, _stocks(call), maker)
        return {name: rows, "next_page_token": token, **_currency(call)}

    return endpoint


def _history_alone(name: str, maker: Maker) -> Callable[[Call], Any]:
    def endpoint(call: Call) -> Any:
        symbol = _stock(call)
        rows, token = _page(call, [symbol], maker)
        found = rows.get(symbol, [])
        return {"symbol": symbol, name: found, "next_page_token": token, **_currency(call)}

    return endpoint


def _page(call: Call, symbols: list[str], maker: Maker) -> tuple[dict[str, list[View]], str | None]:
    request = history_request(call)
    chunks = maker(call, request.descending)
    _check_asof(call)
    _check_feed(call, HISTORY_FEEDS)
    return page(request, [s for s in symbols if s in call.market.history], chunks)


def _bars(call: Call, descending: bool) -> Chunks:
    frame, adjust = timeframe(call.query), _adjustment(call)
    market, moment = call.market, call.moment

    def within_days(symbol: str, window: Window) -> Iterator[Chunk]:
        for (session,) in sessions_by(date_of, market, moment, frame, window, descending):
            bars = market.stock_bars(symbol, session, played(moment, session))
            bars = frame.cut(adjust(symbol, [session], bars), session)
            yield _chunk(session.open, bars, 1)

    def of_days(symbol: str, window: Window) -> Iterator[Chunk]:
        for sessions in sessions_by(frame.batch, market, moment, frame, window, descending):
            days = [market.day_bar(symbol, s, played(moment, s)) for s in sessions]
            periods = [frame.period(session.date) for session in sessions]
            origin = midnight_of(periods[0])
            minute = [(midnight_of(period) - origin) // MINUTE for period in periods]
            bars = adjust(symbol, sessions, stacked(days, np.array(minute)))
            if frame.unit != "D":
                bars = merged(bars, bars.minute)
            yield _chunk(origin, bars, len(sessions))

    return within_days if frame.intraday else of_days


def _chunk(origin: dt.datetime, bars: Bars, sessions: int) -> Chunk:
    def rows(first: int, end: int) -> list[View]:
        return bar_rows(origin, bars.part(first, end))

    return Chunk(origin, bars.minute, rows, sessions)


def _by_the_minute(
    rows_of: Callable[[Market, str, Session, Ints], list[View]],
) -> Maker:
    """Quotes or trades: one at each minute of a session, its open and its close included."""

    def maker(call: Call, descending: bool) -> Chunks:
        market, moment = call.market, call.moment

        def chunks(symbol: str, window: Window) -> Iterator[Chunk]:
            for (session,) in sessions_by(date_of, market, moment, DAYS, window, descending):
                minutes = np.arange(played(moment, session) + 1)

                def rows(first: int, end: int, session: Session = session) -> list[View]:
                    return rows_of(market, symbol, session, np.arange(first, end))

                yield Chunk(session.open, minutes, rows)

        return chunks

    return maker


def _adjustment(call: Call) -> Callable[[str, list[Session], Bars], Bars]:
    """Prices of before a split or a dividend as if it had been then; in today's shares."""
    asked = {word.strip() for word in (call.query.get("adjustment") or "raw").split(",")}
    if not asked <= ADJUSTMENTS:
        wrong = sorted(asked - ADJUSTMENTS)[0]
        raise malformed(
            f"invalid adjustment {wrong[:40]!r}: of raw, split, dividend, spin-off, all"
        )
    splits, dividends = bool(asked & {"split", "all"}), bool(asked & {"dividend", "all"})
    actions, today = call.market.actions, call.moment.session.index

    def adjust(symbol: str, sessions: list[Session], bars: Bars) -> Bars:
        """Rows are the sessions' in turn, or all of one session."""
        if not actions.all or not (splits or dividends):
            return bars
        price = volume = np.ones(len(sessions))
        days = [session.index for session in sessions]
        if splits:
            then = np.array([actions.split_factor(symbol, day) for day in days])
            price = actions.split_factor(symbol, today) / then
            volume = 1 / price
        if dividends:
            then = np.array([actions.dividend_factor(symbol, day) for day in days])
            price = price * actions.dividend_factor(symbol, today) / then
        return scaled(bars, price, volume)

    return adjust


# --- what is asked -----------------------------------------------------------------------------


def _stocks(call: Call) -> list[str]:
    asked = q.symbols(call.query)
    if not asked:
        raise malformed("symbols is required")
    for symbol in asked:
        _check(symbol)
    return asked


def _stock(call: Call) -> str:
    symbol: str = call.path["symbol"]
    _check(symbol)
    return symbol


def _check(symbol: str) -> None:
    if not is_stock_symbol(symbol):
        raise malformed(f"invalid symbol: {symbol[:40]}")


def _check_feed(call: Call, feeds: tuple[str, ...]) -> None:
    """Each of them shows the same prices."""
    q.choice(call.query, "feed", feeds, "sip")


def _currency(call: Call) -> View:
    """Named in the answer when it was asked for."""
    asked = q.choice(call.query, "currency", CURRENCIES, "USD")
    return {"currency": asked} if call.query.get("currency") else {}


def _check_asof(call: Call) -> None:
    """Of symbols that changed; here none does, so that only its form matters."""
    if call.query.get("asof") != "-":
        q.date(call.query, "asof")


ENDPOINTS: Endpoints = {
    ("GET", "/v2/stocks/snapshots"): snapshots,
    ("GET", "/v2/stocks/quotes/latest"): _latest("quotes", quote_view),
    ("GET", "/v2/stocks/trades/latest"): _latest("trades", trade_view),
    ("GET", "/v2/stocks/bars/latest"): _latest("bars", last_minute_bar),
    ("GET", "/v2/stocks/quotes"): _history("quotes", _by_the_minute(quote_rows)),
    ("GET", "/v2/stocks/trades"): _history("trades", _by_the_minute(trade_rows)),
    ("GET", "/v2/stocks/bars"): _history("bars", _bars),
    ("GET", "/v2/stocks/{symbol}/snapshot"): snapshot,
    ("GET", "/v2/stocks/{symbol}/quotes/latest"): _latest_alone("quote", quote_view),
    ("GET", "/v2/stocks/{symbol}/trades/latest"): _latest_alone("trade", trade_view),
    ("GET", "/v2/stocks/{symbol}/bars/latest"): _latest_alone("bar", last_minute_bar),
    ("GET", "/v2/stocks/{symbol}/quotes"): _history_alone("quotes", _by_the_minute(quote_rows)),
    ("GET", "/v2/stocks/{symbol}/trades"): _history_alone("trades", _by_the_minute(trade_rows)),
    ("GET", "/v2/stocks/{symbol}/bars"): _history_alone("bars", _bars),
}
