"""Stories of dividends and splits: what they do to holdings, contracts and orders."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from services.exchange.engine.holds import Holds
from services.exchange.prices.actions import CashDividend, Split
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.history import History
from services.exchange.prices.market import Market
from tests.unit.exchange import audit
from tests.unit.exchange.conftest import START, SYMBOLS
from tests.unit.exchange.desk import Desk

PUT, CALL = "AAPL200320P00070000", "AAPL200320C00080000"


@pytest.fixture
def lively(calendar: Calendar, history: History) -> Market:
    """A market of this test alone, for actions stay in it."""
    return Market(calendar, history.only(SYMBOLS), seed=7)


def split(it: Desk, new: int, old: int, day: int, symbol: str = "AAPL") -> None:
    ex_date = it.market.calendar.session(it.start.index + day).date
    action = Split(
        id=f"{symbol}-{day}",
        symbol=symbol,
        new_rate=Decimal(new),
        old_rate=Decimal(old),
        ex_date=ex_date,
    )
    it.market.inject(action, it.now)


def sell(it: Desk, symbol: str, qty: int = 1) -> None:
    bid, _ = it.bid_ask(symbol)
    assert it.send(symbol, "sell", qty, limit_price=bid).status == "filled"


def held(it: Desk) -> dict[str, Decimal]:
    return {symbol: position.qty for symbol, position in it.books.positions.items()}


def check(it: Desk, cash: Decimal, stocks: dict[str, Decimal]) -> None:
    audit.check_conserved(it.books, cash, stocks)
    audit.check_equity(it.market, it.books, it.market.moment(it.now))
    audit.check_promises(it.books)
    audit.check_holds(it.books)


def test_a_whole_split_multiplies_shares_and_contracts(lively: Market) -> None:
    stocks = {"AAPL": Decimal(150)}
    it = Desk(lively, START, stocks=stocks)
    sell(it, PUT)
    sell(it, CALL)
    resting = it.send("AAPL", "sell", 10, limit_price=90, time_in_force="gtc")
    split(it, 2, 1, day=2)
    before = it.equity()
    it.goto(2)
    assert held(it) == {
        "AAPL": 300,
        "AAPL200320P00035000": -2,
        "AAPL200320C00040000": -2,
    }
    assert it.books.put_collateral() == 7_000
    assert resting.status == "canceled", "its price is one of yesterday's shares"
    assert it.equity() == pytest.approx(before, rel=Decimal("0.05"))
    check(it, Decimal(50_000), stocks)


def test_a_strike_is_rounded_down_so_that_its_cash_still_covers_it(lively: Market) -> None:
    it = Desk(lively, START, cash=Decimal(7_000))
    sell(it, "AAPL200320P00070000")
    split(it, 3, 1, day=2)
    it.goto(2)
    assert held(it) == {"AAPL200320P00023333": -3}
    assert it.books.put_collateral() == Decimal("6999.9")
    check(it, Decimal(7_000), {})


def test_an_odd_split_changes_the_deliverable_and_the_root(lively: Market) -> None:
    stocks = {"AAPL": Decimal(101)}
    it = Desk(lively, START, stocks=stocks)
    sell(it, CALL)
    split(it, 3, 2, day=2)
    it.goto(2)
    assert held(it) == {"AAPL": 151, "AAPL1200320C00080000": -1}
    assert it.books.positions["AAPL1200320C00080000"].deliverable == 150
    rows = [(r.symbol, r.qty) for r in it.books.activities if r.activity_type == "SPLIT"]
    assert rows == [("AAPL", Decimal("50.5")), ("AAPL", Decimal("-0.5"))]
    assert [(r.symbol, r.qty) for r in it.books.activities if r.activity_type == "OPCA"] == [
        (CALL, 1),
        ("AAPL1200320C00080000", -1),
    ]
    check(it, Decimal(50_000), stocks)


def test_a_covered_call_stays_covered_over_a_reverse_split(lively: Market) -> None:
    """A third of a share is not paid out in cash when the call needs it."""
    stocks = {"AAPL": Decimal(100)}
    it = Desk(lively, START, stocks=stocks)
    sell(it, CALL)
    split(it, 1, 3, day=2)
    it.goto(2)
    assert it.books.held("AAPL") == Decimal("33.333333333")
    assert it.books.qty_available(it.books.positions["AAPL"]) == 0
    check(it, Decimal(50_000), stocks)
    it.goto(40)  # over the expiration
    assert all(position.option is None for position in it.books.positions.values())
    check(it, Decimal(50_000), stocks)


def test_three_hundred_shares_in_thirds_are_a_hundred(lively: Market) -> None:
    it = Desk(lively, START, stocks={"AAPL": Decimal(300)})
    split(it, 1, 3, day=2)
    it.goto(2)
    assert held(it) == {"AAPL": 100}
    assert it.books.cash == 50_000


def test_shares_without_calls_keep_no_fraction_and_parts_of_shares_stay_sellable(
    lively: Market,
) -> None:
    stocks = {"AAPL": Decimal(100), "KO": Decimal("1.000000001")}
    it = Desk(lively, START, stocks=stocks)
    split(it, 1, 3, day=2)
    split(it, 1, 3, day=2, symbol="KO")
    it.goto(2)
    assert held(it) == {"AAPL": 33, "KO": Decimal("0.333333333")}
    check(it, Decimal(50_000), stocks)
    for symbol in stocks:
        order = it.exchange.close_position(symbol, None, None, it.now)
        assert it.exchange.order(order.id).status == "filled"
    assert it.books.positions == {}


def test_contracts_of_two_odd_splits_are_kept_apart(lively: Market) -> None:
    it = Desk(lively, START, stocks={"AAPL": Decimal(1_000)})
    sell(it, "AAPL200320C00060000")
    split(it, 3, 2, day=2)
    it.goto(2)
    split(it, 4, 3, day=4)
    sell(it, "AAPL200320C00060000")  # the same strike, of a standard contract
    it.goto(4)
    by_root = {s: (p.qty, p.deliverable) for s, p in it.books.positions.items() if p.option}
    assert by_root == {
        "AAPL1200320C00060000": (-1, Decimal("133.333333333")),
        "AAPL2200320C00060000": (-1, Decimal(200)),
    }
    check(it, Decimal(50_000), {"AAPL": Decimal(1_000)})


def test_an_odd_contract_goes_through_a_whole_split_and_is_still_listed(lively: Market) -> None:
    stocks = {"AAPL": Decimal(500)}
    it = Desk(lively, START, stocks=stocks)
    sell(it, CALL)
    split(it, 3, 2, day=2)
    it.goto(2)
    split(it, 2, 1, day=4)
    it.goto(4)
    symbol = "AAPL1200320C00040000"
    assert it.books.held(symbol) == -2
    contract = lively.contract(symbol, lively.moment(it.now))
    assert contract is not None
    assert contract.deliverable == it.books.positions[symbol].deliverable == 150
    check(it, Decimal(50_000), stocks)
    it.goto(40)
    check(it, Decimal(50_000), stocks)


def test_a_wish_not_to_exercise_goes_with_the_contract(lively: Market) -> None:
    it = Desk(lively, START)
    _, ask = it.bid_ask(CALL)
    it.send(CALL, "buy", 1, limit_price=ask)
    it.exchange.refuse_exercise(CALL, it.now)
    split(it, 2, 1, day=2)
    it.goto(2)
    assert "AAPL200320C00040000" in it.books.do_not_exercise


def test_a_dividend_is_owed_to_who_held_before_its_ex_date(lively: Market) -> None:
    stocks = {"KO": Decimal(100)}
    it = Desk(lively, START, stocks=stocks)
    days = [lively.calendar.session(it.start.index + n).date for n in (2, 5)]
    dividend = CashDividend(
        id="d",
        symbol="KO",
        rate=Decimal("0.41"),
        ex_date=days[0],
        record_date=days[0],
        payable_date=days[1] + dt.timedelta(days=1),
    )
    lively.inject(dividend, it.now)
    it.goto(1, 10)
    it.send("KO", "sell", 40)
    it.goto(2)
    it.send("KO", "sell", 60)  # too late to lose it
    cash = it.books.cash
    it.goto(5)
    assert it.books.cash == cash
    it.goto(6)
    assert it.books.cash == cash + Decimal("24.60")
    audit.check_dividends(lively, it.books, Decimal(50_000), stocks)
    assert Holds.of(it.books.open_orders.values(), it.books.positions.values()).order_cash == 0
