"""Stories of trailing stops: which shares get one, and which are left alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import OrderIntended, OrderType, Side, SnapshotTaken, TimeInForce
from libs.common.settings import PlannerSettings
from libs.common.symbols import Right
from services.planner.planning import plan
from tests.unit.planner.market_day import (
    WALL,
    call,
    occ,
    open_sell,
    settings,
    short_option,
    snapshot,
    stock,
)


def stops(taken: SnapshotTaken, rules: PlannerSettings | None = None) -> list[OrderIntended]:
    outcome = plan(taken, rules or settings(), at=WALL)
    return [i for i in outcome.intents if i.strategy == "trailing_stop"]


def trailed(taken: SnapshotTaken, rules: PlannerSettings | None = None) -> int:
    return sum(intent.qty for intent in stops(taken, rules))


def test_an_odd_lot_gets_a_trailing_stop() -> None:
    [stop] = stops(snapshot(positions=[stock("50")]))
    assert (stop.symbol, stop.underlying, stop.side) == ("AAPL", "AAPL", Side.SELL)
    assert (stop.order_type, stop.time_in_force) == (OrderType.TRAILING_STOP, TimeInForce.GTC)
    assert (stop.qty, stop.trail_percent) == (50, Decimal(8))
    assert (stop.limit_price, stop.position_intent) == (None, None)


def test_a_symbol_may_have_a_trail_of_its_own() -> None:
    rules = msgspec.structs.replace(settings(), per_symbol_trail_percent={"AAPL": Decimal("12.5")})
    [stop] = stops(snapshot(positions=[stock("50")]), rules)
    assert stop.trail_percent == Decimal("12.5")


@pytest.mark.parametrize(
    ("qty", "whole"), [("50.75", 50), ("0.9", 0), ("0", 0), ("-50", 0), ("-0.5", 0)]
)
def test_only_whole_shares_held_long_are_offered(qty: str, whole: int) -> None:
    assert trailed(snapshot(positions=[stock(qty)], in_universe=False)) == whole


@pytest.mark.parametrize(
    ("held", "resting", "qty"),
    [
        ([stock("150"), short_option(occ("105", Right.CALL))], [], 50),
        ([stock("100"), short_option(occ("105", Right.CALL))], [], 0),
        ([stock("80"), short_option(occ("105", Right.CALL))], [], 0),
        ([stock("150")], [open_sell("AAPL", 150)], 0),
        ([stock("150")], [open_sell("AAPL", 150, filled=100)], 100),
        ([stock("150")], [open_sell(occ("105", Right.CALL))], 50),
        ([stock("150", available="20")], [], 20),
        ([stock("150", available="0")], [], 0),
    ],
)
def test_shares_that_back_a_call_or_rest_in_a_sell_are_never_offered(
    held: list[Any], resting: list[Any], qty: int
) -> None:
    outside = snapshot(positions=held, open_orders=resting, in_universe=False)
    assert trailed(outside) == qty


def test_full_lots_of_a_wheel_stock_are_left_for_calls() -> None:
    taken = snapshot(positions=[stock("250")])  # no call to sell today, tomorrow perhaps
    assert trailed(taken) == 50
    outcome = plan(snapshot(positions=[stock("200")]), settings(), at=WALL)
    assert outcome.intents == []
    assert outcome.plan.candidates[-1].reason == (
        "200 free shares are full lots, kept for covered calls"
    )


def test_a_named_symbol_is_trailed_whole_and_gets_no_calls() -> None:
    named = settings(trail_symbols=frozenset({"AAPL"}))
    outcome = plan(snapshot(call("105"), positions=[stock("250")]), named, at=WALL)
    assert [(i.strategy, i.qty) for i in outcome.intents] == [("trailing_stop", 250)]
    assert "covered call: 2 lots of AAPL go to the trailing stop" in outcome.plan.notes


def test_a_stop_needs_no_quote_and_no_chain() -> None:
    assert trailed(snapshot(positions=[stock("50")], quote=snapshot().quote.__class__())) == 50
