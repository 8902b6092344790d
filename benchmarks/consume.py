"""Typed consuming against plain nats-py and msgspec: one message at a time, each acknowledged.

Ours is `Bus.consume` with a handler that decodes and acknowledges. Theirs pulls one message, has
msgspec decode it as the same Struct, and waits for the same confirmed acknowledgement. Both read
the same consumer of the same server in turn, equally many messages each.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import msgspec
import uvloop

from benchmarks.result import Result
from benchmarks.stand import SYMBOL, Stand, stands, utc_now
from libs.common.bus import Bus, Delivery
from libs.common.bus_accounts import API_PREFIX
from libs.common.contracts import Message, PlanMade
from libs.common.topology import RECORDERS

ROUNDS = 13
MESSAGES = 400
TARGET = 0.8
(PLANS,) = (consumer for consumer in RECORDERS if consumer.stream == "PLANS")
PULL_SECONDS = 1.2
"""A pull that a reader left open has ended by then, and swallows nothing of the next round."""


def run() -> list[Result]:
    ours_ms, theirs_ms = uvloop.run(_measured())
    return [
        Result(
            name="a message consumed, typed",
            ours_ms=ours_ms,
            theirs_ms=theirs_ms,
            ratio=theirs_ms / ours_ms,
            target=TARGET,
            notes=f"wall time of one, against fetch(1) of plain nats-py with msgspec;"
            f" {1000 / ours_ms:,.0f} a second",
        )
    ]


async def _measured() -> tuple[float, float]:
    """Milliseconds of one message, the medians of rounds that take turns."""
    ours: list[float] = []
    theirs: list[float] = []
    async with stands() as (stand,):
        for number in range(ROUNDS + 1):
            first = await _round(stand, 2 * number, _typed)
            second = await _round(stand, 2 * number + 1, _plain)
            if number:  # the first warms up
                ours.append(first)
                theirs.append(second)
    return statistics.median(ours), statistics.median(theirs)


async def _round(stand: Stand, number: int, consume: object) -> float:
    said = [plan_of(number * MESSAGES + i) for i in range(MESSAGES)]
    await publish(stand, said)
    heard: list[Message] = []
    took: float = await consume(stand, heard)  # type: ignore[operator]
    assert heard == said, "other messages were heard than said"
    await asyncio.sleep(PULL_SECONDS)
    return took * 1000 / MESSAGES


async def publish(stand: Stand, messages: list[PlanMade]) -> None:
    bus = await Bus.connect(stand.nats.settings, account="planner")
    for start in range(0, len(messages), 100):
        await asyncio.gather(*(bus.publish(m) for m in messages[start : start + 100]))
    await bus.close()


async def _typed(stand: Stand, heard: list[Message]) -> float:
    bus = await Bus.connect(stand.nats.settings, account="executor")
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        heard.append(delivery.decode())
        await delivery.ack()
        if len(heard) == MESSAGES:
            done.set()

    began = time.monotonic()
    task = asyncio.create_task(bus.consume(PLANS, handle))
    await done.wait()
    took = time.monotonic() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bus.close()
    return took


async def _plain(stand: Stand, heard: list[Message]) -> float:
    client = await stand.raw("executor")
    js = client.jetstream(prefix=API_PREFIX, timeout=2)
    decoder = msgspec.json.Decoder(PlanMade)
    began = time.monotonic()
    source = await js.pull_subscribe_bind(consumer=PLANS.name, stream=PLANS.stream)
    while len(heard) < MESSAGES:
        (msg,) = await source.fetch(1, timeout=1.0)
        heard.append(decoder.decode(msg.data))
        await msg.ack_sync(timeout=2)
    took = time.monotonic() - began
    await client.close()
    return took


def plan_of(number: int) -> PlanMade:
    now = utc_now()
    return PlanMade(
        message_id=f"plan-{number}",
        at=now,
        tick_id=f"tick-{number}",
        symbol=SYMBOL,
        as_of=now,
        spot=60.0,
        candidates=[],
        notes=["wheel: nothing to sell"],
    )
