"""Schedules against the whole system: a story that kills the executor, and random ones."""

from __future__ import annotations

import pytest

from tests.faults.conftest import a_play, a_stand
from tests.faults.invariants import report
from tests.faults.play import counts_of
from tests.faults.schedule import Action, Kind, Schedule, make_schedule

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SEED = 4


async def test_a_random_schedule_loses_and_doubles_nothing() -> None:
    schedule = make_schedule(SEED, seconds=30)
    print(schedule)
    async with a_stand() as stand:
        play = a_play(stand, SEED)
        outcome = await play.run(schedule, close=True)
        print(counts_of(play.seen), outcome.seconds, outcome.settle_seconds)
        assert not outcome.violations, report(list(outcome.violations))
        assert play.seen.orders


async def test_an_executor_that_is_killed_three_times() -> None:
    kills = [Action(at_seconds=at, kind=Kind.KILL, target="executor") for at in (3.0, 6.5, 9.0)]
    async with a_stand() as stand:
        play = a_play(stand, 1)
        outcome = await play.run(Schedule(seed=1, seconds=12, actions=tuple(kills)), close=True)
        assert not outcome.violations, report(list(outcome.violations))
        assert len(play.seen.acknowledged) >= 10
        assert stand.kills["executor"] == 3
