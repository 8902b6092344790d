"""Never more requests in any minute than allowed."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.common.pacing import RequestWindow


def sent_at(limit: int, pauses: list[float], window_seconds: float) -> list[float]:
    """When a caller that wants to send after each pause does send."""
    window, now = RequestWindow(limit, window_seconds=window_seconds), 1000.0
    times = []
    for pause in pauses:
        now += pause
        while (wait := window.wait_seconds(now)) > 0:
            now = max(now + wait, now * (1 + 1e-15))
        window.spend(now)
        times.append(now)
    return times


@example(limit=1, pauses=[23.27969554838106, 0.0, 0.0], window_seconds=1.0)  # rounding
@settings(deadline=None)
@given(
    st.integers(1, 8),
    st.lists(st.floats(0, 40), max_size=80),
    st.sampled_from([1.0, 60.0]),
)
def test_no_window_of_any_minute_holds_more_than_the_limit(
    limit: int, pauses: list[float], window_seconds: float
) -> None:
    times = sent_at(limit, pauses, window_seconds)
    for place, start in enumerate(times):
        end = bisect_left(times, start + window_seconds - 1e-6)
        assert end - place <= limit


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 100))
def test_nobody_waits_while_there_is_room(limit: int, wanted: int) -> None:
    times = sent_at(limit, [0.0] * wanted, 60.0)
    minutes = [round((t - 1000.0) / 60, 9) for t in times]
    assert minutes == [n // limit for n in range(wanted)]


@pytest.mark.parametrize(("now", "wait"), [(0.0, 60.0), (45.0, 15.0), (60.0, 0.0), (200.0, 0.0)])
def test_the_wait_is_until_the_oldest_leaves_the_window(now: float, wait: float) -> None:
    window = RequestWindow(1)
    window.spend(0.0)
    assert window.wait_seconds(now) == wait
    assert window.wait_seconds(now) == wait  # asking spends nothing
