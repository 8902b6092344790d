"""An order in another's place at a real exchange: one of the two lives, whatever breaks."""

from __future__ import annotations

import datetime as dt
import itertools
import signal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import (
    AlertRaised,
    IntentBlocked,
    OrderIntended,
    PortfolioObserved,
    Severity,
    TickAnswered,
    TickRequested,
    TradingVerb,
)
from libs.common.database import engine_for
from libs.common.order_ids import client_order_id
from libs.common.wire import WireOrder, order_view
from services.cli.trading import say
from services.executor.ledger import NEW_YORK
from services.reporter.store import _orders
from tests.integration.broker import (
    ACCOUNT_NUMBER,
    MIDDAY,
    Broker,
    Fault,
    hang,
    malformed,
    refusal,
    reset,
)
from tests.integration.stories import approval, portfolio, put_intent, quoted, snapshot, wall
from tests.integration.test_fencing import in_state, two_executors
from tests.integration.test_resting import REST, beat
from tests.integration.test_trading_state import operator
from tests.integration.world import Process, Room, World, until

pytestmark = pytest.mark.integration

OLD = client_order_id(ACCOUNT_NUMBER, "intent-1")
NEW = client_order_id(ACCOUNT_NUMBER, "intent-2")
LOWER = Decimal("3.75")
LOOK = MIDDAY + dt.timedelta(seconds=60)
DELAYED: Fault = {"kind": "delay", "seconds": 60}
"""Carried out when the faults are healed."""


def replacement(number: int = 2, replaces: str = OLD, **changes: Any) -> OrderIntended:
    fields: dict[str, Any] = {"replaces": replaces, "limit_price": LOWER}
    return put_intent(number, **(fields | changes))


async def executor(world: World, broker: Broker, **changes: str) -> Room:
    return await world.room("executor", **world.broker_at(broker.url), **changes)


async def order_rests(world: World) -> None:
    await world.bus.publish(approval(put_intent(1), world.keys))
    await becomes(world, 1, "accepted")


async def replace(world: World, **changes: Any) -> None:
    await world.bus.publish(approval(replacement(**changes), world.keys))


async def becomes(world: World, number: int, state: str) -> dict[str, Any]:
    return await world.row_when(
        "select * from orders where intent_id = %s and state = %s", f"intent-{number}", state
    )


def patched(broker: Broker) -> list[dict[str, Any]]:
    """Every PATCH that arrived, whatever it was answered."""
    return broker.asked(method="PATCH")


def patch_path(broker: Broker, client_order_id: str = OLD) -> str:
    return f"/v2/orders/{broker.orders[client_order_id]['id']}"


def statuses(broker: Broker) -> dict[str, str]:
    return {name: order["status"] for name, order in broker.orders.items()}


def errors(world: World) -> list[str]:
    return [a.text for a in world.of(AlertRaised) if a.severity is Severity.ERROR]


# --- on a good day -------------------------------------------------------------------------------


async def test_one_patch_leaves_one_live_order_and_two_right_rows(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    await order_rests(world)
    await replace(world)
    row = await becomes(world, 2, "accepted")
    old = await becomes(world, 1, "replaced")
    theirs = broker.orders
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}
    assert (row["order_id"], row["replaces"]) == (theirs[NEW]["id"], OLD)
    assert theirs[NEW]["replaces"] == theirs[OLD]["id"] == old["order_id"]
    assert Decimal(theirs[NEW]["limit_price"]) == LOWER
    assert row["rests_since"] == old["rests_since"] == MIDDAY
    assert len(patched(broker)) == 1
    assert broker.posted == [OLD]
    await until(lambda: "replaced" in world.statuses("intent-1"), "the fact of the old one")
    assert world.statuses("intent-2") == ["new"]
    shown = world.rows("select status, details_json from order_intents order by id")
    assert [intent["status"] for intent in shown] == ["replaced", "new"]
    assert shown[1]["details_json"]["replaces"] == OLD
    broker.fill(NEW)
    await becomes(world, 2, "filled")
    (fill,) = world.rows("select client_order_id, qty from fills")
    assert fill == {"client_order_id": NEW, "qty": 1}
    assert not errors(world)


async def test_a_chain_rests_no_longer_than_one_order_may(world: World, broker: Broker) -> None:
    room = await executor(world, broker)
    await order_rests(world)
    later = MIDDAY + dt.timedelta(minutes=30)
    await replace(world, as_of=later)
    await becomes(world, 2, "accepted")
    await replace(
        world, number=3, replaces=NEW, limit_price=Decimal("3.70"), as_of=later + REST / 4
    )
    await becomes(world, 3, "accepted")
    assert world.rows("select distinct rests_since from orders") == [{"rests_since": MIDDAY}]
    await beat(world, room, MIDDAY + REST - dt.timedelta(seconds=1))
    await room.service.following.follow()
    assert not broker.asked(method="DELETE")
    await beat(world, room, MIDDAY + REST)
    await becomes(world, 3, "canceled")
    assert sorted(statuses(broker).values()) == ["canceled", "replaced", "replaced"]


