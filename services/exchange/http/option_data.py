"""Market data of options: /v1beta1/options. Symbols that are not listed are left out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from libs.common.symbols import is_stock_symbol, parse_option_symbol, underlying_of
from services.exchange.engine.refusals import malformed
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.history_pages import (
    Chunk,
    Window,
    history_request,
    page,
    played,
    sessions_by,
)
from services.exchange.http.market_views import bar_rows, midnight_of
from services.exchange.http.option_contracts import contract_filter
from services.exchange.http.option_views import option_snapshots, option_trade_rows
from services.exchange.http.timeframes import DAYS, Timeframe, timeframe
from services.exchange.http.views import View
from services.exchange.prices.bars import NO_BARS, Bars, joined, one_bar
from services.exchange.prices.calendar import Session
from services.exchange.prices.listing import MONTHLY_DAYS
from services.exchange.prices.market import Market

SYMBOLS_MAX = 100
PAGE_DEFAULT, PAGE_MAX = 100, 1000
FEEDS = ("opra", "indicative")
_LISTED_AT_MOST = dt.timedelta(days=MONTHLY_DAYS + 7)

# --- snapshots ---------------------------------------------------------------------------------


def chain_snapshots(call: Call) -> Any:
    """A page of the underlying's chain, ordered by symbol; the token is the last symbol."""
    underlying = call.path["underlying"]
    wanted = contract_filter(call.query)
    limit, last, since = _paging(call)
    if not is_stock_symbol(underlying):
        raise malformed(f"invalid underlying symbol: {underlying[:40]}")
    if underlying not in call.market.history:
        return {"snapshots": {}, "next_page_token": None}
    chain = call.market.chain(underlying, call.moment)
    rows: list[int] = np.flatnonzero(wanted.rows(chain.listing)).tolist()
    contracts = chain.listing.contracts
    if last is not None:
        rows = [row for row in rows if contracts[row].symbol > last]
    if since is None:
        kept, more = option_snapshots(call.market, chain, rows[:limit], call.moment), rows[limit:]
        return _answer(kept, bool(more))
    found = _updated(option_snapshots(call.market, chain, rows, call.moment), since)
    return _answer(dict(list(found.items())[:limit]), len(found) > limit)


def symbol_snapshots(call: Call) -> Any:
    """Ordered by symbol, as a chain is."""
    limit, last, since = _paging(call)
    asked = sorted(symbol for symbol in _contracts(call) if last is None or symbol > last)
    found = _snapshots(call, asked)
    if since is not None:
        found = _updated(found, since)
    symbols = sorted(found)
    return _answer({symbol: found[symbol] for symbol in symbols[:limit]}, len(symbols) > limit)


def _paging(call: Call) -> tuple[int, str | None, dt.datetime | None]:
    _check_feed(call)
    limit = q.whole(call.query, "limit", default=PAGE_DEFAULT, maximum=PAGE_MAX)
    return limit, q.page_token(call.query), q.instant(call.query, "updated_since")


def _answer(snapshots: dict[str, View], more: bool) -> View:
    token = q.token(next(reversed(snapshots))) if more and snapshots else None
    return {"snapshots": snapshots, "next_page_token": token}


def _updated(snapshots: dict[str, View], since: dt.datetime) -> dict[str, View]:
    """Those with a quote or a trade from that time on."""
    stamp = since.isoformat(timespec="microseconds").replace("+00:00", "Z")
    parts = ("latestQuote", "latestTrade")
    return {
        symbol: view
        for symbol, view in snapshots.items()
        if any(part in view and view[part]["t"] >= stamp for part in parts)
    }


def _snapshots(call: Call, symbols: list[str]) -> dict[str, View]:
    by_underlying: dict[str, list[str]] = {}
    for symbol in symbols:
        by_underlying.setdefault(underlying_of(symbol), []).append(symbol)
    found: dict[str, View] = {}
    for underlying, ours in by_underlying.items():
        if underlying in call.market.history:
            chain = call.market.chain(underlying, call.moment)
            row_of = chain.listing.row_of
            rows = [row_of[symbol] for symbol in ours if symbol in row_of]
            found |= option_snapshots(call.market, chain, rows, call.moment)
    return found


