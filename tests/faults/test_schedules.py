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


async def test_patches_whose_answers_are_lost_leave_one_live_order_each() -> None:
    """Half of them are carried out and not answered, and the executor dies twice meanwhile."""
    where = {"method": "PATCH", "path": "/v2/orders/{order_id}", "rate": 0.5}
    actions = (
        Action(at_seconds=1.0, kind=Kind.BROKER, seconds=7, detail=where | {"kind": "hang_after"}),
        Action(at_seconds=5.0, kind=Kind.KILL, target="executor"),
        Action(at_seconds=8.5, kind=Kind.BROKER, seconds=6, detail=where | {"kind": "reset"}),
        Action(at_seconds=11.0, kind=Kind.KILL, target="executor"),
    )
    async with a_stand(services=("market", "risk", "executor")) as stand:
        play = a_play(stand, 2)
        outcome = await play.run(Schedule(seed=2, seconds=16, actions=actions), close=True)
        assert not outcome.violations, report(list(outcome.violations))
        assert counts_of(play.seen)["orders replaced"] >= 3