async def test_dry_mode_replaces_nothing(world: World, broker: Broker) -> None:
    await executor(world, broker, BOT_MODE="dry")
    await replace(world)
    await becomes(world, 2, "dry_run")
    assert broker.asked() == []


# --- doubt ---------------------------------------------------------------------------------------

DOUBTS = {
    "500 after accepting": refusal(500, after_accepting=True),
    "500 before accepting": refusal(500),
    "504 after accepting": refusal(504, after_accepting=True),
    "malformed JSON after accepting": malformed(after_accepting=True),
    "reset after accepting": reset(after_accepting=True),
    "reset before accepting": reset(),
    "silence after accepting": hang(after_accepting=True),
    "silence before accepting": hang(),
    "too many requests": refusal(429, 42910000, "too many requests"),
}


@pytest.mark.parametrize("fault", DOUBTS.values(), ids=DOUBTS.keys())
async def test_doubt_about_a_patch_is_resolved_to_one_live_order(
    world: World, broker: Broker, fault: Fault
) -> None:
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4")
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), fault)
    await replace(world)
    row = await becomes(world, 2, "accepted")
    await becomes(world, 1, "replaced")
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}
    assert row["order_id"] == broker.orders[NEW]["id"]
    assert len(patched(broker)) == (1 if fault["kind"].endswith("_after") else 2)
    assert broker.posted == [OLD]
    await until(lambda: "new" in world.statuses("intent-2"), "the order to be published")
    assert world.statuses("intent-2")[0] == "unknown"


async def test_while_it_is_not_found_by_its_id_the_old_order_tells(
    world: World, broker: Broker
) -> None:
    """The broker's index of ids is behind its orders."""
    await executor(world, broker)
    await order_rests(world)
    broker.always("GET", "/v2/orders:by_client_order_id", refusal(404))
    broker.always("GET", "/v2/orders", {"kind": "altered", "rows": []})
    broker.next("PATCH", patch_path(broker), reset(after_accepting=True))
    await replace(world)
    await becomes(world, 2, "accepted")
    await becomes(world, 1, "replaced")
    broker.heal()
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}
    assert len(patched(broker)) == 1


async def test_an_approval_that_ends_in_doubt_leaves_the_old_order_working(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    await order_rests(world)
    broker.always("PATCH", "/v2/orders/{order_id}", refusal(503))
    ends = wall() + dt.timedelta(seconds=2)
    await world.bus.publish(approval(replacement(), world.keys, expires_at=ends))
    row = await becomes(world, 2, "expired")
    assert row["order_id"] is None
    assert statuses(broker) == {OLD: "new"}
    broker.heal()
    broker.fill(OLD)
    await becomes(world, 1, "filled")


# --- races ---------------------------------------------------------------------------------------


async def test_the_old_order_fills_before_the_patch_arrives(world: World, broker: Broker) -> None:
    await executor(world, broker)
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), DELAYED)
    await replace(world)
    await until(lambda: patched(broker), "the PATCH to be under way")
    broker.fill(OLD)
    broker.heal()
    row = await becomes(world, 2, "rejected")
    await becomes(world, 1, "filled")
    assert "422" in row["note"]
    assert statuses(broker) == {OLD: "filled"}
    assert world.rows("select client_order_id, qty from fills") == [
        {"client_order_id": OLD, "qty": 1}
    ]
    assert world.alerts("rejected")
    assert not errors(world), "a race that is lost is nobody's fault"
    engine = engine_for(world.database_url, application="tests")
    with engine.connect() as connection:
        ended = {o.status for day in days(world) for o in _orders(connection, day)}
    engine.dispose()
    assert ended == {"filled"}, "and no error of the day's report"


def days(world: World) -> set[dt.date]:
    """Those on which an order changed, by the broker's clock or ours."""
    rows = world.rows("select coalesce(changed_at, recorded_at) as moment from orders")
    return {row["moment"].astimezone(NEW_YORK).date() for row in rows}


async def test_the_old_order_fills_while_nobody_knows_of_the_patch(
    world: World, broker: Broker
) -> None:
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4", SETTLE_SECONDS="30")
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), hang())
    await replace(world)
    await becomes(world, 2, "unknown")
    broker.fill(OLD)
    row = await becomes(world, 2, "rejected")
    assert row["note"] == "the order it was to replace is filled"
    assert len(patched(broker)) == 1
    assert statuses(broker) == {OLD: "filled"}


