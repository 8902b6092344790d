"""Sessions and simulated time."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.clock import SimulatedClock
from services.exchange.prices.calendar import Calendar, compute_rows, friday_of, load_calendar
from services.exchange.prices.history import History

CALENDAR = load_calendar()
LAST_DAY = CALENDAR.first_from(dt.date(2022, 12, 28))


def clock(start: dt.datetime, speed: float = 1.0) -> SimulatedClock:
    return SimulatedClock(CALENDAR, start=start, last_day=LAST_DAY, speed=speed)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # exchange_calendars on pandas 3.1
def test_the_shipped_sessions_are_exchange_calendars() -> None:
    for year in (1990, 2001, 2020, 2028):
        first, last = dt.date(year, 1, 1), dt.date(year, 12, 31)
        shipped = [(s.date, s.close.astimezone(dt.UTC)) for s in CALENDAR.between(first, last)]
        computed = compute_rows(first, last)
        assert [date for date, _ in shipped] == [date for date, _ in computed]
        half_days = [date for date, close in computed if close < dt.time(16)]
        assert half_days == [s.date for s in CALENDAR.between(first, last) if s.minutes < 390]


def test_every_session_of_the_data_has_prices(calendar: Calendar, history: History) -> None:
    assert calendar.dates[: len(history)] == history.dates


def test_a_half_day_is_shorter_and_good_friday_expires_on_thursday() -> None:
    after_thanksgiving = CALENDAR.on(dt.date(2020, 11, 27))
    assert after_thanksgiving is not None
    assert after_thanksgiving.minutes == 210
    good_friday = dt.date(2020, 4, 10)
    assert CALENDAR.expiration_of_week(good_friday) == dt.date(2020, 4, 9)
    assert friday_of(dt.date(2020, 4, 6)) == good_friday


def test_time_runs_at_speed_inside_a_session_and_skips_the_night() -> None:
    open_, session_seconds = utc(2020, 2, 3, 14, 30), 6.5 * 3600
    at = clock(open_, speed=10).at
    assert at(0) == open_
    assert at(60) == open_ + dt.timedelta(minutes=10)
    assert at(session_seconds / 10) == utc(2020, 2, 4, 14, 30)
    assert at(session_seconds / 10 + 6) == utc(2020, 2, 4, 14, 31)


def test_weekend_holiday_and_summer_time_are_skipped() -> None:
    friday_close = utc(2020, 3, 6, 20, 59)
    assert clock(friday_close).at(60) == utc(2020, 3, 9, 13, 30)  # summer time began on the 8th


def test_time_stands_still_at_the_last_close() -> None:
    last = utc(2022, 12, 28, 21)
    ending = clock(utc(2022, 12, 28, 20, 59))
    assert ending.at(59) < last
    assert ending.at(60) == ending.at(1e9) == last
    assert ending.ended(last)
    assert clock(last).at(5) == last


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_time_never_goes_back_and_is_always_in_a_session(one: float, other: float) -> None:
    at = clock(utc(2020, 2, 3, 14, 30)).at
    earlier, later = at(min(one, other)), at(max(one, other))
    assert earlier <= later
    session = CALENDAR.current_or_next(later)
    assert later == utc(2022, 12, 28, 21) or (session is not None and session.open <= later)
