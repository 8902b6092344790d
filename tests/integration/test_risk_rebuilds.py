"""Two risks on one bus, news that gets lost, and approvals that are not what they seem."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from libs.common.bus import SequenceConflictError
from libs.common.contracts import Heartbeat, IntentApproved, IntentBlocked, OrderIntended
from libs.common.order_ids import client_order_id
from libs.common.signing import generate_keypair
from tests.integration.broker import ACCOUNT_NUMBER, Broker
from tests.integration.stories import (
    approval,
    portfolio,
    put_intent,
    quoted,
    snapshot,
    with_account,
)
from tests.integration.world import Process, World, until
from tests.unit.risk.books import told

pytestmark = pytest.mark.integration

PURSE = {"MAX_POSITION_PCT": "100", "CASH_BUFFER": "0", "MAX_SHORT_PUTS": "100"}
ROOTS = [f"A{letter}" for letter in "ABCDEFGHIJKL"]


async def market_of(world: World, cash: int) -> None:
    purse = with_account(cash=cash, buying_power=cash, options_buying_power=cash)
    await world.bus.publish(portfolio(account=purse))
    for root in ROOTS:
        await world.bus.publish(snapshot(root, contracts=[quoted(root)]))


def wishes() -> list[OrderIntended]:
    return [put_intent(number, root=root) for number, root in enumerate(ROOTS)]


def decided(world: World) -> list[IntentApproved | IntentBlocked]:
    return [*world.of(IntentApproved), *world.of(IntentBlocked)]


# --- two at once ------------------------------------------------------------------------------


async def test_two_risks_never_spend_the_same_cash(world: World) -> None:
    """Cash for two puts, twelve wishes, and two risks that both believe to be alone at first."""
    await market_of(world, 2 * 5_700)
    rooms = await asyncio.gather(*(world.room("risk", **PURSE) for _ in range(2)))
    for wish in wishes():
        await world.bus.publish(wish)
    await until(lambda: len(decided(world)) >= len(ROOTS), "every wish to be decided")
    assert len(world.of(IntentApproved)) == 2
    assert sorted(d.intent.message_id for d in decided(world)) == sorted(
        wish.message_id for wish in wishes()
    )
    await until(
        lambda: sorted(room.context.state for room in rooms) == ["ready", "standby"],
        "the younger to stand by",
    )


async def test_the_one_that_stands_by_takes_over(world: World) -> None:
    await market_of(world, 2 * 5_700)
    elder = await world.room("risk", **PURSE)
    younger = await world.start("risk", **PURSE)
    await until(lambda: younger.context.state == "standby", "the younger to stand by")
    first, second, third, *_ = wishes()
    await world.bus.publish(first)
    await until(lambda: world.of(IntentApproved), "the elder's approval")
    await world.end(elder)
    await younger.ready()
    assert [r.intent_id for r in younger.service.state.reservations] == [first.message_id]
    await world.bus.publish(second)
    await world.bus.publish(third)
    await until(lambda: len(decided(world)) == 3, "the younger's decisions")
    assert len(world.of(IntentApproved)) == 2


async def test_a_risk_that_was_stopped_wakes_up_and_approves_nothing_twice(
    world: World, process: Callable[..., Process]
) -> None:
    """SIGSTOP for longer than it is waited for: the younger takes over, the elder wakes up."""
    await market_of(world, 2 * 5_700)
    environ = world.environ | PURSE
    elder = process("risk", environ)
    await until(lambda: ready_risks(world), "the elder to be ready")
    first, second, *rest = wishes()
    await world.bus.publish(first)
    await until(lambda: world.of(IntentApproved), "the elder's approval")
    younger = await world.start("risk", **PURSE)
    await until(lambda: younger.context.state == "standby", "the younger to stand by")
    elder.popen.send_signal(signal.SIGSTOP)
    await younger.ready()
    await world.bus.publish(second)
    await until(lambda: len(world.of(IntentApproved)) == 2, "the younger's approval")
    elder.popen.send_signal(signal.SIGCONT)
    for wish in rest:
        await world.bus.publish(wish)
    await until(lambda: len(decided(world)) >= len(ROOTS), "every wish to be decided")
    assert len(world.of(IntentApproved)) == 2
    await until(lambda: younger.context.state == "standby", "the younger to give way again")


def ready_risks(world: World) -> list[Heartbeat]:
    return [b for b in world.of(Heartbeat) if b.service == "risk" and b.state == "ready"]


async def test_of_two_that_append_at_one_place_one_is_refused(world: World) -> None:
    first, second = (approval(put_intent(n), world.keys) for n in (1, 2))
    pattern = "decisions.*.*"
    place = await world.bus.append(first, pattern, 0)
    with pytest.raises(SequenceConflictError, match="another writer of decisions"):
        await world.bus.append(second, pattern, 0)
    assert await world.bus.append(first, pattern, 0) == place, "an answer that was lost"
    assert await world.bus.append(second, pattern, place) == place + 1
    await until(lambda: len(world.of(IntentApproved)) == 2, "both to be heard, once each")


# --- news that gets lost ----------------------------------------------------------------------


async def test_an_order_change_that_never_arrives_leaves_no_reservation_for_ever(
    world: World,
) -> None:
    """Somebody else pulls from risk's consumer, as a connection does that breaks in mid-message."""
    await market_of(world, 100_000)
    risk = await world.room("risk", **PURSE)
    for wish in wishes():
        await world.bus.publish(wish)
    await until(lambda: len(world.of(IntentApproved)) == len(ROOTS), "all approvals")
    thief = await world.raw.jetstream().pull_subscribe_bind(consumer="risk", stream="ORDERS")
    stealing = asyncio.create_task(thief.fetch(len(ROOTS), timeout=3))
    await asyncio.sleep(0.2)
    for wish in wishes():
        await world.bus.publish(told(wish, "canceled", changed=5))
    stolen = await stealing
    await thief.unsubscribe()
    assert stolen
    await until(lambda: not risk.service.state.reservations, "every reservation to be let go")


