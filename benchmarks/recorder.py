"""How many messages a second the executor's recorder writes to Postgres.

Ticks, plans and decisions lie on the bus (which itself stores fewer than it is to write, since it
syncs each); then the executor is started, in dry mode, and catches up. From the first row written
to the last, by the database's clock; every message must be there, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psycopg
import uvloop

from benchmarks.consume import plan_of
from benchmarks.order_path import FIGURES, SESSION
from benchmarks.result import Result
from benchmarks.stand import SYMBOL, Stand, stands, utc_now
from libs.common.bus import Bus
from libs.common.contracts import (
    GateResult,
    IntentBlocked,
    MarketTicked,
    Message,
    OrderIntended,
    OrderType,
    Side,
    TimeInForce,
)

EACH = 7_000
TARGET = 5_000.0
PATIENCE_SECONDS = 120.0
STREAMS = 3
COUNTS = """select (select count(*) from ticks), (select count(*) from plans),
 (select count(*) from decisions)"""
SECONDS = """select extract(epoch from max(recorded_at) - min(recorded_at)) from (
 select recorded_at from ticks union all select recorded_at from plans
 union all select recorded_at from decisions) as written"""


def run() -> list[Result]:
    seconds = uvloop.run(_measured())
    rate = EACH * STREAMS / seconds
    return [
        Result(
            name="messages recorded a second",
            figure=rate,
            target=TARGET,
            at_least=True,
            unit="a second",
            notes=f"{EACH:,} each of ticks, plans and decisions, caught up with by one executor",
        )
    ]


async def _measured() -> float:
    async with stands() as (stand,):
        for account, make in (("market", _tick), ("planner", plan_of), ("risk", _decision)):
            await _publish(stand, account, [make(number) for number in range(EACH)])
        await stand.start(("executor",), {"BOT_MODE": "dry"})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := _counts(stand)) != [EACH] * STREAMS:
            assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS:.0f} s: {found}"
            await asyncio.sleep(0.2)
        return _seconds(stand)


async def _publish(stand: Stand, account: str, messages: Sequence[Message]) -> None:
    bus = await Bus.connect(stand.nats.settings, account=account)
    for start in range(0, len(messages), 500):
        await asyncio.gather(*(bus.publish(m) for m in messages[start : start + 500]))
    await bus.close()


def _counts(stand: Stand) -> list[int]:
    with psycopg.connect(stand.address) as connection:
        return list(connection.execute(COUNTS).fetchone() or ())


def _seconds(stand: Stand) -> float:
    """Between the first and the last of the transactions that wrote them."""
    with psycopg.connect(stand.address) as connection:
        row = connection.execute(SECONDS).fetchone()
        assert row is not None
        return float(row[0])


def _tick(number: int) -> MarketTicked:
    now = utc_now()
    return MarketTicked(
        message_id=f"tick-{number}",
        at=now,
        tick_id=f"tick-{number}",
        as_of=now,
        session=SESSION,
        cause="schedule",
        duration_ms=12.5,
        requests=5,
        symbols=1,
        snapshots=1,
        contracts=8,
        account=FIGURES,
    )


def _decision(number: int) -> IntentBlocked:
    now = utc_now()
    intent = OrderIntended(
        message_id=f"intent-{number}",
        at=now,
        tick_id=f"tick-{number}",
        strategy="bench",
        underlying=SYMBOL,
        symbol=SYMBOL,
        side=Side.BUY,
        qty=1,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        as_of=now,
    )
    return IntentBlocked(
        message_id=f"no-{intent.message_id}",
        at=now,
        tick_id=intent.tick_id,
        intent=intent,
        checks=[GateResult(gate="form", ok=True, reason="") for _ in range(20)],
        reason="a benchmark",
    )