async def test_another_hand_replaces_it_first(world: World, broker: Broker) -> None:
    await executor(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4", SETTLE_SECONDS="30")
    await order_rests(world)
    path = patch_path(broker)
    broker.next("PATCH", path, hang())
    await replace(world)
    await becomes(world, 2, "unknown")
    answer = broker.ask("PATCH", path, json={"limit_price": "3.75"})
    assert answer.status_code == 200, answer.text
    row = await becomes(world, 2, "rejected")
    assert row["note"] == "another order took the place it was to take"
    await becomes(world, 1, "replaced")
    await until(lambda: world.alerts("reconcile"), "an order that is not ours to be told of")


async def test_a_real_refusal_is_an_error_and_the_old_order_works_on(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), refusal(422, 42210000, "off the grid"))
    await replace(world)
    row = await becomes(world, 2, "rejected")
    assert row["note"] == "422 42210000 off the grid"
    assert any("off the grid" in text for text in errors(world))
    assert statuses(broker) == {OLD: "new"}
    await replace(world, number=3)
    await becomes(world, 3, "accepted")


async def test_what_cannot_be_replaced_is_not_asked_for(world: World, broker: Broker) -> None:
    await executor(world, broker)
    await order_rests(world)
    await replace(world, number=2, replaces="acl-unheard-of")
    await replace(world, number=3, strike="56", replaces=OLD)
    for number, why in ((2, "is unknown: acl-unheard-of"), (3, "is another than its own")):
        row = await becomes(world, number, "expired")
        assert why in row["note"]
        assert any(why in text for text in errors(world))
    broker.fill(OLD)
    await becomes(world, 1, "filled")
    told = len(errors(world))
    await replace(world, number=4)
    row = await becomes(world, 4, "expired")
    assert row["note"] == "the order it replaces is filled"
    assert len(errors(world)) == told
    assert patched(broker) == []


# --- a process that dies -------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False], ids=["it had arrived", "it never arrived"])
async def test_killed_between_commit_and_answer_it_recovers_to_one_live_order(
    world: World, broker: Broker, process: Callable[..., Process], accepted: bool
) -> None:
    killed = process("executor", world.environ | world.broker_at(broker.url))
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), hang(after_accepting=accepted))
    await replace(world)
    await until(lambda: patched(broker), "the PATCH to be under way")
    assert world.rows("select state from orders where intent_id = 'intent-2'") == [
        {"state": "submitting"}
    ]
    killed.kill()
    await executor(world, broker)
    await becomes(world, 2, "accepted")
    await becomes(world, 1, "replaced")
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}
    assert len(patched(broker)) == (1 if accepted else 2)
    assert broker.posted == [OLD]


async def test_killed_in_its_patch_while_the_old_order_fills(
    world: World, broker: Broker, process: Callable[..., Process]
) -> None:
    killed = process("executor", world.environ | world.broker_at(broker.url))
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), hang())
    await replace(world)
    await until(lambda: patched(broker), "the PATCH to be under way")
    killed.kill()
    broker.fill(OLD)
    await executor(world, broker)
    await becomes(world, 1, "filled")
    await becomes(world, 2, "rejected")
    assert len(patched(broker)) == 1


async def test_an_executor_stopped_in_its_patch_and_resumed_does_nothing(
    world: World, broker: Broker, process: Callable[..., Process]
) -> None:
    active, standby = await two_executors(world, broker, process)
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), hang(after_accepting=True))
    await replace(world)
    await until(lambda: patched(broker), "the PATCH to be under way")
    active.popen.send_signal(signal.SIGSTOP)
    await in_state(world, standby, "ready")
    row = await becomes(world, 2, "accepted")
    assert row["epoch"] == 2
    await becomes(world, 1, "replaced")
    active.popen.send_signal(signal.SIGCONT)
    assert await world.ask(active.status) == 1
    assert len(patched(broker)) == 1
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}


# --- a halt in between ---------------------------------------------------------------------------


async def test_halted_before_the_patch_nothing_leaves(world: World, broker: Broker) -> None:
    await executor(world, broker, CANCEL_ENTRIES_ON_HALT="false")
    await order_rests(world)
    await say(operator(world), TradingVerb.HALT, "a test")
    await replace(world)
    row = await becomes(world, 2, "expired")
    assert "not sent: trading is halted" in row["note"]
    assert patched(broker) == []
    assert statuses(broker) == {OLD: "new"}