# --- the latest --------------------------------------------------------------------------------


def latest_quotes(call: Call) -> Any:
    return {"quotes": _part(call, "latestQuote")}


def latest_trades(call: Call) -> Any:
    return {"trades": _part(call, "latestTrade")}


def _part(call: Call, name: str) -> View:
    _check_feed(call)
    found = _snapshots(call, _contracts(call))
    return {symbol: view[name] for symbol, view in found.items() if name in view}


# --- history -----------------------------------------------------------------------------------


def bars(call: Call) -> Any:
    frame = timeframe(call.query)
    rows, token = _page(call, frame, _bar_chunk(frame))
    return {"bars": rows, "next_page_token": token}


def trades(call: Call) -> Any:
    rows, token = _page(call, DAYS, _trade_chunk)
    return {"trades": rows, "next_page_token": token}


ChunkOf = Callable[[Call, str, list[Session]], Chunk]


def _page(
    call: Call, frame: Timeframe, chunk_of: ChunkOf
) -> tuple[dict[str, list[View]], str | None]:
    request, market = history_request(call), call.market

    def chunks(symbol: str, window: Window) -> Iterator[Chunk]:
        parts = parse_option_symbol(symbol)
        if parts is None:
            return
        listed = (parts.expiration - _LISTED_AT_MOST, parts.expiration)
        found = sessions_by(
            frame.period, market, call.moment, frame, window, request.descending, between=listed
        )
        for sessions in found:
            yield chunk_of(call, symbol, sessions)

    return page(request, [s for s in _contracts(call) if _known(market, s)], chunks)


def _bar_chunk(frame: Timeframe) -> ChunkOf:
    def chunk_of(call: Call, symbol: str, sessions: list[Session]) -> Chunk:
        if frame.intraday:
            (session,) = sessions
            origin = session.open
            # A minute's bar is there when the minute has passed.
            made = frame.cut(
                _along(call, symbol, session, played(call.moment, session) - 1), session
            )
        else:
            days = [_along(call, symbol, s, played(call.moment, s)) for s in sessions]
            origin, made = midnight_of(frame.period(sessions[0].date)), one_bar(joined(days))
            made = made._replace(minute=np.zeros_like(made.minute))

        def rows(first: int, end: int) -> list[View]:
            return bar_rows(origin, made.part(first, end))

        return Chunk(origin, made.minute, rows, len(sessions))

    return chunk_of


def _trade_chunk(call: Call, symbol: str, sessions: list[Session]) -> Chunk:
    (session,) = sessions
    made = _along(call, symbol, session, played(call.moment, session))

    def rows(first: int, end: int) -> list[View]:
        return option_trade_rows(session.open, made.part(first, end))

    return Chunk(session.open, made.minute, rows)


def _along(call: Call, symbol: str, session: Session, minute: int) -> Bars:
    """The contract's trades up to that minute; none on a day it was not listed."""
    found = call.market.contract_trades(symbol, session)
    return NO_BARS if found is None else found.along(0, minute)


# --- what is asked -----------------------------------------------------------------------------


def _contracts(call: Call) -> list[str]:
    asked = q.symbols(call.query)
    if not asked:
        raise malformed("symbols is required")
    if len(asked) > SYMBOLS_MAX:
        raise malformed(f"symbols: at most {SYMBOLS_MAX}")
    for symbol in asked:
        if parse_option_symbol(symbol) is None:
            raise malformed(f"invalid symbol: {symbol[:40]}")
    return asked


def _known(market: Market, symbol: str) -> bool:
    return underlying_of(symbol) in market.history


def _check_feed(call: Call) -> None:
    q.choice(call.query, "feed", FEEDS, "indicative")


ENDPOINTS: Endpoints = {
    ("GET", "/v1beta1/options/snapshots"): symbol_snapshots,
    ("GET", "/v1beta1/options/snapshots/{underlying}"): chain_snapshots,
    ("GET", "/v1beta1/options/quotes/latest"): latest_quotes,
    ("GET", "/v1beta1/options/trades/latest"): latest_trades,
    ("GET", "/v1beta1/options/bars"): bars,
    ("GET", "/v1beta1/options/trades"): trades,
}
