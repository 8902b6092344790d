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
from tests.integration.broker import (
    ACCOUNT_NUMBER,
    MIDDAY,
    Broker,
    Fault,
    altered,
    hang,
    malformed,
    refusal,
    with_rows,
)
from tests.integration.stories import occ, wall
from tests.integration.world import World, until

pytestmark = pytest.mark.integration

CHAIN = "/v1beta1/options/snapshots/KO"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.market.service.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("services.market.service.CLOCK_SECONDS_MAX", 0.2)


async def market(world: World, broker: Broker, **changes: str) -> None:
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


def listed(broker: Broker) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = broker.get(
        "/v2/options/contracts",
        underlying_symbols="KO",
        expiration_date_lte="2020-12-31",
        limit=10_000,
    )["option_contracts"]
    return found


async def test_a_tick_says_what_it_saw(world: World, broker: Broker) -> None:
    await market(world, broker)
    tick = await first_tick(world)
    assert (tick.errors, tick.snapshots, tick.cause) == ([], 1, "schedule")
    assert tick.account is not None
    assert tick.account.account_number == ACCOUNT_NUMBER
    taken = snapshot_of(world, tick)
    assert taken is not None
    assert len(taken.contracts) == tick.contracts > 0
    interest = {c["symbol"]: int(c["open_interest"]) for c in listed(broker) if c["tradable"]}
    assert interest.keys() & {contract.symbol for contract in taken.contracts}
    for contract in taken.contracts:  # those of an adjusted root cannot be traded
        assert contract.open_interest == interest.get(contract.symbol)
    assert tick.requests == 6, "orders, positions, account, quotes, contracts, one chain"
    assert world.of(PortfolioObserved)[0].tick_id == tick.tick_id


async def test_a_symbol_nobody_knows_is_skipped_and_named(world: World, broker: Broker) -> None:
    await market(world, broker, WHEEL_UNIVERSE="KO,XYZQ,PFE")
    tick = await first_tick(world)
    assert tick.errors == ["XYZQ: the broker does not know it; it is skipped"]
    assert (tick.symbols, tick.snapshots) == (3, 2)
    assert world.alerts("tick") == tick.errors


async def test_one_symbol_that_spoils_the_batch_is_found(world: World, broker: Broker) -> None:
    """Where the broker refuses a whole batch for one symbol's sake, halves find it."""
    broker.next("GET", "/v2/stocks/snapshots", refusal(400, 40010000, "invalid symbol: XYZQ"))
    await market(world, broker, WHEEL_UNIVERSE="KO,XYZQ,PFE,GE")
    tick = await first_tick(world)
    assert tick.snapshots == 3
    assert tick.errors == ["XYZQ: the broker does not know it; it is skipped"]


@pytest.mark.parametrize(
    ("path", "fault", "said", "snapshots"),
    [
        ("/v2/positions", malformed('[{"symbol": "KO"'), "positions does not decode", 0),
        ("/v2/positions", malformed('{"message": "no list"}'), "positions does not decode", 0),
        ("/v2/account", malformed("<html>"), "account does not decode", 0),
        ("/v2/account", malformed('{"account_number":"A","status":"ACTIVE"}'), "no equity", 0),
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
    world: World, broker: Broker, path: str, fault: Fault, said: str, snapshots: int
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


async def test_a_broker_that_hangs_altogether_is_waited_for(world: World, broker: Broker) -> None:
    await market(world, broker, ALPACA_READ_TIMEOUT_SECONDS="0.3")
    await first_tick(world)
    for path in ("/v2/clock", "/v2/account", "/v2/orders"):
        broker.always("GET", path, hang())
    await until(lambda: len(world.alerts("broker")) >= 2, "alerts that the broker cannot be read")
    assert "the broker cannot be read: no answer in time" in world.alerts("broker")
    broker.heal()
    assert (await next_tick(world)).errors == []


async def test_broken_contracts_are_dropped_one_by_one(world: World, broker: Broker) -> None:
    """Missing greeks and quotes, zeros, a crossed market, NaN, and a name that is no contract."""
    at = MIDDAY.isoformat()
    quote = {"bp": 1.2, "ap": 1.26, "t": at}
    odd: dict[str, Any] = {
        occ("KO", "52"): {"latestQuote": quote, "greeks": {"delta": -0.3}},
        occ("KO", "51"): {"latestQuote": quote},
        occ("KO", "50"): {"greeks": {"delta": -0.2}},
        occ("KO", "49"): {"latestQuote": {"bp": 0, "ap": 0, "t": at}, "greeks": {}},
        occ("KO", "48"): {"latestQuote": {"bp": 2.0, "ap": 1.0, "t": at}},
        occ("KO1", "52"): {"latestQuote": quote, "greeks": {"delta": -0.25}},
        "NOT-A-CONTRACT": {"latestQuote": quote},
    }
    broker.next("GET", CHAIN, malformed(body_of(odd)))
    await world.room("planner")
    await market(world, broker)
    tick = await first_tick(world)
    assert tick.errors == []
    (plan,) = await until(lambda: world.of(PlanMade), "the plan")
    taken = [candidate.symbol for candidate in plan.candidates if candidate.taken]
    assert taken == [occ("KO", "52")], "the nearest delta; 51 has none, and the rest is broken"
    left = {c.symbol: c.reason for c in plan.candidates if not c.taken}
    assert left.keys() == odd.keys() - {occ("KO", "52"), "NOT-A-CONTRACT"}, left


def body_of(snapshots: dict[str, Any]) -> str:
    return msgspec.json.encode({"snapshots": snapshots}).decode()


# --- accounts that cannot trade, and holdings the bot did not make --------------------------------


async def loop(world: World, broker: Broker, **changes: str) -> MarketTicked:
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
        ({"status": "ONBOARDING"}, "status ONBOARDING"),
    ],
)
async def test_an_account_that_may_not_trade_wants_nothing_and_says_why(
    world: World, broker: Broker, changes: dict[str, Any], said: str
) -> None:
    broker.always("GET", "/v2/account", altered(**changes))
    await nothing_is_wanted(world, broker, said)


