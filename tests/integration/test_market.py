"""The market room against a broker that misbehaves: the tick goes on where it can, and says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.common.contracts import (
    IntentApproved,
    IntentBlocked,
    MarketTicked,
    OrderIntended,
    PlanMade,
    PortfolioObserved,
    SnapshotTaken,
    TickAnswered,
    TickRequested,
)
from libs.common.symbols import Right
from tests.integration.faulty_broker import Fault, FaultyBroker, hang, malformed, refusal
from tests.integration.stories import occ, wall
from tests.integration.world import World, until

pytestmark = pytest.mark.integration

CHAIN = "/v1beta1/options/snapshots/KO"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.market.service.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("services.market.service.CLOCK_SECONDS_MAX", 0.2)


async def market(world: World, broker: FaultyBroker, **changes: str) -> None:
    await world.start("market", **world.broker_at(broker.url), **changes)


async def next_tick(world: World) -> MarketTicked:
    """An operator's tick, as `alpaclaudia tick` asks for it."""
    request = TickRequested(message_id=f"request-{wall()}", at=wall(), requested_by="a test")
    answer = await world.bus.request(request, TickAnswered, timeout_seconds=20)
    assert answer.ok, answer.reason
    return await until(
        lambda: next((t for t in world.of(MarketTicked) if t.tick_id == answer.tick_id), None),
        "the tick",
    )


async def first_tick(world: World) -> MarketTicked:
    return (await until(lambda: world.of(MarketTicked), "the first tick"))[0]


def snapshot_of(world: World, tick: MarketTicked, symbol: str = "KO") -> SnapshotTaken | None:
    taken = world.of(SnapshotTaken)
    return next((s for s in taken if (s.tick_id, s.symbol) == (tick.tick_id, symbol)), None)


async def test_a_tick_says_what_it_saw(world: World, broker: FaultyBroker) -> None:
    await market(world, broker)
    tick = await first_tick(world)
    assert (tick.errors, tick.snapshots, tick.cause) == ([], 1, "schedule")
    assert tick.account is not None
    assert tick.account.account_number == "FAULTY1"
    taken = snapshot_of(world, tick)
    assert taken is not None
    assert len(taken.contracts) == tick.contracts > 0
    assert all(contract.open_interest == 500 for contract in taken.contracts)
    assert tick.requests == 6, "orders, positions, account, quotes, contracts, one chain"
    assert world.of(PortfolioObserved)[0].tick_id == tick.tick_id


async def test_a_symbol_nobody_knows_is_skipped_and_named(
    world: World, broker: FaultyBroker
) -> None:
    await market(world, broker, WHEEL_UNIVERSE="KO,XYZQ,PFE")
    tick = await first_tick(world)
    assert tick.errors == ["XYZQ: the broker does not know it; it is skipped"]
    assert (tick.symbols, tick.snapshots) == (3, 2)
    assert world.alerts("tick") == tick.errors


async def test_one_symbol_that_spoils_the_batch_is_found(
    world: World, broker: FaultyBroker
) -> None:
    """Where the broker refuses a whole batch for one symbol's sake, halves find it."""
    broker.next("GET", "/v2/stocks/snapshots", refusal(400, 40010000, "invalid symbol: XYZQ"))
    await market(world, broker, WHEEL_UNIVERSE="KO,XYZQ,PFE,GE")
    tick = await first_tick(world)
    assert tick.snapshots == 3
    assert tick.errors == ["XYZQ: the broker does not know it; it is skipped"]


