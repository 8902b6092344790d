"""From a snapshot published to its order at the broker, against the bare sum of hops and commits.

Ours: planner, risk and executor as processes on a nats-server that syncs every write and a
Postgres that syncs every commit. One snapshot at a time is published as market would; what stands
for the broker stamps the order's arrival. Bare: order_path_bare.py, three processes on a server
and a database of their own that are set up the same: three durable publishes, each pulled one by
one and acknowledged, and two commits. The two take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import statistics
import sys
import time
from decimal import Decimal
from typing import Any

import msgspec
import uvloop

from benchmarks.order_path_bare import LOOK_UPS
from benchmarks.result import Result
from benchmarks.sink import ACCOUNT_NUMBER, Sink
from benchmarks.stand import SYMBOL, Stand, stands, utc_now
from libs.common.bus import Bus
from libs.common.bus_accounts import PROVISION, inbox_prefix
from libs.common.contracts import (
    AccountFigures,
    ContractQuote,
    PortfolioObserved,
    SnapshotTaken,
    StockQuote,
)
from libs.common.nkey_files import read_seed, seed_path
from libs.common.symbols import OptionSymbol, Right

SAMPLES = 300
WARM_UP = 40
PAUSE_SECONDS = 0.12
"""After each order, so that what comes after it (answer, fact, and the records, which the recorder
gathers for 50 ms) is over and no part of the next one, whosever that is.
"""
MEDIAN_MOST = 1.5
P99_MOST = 3.0
PATIENCE_SECONDS = 20.0
SESSION = dt.date(2020, 2, 12)
MIDDAY = dt.datetime(2020, 2, 12, 17, 0, tzinfo=dt.UTC)
CONTRACTS = 100
MONEY = Decimal(1_000_000_000)
FIGURES = AccountFigures(
    account_number=ACCOUNT_NUMBER,
    status="ACTIVE",
    equity=MONEY,
    last_equity=MONEY,
    cash=MONEY,
    buying_power=MONEY,
    options_buying_power=MONEY,
    options_level=3,
)


def run() -> list[Result]:
    ours, bare, looking = uvloop.run(_measured())
    rows = []
    for name, at, most in (("median", 50, MEDIAN_MOST), ("p99", 99, P99_MOST)):
        of_ours, of_bare, of_looking = (_percentile(x, at) for x in (ours, bare, looking))
        notes = (
            f"of {len(ours)}; bare: 3 hops, 2 commits. With our look-ups on the way (2 on the bus,"
            f" 2 in the tables) it takes {of_looking:.2f} ms, and the ratio is"
            f" {of_ours / of_looking:.2f}"
        )
        rows.append(
            Result(
                name=f"snapshot to order, {name}",
                ours_ms=of_ours,
                theirs_ms=of_bare,
                figure=of_ours / of_bare,
                target=most,
                unit="x bare",
                notes=notes,
            )
        )
    return rows


def _percentile(found: list[float], at: int) -> float:
    return statistics.quantiles(found, n=100, method="inclusive")[at - 1]


async def _measured() -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of each sample: ours, bare, and bare with the look-ups."""
    sink = Sink()
    await sink.open()
    async with stands(2) as (ours, bare):
        path = _Ours(ours, sink)
        await path.open()
        for number in range(WARM_UP):
            await path.sample(number)
        chain = _Bare(bare, await _sizes(ours))
        await chain.open()
        found: tuple[list[float], list[float], list[float]] = ([], [], [])
        for number in range(WARM_UP + SAMPLES):
            took = (
                await path.sample(WARM_UP + number),
                await chain.sample(2 * number, look_ups=False),
                await chain.sample(2 * number + 1, look_ups=True),
            )
            if number >= WARM_UP:
                for kept, one in zip(found, took, strict=True):
                    kept.append(one)
        await chain.close()
        await path.close()
    await sink.close()
    return found


