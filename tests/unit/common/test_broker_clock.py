from __future__ import annotations

import datetime as dt
import logging

import pytest

from libs.common.broker_clock import BrokerClock

NOON = dt.datetime(2026, 5, 4, 12, 0, 0, tzinfo=dt.UTC)


def test_a_clock_that_is_behind_is_put_right_by_the_brokers_date() -> None:
    clock = BrokerClock()
    assert clock.latest(NOON) == NOON
    clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    assert clock.latest(NOON) == NOON + dt.timedelta(seconds=60)


def test_a_clock_that_is_ahead_stays_so_since_an_answer_may_have_been_under_way() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 11:59:00 GMT", NOON)
    assert clock.latest(NOON) == NOON


def test_once_it_was_set_nothing_is_added_any_more() -> None:
    clock = BrokerClock()
    clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    clock.hear("Mon, 04 May 2026 12:00:00 GMT", NOON)
    assert clock.latest(NOON) == NOON


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


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = BrokerClock()
    with caplog.at_level(logging.ERROR):
        clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
        clock.hear("Mon, 04 May 2026 12:01:00 GMT", NOON)
    assert [record.getMessage() for record in caplog.records] == [
        "our clock is 0:01:00 behind the broker's: set it"
    ]
