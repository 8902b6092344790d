from __future__ import annotations

import datetime as dt
import logging
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.broker_clock import BrokerClock

NOON = dt.datetime(2026, 5, 4, 12, 0, 0, tzinfo=dt.UTC)


def test_a_clock_that_is_behind_is_put_right_by_the_brokers_date() -> None:
    clock = BrokerClock()
    assert clock.latest(NOON) == NOON
    clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    assert clock.latest(NOON) == NOON + dt.timedelta(seconds=60)
    assert clock.problem() == "our clock is at least 60.0 s behind the broker's; set it"


def test_a_clock_that_is_ahead_stops_orders_and_moves_no_end() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 11:59:00 GMT", NOON)
    assert clock.latest(NOON) == NOON
    assert clock.problem() == "our clock is at least 58.0 s ahead of the broker's; set it"


def test_an_answer_that_was_under_way_for_long_proves_no_clock_ahead() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 11:59:30 GMT", NOON, dt.timedelta(seconds=30))
    assert not clock.problem()


def test_once_it_was_set_nothing_is_added_any_more() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    clock.hear("Mon, 04 May 2026 12:00:00 GMT", NOON)
    assert clock.latest(NOON) == NOON
    assert not clock.problem()


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 May 2026 12:00:00 GMT"])
def test_what_is_no_date_changes_nothing(date: str | None) -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    clock.hear(date, NOON)
    assert clock.latest(NOON) == NOON + dt.timedelta(seconds=60)


def test_a_date_without_a_zone_is_utc() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 12:00:30 -0000", NOON)
    assert clock.latest(NOON) == NOON + dt.timedelta(seconds=30)


def test_it_is_told_once_and_again_when_they_agree(caplog: pytest.LogCaptureFixture) -> None:
    clock = BrokerClock()
    with caplog.at_level(logging.WARNING):
        for date in ("12:01:00", "12:01:00", "12:00:00"):
            clock.hear(f"Mon, 04 May 2026 {date} GMT", NOON)
    assert [record.getMessage() for record in caplog.records] == [
        "our clock is at least 60.0 s behind the broker's; set it: no order leaves until then",
        "our clock and the broker's agree again",
    ]


@given(
    offset=st.floats(-5, 5),
    answers=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1), st.floats(0, 1)), min_size=1),
)
def test_what_it_says_is_true_however_answers_travel(
    offset: float, answers: list[tuple[float, float, float]]
) -> None:
    """`offset` is our time less the broker's; each answer takes a while there and back, and its
    `Date` may be a second old.
    """
    clock = BrokerClock()
    for number, (there, back, age) in enumerate(answers):
        answered_at = NOON + dt.timedelta(seconds=number * 7.3)
        date = (answered_at - dt.timedelta(seconds=age)).replace(microsecond=0)
        heard_at = answered_at + dt.timedelta(seconds=back + offset)
        clock.hear(format_datetime(date, usegmt=True), heard_at, dt.timedelta(seconds=there + back))
        broker_now = heard_at - dt.timedelta(seconds=offset)
        assert clock.latest(heard_at) <= max(heard_at, broker_now) + dt.timedelta(microseconds=10)
        if clock.problem():
            assert abs(offset) > 0.999