@pytest.mark.parametrize(
    ("path", "fault", "said", "snapshots"),
    [
        ("/v2/positions", malformed(b'[{"symbol": "KO"'), "positions does not decode", 0),
        ("/v2/positions", malformed(b'{"message": "no list"}'), "positions does not decode", 0),
        ("/v2/account", malformed(b"<html>"), "account does not decode", 0),
        ("/v2/account", malformed(b'{"account_number":"A","status":"ACTIVE"}'), "no equity", 0),
        ("/v2/orders", refusal(500, 1, "internal"), "500 1 internal", 0),
        ("/v2/stocks/snapshots", refusal(503, 0, "later"), "no quotes for KO: 503 later", 0),
        ("/v2/stocks/snapshots", malformed(), "no quotes for KO", 0),
        ("/v2/options/contracts", malformed(), "no open interest for KO", 1),
        (CHAIN, malformed(), "its chain of puts could not be read", 1),
        (CHAIN, refusal(429, 1, "slow down"), "429 1 slow down", 1),
        (CHAIN, hang(), "no answer in time", 1),
        ("/v2/positions", hang(), "no answer in time", 0),
    ],
)
async def test_a_tick_goes_on_without_what_is_broken(
    world: World, broker: FaultyBroker, path: str, fault: Fault, said: str, snapshots: int
) -> None:
    broker.next("GET", path, fault)
    if path == "/v2/account":  # the first look at it is before any tick
        broker.heal()
        broker.after("GET", path, 1, fault)
    await market(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.4")
    tick = await first_tick(world)
    assert tick.snapshots == snapshots
    taken = snapshot_of(world, tick)
    heard = [*tick.errors, *(taken.problems if taken else [])]
    assert any(said in text for text in heard), heard
    assert any(said in text for text in world.alerts("tick") + world.alerts("snapshot"))
    healthy = await next_tick(world)
    assert (healthy.errors, healthy.snapshots) == ([], 1)
    assert healthy.contracts > 0


async def test_a_broker_that_hangs_altogether_is_waited_for(
    world: World, broker: FaultyBroker
) -> None:
    await market(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.3")
    await first_tick(world)
    for path in ("/v2/clock", "/v2/account", "/v2/orders"):
        broker.always("GET", path, hang())
    await until(lambda: len(world.alerts("broker")) >= 2, "alerts that the broker cannot be read")
    assert "the broker cannot be read: no answer in time" in world.alerts("broker")
    broker.heal()
    assert (await next_tick(world)).errors == []


async def test_broken_contracts_are_dropped_one_by_one(world: World, broker: FaultyBroker) -> None:
    """Missing greeks and quotes, zeros, a crossed market, NaN, and a name that is no contract."""
    at = broker.now.isoformat()
    quote = {"bp": 1.2, "ap": 1.26, "t": at}
    odd: dict[str, Any] = {
        occ("KO", "58"): {"latestQuote": quote, "greeks": {"delta": -0.3}},
        occ("KO", "57"): {"latestQuote": quote},
        occ("KO", "56"): {"greeks": {"delta": -0.2}},
        occ("KO", "55"): {"latestQuote": {"bp": 0, "ap": 0, "t": at}, "greeks": {}},
        occ("KO", "54"): {"latestQuote": {"bp": 2.0, "ap": 1.0, "t": at}},
        occ("KO1", "53"): {"latestQuote": quote, "greeks": {"delta": -0.25}},
        "NOT-A-CONTRACT": {"latestQuote": quote},
    }
    broker.next("GET", CHAIN, malformed(body_of(odd)))
    await world.room("planner")
    await market(world, broker)
    tick = await first_tick(world)
    assert tick.errors == []
    (plan,) = await until(lambda: world.of(PlanMade), "the plan")
    taken = [candidate.symbol for candidate in plan.candidates if candidate.taken]
    assert taken == [occ("KO", "58")], "the nearest delta; 57 has none, and the rest is broken"
    left = {c.symbol: c.reason for c in plan.candidates if not c.taken}
    assert left.keys() == odd.keys() - {occ("KO", "58"), "NOT-A-CONTRACT"}, left


def body_of(snapshots: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"snapshots": snapshots})


# --- accounts that cannot trade, and holdings the bot did not make --------------------------------


async def loop(world: World, broker: FaultyBroker, **changes: str) -> MarketTicked:
    await world.room("risk", **changes)
    await world.room("planner", **changes)
    await market(world, broker, **changes)
    tick = await first_tick(world)
    await until(lambda: len(world.of(PlanMade)) >= tick.snapshots, "a plan for each snapshot")
    wanted = {i for plan in world.of(PlanMade) for i in plan.intent_ids}
    await until(
        lambda: len(world.of(IntentApproved)) + len(world.of(IntentBlocked)) >= len(wanted),
        "a decision on each intent",
    )
    return tick


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account_blocked": True}, "account blocked"),
        ({"trading_blocked": True}, "trading blocked"),
        ({"trade_suspended_by_user": True}, "trading blocked"),
        ({"status": "ONBOARDING"}, "status ONBOARDING"),
        ({"options_trading_level": 0, "options_approved_level": 0}, "options level is 0"),
    ],
)
async def test_an_account_that_may_not_trade_wants_nothing_and_says_why(
    world: World, broker: FaultyBroker, changes: dict[str, Any], said: str
) -> None:
    broker.account |= changes
    tick = await loop(world, broker)
    assert tick.errors == []
    assert world.of(OrderIntended) == []
    (plan,) = world.of(PlanMade)
    assert any(said in note for note in plan.notes), plan.notes