async def test_halted_while_the_patch_is_under_way_neither_order_stays(
    world: World, broker: Broker
) -> None:
    await executor(world, broker)
    await order_rests(world)
    broker.next("PATCH", patch_path(broker), hang(after_accepting=True))
    await replace(world)
    await until(lambda: patched(broker), "the PATCH to be under way")
    await say(operator(world), TradingVerb.HALT, "a test")
    await becomes(world, 2, "canceled")
    await becomes(world, 1, "replaced")
    assert statuses(broker) == {OLD: "replaced", NEW: "canceled"}


async def test_while_books_and_broker_differ_nothing_is_replaced(
    world: World, broker: Broker
) -> None:
    await executor(world, broker, RECONCILE_SECONDS="1")
    await order_rests(world)
    by_hand = {"symbol": "KO", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1.00"}
    broker.place(time_in_force="day", **by_hand)
    await world.row_when("select 1 from differences where stops_entries")
    await replace(world)
    row = await becomes(world, 2, "expired")
    assert "between books and broker" in row["note"]
    assert patched(broker) == []


# --- through the whole chain ---------------------------------------------------------------------


async def test_risk_signs_what_takes_an_orders_place_on_its_cash(
    world: World, broker: Broker
) -> None:
    """The owner allows the capital of one such put and not of two."""
    limit = {"CAPITAL_LIMIT": "6000"}
    await executor(world, broker, **limit)
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.bus.publish(portfolio())
    await world.room("risk", **limit)
    await world.bus.publish(put_intent(1))
    await becomes(world, 1, "accepted")
    await world.bus.publish(portfolio_of(broker))
    await world.bus.publish(replacement(as_of=LOOK))
    await becomes(world, 2, "accepted")
    assert statuses(broker) == {OLD: "replaced", NEW: "new"}
    await world.bus.publish(put_intent(3, strike="30", as_of=LOOK))
    blocked = await until(lambda: world.of(IntentBlocked), "a second put to be blocked")
    assert "capital" in {check.gate for check in blocked[0].checks if not check.ok}


def portfolio_of(broker: Broker) -> PortfolioObserved:
    """With the orders as market would show them."""
    found = msgspec.convert(broker.get("/v2/orders"), list[WireOrder], strict=False)
    orders = [order_view(order) for order in found]
    return portfolio(message_id="portfolio-2", as_of=LOOK, open_orders=orders)


async def test_an_entry_walks_down_and_fills(world: World, broker: Broker) -> None:
    """Market, planner, risk and executor at work, with a tick every minute of the market."""
    settings = world.broker_at(broker.url) | {
        "TICK_SECONDS": "86400",
        "WHEEL_UNIVERSE": "AAPL",
        "REPRICE_SECONDS": "60",
        "MAX_POSITION_PCT": "100",
        "MIN_ANNUAL_YIELD": "0",
        "MIN_OPEN_INTEREST": "0",
        "MAX_SPREAD_PCT": "200",
    }
    for name in ("executor", "risk", "planner", "market"):
        await world.room(name, **settings)
    await world.row_when("select 1 from orders where state = 'accepted'")
    for number in range(1, 12):
        broker.pass_minutes(1)
        await tick(world, number)
        if world.rows("select 1 from orders where state = 'filled'"):
            break
    *walked, last = world.rows(
        "select *, (approval_json->'intent'->>'limit_price')::numeric as limit_price"
        " from orders order by recorded_at"
    )
    assert len(walked) >= 2
    assert last["state"] == "filled"
    assert {row["state"] for row in walked} == {"replaced"}
    for before, after in itertools.pairwise([*walked, last]):
        assert after["replaces"] == before["client_order_id"]
        assert after["limit_price"] < before["limit_price"]
        assert after["rests_since"] == before["rests_since"]
    assert statuses(broker) == {row["client_order_id"]: row["state"] for row in [*walked, last]}
    (position,) = broker.get("/v2/positions")
    assert (position["symbol"], Decimal(position["qty"])) == (last["symbol"], -1)
    assert not errors(world)


async def tick(world: World, number: int) -> None:
    """One, and everything that is wished for in it carried out."""
    request = TickRequested(message_id=f"r-{number}", at=wall(), requested_by="a test")
    answer = await world.bus.request(request, TickAnswered, timeout_seconds=20)
    assert answer.ok, answer.reason
    plan = await world.row_when("select payload_json from plans where tick_id = %s", answer.tick_id)
    for intent_id in plan["payload_json"].get("intent_ids", []):
        await world.row_when(
            "select 1 from orders where intent_id = %s and state in ('accepted', 'filled')",
            intent_id,
        )
    followed = "select 1 from orders o join orders n on n.replaces = o.client_order_id"
    await until(
        lambda: not world.rows(f"{followed} where o.state = 'accepted' and n.state = 'accepted'"),
        "the old order to be known as replaced",
    )
