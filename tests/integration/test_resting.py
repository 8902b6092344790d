"""Entries that rest too long, or past the close, are taken back from the exchange."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from libs.common.contracts import Heartbeat
from libs.common.order_ids import client_order_id
from services.executor import following
from tests.integration.broker import ACCOUNT_NUMBER, MIDDAY, Broker, refusal
from tests.integration.stories import approval, put_intent, wall
from tests.integration.world import Room, World, until

pytestmark = pytest.mark.integration

ID = client_order_id(ACCOUNT_NUMBER, "intent-1")
REST = dt.timedelta(minutes=60)


async def beat(world: World, room: Room, at: dt.datetime, *, market_open: bool = True) -> None:
    """What market's heartbeat would tell, and the executor's having heard it."""
    await world.bus.publish(
        Heartbeat(
            message_id=f"beat-{at.isoformat()}-{market_open}",
            at=wall(),
            service="market",
            instance="of-the-test",
            market_now=at,
            market_open=market_open,
        )
    )
    told = (at, market_open)
    heard = room.context
    await until(lambda: (heard.market_now, heard.market_open) == told, "the executor to hear it")


async def resting(world: World, broker: Broker) -> Room:
    """An executor, and an entry of it that rests at the exchange."""
    room = await world.room("executor", **world.broker_at(broker.url))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_in(world, "accepted")
    return room


async def row_in(world: World, state: str) -> dict[str, Any]:
    return await world.row_when("select * from orders where state = %s", state)


async def looked_again(world: World, room: Room) -> None:
    """Once more at everything that is open."""
    await room.service.following.follow()


def cancelled(broker: Broker) -> list[dict[str, Any]]:
    return broker.asked(method="DELETE", path=f"/v2/orders/{broker.orders[ID]['id']}")


async def test_an_entry_is_cancelled_when_its_rest_is_over(world: World, broker: Broker) -> None:
    room = await resting(world, broker)
    await beat(world, room, MIDDAY + REST - dt.timedelta(seconds=1))
    await looked_again(world, room)
    assert cancelled(broker) == []
    await beat(world, room, MIDDAY + REST)
    row = await row_in(world, "canceled")
    assert (row["broker_status"], row["filled_qty"]) == ("canceled", 0)
    assert broker.orders[ID]["status"] == "canceled"
    assert len(cancelled(broker)) == 1
    await until(lambda: "canceled" in world.statuses("intent-1"), "the fact")


async def test_an_entry_is_cancelled_when_the_market_has_closed(
    world: World, broker: Broker
) -> None:
    room = await resting(world, broker)
    await beat(world, room, MIDDAY + dt.timedelta(minutes=1))
    await looked_again(world, room)
    assert cancelled(broker) == []
    await beat(world, room, MIDDAY + dt.timedelta(minutes=2), market_open=False)
    await row_in(world, "canceled")
    assert len(cancelled(broker)) == 1


async def test_a_cancel_that_meets_an_error_is_asked_again(world: World, broker: Broker) -> None:
    room = await resting(world, broker)
    path = f"/v2/orders/{broker.orders[ID]['id']}"
    broker.next("DELETE", path, refusal(503), refusal(429, 42910000, "too many requests"))
    await beat(world, room, MIDDAY + REST)
    await row_in(world, "canceled")
    assert len(cancelled(broker)) == 3


async def test_a_cancel_that_was_refused_is_asked_again_while_the_order_works(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "CANCEL_AGAIN_SECONDS", 0.5)
    room = await resting(world, broker)
    path = f"/v2/orders/{broker.orders[ID]['id']}"
    broker.next("DELETE", path, refusal(403, 40310000, "not now"))
    await beat(world, room, MIDDAY + REST)
    await row_in(world, "canceled")
    assert len(cancelled(broker)) == 2
