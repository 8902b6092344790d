"""Options end at the exchange; the ledger has each end once, however often it is looked at."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts import LedgerEntered
from tests.integration.world import Room, RunningExchange, World, until

pytestmark = pytest.mark.integration

FRIDAY = "2020-02-21"
SPEED = 15_600.0


def sell_nearest(exchange: RunningExchange, right: str, spot: float, aim: float) -> dict[str, Any]:
    """Sells one contract that expires on Friday, its strike nearest `aim` times spot."""
    found = exchange.get(
        "/v2/options/contracts", underlying_symbols="KO", expiration_date=FRIDAY, limit="10000"
    )["option_contracts"]
    chosen = min(
        (c for c in found if c["type"] == right and c["tradable"]),
        key=lambda c: abs(float(c["strike_price"]) - aim * spot),
    )
    return exchange.post_order(
        symbol=chosen["symbol"],
        qty="1",
        side="sell",
        type="limit",
        time_in_force="day",
        limit_price="0.01",
        position_intent="sell_to_open",
    )


def counted_looks(room: Room) -> list[object]:
    """Grows with each look of the room at the broker's activities."""
    looks: list[object] = []
    look = room.service.broker.activities_after

    def counted(date: dt.date | None) -> object:
        looks.append(date)
        return look(date)

    room.service.broker.activities_after = counted
    return looks


async def test_each_end_of_an_option_is_entered_once(
    world: World, exchange: Callable[..., RunningExchange]
) -> None:
    running = exchange(start_date=dt.date(2020, 2, 20), stocks={"KO": Decimal(100)}, speed=0.001)
    snapshot = running.get("/v2/stocks/snapshots", symbols="KO")["KO"]
    spot = float(snapshot["latestTrade"]["p"])
    sold = {
        "assigned": sell_nearest(running, "put", spot, 1.05),
        "called_away": sell_nearest(running, "call", spot, 0.95),
        "expired": sell_nearest(running, "put", spot, 0.985),
    }
    running.go_on_at(SPEED)
    settings = world.broker_at(running.url) | {"ALPACA_CLOCK_SPEED": str(SPEED)}
    first = await world.room("executor", **settings)
    looks = counted_looks(first)
    await until(
        lambda: {r["event"] for r in world.rows("select event from ledger")} >= sold.keys(),
        "the three ends",
    )
    seen = len(looks)
    await until(lambda: len(looks) >= seen + 2, "two more looks")
    await world.end(first)
    looks = counted_looks(await world.room("executor", **settings))
    await until(lambda: len(looks) >= 2, "two looks after a restart")
    entered = world.rows("select event, symbol, message_id from ledger")
    assert Counter(row["event"] for row in entered) == {
        "assigned": 1,
        "called_away": 1,
        "expired": 1,
        "other": 2,  # the shares that moved, told beside the two that moved them
    }
    for event, order in sold.items():
        assert [r["symbol"] for r in entered if r["event"] == event] == [order["symbol"]]
    await until(lambda: len(world.of(LedgerEntered)) >= 5, "each to be published")
    assert len({entry.message_id for entry in world.of(LedgerEntered)}) == 5
    events = world.rows("select kind from events where kind like 'ledger.%%'")
    assert len(events) == 5