async def test_a_forged_approval_in_the_stream_reserves_nothing(world: World) -> None:
    await market_of(world, 5_700)
    await world.bus.publish(approval(wishes()[0], generate_keypair()))
    risk = await world.room("risk", **PURSE)
    assert risk.service.state.reservations == ()
    await world.bus.publish(wishes()[0])
    await until(lambda: len(world.of(IntentApproved)) == 2, "the genuine approval")


# --- approvals that are not what they seem ----------------------------------------------------


async def executed(world: World, number: int = 1) -> dict[str, Any]:
    return await world.row_when(
        "select o.state, o.approval_json from orders o where intent_id = %s and state = 'accepted'",
        f"intent-{number}",
    )


async def test_a_forged_approval_that_comes_first_does_not_stop_the_genuine_one(
    world: World, broker: Broker
) -> None:
    await world.room("executor", **world.broker_at(broker.url))
    forged = msgspec.structs.replace(
        approval(put_intent(1, strike="50"), generate_keypair()), message_id="forged"
    )
    unsigned = msgspec.structs.replace(forged, message_id="unsigned", signature="")
    for early in (forged, unsigned):
        await world.bus.publish(early)
    await until(lambda: len(world.alerts("approval")) == 2, "both to be told of")
    assert world.rows("select 1 from orders") == []
    genuine = approval(put_intent(1), world.keys)
    await world.bus.publish(genuine)
    row = await executed(world)
    assert row["approval_json"]["signature"] == genuine.signature
    decision = await world.row_when("select message_id from decisions")
    assert decision["message_id"] == genuine.message_id
    assert broker.posted == [client_order_id(ACCOUNT_NUMBER, "intent-1")]


async def test_an_approval_sent_again_makes_no_second_order(world: World, broker: Broker) -> None:
    """The same bytes under an id the bus does not know, then another approval of the intent."""
    await world.room("executor", **world.broker_at(broker.url))
    genuine = approval(put_intent(1), world.keys)
    await world.bus.publish(genuine)
    await executed(world)
    await world.bus.publish_raw(genuine.subject, msgspec.json.encode(genuine))
    other = approval(put_intent(1, strike="50"), world.keys, message_id="other", nonce="b")
    await world.bus.publish(other)
    await until(lambda: world.alerts("approval"), "the second approval to be told of")
    assert "another approval holds this intent's id" in world.alerts("approval")[0]
    await world.bus.publish(approval(put_intent(2), world.keys, nonce="c"))
    await executed(world, 2)
    assert broker.posted == [client_order_id(ACCOUNT_NUMBER, f"intent-{n}") for n in (1, 2)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"risk_config_version": "0" * 16}, "are not known here"),
        ({"seen_price": None}, "risk saw no price"),
        ({"seen_price": put_intent().limit_price * 3}, "is too far from"),
    ],
)
async def test_what_risk_signed_is_still_held_against_the_executors_own_caps(
    world: World, broker: Broker, changes: dict[str, Any], why: str
) -> None:
    await world.room("executor", **world.broker_at(broker.url))
    await world.bus.publish(approval(put_intent(1), world.keys, **changes))
    row = await world.row_when("select state, note from orders where state = 'error'")
    assert why in row["note"]
    assert broker.posted == []


async def test_every_gates_word_is_written_with_the_decision(world: World) -> None:
    await market_of(world, 5_700)
    await world.room("executor", BOT_MODE="dry", **PURSE)
    await world.room("risk", **PURSE)
    for wish in wishes()[:2]:
        await world.bus.publish(wish)
    for approved, wish in zip((True, False), wishes(), strict=False):
        row = await world.row_when(
            "select approved, checks_json from decisions where intent_id = %s", wish.message_id
        )
        (said,) = [d for d in decided(world) if d.intent.message_id == wish.message_id]
        assert row["approved"] is approved
        assert row["checks_json"] == msgspec.to_builtins(said.checks)
        assert {"trading_state", "losses", "capital", "cash_secured_put"} <= {
            check["gate"] for check in row["checks_json"]
        }
