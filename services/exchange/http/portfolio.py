"""`GET /v2/account/portfolio/history`: equity and profit over time."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

from services.exchange.engine.portfolio import equity_by_minute
from services.exchange.engine.refusals import not_offered, unprocessable
from services.exchange.http import query as q
from services.exchange.http.call import Call
from services.exchange.prices.calendar import NEW_YORK

_PERIOD = re.compile(r"(\d{1,4})([DWMA])", re.ASCII)
_DAYS = {"D": 1, "W": 7, "M": 31, "A": 366}
_MINUTES = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60}
TIMEFRAMES = (*_MINUTES, "1D")
MINUTE_DAYS_MAX, INTRADAY_DAYS_MAX = 7, 30
_CASHFLOW_KINDS = ("DIV", "FEE")  # the others are trades


class _Point(NamedTuple):
    at: dt.datetime  # left end of the window
    until: dt.datetime
    equity: float


def portfolio_history(call: Call) -> Any:
    """Lists of equal length. The base is the first point's equity for days, the close before the
    first point within days; `pnl_reset=per_day` takes each day's close before."""
    start, end, timeframe = _span(call)
    reporting = q.choice(
        call.query,
        "intraday_reporting",
        ("market_hours", "extended_hours", "continuous"),
        "market_hours",
    )
    if reporting != "market_hours" or q.flag(call.query, "extended_hours"):
        raise not_offered("portfolio history outside market hours")
    reset = q.choice(call.query, "pnl_reset", ("per_day", "no_reset"), "per_day") == "per_day"
    daily = timeframe == "1D"
    points = _daily(call, start, end) if daily else _intraday(call, start, end, timeframe)
    bases = _bases(call, points, daily=daily, reset=reset)
    base = bases[0] if bases else None
    profit = [round(p.equity - b, 2) for p, b in zip(points, bases, strict=True)]
    return {
        "timestamp": [int(point.at.timestamp()) for point in points],
        "equity": [round(point.equity, 2) for point in points],
        "profit_loss": profit,
        "profit_loss_pct": [
            round(gain / b, 6) if b else None for gain, b in zip(profit, bases, strict=True)
        ],
        "base_value": base,
        "timeframe": timeframe,
        "cashflow": _cashflow(call, points),
    }


def _span(call: Call) -> tuple[dt.datetime, dt.datetime, str]:
    query, now = call.query, call.moment.now
    period = query.get("period") or ""
    start, end = q.instant(query, "start"), q.instant(query, "end")
    if start and end and period:
        raise unprocessable("period does not go with start and end")
    date_end = q.date(query, "date_end")
    if end is None and date_end is not None:
        end = dt.datetime.combine(date_end, dt.time(23, 59), NEW_YORK)
    match = _PERIOD.fullmatch(period or "1M")
    if match is None or int(match[1]) == 0:
        raise unprocessable(f"invalid period {period[:20]!r}: a number and D, W, M or A")
    length = dt.timedelta(days=int(match[1]) * _DAYS[match[2]])
    if end is None:
        end = min(start + length, now) if start and period else now
    if start is None:
        start = end - length if length < end - _EARLIEST else _EARLIEST
    if start > end:
        raise unprocessable("start must not be after end")
    days = (end - start) / dt.timedelta(days=1)
    usual = "1Min" if days < MINUTE_DAYS_MAX else "15Min" if days < INTRADAY_DAYS_MAX else "1D"
    timeframe = q.choice(query, "timeframe", TIMEFRAMES, usual)
    if timeframe == "1Min" and days > MINUTE_DAYS_MAX:
        raise unprocessable(f"timeframe 1Min reaches {MINUTE_DAYS_MAX} days at most")
    if timeframe != "1D" and days > INTRADAY_DAYS_MAX:
        raise unprocessable(f"timeframe {timeframe} reaches {INTRADAY_DAYS_MAX} days at most")
    return start, min(end, now), timeframe


_EARLIEST = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)


def _daily(call: Call, start: dt.datetime, end: dt.datetime) -> list[_Point]:
    first, last = start.astimezone(NEW_YORK).date(), end.astimezone(NEW_YORK).date()
    points = []
    for date, equity in call.books.equity_closes:
        session = call.market.calendar.on(date)
        if session is not None and first <= date <= last:
            points.append(_Point(session.close, session.close, float(equity)))
    return points


def _intraday(call: Call, start: dt.datetime, end: dt.datetime, timeframe: str) -> list[_Point]:
    length, books, calendar = _MINUTES[timeframe], call.books, call.market.calendar
    opened = books.created_at.astimezone(NEW_YORK).date()
    oldest = max(
        start.astimezone(NEW_YORK).date(),
        opened,
        (call.moment.now - dt.timedelta(days=INTRADAY_DAYS_MAX)).astimezone(NEW_YORK).date(),
    )
    points = []
    for session in calendar.between(oldest, end.astimezone(NEW_YORK).date()):
        if session.index > books.day or (session.index == books.day and books.minute < 0):
            break
        worth = equity_by_minute(call.market, books, session)
        for minute in range(0, min(len(worth), session.minutes), length):
            at = session.open + dt.timedelta(minutes=minute)
            until = at + dt.timedelta(minutes=length)
            if max(start, books.created_at) - dt.timedelta(minutes=length) < at <= end:
                value = float(worth[min(minute + length, len(worth) - 1)])
                points.append(_Point(at, until, value))
    return points


def _bases(call: Call, points: list[_Point], *, daily: bool, reset: bool) -> list[float]:
    """What each point's profit is counted from."""
    if not points:
        return []
    if daily:
        return [round(points[0].equity, 2)] * len(points)
    closes = call.books.equity_closes
    bases = []
    for point in points:
        day = (point if reset else points[0]).at.astimezone(NEW_YORK).date()
        before = [equity for date, equity in closes[-60:] if date < day]
        bases.append(round(float(before[-1] if before else call.books.opening_equity), 2))
    return bases


def _cashflow(call: Call, points: list[_Point]) -> dict[str, list[float]]:
    """Dollars by kind of activity and window, for the kinds asked for."""
    asked = q.symbols(call.query, "cashflow_types")
    kinds = [k for k in _CASHFLOW_KINDS if k in asked or asked == ["ALL"]]
    flows: dict[str, list[float]] = {}
    for kind in kinds:
        rows = [a for a in call.books.activities if a.activity_type == kind]
        flows[kind] = [
            round(sum(float(a.net_amount or 0) for a in rows if a.known_at <= p.until), 2)
            for p in points
        ]
    return flows
