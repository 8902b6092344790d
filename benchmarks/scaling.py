"""One, two and four planners on a universe of 500 symbols with 1,000 contracts each.

Planners as processes on a nats-server that syncs every write. They are stopped while the snapshots
are published, so that the market's own work is not counted, and go on together; the clock runs to
the last plan. Plans and intents must be the same however many made them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import statistics
import string
import sys
import time

import msgspec
import uvloop

from benchmarks.chains import UNDERLYING, Chain, puts_asked_for
from benchmarks.planning import snapshot_of
from benchmarks.result import Result
from benchmarks.stand import Stand, stands, utc_now
from libs.common.bus import Bus
from libs.common.bus_accounts import OPERATOR
from libs.common.contracts import Heartbeat, PlanMade, SnapshotTaken
from services.cli.supervisor import service_child

SYMBOLS = 500
CONTRACTS = 1_000
PLANNERS = (1, 2, 4)
WAIT_MS = 20
ROUNDS = 7
"""Of the short sweeps without waiting, in turns: one alone lasts a second and says little."""
LEAST_WAITING = 1.8
LEAST_BUSY = 1.5
PULL_SECONDS = 1.5
"""A pull that was open when a planner was stopped has ended by then."""
PATIENCE_SECONDS = 120.0


def run() -> list[Result]:
    waiting, busy = uvloop.run(_measured())
    return [
        *_rows(f"{WAIT_MS} ms of waiting in each", waiting, LEAST_WAITING),
        *_rows("nothing but work", busy, LEAST_BUSY),
    ]


def _rows(what: str, seconds: dict[int, float], least: float) -> list[Result]:
    first = PLANNERS[0]
    rows = []
    for count in PLANNERS[1:]:
        notes = (
            f"{what}: {SYMBOLS / seconds[count]:.0f} snapshots a second,"
            f" {SYMBOLS / seconds[first]:.0f} by one; {SYMBOLS} symbols x {CONTRACTS:,} contracts"
        )
        rows.append(
            Result(
                name=f"{count} planners against one",
                ours_ms=seconds[count] * 1000 / SYMBOLS,
                theirs_ms=seconds[first] * 1000 / SYMBOLS,
                ratio=seconds[first] / seconds[count],
                target=least if count == 2 else None,
                notes=notes,
            )
        )
    return rows


async def _measured() -> tuple[dict[int, float], dict[int, float]]:
    """Seconds for the whole universe by how many planners, waiting and not: medians."""
    universe = Universe(puts_asked_for())
    async with stands() as (stand,):
        answers: list[dict[str, int]] = []
        found = []
        for wait_ms, rounds in ((WAIT_MS, 1), (0, ROUNDS)):
            took: dict[int, list[float]] = {count: [] for count in PLANNERS}
            for number, count in itertools.product(range(rounds), PLANNERS):
                sweep = Sweep(stand, universe, count, f"tick-{count}-{wait_ms}-{number}", wait_ms)
                took[count].append(await sweep.run())
                answers.append(sweep.intended)
            found.append({count: statistics.median(each) for count, each in took.items()})
        assert answers[0], "nothing was planned"
        assert all(answer == answers[0] for answer in answers), "plans differ"
        return found[0], found[1]


class Universe:
    """Snapshots of symbols that differ in name only."""

    def __init__(self, chain: Chain) -> None:
        whole = snapshot_of(chain)
        self._pattern = msgspec.json.encode(
            msgspec.structs.replace(whole, contracts=whole.contracts[:CONTRACTS])
        )
        assert len(whole.contracts) >= CONTRACTS
        letters = itertools.product(string.ascii_uppercase, repeat=len(UNDERLYING))
        self.symbols = ["".join(found) for found in itertools.islice(letters, SYMBOLS)]

    def snapshots(self, tick_id: str) -> list[SnapshotTaken]:
        found = []
        for symbol in self.symbols:
            renamed = self._pattern.replace(UNDERLYING.encode(), symbol.encode())
            taken = msgspec.json.decode(renamed, type=SnapshotTaken)
            found.append(
                msgspec.structs.replace(
                    taken, message_id=f"{tick_id}-{symbol}", tick_id=tick_id, at=utc_now()
                )
            )
        return found


class Sweep:
    """Some planners, and the universe once through them."""

    def __init__(
        self, stand: Stand, universe: Universe, count: int, tick_id: str, wait_ms: int
    ) -> None:
        self.intended: dict[str, int] = {}
        """How many intents each symbol's plan named."""
        self._stand = stand
        self._tick_id = tick_id
        self._snapshots = universe.snapshots(self._tick_id)
        self._names = [f"planner-{number}" for number in range(1, count + 1)]
        self._wait_ms = wait_ms
        self._ready: set[str] = set()
        self._all_ready = asyncio.Event()
        self._planned_at = 0.0
        self._done = asyncio.Event()

    async def run(self) -> float:
        """Seconds from the planners' going on to the last plan."""
        bus = await Bus.connect(self._stand.nats.settings, account=OPERATOR)
        market = await Bus.connect(self._stand.nats.settings, account="market")
        try:
            await bus.watch("feed.plans.>", self._on_plan)
            await bus.watch("feed.ops.heartbeat.planner.*", self._on_beat)
            await self._start()
            self._signal(signal.SIGSTOP)
            await asyncio.sleep(PULL_SECONDS)
            for taken in self._snapshots:
                await market.publish(taken)
            began = time.monotonic()
            self._signal(signal.SIGCONT)
            await asyncio.wait_for(self._done.wait(), PATIENCE_SECONDS)
            return self._planned_at - began
        finally:
            for name in self._names:
                self._stand.end(name)
            await market.close()
            await bus.close()

    async def _start(self) -> None:
        for name in self._names:
            child = service_child("planner", self._stand.environ(), self._stand.logs)
            child.name = name
            child.log_path = self._stand.logs / f"{name}.log"
            if self._wait_ms:
                child.command = [
                    *(sys.executable, "-m", "benchmarks.waiting_planner", str(self._wait_ms))
                ]
            self._stand.children[name] = child
            child.start(time.monotonic())
        await asyncio.wait_for(self._all_ready.wait(), PATIENCE_SECONDS)

    def _pids(self) -> list[int]:
        processes = [self._stand.children[name].process for name in self._names]
        return [process.pid for process in processes if process is not None]

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            os.kill(pid, number)

    def _on_beat(self, _subject: str, payload: bytes) -> None:
        beat = msgspec.json.decode(payload, type=Heartbeat)
        if beat.state == "ready":
            self._ready.add(beat.instance.rpartition("-")[2])
        if self._ready >= {str(pid) for pid in self._pids()}:
            self._all_ready.set()

    def _on_plan(self, _subject: str, payload: bytes) -> None:
        made = msgspec.json.decode(payload, type=PlanMade)
        if made.tick_id != self._tick_id:
            return
        self.intended[made.symbol] = len(made.intent_ids)
        self._planned_at = time.monotonic()
        if len(self.intended) == SYMBOLS:
            self._done.set()