async def test_an_account_its_user_has_suspended_wants_nothing(
    world: World, broker: Broker
) -> None:
    broker.ask("PATCH", "/v2/account/configurations", json={"suspend_trade": True})
    assert broker.get("/v2/account")["trade_suspended_by_user"] is True
    await nothing_is_wanted(world, broker, "trading blocked")


async def test_an_account_without_options_wants_nothing(world: World, broker: Broker) -> None:
    broker.reset(options_level=0)
    await nothing_is_wanted(world, broker, "options level is 0")


async def nothing_is_wanted(world: World, broker: Broker, said: str) -> None:
    tick = await loop(world, broker)
    assert tick.errors == []
    assert world.of(OrderIntended) == []
    (plan,) = world.of(PlanMade)
    assert any(said in note for note in plan.notes), plan.notes


async def test_holdings_the_bot_did_not_make_are_counted_and_left_alone(
    world: World, broker: Broker
) -> None:
    broker.reset(
        positions={
            "PFE": held("12.5", "31"),  # fractional, nobody's wheel
            "KO": held("150", "50"),  # a lot and a half
            occ("BAC", "30"): held("-1", "1.10"),  # two short puts on one name
            occ("BAC", "31"): held("-1", "1.10"),
            occ("AMD", "55", Right.CALL): held("2", "1.10"),  # long calls
            "XOM": held("0.25", "60"),
        },
    )
    foreign = with_rows(  # what an account of the exchange cannot come by
        position("GE", "-40", "79"),  # short
        position(occ("AAPL1", "70"), "-1", "1.10", asset_class="us_option"),  # an adjusted root
        position("BTCUSD", "0.1", "9000", asset_class="crypto"),
    )
    broker.always("GET", "/v2/positions", foreign)
    broker.place(
        client_order_id="by-hand",
        symbol="KO",
        side="sell",
        type="limit",
        qty="20",
        time_in_force="gtc",
        limit_price="70",
    )
    no_symbol = {"id": "order-2", "client_order_id": "notional", "status": "new"}
    broker.always("GET", "/v2/orders", with_rows(no_symbol))
    tick = await loop(world, broker, WHEEL_UNIVERSE="KO,GE,BAC,AMD", MAX_POSITION_PCT="60")
    said = " | ".join(tick.errors)
    assert "BTCUSD is of class crypto" in said
    assert "order-2 has no symbol" in said
    assert len(tick.errors) == 2
    (book,) = world.of(PortfolioObserved)
    assert len(book.positions) == 8
    plans = {plan.symbol: plan for plan in world.of(PlanMade)}
    assert plans.keys() >= {"KO", "GE", "BAC", "AMD", "PFE", "AAPL", "XOM"}
    assert any("held short" in note for note in plans["GE"].notes)
    assert any("2 short" in note for note in plans["BAC"].notes)
    wanted = {(i.underlying, i.strategy, i.qty) for i in world.of(OrderIntended)}
    assert ("KO", "wheel:covered_call", 1) in wanted
    assert ("KO", "trailing_stop", 30) in wanted, "50 shares beside the lot, 20 in an order"
    assert ("PFE", "trailing_stop", 12) in wanted, "whole shares only"
    assert not {u for u, _, _ in wanted} & {"GE", "BAC", "XOM", "AAPL"}
    assert not world.alerts("poison")
    approved = {(a.intent.underlying, a.intent.strategy) for a in world.of(IntentApproved)}
    assert ("KO", "wheel:covered_call") in approved
    assert ("PFE", "trailing_stop") in approved


def held(qty: str, price: str) -> dict[str, str]:
    return {"qty": qty, "avg_entry_price": price}


def position(
    symbol: str, qty: str, price: str, *, asset_class: str = "us_equity"
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "asset_class": asset_class,
        "qty": qty,
        "qty_available": qty,
        "avg_entry_price": price,
        "market_value": str(float(qty) * float(price)),
        "current_price": price,
    }
