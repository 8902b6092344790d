"""Entries that rest are asked for less, a step a time, by a planner that remembers nothing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import (
    ContractQuote,
    OrderIntended,
    OrderType,
    OrderView,
    PositionIntent,
    Side,
    SnapshotTaken,
    StockQuote,
    TimeInForce,
)
from libs.common.order_ids import client_order_id
from libs.common.settings import PlannerSettings
from libs.common.symbols import Right
from services.planner.planning import PlanOutcome, plan
from tests.unit.planner.market_day import (
    AS_OF,
    WALL,
    account,
    call,
    occ,
    put,
    settings,
    snapshot,
    stock,
)

OURS = client_order_id("PA1", "intent-1")
RESTED = dt.timedelta(seconds=600)


def entry(**changes: Any) -> OrderView:
    """An order of ours to sell the put at 95, resting at the mid for ten minutes."""
    fields: dict[str, Any] = {
        "order_id": "o1",
        "client_order_id": OURS,
        "symbol": occ("95"),
        "side": Side.SELL,
        "order_type": "limit",
        "qty": Decimal(1),
        "filled_qty": Decimal(0),
        "status": "new",
        "limit_price": Decimal("1.25"),
        "position_intent": "sell_to_open",
        "submitted_at": AS_OF - RESTED,
    }
    return OrderView(**(fields | changes))


def resting(
    *orders: OrderView, contracts: tuple[ContractQuote, ...] = (put("95"),), **changes: Any
) -> SnapshotTaken:
    return snapshot(*contracts, open_orders=list(orders), **changes)


def outcome_of(taken: SnapshotTaken, rules: PlannerSettings | None = None) -> PlanOutcome:
    return plan(taken, rules or settings(), at=WALL)


def walks(taken: SnapshotTaken, rules: PlannerSettings | None = None) -> list[OrderIntended]:
    return [i for i in outcome_of(taken, rules).intents if i.replaces is not None]


def test_an_entry_that_rested_its_time_is_asked_for_less() -> None:
    outcome = outcome_of(resting(entry()))
    (walk,) = outcome.intents
    assert (walk.replaces, walk.limit_price) == (OURS, Decimal("1.23"))
    assert (walk.strategy, walk.symbol) == ("wheel:cash_secured_put", occ("95"))
    assert (walk.side, walk.qty, walk.order_type) == (Side.SELL, 1, OrderType.LIMIT)
    assert walk.time_in_force is TimeInForce.DAY
    assert walk.position_intent is PositionIntent.SELL_TO_OPEN
    assert outcome.plan.intent_ids == [walk.message_id]


def test_step_by_step_it_comes_to_the_bid_and_stays() -> None:
    """Each tick is planned from its own snapshot alone."""
    limit = Decimal("1.25")
    seen: list[Decimal] = []
    for number in range(10):
        order = entry(limit_price=limit, client_order_id=client_order_id("PA1", f"i{number}"))
        found = walks(resting(order, tick_id=f"tick-{number}"))
        if not found:
            break
        limit = found[0].limit_price or limit
        seen.append(limit)
    assert seen == [Decimal("1.23"), Decimal("1.21"), Decimal("1.20")]


def test_before_its_time_it_rests() -> None:
    early = entry(submitted_at=AS_OF - RESTED + dt.timedelta(seconds=1))
    assert walks(resting(early)) == []
    assert walks(resting(early), settings(reprice_seconds=599)) != []
    assert walks(resting(entry()), settings(reprice_seconds=0)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"filled_qty": Decimal(1), "qty": Decimal(2)},
        {"status": "pending_cancel"},
        {"status": "pending_replace"},
        {"status": "pending_new"},
        {"status": "accepted"},
        {"status": "partially_filled"},
        {"client_order_id": "placed-by-hand"},
        {"side": Side.BUY, "position_intent": "buy_to_close"},
        {"position_intent": "sell_to_close"},
        {"position_intent": None},
        {"order_type": "stop_limit"},
        {"submitted_at": None},
        {"limit_price": None},
        {"limit_price": Decimal("NaN")},
        {"symbol": "AAPL"},
        {"symbol": occ("95", root="MSFT")},
        {"limit_price": Decimal("1.20")},
    ],
    ids=str,
)
def test_what_is_left_alone(changes: dict[str, Any]) -> None:
    assert walks(resting(entry(**changes))) == []


@pytest.mark.parametrize(
    ("contract", "why"),
    [
        (put("95", bid=None), "no two-sided quote"),
        (put("95", ask=None), "no two-sided quote"),
        (put("95", bid=1.4, ask=1.3), "no two-sided quote"),
        (put("95", bid=float("nan")), "no two-sided quote"),
        (put("95", bid=0.5, ask=1.3), "spread 88.9 % above 15 %"),
        (put("95", open_interest=1), "open interest 1 below 50"),
        (put("90"), "the chain does not show it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_a_market_it_would_be_sold_in_it_stays(contract: ContractQuote, why: str) -> None:
    outcome = outcome_of(resting(entry(), contracts=(contract,)))
    assert [i for i in outcome.intents if i.replaces] == []
    assert f"re-price: {occ('95')} stays at 1.25: {why}" in outcome.plan.notes


def test_it_is_never_asked_for_less_than_the_strategy_accepts() -> None:
    """1.23 on 95 dollars over 11 days are 42.96 % a year."""
    assert walks(resting(entry()), settings(min_annual_yield=42.9)) != []
    assert walks(resting(entry()), settings(min_annual_yield=43.0)) == []


def test_in_the_money_it_stays() -> None:
    assert walks(resting(entry(), quote=StockQuote(last=94.0))) == []


def test_a_stale_quote_moves_nothing() -> None:
    for minutes, moves in ((5, True), (6, False)):
        quote = StockQuote(last=100.0, as_of=AS_OF - dt.timedelta(minutes=minutes))
        assert bool(walks(resting(entry(), quote=quote))) is moves


def covered_call(**changes: Any) -> OrderView:
    return entry(symbol=occ("105", Right.CALL), qty=Decimal(2), **changes)


CALLS = (call("105"),)


def test_a_covered_call_is_walked_though_no_share_is_free() -> None:
    taken = resting(covered_call(), contracts=CALLS, positions=[stock("200", available="0")])
    (walk,) = walks(taken)
    assert (walk.strategy, walk.qty) == ("wheel:covered_call", 2)
    assert walk.limit_price == Decimal("1.23")


def test_a_call_is_not_walked_below_the_cost_basis_or_without_shares() -> None:
    for held in ([stock("200", basis="106")], []):
        assert walks(resting(covered_call(), contracts=CALLS, positions=held)) == []


@pytest.mark.parametrize(
    "changes",
    [{"in_universe": False}, {"account": account(options_level=0)}, {"positions": [stock("-100")]}],
    ids=str,
)
def test_where_the_wheel_stays_out_nothing_is_walked(changes: dict[str, Any]) -> None:
    assert walks(resting(entry(), **changes)) == []


def test_switched_off_for_a_symbol_it_is_left_there() -> None:
    rules = settings()
    off = msgspec.structs.replace(rules.wheel, reprice_seconds=0)
    assert walks(resting(entry()), msgspec.structs.replace(rules, per_symbol={"AAPL": off})) == []


def test_another_order_replaced_is_another_intent() -> None:
    ids = {
        walks(resting(entry(client_order_id=client_order_id("PA1", name))))[0].message_id
        for name in ("intent-1", "intent-2")
    }
    assert len(ids) == 2


def test_any_planner_wishes_for_the_same() -> None:
    received = msgspec.json.decode(msgspec.json.encode(resting(entry())), type=SnapshotTaken)
    assert walks(received) == walks(resting(entry()))


@given(
    bid=st.integers(1, 400),
    width=st.integers(0, 60),
    limit=st.integers(1, 500),
    penny=st.booleans(),
)
def test_no_wish_is_below_the_bid_or_above_the_mid(
    bid: int, width: int, limit: int, penny: bool
) -> None:
    quoted = put("95", bid=bid / 100, ask=(bid + width) / 100, penny=penny)
    order = entry(limit_price=Decimal(limit) / 100)
    rules = settings(max_spread_pct=1000.0, min_annual_yield=0.0)
    for walk in walks(resting(order, contracts=(quoted,)), rules):
        assert walk.limit_price is not None
        assert Decimal(bid) / 100 <= walk.limit_price <= Decimal(2 * bid + width) / 200
        assert walk.limit_price < Decimal(limit) / 100
