"""When to tick: on a grid from the session's open, on request, and soon after a fill. Pure."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from libs.common.wire import WireCalendarDay, WireClock

NEW_YORK = ZoneInfo("America/New_York")


class Cause(StrEnum):
    SCHEDULE = "schedule"
    REQUEST = "request"
    FILL = "fill"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day; a half day is one with an earlier close. Times are aware UTC."""

    date: dt.date
    opens_at: dt.datetime
    closes_at: dt.datetime


class BrokerTime(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's clock as last read, in UTC, and when it was read on our monotonic clock."""

    now: dt.datetime
    is_open: bool
    next_open: dt.datetime
    next_close: dt.datetime
    read_at_seconds: float

    def at(self, monotonic_seconds: float, speed: float) -> dt.datetime:
        """The broker's time by now. Never past the next change of open and closed, where a
        simulated clock may jump.
        """
        passed = dt.timedelta(seconds=max(0.0, monotonic_seconds - self.read_at_seconds) * speed)
        return min(self.now + passed, self.next_close if self.is_open else self.next_open)


def broker_time(clock: WireClock, read_at_seconds: float) -> BrokerTime:
    return BrokerTime(
        now=clock.timestamp.astimezone(dt.UTC),
        is_open=clock.is_open,
        next_open=clock.next_open.astimezone(dt.UTC),
        next_close=clock.next_close.astimezone(dt.UTC),
        read_at_seconds=read_at_seconds,
    )


def sessions_of(days: list[WireCalendarDay]) -> list[Session]:
    """Calendar days carry New York wall times (`09:30`); days that do not parse are left out."""
    found: list[Session] = []
    for day in days:
        try:
            opens, closes = dt.time.fromisoformat(day.open), dt.time.fromisoformat(day.close)
        except ValueError:
            continue
        found.append(
            Session(
                date=day.date,
                opens_at=_utc(day.date, opens),
                closes_at=_utc(day.date, closes),
            )
        )
    return sorted(found, key=lambda session: session.date)


def _utc(date: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(date, time, tzinfo=NEW_YORK).astimezone(dt.UTC)


def session_at(sessions: list[Session], now: dt.datetime) -> Session | None:
    """The session that is open at `now`."""
    for session in sessions:
        if session.opens_at <= now < session.closes_at:
            return session
    return None


def recent_sessions(sessions: list[Session], now: dt.datetime, count: int = 3) -> list[dt.date]:
    """The dates of the last sessions that have opened by `now`, oldest first."""
    return [session.date for session in sessions if session.opens_at <= now][-count:]


def next_due(
    session: Session, last_tick_at: dt.datetime | None, tick_seconds: int
) -> dt.datetime | None:
    """The first point of the grid after the last tick, or None when the session has no more.

    The grid is the session's open plus multiples of `tick_seconds`; a session not yet ticked is
    due at its open.
    """
    if last_tick_at is None or last_tick_at < session.opens_at:
        return session.opens_at
    passed = (last_tick_at - session.opens_at).total_seconds()
    due = session.opens_at + dt.timedelta(seconds=(int(passed // tick_seconds) + 1) * tick_seconds)
    return due if due < session.closes_at else None


def seconds_until(moment: dt.datetime, now: dt.datetime, speed: float) -> float:
    """Wall seconds until the broker's clock shows `moment`."""
    return max(0.0, (moment - now).total_seconds() / speed)
