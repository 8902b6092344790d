"""The executor on the stream of trade_updates: told at once, and right when it is told nothing.

Polling is so seldom here that what is booked in time was told; where the stream fails, the
executor must notice by itself and poll.
"""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.order_ids import client_order_id
from tests.integration.broker import ACCOUNT_NUMBER, Broker, hang
from tests.integration.stories import approval, put_intent
from tests.integration.world import Room, World, until

pytestmark = pytest.mark.integration

SELDOM = "3600"


def order_id(number: int) -> str:
    return client_order_id(ACCOUNT_NUMBER, f"intent-{number}")


async def executor(world: World, broker: Broker, **changes: str) -> Room:
    """With its stream open."""
    settings = {"ORDER_POLL_SECONDS_STREAMING": SELDOM, "RECONCILE_SECONDS": SELDOM} | changes
    room = await world.room("executor", **world.broker_at(broker.url), **settings)
    await until(lambda: room.context.counters.get("stream_connections"), "the stream")
    return room


def fault(broker: Broker, kind: str, **how_often: int) -> None:
    rule: dict[str, Any] = {"kind": kind, "stream": "trade_updates"}
    assert broker.ask("POST", "/sim/faults", json=rule | how_often).status_code == 200


async def in_state(world: World, number: int, state: str) -> None:
    await world.row_when(
        "select 1 from orders where intent_id = %s and state = %s", f"intent-{number}", state
    )


async def sold(world: World, number: int) -> None:
    await world.bus.publish(approval(put_intent(number), world.keys))
    await in_state(world, number, "accepted")


async def test_a_fill_is_booked_because_it_was_told(world: World, broker: Broker) -> None:
    room = await executor(world, broker)
    await sold(world, 1)
    polls = len(broker.asked(method="GET", path="/v2/orders"))
    broker.fill(order_id(1))
    await in_state(world, 1, "filled")
    looks = len(broker.asked(method="GET", path="/v2/orders"))
    assert looks <= polls + 1, "one look after the POST, of which the stream told meanwhile"
    assert len(world.rows("select 1 from fills")) == 1
    assert room.context.counters["stream_updates"] >= 1
    assert not world.alerts("order")


@pytest.mark.parametrize("kind", ["duplicate", "reorder"])
async def test_doubled_and_disordered_events_book_each_fill_once(
    world: World, broker: Broker, kind: str
) -> None:
    await executor(world, broker)
    fault(broker, kind)
    for number in (1, 2, 3):
        await sold_or_filled(world, number)
    for number in (1, 2, 3):
        if not is_filled(broker, number):
            broker.fill(order_id(number))
    broker.heal()
    broker.place(
        symbol="KO", qty="1", side="buy", type="limit", time_in_force="day", limit_price="1.00"
    )  # an event that lets out what was held back
    for number in (1, 2, 3):
        await in_state(world, number, "filled")
    assert len(world.rows("select 1 from fills")) == 3
    assert not world.alerts("order")


def is_filled(broker: Broker, number: int) -> bool:
    return bool(broker.orders[order_id(number)]["status"] == "filled")


async def test_a_dropped_stream_is_opened_again_and_the_gap_read_by_request(
    world: World, broker: Broker
) -> None:
    room = await executor(world, broker)
    await sold(world, 1)
    fault(broker, "drop", times=1)
    broker.fill(order_id(1))
    await in_state(world, 1, "filled")
    await until(lambda: room.context.counters["stream_connections"] == 2, "a second connection")
    await until(lambda: world.alerts("stream"), "word of it")


async def test_a_mute_stream_is_found_deaf_replaced_and_polled_meanwhile(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.executor.updates.GRACE_SECONDS", 0.2)
    room = await executor(world, broker, ORDER_POLL_SECONDS_STREAMING="1")
    await sold(world, 1)
    await until(lambda: room.context.counters.get("stream_updates"), "the stream to tell of it")
    await until(lambda: not room.service.desk.told, "a look after that")
    fault(broker, "mute")
    broker.fill(order_id(1))
    await in_state(world, 1, "filled")
    alerts = await until(lambda: world.alerts("stream"), "the stream to be found deaf")
    assert "tells nothing" in alerts[0]
    await sold_or_filled(world, 2)
    if not is_filled(broker, 2):
        broker.fill(order_id(2))
    await in_state(world, 2, "filled")
    assert not room.service.updates.trust.healthy
    broker.heal()
    await until(lambda: room.context.counters["stream_connections"] == 2, "another connection")
    await sold_or_filled(world, 3)
    await until(lambda: room.service.updates.trust.healthy, "the stream to be trusted again")


async def sold_or_filled(world: World, number: int) -> None:
    await world.bus.publish(approval(put_intent(number), world.keys))
    await world.row_when(
        "select 1 from orders where intent_id = %s and state in ('accepted', 'filled')",
        f"intent-{number}",
    )


async def test_a_fill_told_before_the_posts_answer_is_booked_once(
    world: World, broker: Broker
) -> None:
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="2")
    broker.next("POST", "/v2/orders", hang(after_accepting=True))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await until(lambda: broker.posted, "the order to be under way")
    broker.fill(order_id(1))
    await in_state(world, 1, "filled")
    assert broker.posted == [order_id(1)]
    assert len(world.rows("select 1 from fills")) == 1


async def test_orders_of_others_are_heard_and_left(world: World, broker: Broker) -> None:
    room = await executor(world, broker)
    broker.place(
        symbol="KO", qty="1", side="buy", type="limit", time_in_force="day", limit_price="1.00"
    )
    await until(lambda: room.context.counters.get("stream_unknown_orders"), "it to be heard")
    assert world.rows("select 1 from orders") == []
