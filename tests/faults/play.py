"""One schedule on one stand: play it, heal, wait until nothing moves, and hold what is seen
against the invariants.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import nats.errors
import psycopg
import requests

from tests.faults.inject import Injector
from tests.faults.invariants import FOR_GOOD, Observation, Violation, violations
from tests.faults.observe import Observer
from tests.faults.schedule import Schedule
from tests.faults.stand import Stand
from tests.faults.wishes import Planner

SETTLE_SECONDS = 150.0
LOOK_SECONDS = 0.5
LOOKS_ALIKE = 8
_PASSING = (nats.errors.Error, psycopg.Error, requests.RequestException, TimeoutError, OSError)

Say = Callable[[str], None]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one schedule came to."""

    seed: int
    seconds: float
    settle_seconds: float
    done: dict[str, int]
    violations: tuple[Violation, ...]


class Play:
    def __init__(self, stand: Stand, seed: int, say: Say) -> None:
        self.stand = stand
        self.planner = Planner(stand, seed)
        self.observer = Observer(stand)
        self.seen: Observation
        self._say = say

    async def run(self, schedule: Schedule, *, close: bool = False) -> Outcome:
        """`close` plays the session to its end afterwards, so that nothing rests any more."""
        begun = time.monotonic()
        injector = Injector(self.stand, self.planner, self._say)
        wishing = asyncio.create_task(self.planner.run())
        try:
            await injector.play(schedule)
        finally:
            wishing.cancel()
            await asyncio.gather(wishing, return_exceptions=True)
        await injector.heal()
        healed = time.monotonic()
        found = await self.settle(close=close)
        ended = time.monotonic()
        return Outcome(
            seed=schedule.seed,
            seconds=ended - begun,
            settle_seconds=ended - healed,
            done=dict(injector.done),
            violations=tuple(found),
        )

    async def settle(self, *, close: bool = False) -> list[Violation]:
        """Time stands still at the exchange while all sides come to agree; what still differs
        after `SETTLE_SECONDS` does not hold.
        """
        await self.stand.exchange("PATCH", "/sim/clock", json={"paused": True})
        found = await self._wait()
        if close and not found:
            resting = frozenset(row.client_order_id for row in self.seen.rows)
            await self.stand.exchange("POST", "/sim/step", json={"to": "close"})
            await self.stand.exchange("POST", "/sim/step", json={"to": "open"})
            found = await self._wait(resting)
        await self.stand.exchange("PATCH", "/sim/clock", json={"paused": False})
        return found

    async def _wait(self, closed: frozenset[str] = frozenset()) -> list[Violation]:
        deadline = time.monotonic() + SETTLE_SECONDS
        found: list[Violation] = []
        before: list[Violation] = []
        looks = 0
        while True:
            try:
                self.seen = await self.observer.look(
                    self.planner.acknowledged, halts=self.stand.halts, closed=closed
                )
                found = violations(self.seen)
                if not found:
                    return []
            except _PASSING as error:
                found = [Violation(invariant="all sides can be read", text=repr(error))]
            # One look is no single moment: only what several see alike is beyond mending.
            doomed = [one for one in found if one.invariant in FOR_GOOD]
            looks = looks + 1 if doomed and doomed == before else 0
            before = doomed
            hopeless = self.stand.gave_up or looks >= LOOKS_ALIKE
            if hopeless or time.monotonic() > deadline:
                return found
            await asyncio.sleep(LOOK_SECONDS)


def counts_of(seen: Observation) -> dict[str, int]:
    """The figures of a run, for people."""
    states = Counter(row.state.value for row in seen.rows)
    approved = sum(one.approved and one.genuine for one in seen.decisions)
    return {
        "intents acknowledged": len(seen.acknowledged),
        "intents in the stream": len(seen.stored),
        "approved": approved,
        "orders at the exchange": len(seen.orders),
        "posts and patches": len(seen.sent),
        "orders replaced": sum(order.status == "replaced" for order in seen.orders),
        **{f"rows {state}": count for state, count in sorted(states.items())},
    }
