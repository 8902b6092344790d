"""Risk over the bus: what it holds, what it says, and what it knows again after a restart."""

from __future__ import annotations

import pytest

from libs.common.contracts import IntentApproved, IntentBlocked
from libs.common.signing import verify
from tests.integration.stories import portfolio, put_intent, quoted, snapshot, with_account
from tests.integration.world import World, until

pytestmark = pytest.mark.integration


async def test_a_restart_forgets_no_reservation(world: World) -> None:
    """Cash for one put: approved before the restart, it is still taken after it."""
    purse = with_account(cash=8_000, buying_power=8_000, options_buying_power=8_000)
    await world.bus.publish(portfolio(account=purse))
    for root in ("KO", "PFE"):
        await world.bus.publish(snapshot(root, contracts=[quoted(root, "57"), quoted(root, "36")]))
    settings = {"MAX_POSITION_PCT": "100", "CASH_BUFFER": "0"}
    first = await world.room("risk", **settings)
    await world.bus.publish(put_intent(1))
    (approved,) = await until(lambda: world.of(IntentApproved), "the first put's approval")
    assert verify(world.keys.public, approved)
    await world.end(first)
    second = await world.room("risk", **settings)
    assert [r.intent_id for r in second.service.state.reservations] == ["intent-1"]
    await world.bus.publish(put_intent(2, root="PFE", strike="36"))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "the second put's block")
    assert "collateral 3600 above free cash 2300" in blocked.reason


async def test_an_intent_delivered_again_after_a_restart_is_decided_once(world: World) -> None:
    await world.bus.publish(portfolio())
    await world.bus.publish(snapshot(contracts=[quoted()]))
    first = await world.room("risk")
    await world.bus.publish(put_intent(1))
    await until(lambda: world.of(IntentApproved), "the approval")
    await world.end(first)
    js = world.raw.jetstream()
    await js.delete_consumer("INTENTS", "risk")
    await world.bus.provision()
    await world.room("risk")
    await world.bus.publish(put_intent(2))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "a word on the second intent")
    assert blocked.intent.message_id == "intent-2", "it repeats the first, which is pending"
    assert [a.intent.message_id for a in world.of(IntentApproved)] == ["intent-1"]


async def test_a_block_is_written_with_its_reason(world: World) -> None:
    await world.room("executor", BOT_MODE="dry")
    await world.room("risk", CASH_BUFFER="99000")
    await world.bus.publish(portfolio())
    await world.bus.publish(put_intent(1))
    row = await world.row_when(
        "select i.status, i.submitted, i.alpaca_order_id, d.approved, d.reason"
        " from order_intents i join decisions d on d.intent_id = i.id where i.id = 'intent-1'"
    )
    assert (row["status"], row["submitted"], row["approved"]) == ("blocked", False, False)
    assert "less buffer 99000" in row["reason"]
    (event,) = world.rows("select payload_json from events where kind = 'blocked'")
    assert event["payload_json"]["reason"] == row["reason"]
    assert world.rows("select count(*) as n from orders") == [{"n": 0}]
