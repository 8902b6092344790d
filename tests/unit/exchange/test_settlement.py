"""Stories of the close: assignment, exercise, expiration, and what the account is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from services.exchange.engine.books import Books
from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]
EXPIRATION = dt.date(2020, 2, 28)  # AAPL fell from 77 to 66 until then
EXPIRATION_DAY = 18  # sessions after 2020-02-03
PUT, CALL = "AAPL200228P00072000", "AAPL200228C00060000"


def at_expiration(it: Desk, minute: int = 389) -> None:
    it.goto(EXPIRATION_DAY, minute)
    assert it.market.moment(it.now).session.date == EXPIRATION


def sell(it: Desk, symbol: str, qty: int = 1) -> None:
    bid, _ = it.bid_ask(symbol)
    assert it.send(symbol, "sell", qty, limit_price=bid).status == "filled"


def buy(it: Desk, symbol: str, qty: int = 1) -> None:
    _, ask = it.bid_ask(symbol)
    assert it.send(symbol, "buy", qty, limit_price=ask).status == "filled"


def test_a_put_in_the_money_is_assigned_and_told_the_next_trading_day(desk: Open) -> None:
    it = desk()
    sell(it, PUT)
    cash = it.books.cash
    at_expiration(it)
    assert it.books.held(PUT) == -1
    it.exchange.advance(it.market.moment(it.now).session.close)  # the close itself
    assert (it.books.held(PUT), it.books.held("AAPL")) == (0, 100)
    assert it.books.cash == cash - 7_200
    assert it.books.put_collateral() == 0
    assert it.books.positions["AAPL"].avg_entry_price == 72
    assert [kind for kind, *_ in it.activities()] == ["FILL"]
    it.goto(EXPIRATION_DAY + 1)
    assert it.activities()[1:] == [("OPASN", PUT, 1), ("OPTRD", "AAPL", 100)]
    rows = it.books.activities[1:]
    assert [(r.date, r.price, r.net_amount) for r in rows] == [
        (EXPIRATION, None, 0),
        (EXPIRATION, 72, -7_200),
    ]


def test_a_covered_call_in_the_money_takes_the_shares(desk: Open) -> None:
    it = desk(stocks={"AAPL": Decimal(150)})
    sell(it, CALL)
    cash = it.books.cash
    it.goto(EXPIRATION_DAY + 1)
    assert it.books.held("AAPL") == 50
    assert it.books.cash == cash + 6_000
    assert it.activities()[1:] == [("OPASN", CALL, 1), ("OPTRD", "AAPL", -100)]


def test_out_of_the_money_contracts_expire(desk: Open) -> None:
    it = desk(stocks={"AAPL": Decimal(100)})
    sell(it, "AAPL200228C00082000")
    buy(it, "AAPL200228P00050000")
    cash = it.books.cash
    resting = it.send("AAPL200228C00082000", "buy", 1, limit_price=0.01, time_in_force="gtc")
    it.goto(EXPIRATION_DAY + 1)
    assert set(it.books.positions) == {"AAPL"}
    assert resting.status in ("expired", "filled")
    assert it.books.cash == cash - (1 if resting.status == "filled" else 0)
    assert ("OPEXP", "AAPL200228P00050000", 1) in it.activities()


def test_a_long_call_is_exercised_when_there_is_cash_and_sold_when_not(desk: Open) -> None:
    rich, poor = desk(), desk(cash=Decimal(3_000))
    for it in (rich, poor):
        buy(it, CALL)
        it.goto(EXPIRATION_DAY + 1)
        assert CALL not in it.books.positions
        assert it.books.cash >= 0
    assert rich.books.held("AAPL") == 100
    assert ("OPEXC", CALL, 1) in rich.activities()
    assert poor.books.held("AAPL") == 0
    assert poor.activities()[-1] == ("FILL", CALL, 1)


def test_a_long_put_is_exercised_against_shares_and_sold_without(desk: Open) -> None:
    holder, other = desk(stocks={"AAPL": Decimal(100)}), desk()
    for it in (holder, other):
        buy(it, PUT)
        it.goto(EXPIRATION_DAY + 1)
        assert PUT not in it.books.positions
    assert holder.books.held("AAPL") == other.books.held("AAPL") == 0
    assert ("OPTRD", "AAPL", -100) in holder.activities()
    assert other.activities()[-1][0] == "FILL"


def test_equity_does_not_jump_over_an_assignment(desk: Open) -> None:
    it = desk()
    sell(it, PUT)
    at_expiration(it)
    it.now = it.market.moment(it.now).session.close
    close = it.market.history.close("AAPL", it.start.index + EXPIRATION_DAY)
    cash = it.books.cash
    it.exchange.advance(it.now)
    assert it.equity() == cash - 7_200 + 100 * Decimal(str(close))
    assert it.books.last_equity == it.equity()


@pytest.mark.parametrize("step", [1, 7, 390])
def test_how_time_is_cut_into_steps_does_not_matter(desk: Open, step: int) -> None:
    def books(minutes: int) -> Books:
        it = desk(stocks={"AAPL": Decimal(300)})
        it.send("AAPL", "sell", 100, type="trailing_stop", trail_percent=1, time_in_force="gtc")
        it.send(CALL, "sell", 1, limit_price=20, time_in_force="gtc")
        it.send("KO", "buy", 10, limit_price=49, time_in_force="gtc")
        sell(it, PUT)
        for day in range(3):
            for minute in range(0, 390, minutes):
                it.goto(day, minute)
        it.goto(EXPIRATION_DAY + 1)
        return msgspec.structs.replace(it.books, revision=0)

    assert books(step) == books(131)
