"""How many intents one risk decides in a second. Information, no target.

Intents lie in the stream before risk goes on, so that nothing but its own work is counted: each
is pulled, judged by every gate, signed, appended after the last decision, and acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

import msgspec
import uvloop

from benchmarks.order_path import portfolio, snapshot
from benchmarks.result import Result
from benchmarks.stand import SYMBOL, Stand, stands, utc_now
from libs.common.bus import Bus
from libs.common.bus_accounts import OPERATOR
from libs.common.settings import PlannerSettings, WheelSettings
from services.planner.planning import plan

INTENTS = 1_000
PULL_SECONDS = 1.5
PATIENCE_SECONDS = 120.0
PLANNED_BY = PlannerSettings(
    universe=(SYMBOL,), wheel=WheelSettings(dte_min=5, dte_max=14, min_open_interest=0)
)


def run() -> list[Result]:
    seconds, approved = uvloop.run(_measured())
    return [
        Result(
            name="risk decides an intent",
            ours_ms=seconds * 1000 / INTENTS,
            notes=f"{INTENTS / seconds:.0f} a second by one risk, {approved} of {INTENTS} approved",
        )
    ]


async def _measured() -> tuple[float, int]:
    """Seconds from going on to the last decision, and how many were approvals."""
    taken = snapshot(1)
    (wish,) = plan(taken, PLANNED_BY, at=taken.at).intents
    async with stands() as (stand,):
        market, planner = await _bus(stand, "market"), await _bus(stand, "planner")
        operator = await _bus(stand, OPERATOR)
        await market.publish(portfolio())
        await market.publish(taken)
        await stand.start(("risk",), {})
        tally = _Tally()
        await operator.watch("feed.decisions.>", tally.on_decision)
        risk = stand.children["risk"].process
        assert risk is not None
        os.kill(risk.pid, signal.SIGSTOP)
        await asyncio.sleep(PULL_SECONDS)
        for number in range(INTENTS):
            await planner.publish(
                msgspec.structs.replace(wish, message_id=f"intent-{number}", at=utc_now())
            )
        began = time.monotonic()
        os.kill(risk.pid, signal.SIGCONT)
        await asyncio.wait_for(tally.done.wait(), PATIENCE_SECONDS)
        for bus in (market, planner, operator):
            await bus.close()
        return tally.last_at - began, tally.approved


async def _bus(stand: Stand, account: str) -> Bus:
    return await Bus.connect(stand.nats.settings, account=account)


class _Tally:
    def __init__(self) -> None:
        self.decided = self.approved = 0
        self.last_at = 0.0
        self.done = asyncio.Event()

    def on_decision(self, subject: str, _payload: bytes) -> None:
        self.decided += 1
        self.last_at = time.monotonic()
        self.approved += subject.startswith("feed.decisions.approved.")
        if self.decided == INTENTS:
            self.done.set()
