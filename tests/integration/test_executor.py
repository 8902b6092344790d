"""What becomes of an approval: one order, whatever the broker, the bus or a crash does to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from libs.common.contracts import AlpacaEnv, IntentApproved, OrderChanged
from libs.common.database import engine_for
from libs.common.order_ids import client_order_id
from libs.common.runtime import EXIT_BROKEN_PROMISE
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderChange
from services.executor.store import ExecutorStore
from tests.integration.broker import (
    ACCOUNT_NUMBER,
    Broker,
    Fault,
    hang,
    malformed,
    refusal,
    reset,
)
from tests.integration.stories import approval, put_intent, wall
from tests.integration.world import End, Process, World, base_environ, until

pytestmark = pytest.mark.integration

ORDERS = "/v2/orders"
ID = client_order_id(ACCOUNT_NUMBER, "intent-1")


async def executor(world: World, broker: Broker, **changes: str) -> None:
    await world.room("executor", **world.broker_at(broker.url), **changes)


async def status_becomes(world: World, intent_id: str, status: str) -> dict[str, object]:
    return await world.row_when(
        "select i.*, o.state, o.note, o.client_order_id from order_intents i"
        " join orders o on o.intent_id = i.id where i.id = %s and i.status = %s",
        intent_id,
        status,
    )


async def test_an_approval_becomes_an_order_and_its_fill_is_booked_once(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    await world.bus.publish(approval(put_intent(1), world.keys))
    row = await status_becomes(world, "intent-1", "new")
    order_id = broker.orders[ID]["id"]
    assert (row["submitted"], row["alpaca_order_id"], row["state"]) == (True, order_id, "accepted")
    price = broker.fill(ID)
    await status_becomes(world, "intent-1", "filled")
    (fill,) = world.rows("select * from fills")
    assert (fill["client_order_id"], fill["qty"], fill["price"]) == (ID, 1, price)
    await until(lambda: "filled" in world.statuses("intent-1"), "the fill to be published")
    assert world.statuses("intent-1") == ["new", "filled"]
    kinds = [e["kind"] for e in world.rows("select kind from events where kind like 'order.%%'")]
    assert kinds == ["order.pending_new", "order.new", "order.filled"]
    assert broker.posted == [ID]


async def test_an_approval_delivered_twice_is_one_order(world: World, broker: Broker) -> None:
    await executor(world, broker)
    approved = approval(put_intent(1), world.keys)
    await world.bus.publish(approved)
    await world.bus.publish(msgspec.structs.replace(approved, message_id="the-same-again"))
    await world.bus.publish(
        approval(put_intent(2, root="PFE", strike="36", limit_price=Decimal("5.20")), world.keys)
    )
    await status_becomes(world, "intent-2", "new")
    assert broker.posted == [ID, client_order_id(ACCOUNT_NUMBER, "intent-2")]
    assert world.rows("select count(*) as n from orders") == [{"n": 2}]


DOUBTS = {
    "500 after accepting": refusal(500, after_accepting=True),
    "500 before accepting": refusal(500),
    "504 after accepting": refusal(504, after_accepting=True),
    "malformed JSON after accepting": malformed(after_accepting=True),
    "no JSON at all, before accepting": malformed("<html>gateway</html>"),
    "reset after accepting": reset(after_accepting=True),
    "reset before accepting": reset(),
    "silence after accepting": hang(after_accepting=True),
    "silence before accepting": hang(),
}


@pytest.mark.parametrize("fault", DOUBTS.values(), ids=DOUBTS.keys())
async def test_doubt_is_resolved_to_one_order(world: World, broker: Broker, fault: Fault) -> None:
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4")
    broker.next("POST", ORDERS, fault)
    await world.bus.publish(approval(put_intent(1), world.keys))
    row = await status_becomes(world, "intent-1", "new")
    assert (row["state"], row["alpaca_order_id"]) == ("accepted", broker.orders[ID]["id"])
    assert list(broker.orders) == [ID]
    assert set(broker.posted) == {ID}, "every try carries the same id"
    assert len(broker.posted) == (1 if fault["kind"].endswith("_after") else 2)
    await until(lambda: "new" in world.statuses("intent-1"), "the order to be published")
    assert world.statuses("intent-1")[0] == "unknown"
    assert world.alerts("doubt")
    assert world.rows("select 1 from events where kind='order.new'")


async def test_a_refusal_of_the_second_post_is_no_word_on_the_first(
    world: World, broker: Broker
) -> None:
    """The first may have arrived and taken the cash that the second is refused for."""
    await executor(world, broker)
    broker.next("POST", ORDERS, refusal(500), refusal(403))
    await world.bus.publish(approval(put_intent(1), world.keys))
    row = await status_becomes(world, "intent-1", "new")
    assert row["state"] == "accepted"
    await until(lambda: "new" in world.statuses("intent-1"), "the order to be published")
    assert "rejected" not in world.statuses("intent-1")
    assert broker.posted == [ID, ID, ID]
    assert list(broker.orders) == [ID]


async def test_an_order_in_doubt_at_another_account_is_neither_sent_nor_given_up(
    world: World, broker: Broker
) -> None:
    sent = wall() - dt.timedelta(minutes=5)
    elsewhere = approval(put_intent(1), world.keys, account_number="OTHER1", expires_at=sent)
    other = client_order_id("OTHER1", "intent-1")
    engine = engine_for(world.database_url, application="tests")
    store = ExecutorStore(engine)
    assert store.fence.take_now()
    row = store.begin(elsewhere, other)
    store.change(row, OrderChange(state=OrderState.SUBMITTING, ts=sent))
    store.fence.close()
    engine.dispose()
    await executor(world, broker)
    alerts = await until(lambda: world.alerts("order"), "an alert that names the account")
    assert "it belongs to OTHER1" in alerts[0]
    assert world.rows("select state from orders") == [{"state": "unknown"}]
    assert broker.posted == []


async def test_an_order_found_under_its_id_already_is_adopted(world: World, broker: Broker) -> None:
    """As after a crash whose traces are lost: the broker has it, we do not know, and post."""
    await executor(world, broker)
    before = broker.place(
        client_order_id=ID,
        symbol=put_intent(1).symbol,
        side="sell",
        type="limit",
        qty="1",
        time_in_force="day",
        limit_price="3.80",
        position_intent="sell_to_open",
    )
    await world.bus.publish(approval(put_intent(1), world.keys))
    row = await status_becomes(world, "intent-1", "new")
    assert row["alpaca_order_id"] == before["id"]
    assert broker.posted == [ID, ID], "by hand, and then by the executor"
    assert list(broker.orders) == [ID]
    assert not world.alerts("mismatch")


async def test_a_refusal_is_written_with_its_code_and_the_next_order_leaves(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    broker.next("POST", ORDERS, refusal(403, 40310000, "insufficient options buying power"))
    broker.next("POST", ORDERS, refusal(422, 42210000, "limit price is off the grid"))
    for number in (1, 2, 3):
        await world.bus.publish(approval(put_intent(number), world.keys))
    await status_becomes(world, "intent-3", "new")
    forbidden = await status_becomes(world, "intent-1", "rejected")
    assert forbidden["note"] == "403 40310000 insufficient options buying power"
    assert not forbidden["submitted"]
    invalid = await status_becomes(world, "intent-2", "rejected")
    assert invalid["note"] == "422 42210000 limit price is off the grid"
    (event,) = world.rows(
        "select payload_json from events where kind='order.rejected'"
        " and payload_json->>'client_order_id'=%s",
        ID,
    )
    assert "40310000" in event["payload_json"]["note"]
    assert "40310000" in world.alerts("rejected")[0]


async def test_too_many_requests_are_tried_again_with_the_same_id(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    broker.next("POST", ORDERS, refusal(429, 42910000, "too many requests"))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await status_becomes(world, "intent-1", "new")
    assert broker.posted == [ID, ID]
    assert list(broker.orders) == [ID]


async def test_keys_refused_in_mid_flight_end_the_executor(world: World, broker: Broker) -> None:
    room = await world.room("executor", **world.broker_at(broker.url))
    broker.next(
        "POST", ORDERS, {"kind": "error", "status": 401, "body": '{"message": "unauthorized"}'}
    )
    await world.bus.publish(approval(put_intent(1), world.keys))
    error = await room.ended()
    assert "Alpaca refuses the keys (401 unauthorized)" in str(error)
    await status_becomes(world, "intent-1", "rejected")


async def test_a_broker_that_fails_while_orders_are_followed_is_asked_again(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.executor.service.RETRY_SECONDS", 0.05)
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4")
    await world.bus.publish(approval(put_intent(1), world.keys))
    await status_becomes(world, "intent-1", "new")
    broker.next("GET", ORDERS, refusal(500), malformed(), hang(), reset())
    broker.next("GET", "/v2/account/activities", refusal(503), malformed('{"a": 1}'))
    await until(lambda: len(world.alerts("broker")) >= 4, "an alert for each failure")
    broker.fill(ID)
    await status_becomes(world, "intent-1", "filled")


# --- what is never sent --------------------------------------------------------------------------


async def test_approvals_that_do_not_hold_are_never_sent(world: World, broker: Broker) -> None:
    await executor(world, broker)
    past = wall() - dt.timedelta(seconds=1)
    stories: list[tuple[IntentApproved, str, str]] = [
        (approval(put_intent(1), world.keys, expires_at=past), "expired", "expired"),
        (approval(put_intent(3), world.keys, account_number="OTHER"), "error", "another account"),
        (
            approval(put_intent(6), world.keys, alpaca_env=AlpacaEnv.PAPER),
            "error",
            "approval is for paper",
        ),
    ]
    for approved, _status, _why in stories:
        await world.bus.publish(approved)
    await world.bus.publish(approval(put_intent(9), world.keys))
    await status_becomes(world, "intent-9", "new")
    for approved, status, why in stories:
        row = await status_becomes(world, approved.intent.message_id, status)
        assert why in str(row["note"])
        assert not row["submitted"]
    assert broker.posted == [client_order_id(ACCOUNT_NUMBER, "intent-9")]


async def test_dry_mode_records_and_asks_nothing_of_the_broker(
    world: World, broker: Broker
) -> None:
    await executor(world, broker, BOT_MODE="dry")
    await world.bus.publish(approval(put_intent(1), world.keys))
    row = await status_becomes(world, "intent-1", "dry_run")
    assert (row["state"], row["submitted"], row["alpaca_order_id"]) == ("dry_run", False, None)
    await until(lambda: world.of(OrderChanged), "the word of it")
    assert world.of(OrderChanged)[0].final
    assert broker.asked() == []


# --- a process that dies -------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False], ids=["it had arrived", "it never arrived"])
async def test_killed_between_commit_and_answer_it_recovers_to_one_order(
    world: World, broker: Broker, process: Callable[..., Process], accepted: bool
) -> None:
    broker.next("POST", ORDERS, hang(after_accepting=accepted))
    killed = process("executor", world.environ | world.broker_at(broker.url))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await until(lambda: broker.posted, "the order to be under way")
    assert world.rows("select state from orders") == [{"state": "submitting"}]
    killed.kill()
    await executor(world, broker)
    await status_becomes(world, "intent-1", "new")
    assert list(broker.orders) == [ID]
    assert set(broker.posted) == {ID}
    assert len(broker.posted) == (1 if accepted else 2)


async def test_a_second_executor_stands_by_and_takes_over(world: World, broker: Broker) -> None:
    first = await world.room("executor", **world.broker_at(broker.url))
    second = await world.start("executor", **world.broker_at(broker.url))
    await until(lambda: second.context.state == "standby", "the second to stand by")
    await world.end(first)
    await second.ready()
    await world.bus.publish(approval(put_intent(1), world.keys))
    await status_becomes(world, "intent-1", "new")
    assert broker.posted == [ID]


# --- beginnings that fail ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["market", "executor"])
async def test_wrong_keys_end_the_service_with_one_line(
    name: str, world: World, broker: Broker, process: Callable[..., Process]
) -> None:
    environ = base_environ(world.nats, world.database_url, world.keys)
    secret = "a-wrong-secret"
    service = process(name, environ | world.broker_at(broker.url) | {"ALPACA_SECRET_KEY": secret})
    assert await world.ask(service.status) == EXIT_BROKEN_PROMISE
    assert "Alpaca refuses the keys (401 unauthorized)" in End(78, service.log).last_words
    assert secret not in service.log