async def test_holdings_the_bot_did_not_make_are_counted_and_left_alone(
    world: World, broker: FaultyBroker
) -> None:
    def option(symbol: str, qty: str) -> dict[str, Any]:
        return position(symbol, qty, "1.10", asset_class="us_option")

    broker.spots |= {"T": 37.0, "F": 8.0, "XOM": 60.0, "AAPL": 80.0, "BTCUSD": 10_000.0}
    broker.positions = [
        position("PFE", "12.5", "37"),  # fractional, nobody's wheel
        position("GE", "-40", "13"),  # short
        position("KO", "150", "58"),  # a lot and a half
        option(occ("T", "35"), "-1"),  # two short puts on one name
        option(occ("T", "36"), "-1"),
        option(occ("AAPL1", "70"), "-1"),  # an adjusted root
        option(occ("F", "9", Right.CALL), "2"),  # long calls
        position("XOM", "0.25", "60"),
        position("BTCUSD", "0.1", "9000", asset_class="crypto"),
    ]
    broker.orders["by-hand"] = {
        "id": "order-by-hand",
        "client_order_id": "by-hand",
        "symbol": "KO",
        "side": "sell",
        "type": "limit",
        "status": "new",
        "qty": "20",
        "filled_qty": "0",
        "limit_price": "70",
    }
    broker.orders["notional"] = {"id": "order-2", "client_order_id": "notional", "status": "new"}
    tick = await loop(world, broker, WHEEL_UNIVERSE="KO,GE,T,F", MAX_POSITION_PCT="60")
    said = " | ".join(tick.errors)
    assert "BTCUSD is of class crypto" in said
    assert "order-2 has no symbol" in said
    assert len(tick.errors) == 2
    (book,) = world.of(PortfolioObserved)
    assert len(book.positions) == 8
    plans = {plan.symbol: plan for plan in world.of(PlanMade)}
    assert plans.keys() >= {"KO", "GE", "T", "F", "PFE", "AAPL", "XOM"}
    assert any("held short" in note for note in plans["GE"].notes)
    assert any("2 short" in note for note in plans["T"].notes)
    wanted = {(i.underlying, i.strategy, i.qty) for i in world.of(OrderIntended)}
    assert ("KO", "wheel:covered_call", 1) in wanted
    assert ("KO", "trailing_stop", 30) in wanted, "50 shares beside the lot, 20 in an order"
    assert ("PFE", "trailing_stop", 12) in wanted, "whole shares only"
    assert not {u for u, _, _ in wanted} & {"GE", "T", "XOM", "AAPL"}
    assert not world.alerts("poison")
    approved = {(a.intent.underlying, a.intent.strategy) for a in world.of(IntentApproved)}
    assert ("KO", "wheel:covered_call") in approved
    assert ("PFE", "trailing_stop") in approved


def position(
    symbol: str, qty: str, price: str, *, asset_class: str = "us_equity"
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "asset_class": asset_class,
        "qty": qty,
        "qty_available": "130" if symbol == "KO" else qty,
        "avg_entry_price": price,
        "market_value": str(float(qty) * float(price)),
        "current_price": price,
    }
