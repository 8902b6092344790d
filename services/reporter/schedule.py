"""When a trading day's summary is due. Pure: the broker's time and sessions come in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable


def due_sessions(
    market_now: dt.datetime, recent_sessions: Iterable[dt.date], report_time: dt.time, tz: dt.tzinfo
) -> list[dt.date]:
    """The sessions whose report time has passed, oldest first.

    A session's report time is its date at `report_time` in `tz`, so the summary of a Friday is
    due on Friday evening and stays the latest until Monday evening; days without a session have
    none. A time that a change to summer time skips counts as an hour later. Whether the session
    was reported already is not known here.

    Raises ValueError where `market_now` has no time zone.
    """
    if market_now.tzinfo is None:
        raise ValueError("market_now needs a time zone")
    # Compared in UTC: within one zone Python would compare the clocks on the wall.
    now = market_now.astimezone(dt.UTC)
    return sorted(
        session for session in recent_sessions if report_moment(session, report_time, tz) <= now
    )


def report_moment(session: dt.date, report_time: dt.time, tz: dt.tzinfo) -> dt.datetime:
    """When a session's summary is due, in UTC."""
    return dt.datetime.combine(session, report_time, tzinfo=tz).astimezone(dt.UTC)
