"""When to tick, by the broker's clock and calendar."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.wire import WireCalendarDay, WireClock
from services.market.schedule import (
    NEW_YORK,
    BrokerTime,
    Session,
    broker_time,
    next_due,
    recent_sessions,
    seconds_until,
    session_at,
    sessions_of,
)

# Thanksgiving week of 2024: Thursday closed, Friday half a day; then the weekend.
WEEK = sessions_of(
    [
        WireCalendarDay(date=dt.date(2024, 11, 29), open="09:30", close="13:00"),
        WireCalendarDay(date=dt.date(2024, 11, 26), open="09:30", close="16:00"),
        WireCalendarDay(date=dt.date(2024, 11, 27), open="09:30", close="16:00"),
        WireCalendarDay(date=dt.date(2024, 12, 2), open="09:30", close="16:00"),
    ]
)
WEDNESDAY, FRIDAY = WEEK[1], WEEK[2]


def new_york(day: int, hour: int, minute: int = 0, *, month: int = 11) -> dt.datetime:
    return dt.datetime(2024, month, day, hour, minute, tzinfo=NEW_YORK).astimezone(dt.UTC)


def test_sessions_are_utc_and_in_order() -> None:
    assert [session.date.day for session in WEEK] == [26, 27, 29, 2]
    assert WEDNESDAY.opens_at == dt.datetime(2024, 11, 27, 14, 30, tzinfo=dt.UTC)
    assert FRIDAY.closes_at == dt.datetime(2024, 11, 29, 18, 0, tzinfo=dt.UTC)


def test_summer_time_moves_the_open() -> None:
    (summer,) = sessions_of([WireCalendarDay(date=dt.date(2024, 7, 1), open="09:30", close="16")])
    assert summer.opens_at == dt.datetime(2024, 7, 1, 13, 30, tzinfo=dt.UTC)


def test_a_day_that_does_not_parse_is_left_out() -> None:
    broken = [("", "16:00"), ("09:30", "late"), ("25:00", "26:00")]
    days = [WireCalendarDay(date=dt.date(2024, 7, 1), open=o, close=c) for o, c in broken]
    assert sessions_of(days) == []


@pytest.mark.parametrize(
    ("now", "session"),
    [
        (new_york(27, 9, 29), None),
        (new_york(27, 9, 30), WEDNESDAY),
        (new_york(27, 15, 59), WEDNESDAY),
        (new_york(27, 16), None),
        (new_york(28, 12), None),  # the holiday
        (new_york(29, 12, 59), FRIDAY),
        (new_york(29, 13), None),  # half a day
        (new_york(30, 12), None),  # Saturday
    ],
)
def test_a_session_is_open_from_its_open_to_its_close(
    now: dt.datetime, session: Session | None
) -> None:
    assert session_at(WEEK, now) is session


def test_recent_sessions_are_those_that_have_opened() -> None:
    assert [d.day for d in recent_sessions(WEEK, new_york(29, 9, 29))] == [26, 27]
    assert [d.day for d in recent_sessions(WEEK, new_york(29, 9, 30))] == [26, 27, 29]
    assert [d.day for d in recent_sessions(WEEK, new_york(30, 12), count=2)] == [27, 29]
    assert recent_sessions([], new_york(29, 12)) == []


# --- the grid ----------------------------------------------------------------------------------


def ticks_of_a_day(session: Session, tick_seconds: int) -> list[str]:
    """New York times at which a bot that is never late ticks."""
    times, last = [], None
    while (last := next_due(session, last, tick_seconds)) is not None:
        times.append(f"{last.astimezone(NEW_YORK):%H:%M}")
    return times


def test_a_day_is_ticked_on_a_grid_from_its_open() -> None:
    assert ticks_of_a_day(WEDNESDAY, 5400) == ["09:30", "11:00", "12:30", "14:00", "15:30"]
    assert ticks_of_a_day(FRIDAY, 5400) == ["09:30", "11:00", "12:30"]
    assert len(ticks_of_a_day(WEDNESDAY, 900)) == 26
    assert ticks_of_a_day(FRIDAY, 86_400) == ["09:30"]


def test_a_tick_of_yesterday_leaves_today_due_at_its_open() -> None:
    assert next_due(FRIDAY, new_york(27, 15, 59), 900) == FRIDAY.opens_at


def test_a_tick_between_two_points_does_not_move_the_grid() -> None:
    """Ticks on request and after a fill fall between; a late one skips what it missed."""
    assert next_due(WEDNESDAY, new_york(27, 9, 37), 900) == new_york(27, 9, 45)
    assert next_due(WEDNESDAY, new_york(27, 11, 1), 900) == new_york(27, 11, 15)
    assert next_due(WEDNESDAY, new_york(27, 9, 45), 900) == new_york(27, 10, 0)


@settings(deadline=None)
@given(
    st.sampled_from(WEEK),
    st.floats(-86_400, 86_400).map(lambda seconds: dt.timedelta(seconds=seconds)),
    st.integers(1, 30_000),
)
def test_the_next_tick_is_later_on_the_grid_and_inside_the_session(
    session: Session, since_open: dt.timedelta, tick_seconds: int
) -> None:
    last = session.opens_at + since_open
    due = next_due(session, last, tick_seconds)
    step = dt.timedelta(seconds=tick_seconds)
    if due is None:
        assert last + step >= session.closes_at
        return
    assert due > last
    assert session.opens_at <= due < session.closes_at
    assert (due - session.opens_at) % step == dt.timedelta(0)
    assert due - last <= step or due == session.opens_at


# --- the broker's clock ------------------------------------------------------------------------


def clock(*, is_open: bool) -> BrokerTime:
    wire = WireClock(
        timestamp=new_york(27, 15, 50).astimezone(NEW_YORK),
        is_open=is_open,
        next_open=new_york(29, 9, 30),
        next_close=new_york(27, 16),
    )
    return broker_time(wire, read_at_seconds=1000.0)


def test_the_brokers_time_is_utc_whatever_zone_it_came_in() -> None:
    assert clock(is_open=True).now.utcoffset() == dt.timedelta(0)
    assert clock(is_open=True).now == new_york(27, 15, 50)


def test_time_passes_at_its_speed_and_stops_where_the_clock_may_jump() -> None:
    open_clock = clock(is_open=True)
    assert open_clock.at(1060.0, speed=1) == new_york(27, 15, 51)
    assert open_clock.at(1000.1, speed=600) == new_york(27, 15, 51)
    assert open_clock.at(99_999.0, speed=7800) == new_york(27, 16)
    assert open_clock.at(900.0, speed=1) == new_york(27, 15, 50)  # never back
    assert clock(is_open=False).at(10**7, speed=1) == new_york(29, 9, 30)


def test_wall_seconds_shrink_with_the_speed_and_are_never_negative() -> None:
    now = new_york(27, 15, 50)
    assert seconds_until(new_york(27, 16), now, speed=1) == 600
    assert seconds_until(new_york(27, 16), now, speed=6000) == pytest.approx(0.1)
    assert seconds_until(now - dt.timedelta(days=1), now, speed=1) == 0
