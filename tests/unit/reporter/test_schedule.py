"""When a day's summary is due, told by the broker's clock and sessions."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from services.reporter.schedule import due_sessions

NEW_YORK = ZoneInfo("America/New_York")
THURSDAY, FRIDAY, MONDAY = dt.date(2020, 2, 6), dt.date(2020, 2, 7), dt.date(2020, 2, 10)
SESSIONS = [THURSDAY, FRIDAY, MONDAY]
REPORT_TIME = dt.time(22, 30)


def due(now: dt.datetime, sessions: list[dt.date] = SESSIONS) -> dt.date | None:
    return max(due_sessions(now, sessions, REPORT_TIME, NEW_YORK), default=None)


def new_york(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour, minute), tzinfo=NEW_YORK)


def test_fridays_summary_is_due_on_friday_evening_and_until_monday_evening() -> None:
    assert due(new_york(FRIDAY, 22, 29)) == THURSDAY
    assert due(new_york(FRIDAY, 22, 30)) == FRIDAY
    assert due(new_york(dt.date(2020, 2, 9), 23)) == FRIDAY  # Sunday: no session of its own
    assert due(new_york(MONDAY, 22, 29)) == FRIDAY
    assert due(new_york(MONDAY, 22, 30)) == MONDAY


def test_the_clock_may_tell_any_zone_and_sessions_any_order() -> None:
    now = new_york(FRIDAY, 22, 30).astimezone(ZoneInfo("Asia/Tokyo"))
    assert due(now, [MONDAY, FRIDAY, THURSDAY]) == FRIDAY


def test_nothing_is_due_before_the_first_session() -> None:
    assert due(new_york(THURSDAY, 9)) is None
    assert due(new_york(THURSDAY, 23), []) is None


def test_a_report_in_another_zone_comes_at_that_zones_time() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at_1630_in_new_york = new_york(FRIDAY, 16, 30)
    early = at_1630_in_new_york - dt.timedelta(minutes=1)
    assert due_sessions(at_1630_in_new_york, SESSIONS, REPORT_TIME, berlin) == [THURSDAY, FRIDAY]
    assert due_sessions(early, SESSIONS, REPORT_TIME, berlin) == [THURSDAY]


def test_the_hour_that_summer_time_skips_comes_an_hour_later() -> None:
    sunday = dt.date(2020, 3, 8)
    half_past_two = dt.time(2, 30)
    before = dt.datetime(2020, 3, 8, 7, 29, tzinfo=dt.UTC)
    after = dt.datetime(2020, 3, 8, 7, 30, tzinfo=dt.UTC)
    assert due_sessions(before, [sunday], half_past_two, NEW_YORK) == []
    assert due_sessions(after, [sunday], half_past_two, NEW_YORK) == [sunday]


def test_a_clock_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        due(dt.datetime(2020, 2, 7, 23))  # noqa: DTZ001 - the point of the test
