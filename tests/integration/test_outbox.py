"""Rows and published facts never disagree, whenever the executor is killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Callable

import pytest

from libs.common.contracts import OrderChanged
from libs.common.order_ids import client_order_id
from tests.integration.broker import ACCOUNT_NUMBER, Broker
from tests.integration.stories import approval, put_intent, wall
from tests.integration.world import Process, World, until

pytestmark = pytest.mark.integration

INTENTS = 12
KILLS = 4
SECONDS = 30.0
ENDLESS = dt.timedelta(minutes=10)
UNRESOLVED = "select 1 from orders where state in ('approved', 'submitting', 'unknown')"
UNSAID = "select 1 from orders where published_revision < revision"


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_moment_it_says_what_it_wrote_and_nothing_else(
    world: World, broker: Broker, process: Callable[..., Process], seed: int
) -> None:
    drawn = random.Random(seed)
    environ = world.environ | world.broker_at(broker.url)
    running = process("executor", environ)
    published = 0
    for _ in range(KILLS):
        count = INTENTS // KILLS
        for number in range(published + 1, published + count + 1):
            expires_at = wall() + ENDLESS
            approved = approval(put_intent(number), world.keys, expires_at=expires_at)
            await world.bus.publish(approved)
        published += count
        first = client_order_id(ACCOUNT_NUMBER, f"intent-{published - count + 1}")
        await until(
            lambda id=first: world.rows("select 1 from orders where client_order_id = %s", id),
            "the first row",
            SECONDS,
        )
        await asyncio.sleep(drawn.uniform(0, 0.08))
        running.kill()
        running = process("executor", environ)
    await until(lambda: len(broker.orders) == INTENTS, "every intent to be an order", SECONDS)
    await until(lambda: not world.rows(UNRESOLVED), "no order to be in doubt")
    await until(lambda: not world.rows(UNSAID), "everything to be said")
    rows = world.rows("select client_order_id, revision, broker_status, filled_qty from orders")
    newest = [f"{row['client_order_id']}-r{row['revision']}" for row in rows]
    await until(lambda: {m.message_id for m in world.of(OrderChanged)} >= set(newest), "the facts")
    said = world.of(OrderChanged)
    assert len({fact.message_id for fact in said}) == len(said), "each fact once"
    events = {
        row["message_id"]: row["kind"]
        for row in world.rows("select message_id, kind from events where kind like 'order.%%'")
    }
    for fact in said:
        assert fact.message_id in events, "nothing is said that was not written"
    last = {fact.message_id: fact for fact in said}
    for row, message_id in zip(rows, newest, strict=True):
        assert last[message_id].status == row["broker_status"]
        assert last[message_id].filled_qty == row["filled_qty"]
