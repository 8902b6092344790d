"""The market-data API: /v2/stocks and /v1beta1/options. Unknown symbols are left out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from libs.common.symbols import is_stock_symbol, parse_option_symbol, underlying_of
from services.exchange.engine.refusals import malformed, not_offered
from services.exchange.http import query as q
from services.exchange.http.call import Call
from services.exchange.http.market_views import (
    daily_bar,
    last_minute_bar,
    minute_bars,
    option_snapshots,
    quote_view,
    snapshot_view,
    trade_view,
)
from services.exchange.http.option_contracts import contract_filter
from services.exchange.http.views import View
from services.exchange.prices.calendar import NEW_YORK, Session

OPTION_SYMBOLS_MAX = 100
CHAIN_DEFAULT, CHAIN_MAX = 100, 1000
BARS_DEFAULT, BARS_MAX = 1000, 10_000
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D)", re.ASCII)

# --- stocks ------------------------------------------------------------------------------------


def stock_snapshots(call: Call) -> Any:
    return {s: snapshot_view(call.market, s, call.moment) for s in _stocks(call)}


def latest_quotes(call: Call) -> Any:
    return {"quotes": {s: quote_view(call.market, s, call.moment) for s in _stocks(call)}}


def latest_trades(call: Call) -> Any:
    return {"trades": {s: trade_view(call.market, s, call.moment) for s in _stocks(call)}}


def latest_bars(call: Call) -> Any:
    """The last whole minute; at an open the session has none yet and the symbol is left out."""
    made = {s: last_minute_bar(call.market, s, call.moment) for s in _stocks(call)}
    return {"bars": {symbol: bar for symbol, bar in made.items() if bar is not None}}


def bars(call: Call) -> Any:
    """Oldest first per symbol unless sort=desc; the token is how many bars came before."""
    limit = q.whole(call.query, "limit", default=BARS_DEFAULT, maximum=BARS_MAX)
    descending = q.choice(call.query, "sort", ("asc", "desc"), "asc") == "desc"
    offset = _offset(call)
    page = list(islice(_all_bars(call, descending), offset, offset + limit + 1))
    grouped: dict[str, list[View]] = {}
    for symbol, bar in page[:limit]:
        grouped.setdefault(symbol, []).append(bar)
    more = len(page) > limit
    return {"bars": grouped, "next_page_token": q.token(str(offset + limit)) if more else None}


def _all_bars(call: Call, descending: bool) -> Iterator[tuple[str, View]]:
    moment, calendar = call.moment, call.market.calendar
    today = moment.now.astimezone(NEW_YORK).date()
    midnight = dt.datetime.combine(today, dt.time(), NEW_YORK)
    start = q.instant(call.query, "start") or midnight
    end = min(q.instant(call.query, "end") or moment.now, moment.now)
    make = _bar_maker(call)
    sessions = calendar.between(
        start.astimezone(NEW_YORK).date(), min(end.astimezone(NEW_YORK).date(), moment.session.date)
    )
    sessions = [s for s in sessions if s.index >= call.market.first_day]
    first, last = _stamp(start), _stamp(end)
    for symbol in sorted(_stocks(call)):
        for session in reversed(sessions) if descending else sessions:
            made = make(symbol, session)
            for bar in reversed(made) if descending else made:
                if first <= bar["t"] <= last:
                    yield symbol, bar


def _bar_maker(call: Call) -> Callable[[str, Session], list[View]]:
    match = _TIMEFRAME.fullmatch(call.query.get("timeframe", ""))
    if match is None or int(match[1]) == 0:
        raise malformed("invalid timeframe: use 1Min to 59Min, 1Hour to 23Hour or 1Day")
    length, unit = int(match[1]), match[2][0]
    if unit == "D" and length > 1:
        raise not_offered("a timeframe of several days")
    minutes = length * (60 if unit == "H" else 1)
    market, moment = call.market, call.moment

    def make(symbol: str, session: Session) -> list[View]:
        played = moment.minute if session.index == moment.session.index else session.minutes
        if unit == "D":
            return [daily_bar(market, symbol, session, played)]
        return minute_bars(market, symbol, session, played, minutes)

    return make


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _offset(call: Call) -> int:
    text = q.page_token(call.query) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise malformed("invalid page_token")
    return int(text)


def _stocks(call: Call) -> list[str]:
    asked = q.symbols(call.query)
    if not asked:
        raise malformed("symbols is required")
    for symbol in asked:
        if not is_stock_symbol(symbol):
            raise malformed(f"invalid symbol: {symbol[:40]}")
    return [symbol for symbol in asked if symbol in call.market.history]


# --- options -----------------------------------------------------------------------------------


def chain_snapshots(call: Call) -> Any:
    """A page of the underlying's chain, ordered by symbol; the token is the last symbol."""
    underlying = call.path["underlying"]
    limit = q.whole(call.query, "limit", default=CHAIN_DEFAULT, maximum=CHAIN_MAX)
    wanted, last = contract_filter(call.query), q.page_token(call.query)
    if not is_stock_symbol(underlying):
        raise malformed(f"invalid underlying symbol: {underlying[:40]}")
    updated_since = q.instant(call.query, "updated_since")
    if underlying not in call.market.history or (
        updated_since is not None and updated_since > call.moment.now
    ):
        return {"snapshots": {}, "next_page_token": None}
    chain = call.market.chain(underlying, call.moment)
    rows: list[int] = np.flatnonzero(wanted.rows(chain.listing)).tolist()
    contracts = chain.listing.contracts
    if last is not None:
        rows = [row for row in rows if contracts[row].symbol > last]
    page, more = rows[:limit], len(rows) > limit
    return {
        "snapshots": option_snapshots(chain, page, call.moment),
        "next_page_token": q.token(contracts[page[-1]].symbol) if more else None,
    }


def symbol_snapshots(call: Call) -> Any:
    return {"snapshots": _snapshots(call), "next_page_token": None}


def latest_option_quotes(call: Call) -> Any:
    return {"quotes": _part(call, "latestQuote")}


def latest_option_trades(call: Call) -> Any:
    return {"trades": _part(call, "latestTrade")}


def _part(call: Call, name: str) -> View:
    return {symbol: view[name] for symbol, view in _snapshots(call).items() if name in view}


def _snapshots(call: Call) -> dict[str, View]:
    asked = q.symbols(call.query)
    if not asked:
        raise malformed("symbols is required")
    if len(asked) > OPTION_SYMBOLS_MAX:
        raise malformed(f"at most {OPTION_SYMBOLS_MAX} symbols")
    by_underlying: dict[str, list[str]] = {}
    for symbol in asked:
        if parse_option_symbol(symbol) is None:
            raise malformed(f"invalid symbol: {symbol[:40]}")
        by_underlying.setdefault(underlying_of(symbol), []).append(symbol)
    found: dict[str, View] = {}
    for underlying, symbols in by_underlying.items():
        if underlying in call.market.history:
            chain = call.market.chain(underlying, call.moment)
            row_of = chain.listing.row_of
            rows = [row_of[symbol] for symbol in symbols if symbol in row_of]
            found |= option_snapshots(chain, rows, call.moment)
    return found
