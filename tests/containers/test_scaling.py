"""More of one kind: planners share the snapshots, risks and executors stand by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.containers.engine import Stack, docker, until

PLANNERS = 4
TAKES_ONE_AND_HANGS = """
import asyncio
from libs.common.bus import Bus
from libs.common.runtime import settings_from
from libs.common.topology import PLANNER
import os

async def main():
    bus = await Bus.connect(settings_from(os.environ).settings.bus, account="planner")
    async def hang(delivery):
        print("took", delivery.subject, delivery.decode().tick_id, flush=True)
        await asyncio.sleep(3600)
    await bus.consume(PLANNER, hang)

asyncio.run(main())
"""
"""A planner of the same code up to the planning itself, in which it stays."""


@contextmanager
def market_stands_still(stack: Stack) -> Iterator[None]:
    stack.alpaclaudia("exchange", "pause", service="exchange")
    try:
        yield
    finally:
        stack.alpaclaudia("exchange", "resume", service="exchange")


def plans_of(stack: Stack, tick_id: str) -> set[str]:
    """The stocks that were planned for a tick, by whichever planner."""
    return {
        line["text"].partition(".")[2]
        for line in stack.lines("planner")
        if line["text"].startswith("plans.") and line.get("tick_id") == tick_id
    }


def hanging_planner(stack: Stack) -> str:
    words = ("run", "-d", "--no-deps", "--entrypoint", "python", "planner")
    return stack.compose(*words, "-c", TAKES_ONE_AND_HANGS).split()[-1]


def test_four_planners_share_the_snapshots_and_a_killed_ones_is_planned_by_another(
    stack: Stack,
) -> None:
    stack.up("--scale", f"planner={PLANNERS}", "--no-recreate")
    ids = stack.ids("planner")
    assert len(ids) == PLANNERS

    def planned() -> Counter[str]:
        return Counter(one for one in ids if '"plans.' in docker("logs", one))

    until(lambda: len(planned()) == PLANNERS, "each of four planners to have planned")

    with market_stands_still(stack):
        victim = hanging_planner(stack)
        try:
            took = until(lambda: _tick_until_taken(stack, victim), "the fifth to take a snapshot")
        finally:
            docker("kill", "--signal=KILL", victim)
            docker("rm", "-f", victim)
        subject, tick_id = took
        stock = subject.rpartition(".")[2]
        assert stock not in plans_of(stack, tick_id)
        until(lambda: stock in plans_of(stack, tick_id), f"{stock} to be planned by another")


def _tick_until_taken(stack: Stack, victim: str) -> tuple[str, str] | None:
    """What the victim has in hand, after one tick more if it has nothing yet."""
    taken = [line for line in docker("logs", victim).splitlines() if line.startswith("took ")]
    if not taken:
        stack.alpaclaudia("tick", "--wait-seconds", "0")
        return None
    _, subject, tick_id = taken[-1].split()
    return subject, tick_id


def test_second_risk_and_executor_stand_by_and_take_over(stack: Stack) -> None:
    stack.up("--scale", "risk=2", "--scale", "executor=2", "--no-recreate")
    for service in ("risk", "executor"):
        indexes = index_by_state(stack, service)
        assert sorted(indexes) == ["ready", "standby"], service
        stack.kill(service, indexes["ready"])
        until(
            lambda s=service, i=indexes["standby"]: stack.state_of(s, i) == "ready",  # type: ignore[misc]
            f"the other {service} to take over",
        )
    ticks = stack.ticks()
    until(lambda: stack.ticks() > ticks, "a tick after both")


def index_by_state(stack: Stack, service: str) -> dict[str, int]:
    def settled() -> dict[str, int]:
        found = {stack.state_of(service, index): index for index in (1, 2)}
        return found if set(found) == {"ready", "standby"} else {}

    settled_ones: dict[str, int] = until(settled, f"one {service} to be active and one not")
    return settled_ones


def test_own_status_is_one_json_line(session_stack: Stack) -> None:
    said = session_stack.alpaclaudia("status", "--json", service="planner")
    assert json.loads(said)["service"] == "planner"
