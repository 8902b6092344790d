"""What an account was worth: the history is what was seen when it happened."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from services.exchange.engine.portfolio import equity_by_minute
from tests.unit.exchange.desk import Desk

MINUTES = (0, 1, 45, 200, 389, 390)


def seen_through_a_day(desk: Desk, day: int) -> dict[int, float]:
    """Equity at some minutes, with orders filled in between."""
    seen = {}
    for number, minute in enumerate(MINUTES):
        desk.goto(day, minute)
        seen[minute] = float(desk.equity())
        if number == 1:
            desk.send("KO", "buy", 100)
            desk.send("KO200214P00052000", "sell", 1)
        if number == 3:
            desk.send("KO", "sell", 40)
            desk.send("AAPL", "buy", 10)
    return seen


def test_equity_by_minute_is_what_was_seen_at_that_minute(desk: Callable[..., Desk]) -> None:
    it = desk(stocks={"AAPL": Decimal(100)})
    seen = seen_through_a_day(it, 0)
    session = it.start
    worth = equity_by_minute(it.market, it.books, session)
    for minute, equity in seen.items():
        # At a minute with fills the books were looked at before them: the spread is paid after.
        assert worth[minute] == pytest.approx(equity, abs=10.0), minute
    assert worth[45] == pytest.approx(seen[45], abs=0.01)
    assert worth[389] == pytest.approx(seen[389], abs=0.01)


def test_a_day_that_is_over_is_told_as_it_was_though_the_books_went_on(
    desk: Callable[..., Desk],
) -> None:
    it = desk(stocks={"AAPL": Decimal(100)})
    seen = seen_through_a_day(it, 0)
    before = equity_by_minute(it.market, it.books, it.start)
    it.goto(3, 30)
    it.send("AAPL", "sell", 60)
    it.goto(12)  # the put's expiration is over
    after = equity_by_minute(it.market, it.books, it.start)
    assert after.tolist() == pytest.approx(before.tolist(), abs=0.01)
    assert after[200] == pytest.approx(seen[200], abs=10.0)


def test_the_close_of_each_day_is_kept_and_is_its_last_minutes_worth(
    desk: Callable[..., Desk],
) -> None:
    it = desk(stocks={"AAPL": Decimal(100)})
    for day in range(4):
        seen_through_a_day(it, day)
        if day == 2:
            break
    it.goto(3)
    closes = dict(it.books.equity_closes)
    assert len(closes) == 3
    for day in range(3):
        session = it.market.calendar.session(it.start.index + day)
        worth = equity_by_minute(it.market, it.books, session)
        assert float(closes[session.date]) == pytest.approx(float(worth[-1]), abs=0.01)
