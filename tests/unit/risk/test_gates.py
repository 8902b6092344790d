"""What each gate lets through and what it stops, in its own words."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import OrderIntended, OrderType, PositionIntent, Side, TimeInForce
from libs.common.symbols import Right
from services.risk.gates.coverage import check_covered_call, check_csp, check_trailing_stop
from services.risk.gates.table import GATES
from services.risk.reservations import Book, reserve
from services.risk.state import Decision
from tests.unit.risk.books import (
    SESSION,
    SETTINGS,
    WALL,
    account,
    approval,
    covered_call,
    csp,
    held,
    judge,
    knowing,
    occ,
    portfolio,
    resting,
    stop,
    with_changes,
)

NAMES = [gate.name for gate in GATES]
NAN = Decimal("NaN")


def failing(decision: Decision) -> dict[str, str]:
    return {check.gate: check.reason for check in decision.checks if not check.ok}


def book(*positions: Any, **changes: Any) -> Book:
    return Book(portfolio=portfolio(*positions, **changes))


# --- every intent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intent", "own_gate"),
    [
        (csp(), "cash_secured_put"),
        (covered_call(), "covered_call"),
        (stop(), "trailing_stop"),
    ],
)
def test_a_good_intent_passes_every_gate_and_each_says_so(
    intent: OrderIntended, own_gate: str
) -> None:
    decision = judge(knowing(portfolio(held("KO", 150, market_value=Decimal(4000)))), intent)
    assert decision.ok, decision.reason
    assert [check.gate for check in decision.checks] == [*NAMES, own_gate]
    assert all(check.reason for check in decision.checks)
    assert decision.account_number == "PA1"


def test_every_gate_answers_after_the_first_failure() -> None:
    blocked = portfolio(trading_blocked=True, options_level=0, cash=Decimal(0))
    decision = judge(knowing(blocked), csp())
    assert set(failing(decision)) == {"account", "options_level", "cash_secured_put"}
    assert len(decision.checks) == len(GATES) + 1
    assert decision.collateral == 0
    for gate in ("account: ", "options_level: ", "cash_secured_put: "):
        assert gate in decision.reason


def test_without_a_portfolio_nothing_passes() -> None:
    decision = judge(knowing(), csp())
    assert not decision.ok
    assert decision.reason == "portfolio: no portfolio was seen"
    assert failing(decision)["cash_secured_put"] == "not checked: no portfolio was seen"


def test_an_unknown_strategy_is_blocked() -> None:
    decision = judge(knowing(portfolio()), csp(strategy="martingale"))
    assert failing(decision)["known_strategy"] == "unknown strategy 'martingale'"
    assert "strategy" in failing(decision)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"symbol": "KO"}, "KO is not an option symbol"),
        ({"symbol": "nonsense"}, "nonsense is not an option symbol"),
        ({"symbol": occ(50, stock="PEP")}, f"{occ(50, stock='PEP')} is not on KO"),
        ({"symbol": occ(50, stock="KO1")}, f"{occ(50, stock='KO1')} is an adjusted contract"),
        ({"symbol": occ(50, Right.CALL)}, f"{occ(50, Right.CALL)} is a call"),
        ({"symbol": occ(0)}, "strike is zero"),
        ({"side": Side.BUY}, "side is buy"),
        ({"qty": 0}, "quantity is 0"),
        ({"qty": -1}, "quantity is -1"),
        ({"order_type": OrderType.MARKET}, "type is market"),
        ({"time_in_force": TimeInForce.GTC}, "time in force is gtc"),
        ({"position_intent": None}, "position intent is None"),
        (
            {"position_intent": PositionIntent.SELL_TO_CLOSE},
            "position intent is sell_to_close",
        ),
        ({"limit_price": None}, "limit price is None"),
        ({"limit_price": Decimal(0)}, "limit price is 0"),
        ({"limit_price": Decimal("-0.5")}, "limit price is -0.5"),
        ({"limit_price": NAN}, "limit price is NaN"),
        ({"limit_price": Decimal("0.555")}, "limit price 0.555 is not in whole cents"),
        ({"stop_price": Decimal(1)}, "stop price is 1"),
        ({"trail_percent": Decimal(5)}, "carries a trail percent"),
        ({"message_id": ""}, "has no id"),
    ],
)
def test_a_malformed_put_is_blocked_and_its_money_is_not_reckoned(
    changes: dict[str, Any], why: str
) -> None:
    decision = judge(knowing(portfolio()), with_changes(csp(), **changes))
    assert failing(decision)["well_formed"] == why
    assert failing(decision)["cash_secured_put"].startswith("not checked")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"symbol": occ(50), "underlying": "KO"}, f"{occ(50)} is not a stock symbol"),
        ({"underlying": "PEP"}, "KO is not PEP"),
        ({"limit_price": Decimal(50)}, "carries a limit price"),
        ({"trail_percent": None}, "trail percent is None"),
        ({"trail_percent": Decimal(0)}, "trail percent is 0"),
        ({"trail_percent": Decimal(100)}, "trail percent is 100"),
        ({"trail_percent": NAN}, "trail percent is NaN"),
        ({"position_intent": PositionIntent.SELL_TO_OPEN}, "position intent is sell_to_open"),
        ({"time_in_force": TimeInForce.DAY}, "time in force is day"),
    ],
)
def test_a_malformed_stop_is_blocked(changes: dict[str, Any], why: str) -> None:
    decision = judge(knowing(portfolio(held("KO", 50))), with_changes(stop(), **changes))
    assert why in failing(decision)["well_formed"]


@pytest.mark.parametrize(
    ("as_of", "ok"), [(0, True), (-1800, True), (-1801, False), (1800, True), (1801, False)]
)
def test_portfolio_and_intent_must_be_of_one_time(as_of: int, ok: bool) -> None:
    decision = judge(knowing(portfolio(as_of=as_of)), csp())
    assert decision.ok is ok
    if not ok:
        assert failing(decision)["portfolio"].startswith("stale ")


def test_an_intent_found_after_an_outage_is_stale_however_old_the_portfolio() -> None:
    old = csp(at=WALL - dt.timedelta(hours=8))
    assert failing(judge(knowing(portfolio()), old)) == {
        "intent_age": "stale intent: 28800 s old, at most 1800"
    }


@pytest.mark.parametrize(
    "figures",
    [
        {"trading_blocked": True},
        {"account_blocked": True},
        {"status": "ACCOUNT_CLOSED"},
    ],
)
def test_an_account_that_cannot_trade_blocks_everything(figures: dict[str, Any]) -> None:
    state = knowing(portfolio(held("KO", 150), **figures))
    for intent in (csp(), covered_call(), stop()):
        assert "account" in failing(judge(state, intent))


def test_without_an_options_level_only_stock_orders_pass() -> None:
    state = knowing(portfolio(held("KO", 150), options_level=0))
    assert set(failing(judge(state, covered_call()))) == {"options_level"}
    assert judge(state, stop()).ok


def test_nothing_is_opened_on_a_contracts_last_day() -> None:
    last_day = with_changes(csp(), symbol=occ(50, expiration=SESSION))
    assert set(failing(judge(knowing(portfolio()), last_day))) == {"expiration"}


@pytest.mark.parametrize(
    "broken",
    [
        portfolio(cash=NAN),
        portfolio(equity=Decimal("Infinity")),
        portfolio(options_buying_power=NAN),
        portfolio(held("PEP", "NaN")),
        portfolio(held("PEP", 5, market_value=NAN)),
        portfolio(orders=(resting(occ(40), filled_qty=NAN),)),
        portfolio(orders=(resting("PEP", side=Side.BUY, limit_price=NAN),)),
    ],
)
def test_a_portfolio_with_numbers_that_are_none_passes_nothing(broken: Any) -> None:
    decision = judge(knowing(broken), csp())
    assert failing(decision)["portfolio"].startswith("not a number: ")
    assert failing(decision)["cash_secured_put"].startswith("not checked")


# --- duplicates ------------------------------------------------------------------------------


def test_an_open_order_on_the_same_contract_is_a_duplicate() -> None:
    theirs = portfolio(orders=(resting(occ(50)),))
    assert failing(judge(knowing(theirs), csp())) == {
        "duplicate": f"repeats open order order-{occ(50)}"
    }
    buying_back = portfolio(orders=(resting(occ(50), side=Side.BUY),))
    assert judge(knowing(buying_back), csp()).ok


def test_a_stop_that_rests_is_no_duplicate_of_one_for_further_shares() -> None:
    partly = portfolio(held("KO", 80), orders=(resting("KO", 50, order_type="trailing_stop"),))
    assert judge(knowing(partly), stop(qty=30)).ok
    assert not judge(knowing(partly), stop(qty=31)).ok


# --- cash-secured puts -----------------------------------------------------------------------


def test_collateral_may_use_cash_down_to_the_buffer() -> None:
    exact = book(cash=Decimal(6000), options_buying_power=Decimal(6000))
    assert check_csp(csp(), exact, SETTINGS).ok
    short = check_csp(csp(), book(cash=Decimal("5999.99")), SETTINGS)
    assert short.reason == "collateral 5000 above free cash 5999.99 less buffer 1000"


@pytest.mark.parametrize(
    ("positions", "orders", "figures"),
    [
        ((held(occ(45, stock="PEP"), -1),), (), {}),
        ((), (resting(occ(45, stock="PEP")),), {}),
        ((), (resting(occ(45, stock="PEP"), position_intent="sell_to_open"),), {}),
        ((), (resting("PEP", 90, side=Side.BUY, limit_price=Decimal(50)),), {}),
        ((), (resting("PEP", 90, side=Side.BUY, limit_price=None, stop_price=Decimal(50)),), {}),
        ((), (resting(occ(45, Right.CALL), 9, side=Side.BUY, limit_price=Decimal(5)),), {}),
        ((held("PEP", -100, market_value=Decimal(-4500)),), (), {}),
        ((held("PEP", -90, current_price=50.0),), (), {}),
        ((held("PEP", -90, entry="50"),), (), {}),
        ((), (), {"options_buying_power": Decimal(5500)}),
        ((), (), {"cash": Decimal(-100)}),
    ],
)
def test_what_is_bound_elsewhere_is_not_free(
    positions: tuple[Any, ...], orders: tuple[Any, ...], figures: dict[str, Any]
) -> None:
    rich = {"equity": Decimal(100_000), "cash": Decimal(10_000)}
    assert check_csp(csp(), book(**rich), SETTINGS).ok
    poor = check_csp(csp(), book(*positions, orders=orders, **(rich | figures)), SETTINGS)
    assert not poor.ok
    assert "above free cash" in poor.reason


@pytest.mark.parametrize(
    "order",
    [
        resting(occ(45, stock="PEP"), position_intent="sell_to_close"),
        resting(occ(45, stock="PEP"), filled_qty=Decimal(1)),
        resting("PEP", 90),
    ],
)
def test_orders_that_bind_no_cash_leave_it_free(order: Any) -> None:
    figures = {"equity": Decimal(100_000), "cash": Decimal(6000)}
    assert check_csp(csp(), book(orders=(order,), **figures), SETTINGS).ok


def test_a_buy_order_without_a_price_leaves_nothing_free() -> None:
    market_buy = resting("PEP", 1, side=Side.BUY, limit_price=None, order_type="market")
    checked = check_csp(csp(), book(orders=(market_buy,)), SETTINGS)
    assert "open buys without a price: PEP" in checked.reason
    priced = book(held("PEP", 1, current_price=170.0), orders=(market_buy,))
    assert check_csp(csp(), priced, SETTINGS).ok


@pytest.mark.parametrize(
    ("positions", "orders"),
    [
        ((held("KO", 100, market_value=Decimal(5001)),), ()),
        ((held("KO", "100.02", current_price=50.0),), ()),
        ((held(occ("50.5"), -1),), ()),
        ((), (resting(occ("50.5")),)),
        ((), (resting("KO", 101, side=Side.BUY, limit_price=Decimal(50)),)),
        ((held("KO", -101, entry="50"),), ()),
    ],
)
def test_one_underlying_binds_no_more_than_its_share_of_equity(
    positions: tuple[Any, ...], orders: tuple[Any, ...]
) -> None:
    checked = check_csp(csp(), book(*positions, orders=orders), SETTINGS)
    assert not checked.ok
    assert "KO would bind" in checked.reason
    assert "free cash" not in checked.reason


def test_exactly_the_share_of_equity_is_allowed_and_other_names_do_not_count() -> None:
    full = book(
        held("KO", 100, market_value=Decimal(5000)), held("PEP", 90, market_value=Decimal(9000))
    )
    assert check_csp(csp(), full, SETTINGS).ok


def test_the_number_of_short_puts_is_limited_over_all_names() -> None:
    figures = {"equity": Decimal(200_000), "cash": Decimal(200_000)}
    two_on_one_name = (held(occ(45, stock="PEP"), -2), held(occ(40, stock="PEP"), -1))
    four = book(*two_on_one_name, orders=(resting(occ(20, stock="F")),), **figures)
    assert check_csp(csp(), four, SETTINGS).ok
    five = book(*two_on_one_name, orders=(resting(occ(20, stock="F"), 2),), **figures)
    assert check_csp(csp(), five, SETTINGS).reason == "would be short put 6, at most 5"
    assert not check_csp(csp(qty=2), four, SETTINGS).ok


def test_approvals_not_yet_visible_bind_like_what_is_visible() -> None:
    figures = {"equity": Decimal(200_000), "cash": Decimal(200_000)}
    pending = tuple(
        reserve(approval(csp(f"p{i}", 50, stock=name)))
        for i, name in enumerate(("KO", "KO", "PEP", "F"))
    )
    four = Book(portfolio=portfolio(**figures), reservations=pending)
    assert check_csp(csp(), four, SETTINGS).ok
    one_more = Book(portfolio=portfolio(held(occ(9), -1), **figures), reservations=pending)
    assert check_csp(csp(), one_more, SETTINGS).reason == "would be short put 6, at most 5"
    modest = msgspec.structs.replace(SETTINGS, max_position_pct=7.0)  # 14,000 in KO
    assert check_csp(csp(strike=40), four, modest).ok
    assert "KO would bind 15000" in check_csp(csp(strike=50), four, modest).reason


# --- covered calls and stops -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "orders", "free"),
    [
        (held("KO", 200), (), 200),
        (held("KO", "199.9"), (), 199),
        (held("KO", 200, qty_available=Decimal(120)), (), 120),
        (held("KO", 300), (resting("KO", 50),), 250),
        (held("KO", 300), (resting(occ(60, Right.CALL), 2),), 100),
        (held("KO", 300), (resting(occ(60, Right.CALL), 2, filled_qty=Decimal(1)),), 200),
        (held("KO", 300), (resting(occ(60, Right.CALL), position_intent="sell_to_close"),), 300),
        (held("KO", 300), (resting(occ(60, Right.CALL, stock="PEP")),), 300),
        (held("KO", -300), (), 0),
    ],
)
def test_only_free_shares_may_be_promised(position: Any, orders: Any, free: int) -> None:
    shares = book(position, orders=orders)
    assert check_covered_call(covered_call(strike=61, qty=max(1, free // 100)), shares).ok is (
        free >= 100
    )
    assert not check_covered_call(covered_call(strike=61, qty=free // 100 + 1), shares).ok
    assert check_trailing_stop(stop(qty=max(1, free)), shares).ok is (free > 0)
    assert not check_trailing_stop(stop(qty=free + 1), shares).ok


def test_shares_behind_a_short_call_are_not_free() -> None:
    covered = book(held("KO", 150), held(occ(60, Right.CALL), -1))
    assert check_covered_call(covered_call(strike=61), covered).reason == (
        "needs 100 shares, 50 of 150 are free"
    )
    assert check_trailing_stop(stop(qty=50), covered).ok
    assert not check_trailing_stop(stop(qty=51), covered).ok


def test_a_call_is_never_struck_below_what_the_shares_cost() -> None:
    shares = book(held("KO", 100, entry="60.01"))
    assert check_covered_call(covered_call(strike=60), shares).reason == (
        "strike 60 below cost basis 60.01"
    )
    assert check_covered_call(covered_call(strike=61), shares).ok
    at_cost = book(held("KO", 100, entry="60"))
    assert check_covered_call(covered_call(strike=60), at_cost).ok


def test_without_shares_there_is_nothing_to_cover_or_to_stop() -> None:
    for checked in (
        check_covered_call(covered_call(), book()),
        check_trailing_stop(stop(), book()),
    ):
        assert checked.reason == "no long position in KO"


def test_dotted_stocks_are_one_with_their_options() -> None:
    shares = book(held("BRK.B", 100, entry="400"), held(occ(450, Right.CALL, stock="BRK.B"), -1))
    call = covered_call(strike=460, stock="BRK.B")
    assert judge(knowing(shares.portfolio), call).reason.startswith("covered_call: needs 100")


def test_a_status_of_the_account_is_told() -> None:
    inactive = msgspec.structs.replace(
        portfolio(), account=account(status="INACTIVE", account_blocked=True)
    )
    assert "status INACTIVE" in failing(judge(knowing(inactive), csp()))["account"]
