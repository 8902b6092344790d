"""A schedule is its seed's; it holds what the list of faults asks for."""

from __future__ import annotations

from tests.faults.schedule import WEIGHTS, Kind, Schedule, kills_of, make_schedule


def test_the_same_seed_gives_the_same_schedule_and_another_does_not() -> None:
    assert make_schedule(5, seconds=40) == make_schedule(5, seconds=40)
    assert make_schedule(5, seconds=40).actions != make_schedule(6, seconds=40).actions


def test_actions_come_in_order_within_their_time() -> None:
    schedule = make_schedule(3, seconds=60)
    times = [action.at_seconds for action in schedule.actions]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 60


def test_every_kind_that_has_a_weight_is_drawn_sooner_or_later() -> None:
    drawn = {action.kind for action in make_schedule(1, seconds=2000).actions}
    assert drawn == set(WEIGHTS)
    only = make_schedule(1, seconds=100, weights={Kind.CLOCK: 1, Kind.HALT: 1})
    assert {action.kind for action in only.actions} == {Kind.CLOCK, Kind.HALT}


def test_kills_are_counted_by_process() -> None:
    schedule: Schedule = make_schedule(1, seconds=2000)
    kills = kills_of(schedule.actions)
    assert set(kills) == {"executor", "risk", "market", "planner", "reporter", "nats", "postgres"}
    assert sum(kills.values()) == sum(
        action.kind in (Kind.KILL, Kind.NATS_KILL, Kind.POSTGRES_KILL)
        for action in schedule.actions
    )


def test_it_can_be_read_and_played_again_from_its_text() -> None:
    schedule = make_schedule(9, seconds=20)
    text = str(schedule)
    assert text.startswith("seed 9, 20 s\n")
    assert len(text.splitlines()) == 1 + len(schedule.actions)
