"""Pages of history: rows of several symbols between two times, in order, by a token.

Rows come in chunks (a session, or the sessions of a week or a month), each made only when the page
gets there. The token names the last row given, so a page costs the same wherever it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import msgspec
import numpy as np

from services.exchange.engine.refusals import malformed
from services.exchange.http import query as q
from services.exchange.http.call import Call
from services.exchange.http.timeframes import Timeframe
from services.exchange.http.views import View
from services.exchange.prices.bars import Ints
from services.exchange.prices.calendar import NEW_YORK, Session
from services.exchange.prices.market import Market, Moment

LIMIT_DEFAULT, LIMIT_MAX = 1000, 10_000
# A page may hold less than its limit (Alpaca's document says so): it ends when this many sessions
# were worked through, so that no request for decades of monthly bars holds up the others.
SESSIONS_PER_PAGE_MAX = 10_000
_MINUTE = dt.timedelta(minutes=1)
_INSTANT = dt.timedelta(microseconds=1)


class Window(NamedTuple):
    """From `first` to `last`, both included."""

    first: dt.datetime
    last: dt.datetime


class Chunk(NamedTuple):
    """Rows at `origin` + `minute`, oldest first; `rows` makes those of a range of places."""

    origin: dt.datetime
    minute: Ints
    rows: Callable[[int, int], list[View]]
    sessions: int = 1

    def at(self, place: int) -> dt.datetime:
        return self.origin + int(self.minute[place]) * _MINUTE

    def within(self, window: Window) -> tuple[int, int]:
        """The places of the rows in the window: from, and up to but not including."""
        first = -((self.origin - window.first) // _MINUTE)
        last = (window.last - self.origin) // _MINUTE
        return (
            int(np.searchsorted(self.minute, first)),
            int(np.searchsorted(self.minute, last, side="right")),
        )


Chunks = Callable[[str, Window], Iterable[Chunk]]


class HistoryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`last_symbol` and `last_at` are of the last row of the page before."""

    first: dt.datetime
    last: dt.datetime
    limit: int
    descending: bool
    last_symbol: str = ""
    last_at: dt.datetime | None = None

    def window(self, symbol: str) -> Window | None:
        """What is still to be given of that symbol; None when it was given whole."""
        if self.last_at is None or symbol > self.last_symbol:
            return Window(self.first, self.last)
        if symbol < self.last_symbol:
            return None
        if self.descending:
            return Window(self.first, min(self.last, self.last_at - _INSTANT))
        return Window(max(self.first, self.last_at + _INSTANT), self.last)


def history_request(call: Call) -> HistoryRequest:
    """Today from midnight until now, unless bounded; raises Refusal."""
    now = call.moment.now
    midnight = dt.datetime.combine(now.astimezone(NEW_YORK).date(), dt.time(), NEW_YORK)
    limit = q.whole(call.query, "limit", default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    descending = q.choice(call.query, "sort", ("asc", "desc"), "asc") == "desc"
    first = q.instant(call.query, "start") or midnight.astimezone(dt.UTC)
    last = q.instant(call.query, "end") or now
    symbol, at = _last_row(call)
    return HistoryRequest(
        first=first,
        last=min(last, now),
        limit=limit,
        descending=descending,
        last_symbol=symbol,
        last_at=at,
    )


def _last_row(call: Call) -> tuple[str, dt.datetime | None]:
    text = q.page_token(call.query)
    if text is None:
        return "", None
    symbol, _, stamp = text.partition("|")
    at = q.instant({"page_token": stamp}, "page_token")
    if at is None or not symbol:
        raise malformed("invalid page_token: use next_page_token of the page before")
    return symbol, at


def page(
    request: HistoryRequest, symbols: Iterable[str], chunks: Chunks
) -> tuple[dict[str, list[View]], str | None]:
    """Rows by symbol, and the token of the next page when there is more."""
    found: dict[str, list[View]] = {}
    left, sessions, token = request.limit, 0, None
    for symbol in sorted(symbols):
        window = request.window(symbol)
        if window is None:
            continue
        for chunk in chunks(symbol, window):
            first, end = chunk.within(window)
            enough = sessions >= SESSIONS_PER_PAGE_MAX and found
            sessions += chunk.sessions
            if first >= end:
                continue
            if left == 0 or enough:
                return found, token
            if request.descending:
                kept = max(first, end - left)
                rows, last = chunk.rows(kept, end)[::-1], kept
            else:
                kept = min(end, first + left)
                rows, last = chunk.rows(first, kept), kept - 1
            found.setdefault(symbol, []).extend(rows)
            left -= len(rows)
            token = q.token(f"{symbol}|{chunk.at(last).isoformat()}")
            if len(rows) < end - first:
                return found, token
    return found, None


def sessions_by(
    key: Callable[[dt.date], Hashable],
    market: Market,
    moment: Moment,
    frame: Timeframe,
    window: Window,
    descending: bool,
    *,
    between: tuple[dt.date, dt.date] = (dt.date.min, dt.date.max),
) -> Iterator[list[Session]]:
    """The sessions played so far of the frame's periods in the window, in runs of the same key;
    those of a run oldest first."""
    calendar = market.calendar
    start = frame.period(max(window.first.astimezone(NEW_YORK).date(), between[0]))
    stop = frame.after(frame.period(min(window.last.astimezone(NEW_YORK).date(), between[1])))
    first = max(calendar.first_from(start), market.first_day)
    end = min(calendar.first_from(stop), moment.session.index + 1)
    days = range(end - 1, first - 1, -1) if descending else range(first, end)
    for _, run in groupby(days, key=lambda day: key(calendar.dates[day])):
        yield [calendar.session(day) for day in sorted(run)]


def played(moment: Moment, session: Session) -> int:
    """How many minutes of the session have passed by the moment."""
    return moment.minute if session.index == moment.session.index else session.minutes