class _Ours:
    def __init__(self, stand: Stand, sink: Sink) -> None:
        self._stand = stand
        self._sink = sink

    async def open(self) -> None:
        self._market = await Bus.connect(self._stand.nats.settings, account="market")
        await self._market.publish(portfolio())
        broker = {"ALPACA_BASE_URL": self._sink.url, "ALPACA_DATA_URL": self._sink.url}
        await self._stand.start(("executor", "risk", "planner"), broker)

    async def close(self) -> None:
        await self._market.close()

    async def sample(self, number: int) -> float:
        taken = snapshot(number)
        arrival = self._sink.next_order()
        began = time.monotonic()
        await self._market.publish(taken)
        arrived = await asyncio.wait_for(arrival, PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
        return (arrived - began) * 1000


async def _sizes(stand: Stand) -> tuple[int, int]:
    """Bytes of the newest intent and approval."""
    client = await stand.raw(PROVISION)
    js = client.jetstream()
    intent = await js.get_last_msg("INTENTS", "intents.>")
    approval = await js.get_last_msg("DECISIONS", "decisions.approved.>")
    await client.close()
    return len(intent.data or b""), len(approval.data or b"")


class _Bare:
    def __init__(self, stand: Stand, sizes: tuple[int, int]) -> None:
        self._stand = stand
        self._sizes = sizes
        self._hops: list[asyncio.subprocess.Process] = []

    async def open(self) -> None:
        self._market = await Bus.connect(self._stand.nats.settings, account="market")
        await self._market.publish(portfolio())
        newest = [["MARKET", f"market.snapshot.{SYMBOL}"], ["MARKET", "market.portfolio"]]
        intent, approval = self._sizes
        roles: list[dict[str, Any]] = [
            {"role": "executor", "stream": "DECISIONS", "consumer": "executor",
             "address": self._stand.address, "newest": []},
            {"role": "risk", "stream": "INTENTS", "consumer": "risk", "bytes": approval,
             "subject": f"decisions.approved.{SYMBOL}",
             "newest": newest},
            {"role": "planner", "stream": "MARKET", "consumer": "planner", "bytes": intent,
             "subject": f"intents.bare.{SYMBOL}"},
        ]  # fmt: skip
        for told in roles:
            self._hops.append(await self._hop(told))

    async def _hop(self, told: dict[str, Any]) -> asyncio.subprocess.Process:
        seeds = self._stand.nats.seeds_folder
        signing_in = {
            "url": self._stand.nats.url,
            "seed": read_seed(seed_path(seeds, told["role"])),
            "inbox": inbox_prefix(told["role"]),
        }
        hop = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.order_path_bare"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert hop.stdin is not None
        assert hop.stdout is not None
        hop.stdin.write(json.dumps(told | signing_in).encode() + b"\n")
        assert await hop.stdout.readline() == b"ready\n", f"the bare {told['role']} did not start"
        return hop

    async def close(self) -> None:
        for hop in self._hops:
            hop.terminate()
            await hop.wait()
        await self._market.close()

    async def sample(self, number: int, *, look_ups: bool) -> float:
        taken = snapshot(number)
        payload = msgspec.json.encode(taken)
        headers = {"Nats-Msg-Id": taken.message_id} | ({LOOK_UPS: "yes"} if look_ups else {})
        executor = self._hops[0].stdout
        assert executor is not None
        began = time.monotonic()
        await self._market.jetstream.publish(taken.subject, payload, timeout=2, headers=headers)
        line = await asyncio.wait_for(executor.readline(), PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
        return (float(line) - began) * 1000


def portfolio() -> PortfolioObserved:
    return PortfolioObserved(
        message_id="portfolio-bench",
        at=utc_now(),
        tick_id="tick-bench",
        as_of=MIDDAY,
        session=SESSION,
        account=FIGURES,
    )


def snapshot(number: int) -> SnapshotTaken:
    """A chain of the size that market asks for, of which one put is sold."""
    return SnapshotTaken(
        message_id=f"snapshot-{number}",
        at=utc_now(),
        tick_id=f"tick-{number}",
        symbol=SYMBOL,
        as_of=MIDDAY,
        session=SESSION,
        account=FIGURES,
        quote=StockQuote(bid=59.99, ask=60.01, last=60.0, as_of=MIDDAY),
        contracts=[_put(step, days) for days in (7, 9) for step in range(CONTRACTS // 2)],
    )


def _put(step: int, days: int) -> ContractQuote:
    strike, expiration = 36 + step * 0.5, SESSION + dt.timedelta(days=days)
    option = OptionSymbol(
        root=SYMBOL, expiration=expiration, right=Right.PUT, strike=Decimal(repr(strike))
    )
    bid = round(0.05 + step * 0.03, 2)
    return ContractQuote(
        symbol=str(option),
        right=Right.PUT,
        strike=Decimal(repr(strike)),
        expiration=expiration,
        bid=bid,
        ask=bid + 0.05,
        delta=round(-0.01 * step, 4),
        gamma=0.0312,
        theta=-0.0441,
        vega=0.0213,
        implied_volatility=0.3127,
        open_interest=500,
    )
