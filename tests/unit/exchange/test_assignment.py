"""Stories of contracts that end before their time, or otherwise than their holder would like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest

from services.exchange.engine.refusals import Refusal
from services.exchange.prices.actions import CashDividend
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.history import History
from services.exchange.prices.market import Market
from tests.unit.exchange.conftest import SYMBOLS
from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]
EXPIRATION_DAY = 18  # 2020-02-28; AAPL fell from 77 to 66 until then
DEEP_PUT, NEAR_PUT = "AAPL200228P00095000", "AAPL200228P00076000"
CALL = "AAPL200228C00060000"


def trade(it: Desk, symbol: str, side: str, qty: int = 1) -> None:
    bid, ask = it.bid_ask(symbol)
    order = it.send(symbol, side, qty, limit_price=bid if side == "sell" else ask)
    assert order.status == "filled"


# --- early -------------------------------------------------------------------------------------


def test_a_deep_put_is_assigned_overnight_and_a_near_one_is_not(desk: Open) -> None:
    it = desk(terms={"early_assignment_rate": 1.0})
    trade(it, DEEP_PUT, "sell")
    trade(it, NEAR_PUT, "sell")
    cash = it.books.cash
    it.exchange.advance(it.start.close)
    assert (it.books.held(DEEP_PUT), it.books.held("AAPL")) == (0, 100)
    assert (it.books.held(NEAR_PUT), it.books.put_collateral()) == (-1, 7_600)
    assert it.books.cash == cash - 9_500
    assert it.activities()[2:] == [], "told the next day"
    it.goto(1)
    assert it.activities()[2:] == [("OPASN", DEEP_PUT, 1), ("OPTRD", "AAPL", 100)]


def test_nobody_is_assigned_early_at_a_rate_of_zero(desk: Open) -> None:
    it = desk()
    trade(it, DEEP_PUT, "sell")
    it.goto(EXPIRATION_DAY, 389)
    assert it.books.held(DEEP_PUT) == -1


def test_how_many_are_assigned_is_drawn_by_contract(desk: Open) -> None:
    it = desk(cash=Decimal(2_000_000), terms={"early_assignment_rate": 0.3})
    trade(it, DEEP_PUT, "sell", 100)
    it.goto(1)
    assert 15 < 100 + it.books.held(DEEP_PUT) < 45


def test_orders_to_buy_back_what_was_assigned_are_cancelled(desk: Open) -> None:
    it = desk(terms={"early_assignment_rate": 1.0})
    trade(it, DEEP_PUT, "sell", 2)
    orders = [
        it.send(DEEP_PUT, "buy", 1, limit_price=limit, time_in_force="gtc") for limit in (1, 1.05)
    ]
    it.goto(1)
    assert [order.status for order in orders] == ["canceled", "canceled"]
    assert it.books.buying_power() == it.books.cash


def test_the_youngest_order_to_buy_back_goes_first(desk: Open) -> None:
    it = desk(cash=Decimal(200_000), terms={"early_assignment_rate": 0.3})
    trade(it, DEEP_PUT, "sell", 20)
    first, second = (
        it.send(DEEP_PUT, "buy", qty, limit_price=1, time_in_force="gtc") for qty in (3, 17)
    )
    it.goto(1)
    assert 3 <= -it.books.held(DEEP_PUT) < 20
    assert (first.status, second.status) == ("new", "canceled")


def test_calls_are_exercised_before_a_dividend_that_is_worth_more_than_their_time(
    calendar: Calendar, history: History
) -> None:
    market = Market(calendar, history.only(SYMBOLS), seed=7)
    it = Desk(
        market,
        dt.date(2020, 2, 3),
        stocks={"KO": Decimal(5_000)},
        terms={"early_assignment_rate": 0.02},
    )
    deep, near = "KO200214C00045000", "KO200214C00060000"
    trade(it, deep, "sell", 40)
    it.send(near, "sell", 1, limit_price=0.01)
    ex_date = calendar.session(it.start.index + 3).date
    terms = {"rate": Decimal("0.41"), "record_date": ex_date, "payable_date": ex_date}
    market.inject(CashDividend(id="d", symbol="KO", ex_date=ex_date, **terms), it.now)
    it.goto(2, 389)
    kept_so_far = -it.books.held(deep)
    assert kept_so_far > 30
    it.goto(3)
    assert -it.books.held(deep) < kept_so_far * Decimal("0.3")
    assert it.books.held(near) in (0, -1)
    assert it.books.receivables[:1] == []
    paid = [r for r in it.books.activities if r.activity_type == "DIV"]
    assert [r.qty for r in paid] == [it.books.held("KO")], "the shares went before the ex-date"


# --- on expiration day -------------------------------------------------------------------------


def test_what_cannot_be_exercised_is_sold_late_on_expiration_day(desk: Open) -> None:
    it = desk(cash=Decimal(3_000))
    trade(it, CALL, "buy")
    resting = it.send(CALL, "sell", 1, limit_price=40, time_in_force="gtc")
    it.goto(EXPIRATION_DAY, 359)
    assert it.books.held(CALL) == 1
    it.goto(EXPIRATION_DAY, 360)
    assert it.books.held(CALL) == 0
    assert resting.status == "canceled"
    sold = list(it.books.final_orders.values())[-1]
    assert (sold.side, sold.status, sold.qty) == ("sell", "filled", 1)
    bid, _ = it.bid_ask(CALL)
    assert sold.filled_avg_price == Decimal(repr(bid))
    assert it.books.held("AAPL") == 0


def test_what_can_be_exercised_or_shall_not_be_is_not_sold(desk: Open) -> None:
    rich, unwilling = desk(), desk(cash=Decimal(3_000))
    for it in (rich, unwilling):
        trade(it, CALL, "buy")
    unwilling.exchange.refuse_exercise(CALL, unwilling.now)
    for it in (rich, unwilling):
        it.goto(EXPIRATION_DAY, 389)
        assert it.books.held(CALL) == 1
        it.goto(EXPIRATION_DAY + 1)
        assert it.books.held(CALL) == 0
    assert rich.books.held("AAPL") == 100
    assert unwilling.books.held("AAPL") == 0
    assert unwilling.activities()[-1] == ("OPEXP", CALL, 1)
    assert unwilling.books.do_not_exercise == []


def test_a_wish_not_to_exercise_ends_with_the_position(desk: Open) -> None:
    it = desk()
    trade(it, CALL, "buy")
    it.exchange.refuse_exercise(CALL, it.now)
    it.goto(0, 10)
    trade(it, CALL, "sell")
    it.goto(1)
    trade(it, CALL, "buy")  # another, of which nothing was said
    it.goto(EXPIRATION_DAY + 1)
    assert it.books.held("AAPL") == 100


@pytest.mark.parametrize(
    ("minute", "side", "accepted"),
    [(344, "buy", True), (345, "buy", False), (345, "sell", True), (389, "sell", True)],
)
def test_late_on_expiration_day_positions_are_closed_but_not_opened(
    desk: Open, minute: int, side: str, accepted: bool
) -> None:
    it = desk()
    trade(it, CALL, "buy")
    it.goto(EXPIRATION_DAY, minute)
    if accepted:
        assert it.send(CALL, side, 1).status == "filled"
        return
    with pytest.raises(Refusal) as refused:
        it.send(CALL, side, 1)
    assert (refused.value.status, refused.value.code) == (422, 42210000)
