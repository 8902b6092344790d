"""Broker and books part ways: what is told, what stops, and what lets entries leave again."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.common.contracts import PositionIntent, Side
from libs.common.order_ids import client_order_id
from tests.integration.broker import ACCOUNT_NUMBER, Broker
from tests.integration.stories import approval, occ, put_intent
from tests.integration.world import PASSED_ON, Room, World, until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.service.RECONCILE_SECONDS_MIN", 0.1)
    monkeypatch.setattr("services.executor.reconciling.AGAIN_SECONDS", 0.05)


async def executor(world: World, broker: Broker) -> Room:
    return await world.room(
        "executor", **world.broker_at(broker.url), RECONCILE_SECONDS="5", ALPACA_CLOCK_SPEED="50"
    )


def order_id(number: int) -> str:
    return client_order_id(ACCOUNT_NUMBER, f"intent-{number}")


async def open_difference(world: World, kind: str) -> dict[str, Any]:
    return await world.row_when(
        "select * from differences where kind = %s and explained_at is null", kind
    )


async def is_explained(world: World, number: int) -> None:
    await world.row_when(
        "select 1 from differences where id = %s and explained_at is not null", number
    )


async def ended(world: World, number: int, state: str) -> str:
    row = await world.row_when(
        "select note from orders where intent_id = %s and state = %s", f"intent-{number}", state
    )
    return str(row["note"])


def by_hand(broker: Broker, **terms: str) -> dict[str, Any]:
    order = {"symbol": "KO", "side": "buy", "type": "limit", "qty": "1", "time_in_force": "day"}
    order["client_order_id"] = "by-hand-too"
    return broker.place(**(order | {"limit_price": "1.00"} | terms))


async def test_an_order_by_hand_stops_entries_until_it_is_gone(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    hand = by_hand(broker, client_order_id="by-hand")
    found = await open_difference(world, "unknown_order")
    assert (found["subject"], found["ours"]) == ("by-hand", "no such order")
    assert found["theirs"] == "buy 1 KO at 1, new"
    words = "our books say no such order, the broker buy 1 KO at 1, new; new entries stop"
    await until(lambda: any(words in text for text in world.alerts("reconcile")), "an alert")
    await world.bus.publish(approval(put_intent(1), world.keys))
    assert "difference 1 between books and broker" in await ended(world, 1, "expired")
    assert broker.posted == ["by-hand"]
    assert broker.ask("DELETE", f"/v2/orders/{hand['id']}").status_code == 204
    await is_explained(world, found["id"])
    await world.bus.publish(approval(put_intent(2), world.keys))
    await ended(world, 2, "accepted")
    assert broker.posted == ["by-hand", order_id(2)]


async def test_what_closes_something_leaves_in_spite_of_a_difference(
    world: World, broker: Broker
) -> None:
    sold = by_hand(
        broker,
        symbol=occ("KO", "57"),
        side="sell",
        limit_price="0.01",
        position_intent="sell_to_open",
    )
    broker.fill(sold["client_order_id"])
    await executor(world, broker)
    by_hand(broker, client_order_id="by-hand")
    await open_difference(world, "unknown_order")
    closing = put_intent(
        1,
        side=Side.BUY,
        position_intent=PositionIntent.BUY_TO_CLOSE,
        limit_price=Decimal("3.75"),
    )
    await world.bus.publish(approval(closing, world.keys))
    await ended(world, 1, "accepted")


async def test_shares_nobody_ordered_stop_entries_until_an_operator_takes_them_over(
    world: World, broker: Broker
) -> None:
    room = await executor(world, broker)
    bought = by_hand(broker, qty="10", limit_price="900.00")
    broker.fill(bought["client_order_id"])
    found = await open_difference(world, "position")
    assert (found["subject"], found["ours"], found["theirs"]) == ("KO", "0", "10")
    await world.end(room)
    await executor(world, broker)  # a restart explains nothing
    await world.bus.publish(approval(put_intent(1), world.keys))
    await ended(world, 1, "expired")
    shown = await command(world, "reconcile")
    assert shown.returncode == 1
    assert "position KO" in shown.stdout
    bare = await command(world, "reconcile", "--acknowledge", str(found["id"]))
    assert bare.returncode == 2
    done = await command(world, "reconcile", "--acknowledge", str(found["id"]), "--why", "a gift")
    assert "entries leave again" in done.stdout, done.stderr
    again = await command(world, "reconcile", "--acknowledge", str(found["id"]), "--why", "a gift")
    assert again.returncode == 1
    assert "no difference" in again.stderr
    await world.bus.publish(approval(put_intent(2), world.keys))
    await until(lambda: order_id(2) in broker.posted, "an entry to leave")
    await is_explained(world, found["id"])
    kept = world.rows("select acknowledged_by, why from differences where kind = 'position'")
    assert [row["why"] for row in kept] == ["a gift"]
    assert kept[0]["acknowledged_by"]


async def test_what_was_there_before_and_what_filled_meanwhile_is_no_difference(
    world: World, broker: Broker
) -> None:
    before = by_hand(broker, qty="10", limit_price="900.00")
    broker.fill(before["client_order_id"])
    room = await executor(world, broker)
    await world.bus.publish(approval(put_intent(1), world.keys))
    await ended(world, 1, "accepted")
    await world.end(room)
    broker.fill(order_id(1))
    room = await executor(world, broker)
    await ended(world, 1, "filled")
    await until(lambda: len(broker.asked(path="/v2/positions")) >= 8, "some reads")
    assert world.rows("select kind, subject, ours, theirs from differences") == []
    opening = world.rows("select symbol, qty from opening_balances where symbol <> ''")
    assert opening == [{"symbol": "KO", "qty": Decimal(10)}]


async def test_an_account_that_cannot_be_read_for_long_stops_entries(
    world: World, broker: Broker
) -> None:
    room = await world.room("executor", **world.broker_at(broker.url), RECONCILE_SECONDS="3600")
    room.service.desk.reconciled_at -= 3 * 3600 + 1
    await world.bus.publish(approval(put_intent(1), world.keys))
    await ended(world, 1, "expired")
    assert broker.posted == []
    (row,) = world.rows("select note from orders")
    assert "could not be held against the books" in row["note"]


async def command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """Apart from this loop, where an executor is that must keep its lock alive."""
    return await world.ask(lambda: run_command(world, *words))


def run_command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env=inherited | {"ALPACLAUDIA_ENV_FILE": "", "COLUMNS": "160"} | world.environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
