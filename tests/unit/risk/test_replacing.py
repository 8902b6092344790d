"""An order in another's place: judged as the only one of the two, and only for an order of ours."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import IntentApproved, OrderIntended, Side, Strategy, TradingState
from libs.common.order_ids import client_order_id
from libs.common.trading_state import Standing
from services.risk.reservations import Book, free_cash
from services.risk.state import Decision, RiskState
from tests.unit.risk.books import (
    ACCOUNT,
    QUOTE,
    SETTINGS,
    WALL,
    approval,
    ask,
    covered_call,
    csp,
    held,
    judge,
    knowing,
    occ,
    portfolio,
    resting,
    stop,
    told,
)

LOWER = Decimal("0.52")
ON_THE_EDGE = {"cash": Decimal(6000), "options_buying_power": Decimal(1000)}
"""What is left once the put at 50 rests: its collateral of 5000 is gone, the buffer is 1000."""


def name_of(intent: OrderIntended) -> str:
    return client_order_id(ACCOUNT, intent.message_id)


def in_place_of(intent: OrderIntended, name: str = "r1", **changes: Any) -> OrderIntended:
    fields = {"message_id": name, "replaces": name_of(intent), "limit_price": LOWER}
    return msgspec.structs.replace(intent, **(fields | changes))


def working(*intents: OrderIntended, held: Any = (), **figures: Any) -> RiskState:
    """Risk after it approved these, and saw them rest."""
    state = RiskState()
    for intent in intents:
        state.observe_decision(approval(intent))
    orders = tuple(resting(intent) for intent in intents)
    state.observe_portfolio(portfolio(*held, orders=orders, **figures))
    return state


def failing(decision: Decision) -> dict[str, str]:
    return {check.gate: check.reason for check in decision.checks if not check.ok}


# --- as the only one of the two ------------------------------------------------------------------


def test_what_the_old_order_binds_is_free_for_the_one_in_its_place() -> None:
    state = working(csp(), **ON_THE_EDGE)
    decision = judge(state, in_place_of(csp()))
    assert failing(decision) == {}
    assert decision.collateral == 5000
    assert "cash_secured_put" in failing(judge(state, csp("p2", 10, stock="PEP")))


@pytest.mark.parametrize(
    ("figures", "rules"),
    [
        ({"cash": Decimal(5999), "options_buying_power": Decimal(1000)}, {}),
        ({"cash": Decimal(6000), "options_buying_power": Decimal(999)}, {}),
        ({}, {"max_position_pct": 24.9}),
        ({}, {"max_short_puts": 0}),
    ],
    ids=["cash", "buying power", "concentration", "number of puts"],
)
def test_it_has_to_fit_like_any_other(figures: dict[str, Any], rules: dict[str, Any]) -> None:
    state = working(csp(), **figures)
    decision = judge(state, in_place_of(csp()), msgspec.structs.replace(SETTINGS, **rules))
    assert list(failing(decision)) == ["cash_secured_put"]


def test_the_shares_behind_the_old_call_back_the_one_in_its_place() -> None:
    shares = held("KO", 200, qty_available=Decimal(0))
    two = covered_call(qty=2)
    state = working(two, held=(held("KO", 200),))
    state.observe_portfolio(portfolio(shares, orders=(resting(two),), as_of=10))
    assert failing(judge(state, in_place_of(two))) == {}
    assert "covered_call" in failing(judge(state, covered_call("c2", 61)))
    promised = held("KO", 200, qty_available=Decimal(-100))  # more is bound than risk can see
    state.observe_portfolio(portfolio(promised, orders=(resting(two),), as_of=20))
    assert "covered_call" in failing(judge(state, in_place_of(two)))


def test_both_are_held_until_the_news_says_which_of_them_lives() -> None:
    state = working(csp(), cash=Decimal(20_000))
    assert isinstance(ask(state, in_place_of(csp())), IntentApproved)
    assert [r.intent_id for r in state.reservations] == ["p1", "r1"]
    assert cash_left(state) == 10_000, "the portfolio shows one, the other is on its way"
    state.observe_order(told(csp(), "replaced", changed=20))
    assert cash_left(state) == 10_000, "the portfolio still shows it"
    state.observe_portfolio(
        portfolio(orders=(resting(in_place_of(csp())),), as_of=30, cash=Decimal(20_000))
    )
    assert [r.intent_id for r in state.reservations] == ["r1"]
    assert cash_left(state) == 15_000


def test_a_replacement_that_came_to_nothing_binds_nothing() -> None:
    state = working(csp(), cash=Decimal(20_000))
    ask(state, in_place_of(csp()))
    state.observe_order(told(in_place_of(csp()), "rejected"))
    assert cash_left(state) == 15_000
    assert failing(judge(state, in_place_of(csp(), "r2"))) == {}


def cash_left(state: RiskState) -> Decimal:
    assert state.portfolio is not None
    return free_cash(Book(portfolio=state.portfolio, reservations=state.reservations))


# --- only for an order of ours that works --------------------------------------------------------


def why_not(state: RiskState, intent: OrderIntended) -> str:
    return failing(judge(state, intent))["replacement"]


def test_an_order_nobody_approved_is_not_replaced() -> None:
    manual = resting(csp(), client_order_id="by-hand")
    state = knowing(portfolio(orders=(manual,)))
    for name in ("by-hand", "acl-unheard-of", ""):
        wish = in_place_of(csp(), replaces=name)
        assert "no order that risk approved" in why_not(state, wish)
    assert "no order that risk approved" in why_not(knowing(portfolio()), in_place_of(csp()))


@pytest.mark.parametrize(
    "wish",
    [
        in_place_of(csp(), qty=2),
        in_place_of(csp(), symbol=occ(49)),
        in_place_of(csp(), side=Side.BUY),
        in_place_of(csp(stock="PEP"), replaces=name_of(csp())),
        msgspec.structs.replace(covered_call("r1"), replaces=name_of(csp())),
    ],
    ids=["quantity", "contract", "side", "stock", "strategy"],
)
def test_another_order_is_not_replaced(wish: OrderIntended) -> None:
    decision = judge(working(csp(), held=(held("KO", 100),)), wish)
    assert not decision.ok
    found = failing(decision)
    assert "is another order" in found["replacement"] or "well_formed" in found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"filled_qty": Decimal(1)}, "has filled in part"),
        ({"status": "pending_cancel"}, "is pending_cancel"),
        ({"status": "pending_replace"}, "is pending_replace"),
        ({"qty": Decimal(3)}, "is another order at the broker"),
    ],
    ids=str,
)
def test_an_order_under_way_to_something_else_is_not_replaced(
    changes: dict[str, Any], why: str
) -> None:
    two = csp(qty=2)
    state = working(two, cash=Decimal(100_000), equity=Decimal(100_000))
    orders = (msgspec.structs.replace(resting(two), **changes),)
    state.observe_portfolio(portfolio(orders=orders, as_of=10, cash=Decimal(100_000)))
    assert why in why_not(state, in_place_of(two))


def test_an_order_that_ended_or_is_not_shown_is_not_replaced() -> None:
    state = working(csp())
    state.observe_order(told(csp(), "filled", filled=1, changed=5))
    assert "has ended" in why_not(state, in_place_of(csp()))
    canceled = working(csp())
    canceled.observe_order(told(csp(), "canceled", changed=5))
    assert "no order that risk approved" in why_not(canceled, in_place_of(csp()))
    gone = working(csp())
    gone.observe_portfolio(portfolio(as_of=10))
    assert "does not show" in why_not(gone, in_place_of(csp()))


def test_an_order_is_replaced_by_one_at_a_time() -> None:
    state = working(csp(), cash=Decimal(100_000), equity=Decimal(100_000))
    assert isinstance(ask(state, in_place_of(csp())), IntentApproved)
    assert "is being replaced already, by r1" in why_not(state, in_place_of(csp(), "r2"))


# --- every other gate holds ----------------------------------------------------------------------


def test_exactly_this_pair_is_no_duplicate() -> None:
    rich = {"cash": Decimal(100_000), "equity": Decimal(100_000)}
    state = working(csp(), **rich)
    assert "duplicate" in failing(judge(state, csp("p2")))
    twin = resting(occ(50))
    state.observe_portfolio(portfolio(orders=(resting(csp()), twin), as_of=10, **rich))
    assert "duplicate" in failing(judge(state, in_place_of(csp())))


def test_two_entries_on_one_stock_are_walked_in_one_tick() -> None:
    first, second = csp(), csp("p2", 45)
    state = working(first, second, cash=Decimal(100_000), equity=Decimal(100_000))
    for wish in (in_place_of(first), in_place_of(second, "r2")):
        assert isinstance(ask(state, wish), IntentApproved)


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.REDUCING])
def test_an_entry_in_anothers_place_is_an_entry(state: TradingState) -> None:
    decision = judge(working(csp()), in_place_of(csp()), standing=Standing(state=state))
    assert list(failing(decision)) == ["trading_state"]


@pytest.mark.parametrize(
    ("gate", "known", "changes"),
    [
        ("price_collar", {}, {"limit_price": Decimal("0.05")}),
        ("quote", {"sight": None}, {}),
        (
            "quote",
            {"sight": msgspec.structs.replace(QUOTE, at=WALL - dt.timedelta(seconds=301))},
            {},
        ),
        ("intent_age", {}, {"at": WALL - dt.timedelta(seconds=1801)}),
        ("well_formed", {}, {"limit_price": Decimal("0.515")}),
    ],
)
def test_prices_and_ages_are_looked_at_as_ever(
    gate: str, known: dict[str, Any], changes: dict[str, Any]
) -> None:
    decision = judge(working(csp()), in_place_of(csp(), **changes), **known)
    assert gate in failing(decision)


def test_it_counts_as_a_message_and_as_an_order_but_not_as_a_repeat() -> None:
    state = working(csp())
    tight = msgspec.structs.replace(SETTINGS, max_repeats_per_day=1)
    assert isinstance(ask(state, in_place_of(csp()), tight), IntentApproved)
    kin = (Strategy.CASH_SECURED_PUT.value, "KO", Side.SELL)
    session = state.portfolio.session if state.portfolio else None
    assert session is not None
    assert state.tallies.repeats_on(session, kin) == 1
    assert state.tallies.orders_on(session) == 2
    assert state.tallies.messages_since(WALL - dt.timedelta(seconds=1)) == 2
    for limit in ("max_orders_per_day", "max_orders_per_minute", "max_messages_per_minute"):
        full = msgspec.structs.replace(SETTINGS, **{limit: 1})
        assert not judge(working(csp()), in_place_of(csp()), full).ok


def test_stops_and_flattening_replace_nothing() -> None:
    wish = msgspec.structs.replace(stop(), replaces=name_of(csp()))
    decision = judge(working(csp(), held=(held("KO", 50),)), wish)
    assert failing(decision)["well_formed"] == "replaces an order"
    closing = msgspec.structs.replace(csp(), strategy="flatten", replaces=name_of(csp()))
    assert "replaces an order" in failing(judge(working(csp()), closing))["well_formed"]
