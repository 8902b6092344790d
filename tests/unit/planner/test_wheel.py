"""Stories of the wheel: a snapshot goes in, orders and remarks come out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import (
    AccountFigures,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    SnapshotTaken,
    StockQuote,
    Strategy,
    TimeInForce,
)
from libs.common.settings import PlannerSettings
from libs.common.symbols import Right
from services.planner.planning import PlanOutcome, plan
from tests.unit.planner.market_day import (
    AS_OF,
    WALL,
    account,
    call,
    occ,
    open_sell,
    put,
    settings,
    short_option,
    snapshot,
    stock,
)

CHAIN = (put("95"), call("105"))


def planned(taken: SnapshotTaken, rules: PlannerSettings | None = None) -> PlanOutcome:
    return plan(taken, rules or settings(), at=WALL)


def intents_of(outcome: PlanOutcome, strategy: Strategy) -> list[OrderIntended]:
    return [intent for intent in outcome.intents if intent.strategy == strategy]


def calls(outcome: PlanOutcome) -> list[OrderIntended]:
    return intents_of(outcome, Strategy.COVERED_CALL)


def puts(outcome: PlanOutcome) -> list[OrderIntended]:
    return intents_of(outcome, Strategy.CASH_SECURED_PUT)


def test_cash_alone_sells_one_put() -> None:
    outcome = planned(snapshot(*CHAIN))
    [intent] = outcome.intents
    assert intent.strategy == "wheel:cash_secured_put"
    assert (intent.symbol, intent.underlying) == (occ("95"), "AAPL")
    assert (intent.side, intent.position_intent) == (Side.SELL, PositionIntent.SELL_TO_OPEN)
    assert (intent.order_type, intent.time_in_force) == (OrderType.LIMIT, TimeInForce.DAY)
    assert (intent.qty, intent.limit_price) == (1, Decimal("1.25"))
    assert (intent.as_of, intent.at, intent.tick_id) == (AS_OF, WALL, "tick-1")
    assert outcome.plan.intent_ids == [intent.message_id]
    assert outcome.plan.spot == 100.0


def test_shares_sell_calls_for_every_uncovered_lot_and_a_put_beside_them() -> None:
    outcome = planned(snapshot(*CHAIN, positions=[stock("350")]))
    [covered] = calls(outcome)
    assert (covered.symbol, covered.qty) == (occ("105", Right.CALL), 3)
    assert covered.position_intent is PositionIntent.SELL_TO_OPEN
    assert len(puts(outcome)) == 1


@pytest.mark.parametrize(
    ("held", "resting", "lots"),
    [
        ([stock("99")], [], 0),
        ([stock("199.9")], [], 1),
        ([stock("300"), short_option(occ("105", Right.CALL), 2)], [], 1),
        ([stock("300")], [open_sell(occ("110", Right.CALL), 3, filled=1)], 1),
        ([stock("300")], [open_sell("AAPL", 150)], 1),
        ([stock("300", available="100")], [], 1),
        ([stock("200"), short_option(occ("105", Right.CALL), 3)], [], 0),
        (
            [stock("200")],
            [open_sell(occ("110", Right.CALL), 1, position_intent="sell_to_close")],
            2,
        ),
        ([stock("300"), short_option(occ("105", Right.CALL, root="AAPL1"))], [], 2),
        ([stock("300"), short_option(occ("105", Right.CALL, root="MSFT"))], [], 3),
    ],
)
def test_lots_that_are_covered_or_resting_are_not_covered_again(
    held: list[Any], resting: list[Any], lots: int
) -> None:
    outcome = planned(snapshot(*CHAIN, positions=held, open_orders=resting))
    assert sum(intent.qty for intent in calls(outcome)) == lots


def test_no_call_is_sold_below_what_the_shares_cost() -> None:
    chain = (call("105"), call("110", delta=0.10))
    outcome = planned(snapshot(*chain, positions=[stock("100", basis="107.25")]))
    [covered] = calls(outcome)
    assert covered.symbol == occ("110", Right.CALL)
    reasons = {c.symbol: c.reason for c in outcome.plan.candidates}
    assert reasons[occ("105", Right.CALL)] == "strike below cost basis 107.25"


def test_where_every_strike_is_below_cost_nothing_is_sold_and_the_plan_says_so() -> None:
    outcome = planned(snapshot(call("105"), positions=[stock("100", basis="200")]))
    assert calls(outcome) == []
    assert any("none of 1 contracts qualifies" in note for note in outcome.plan.notes)


def test_a_cost_basis_that_is_no_number_sells_no_call() -> None:
    outcome = planned(snapshot(*CHAIN, positions=[stock("100", basis="NaN")]))
    assert calls(outcome) == []
    assert "covered call: cost basis NaN is not a price" in outcome.plan.notes


@pytest.mark.parametrize(
    ("held", "resting"),
    [
        ([short_option(occ("90"))], []),
        ([], [open_sell(occ("90"))]),
        ([short_option(occ("90", root="AAPL1"))], []),
    ],
)
def test_a_put_held_or_resting_uses_up_the_symbol(held: list[Any], resting: list[Any]) -> None:
    outcome = planned(snapshot(*CHAIN, positions=held, open_orders=resting))
    assert outcome.intents == []
    assert any(note.startswith("cash-secured put: ") for note in outcome.plan.notes)


def test_two_short_puts_on_one_name_leave_room_for_one_of_three() -> None:
    held = [short_option(occ("90")), short_option(occ("85"))]
    rules = settings(max_short_puts_per_symbol=3)
    assert len(puts(planned(snapshot(*CHAIN, positions=held), rules))) == 1
    full = [short_option(occ("90"), 2), short_option(occ("85"))]
    assert puts(planned(snapshot(*CHAIN, positions=full), rules)) == []


def test_an_account_that_is_blocked_plans_nothing() -> None:
    for changes in ({"account_blocked": True}, {"trading_blocked": True}, {"status": "ONBOARDING"}):
        outcome = planned(snapshot(*CHAIN, account=account(**changes), positions=[stock("150")]))
        assert outcome.intents == []
        assert outcome.plan.notes[0].startswith("the account cannot trade: status ")


def test_without_an_options_level_only_the_stock_is_looked_after() -> None:
    poor: AccountFigures = account(options_level=0)
    outcome = planned(snapshot(*CHAIN, account=poor, positions=[stock("150")]))
    assert [(i.strategy, i.qty) for i in outcome.intents] == [("trailing_stop", 150)]
    assert outcome.plan.notes == ["wheel: the account's options level is 0, 1 is needed"]


@pytest.mark.parametrize(
    "quote",
    [StockQuote(), StockQuote(last=float("nan")), StockQuote(last=0.0), StockQuote(bid=10.0)],
)
def test_a_symbol_without_a_price_is_left_and_the_plan_says_so(quote: StockQuote) -> None:
    outcome = planned(snapshot(*CHAIN, quote=quote, problems=["ZZZZ: asset not found"]))
    assert outcome.intents == []
    assert outcome.plan.spot is None
    assert outcome.plan.notes == ["market: ZZZZ: asset not found", "wheel: AAPL has no quote"]


def test_a_stock_outside_the_universe_gets_no_options_written_on_it() -> None:
    outcome = planned(snapshot(*CHAIN, in_universe=False, positions=[stock("100")]))
    assert [(i.strategy, i.qty) for i in outcome.intents] == [("trailing_stop", 100)]
    assert "wheel: AAPL is not in the universe: no puts, no calls" in outcome.plan.notes


def test_a_symbol_switched_off_is_left() -> None:
    rules = settings()
    off = msgspec.structs.replace(
        rules, per_symbol={"AAPL": msgspec.structs.replace(rules.wheel, enabled=False)}
    )
    outcome = planned(snapshot(*CHAIN), off)
    assert outcome.intents == []
    assert outcome.plan.notes == ["wheel: switched off for AAPL"]


def test_overrides_of_a_symbol_are_obeyed() -> None:
    rules = settings()
    deeper = msgspec.structs.replace(rules.wheel, target_delta=0.10)
    rules = msgspec.structs.replace(rules, per_symbol={"AAPL": deeper})
    chain = (put("95", delta=-0.25), put("90", delta=-0.11))
    [intent] = planned(snapshot(*chain), rules).intents
    assert intent.symbol == occ("90")


def test_short_stock_keeps_the_wheel_out() -> None:
    outcome = planned(snapshot(*CHAIN, positions=[stock("-150")]))
    assert outcome.intents == []
    assert outcome.plan.notes == ["wheel: AAPL is held short (-150): no puts, no calls"]


def test_quantities_that_are_no_numbers_stop_the_symbol_not_the_planner() -> None:
    broken = [open_sell(occ("90")), stock("NaN")]
    outcome = planned(snapshot(*CHAIN, positions=broken[1:], open_orders=broken[:1]))
    assert outcome.intents == []
    assert outcome.plan.notes == ["position AAPL: quantity is not a number"]


def test_an_empty_chain_is_said_to_have_nothing() -> None:
    outcome = planned(snapshot(positions=[stock("100")]))
    assert outcome.intents == []
    assert len([n for n in outcome.plan.notes if "none of 0 contracts qualifies" in n]) == 2


def test_stocks_with_a_dot_are_found_under_their_option_root() -> None:
    chain = (put("95", root="BRKB"),)
    held = [short_option(occ("90", root="BRKB"))]
    [intent] = planned(snapshot(*chain, symbol="BRK.B")).intents
    assert (intent.symbol, intent.underlying) == (occ("95", root="BRKB"), "BRK.B")
    assert planned(snapshot(*chain, symbol="BRK.B", positions=held)).intents == []
