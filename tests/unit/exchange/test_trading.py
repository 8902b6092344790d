"""Stories of orders: how they fill, and what they hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]
KO_PUT, KO_CALL, AAPL_CALL = "KO200221P00048000", "KO200221C00055000", "AAPL200221C00080000"


# --- fills -------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_quote(desk: Open) -> None:
    it = desk()
    bid, ask = it.bid_ask("KO")
    bought = it.send("KO", "buy", 10)
    assert (bought.status, bought.filled_avg_price) == ("filled", Decimal(str(ask)))
    sold = it.send("KO", "sell", 10)
    assert (sold.status, sold.filled_avg_price) == ("filled", Decimal(str(bid)))
    assert it.books.cash == 50_000 - 10 * (Decimal(str(ask)) - Decimal(str(bid)))
    assert it.books.positions == {}


def test_submitting_answers_before_the_fill_is_told(desk: Open) -> None:
    it = desk()
    body = {"symbol": "KO", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
    answer = it.exchange.submit(body, it.now)
    assert (answer.status, answer.filled_qty) == ("new", 0)
    assert it.exchange.order(answer.id).status == "filled"


def test_a_resting_limit_fills_when_the_path_crosses_even_in_one_leap(
    desk: Open,
) -> None:
    it = desk()
    path = it.market.path("KO", it.start)
    dip = round(float(path[1:300].min()) + 0.03, 2)
    assert dip < path[0] - 0.02
    slowly, at_once = it.send("KO", "buy", 1, limit_price=dip), None
    for minute in range(1, 301):
        it.goto(0, minute)
    other = desk()
    at_once = other.send("KO", "buy", 1, limit_price=dip)
    other.goto(0, 300)
    assert slowly.status == "filled"
    assert slowly.filled_avg_price is not None
    assert slowly.filled_avg_price <= Decimal(str(dip))
    assert (slowly.filled_at, slowly.filled_avg_price) == (
        at_once.filled_at,
        at_once.filled_avg_price,
    )
    assert slowly.filled_at is not None
    assert slowly.filled_at > slowly.created_at


def test_a_day_order_expires_at_the_close_and_a_gtc_order_goes_on(desk: Open) -> None:
    it = desk()
    of_day = it.send("KO", "buy", 1, limit_price=1)
    for_long = it.send("KO", "buy", 1, limit_price=2, time_in_force="gtc")
    it.goto(1)
    assert (of_day.status, of_day.expired_at) == ("expired", it.start.close)
    assert for_long.status == "new"
    it.goto(70)
    assert for_long.status == "canceled"  # after 90 days


def test_a_stop_sells_at_the_market_once_the_price_is_there(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(10)})
    path = it.market.path("KO", it.start)
    stop = round(float(path[:200].min()) + 0.02, 2)
    reached = int(np.argmax(path <= stop))
    order = it.send("KO", "sell", 10, type="stop", stop_price=stop)
    it.goto(0, max(reached - 1, 0))
    assert order.status == "new"
    it.goto(0, 389)
    assert order.status == "filled"
    assert order.filled_at == it.start.open + dt.timedelta(minutes=reached)


def test_a_trailing_stop_follows_the_price_up_and_sells_on_the_way_down(desk: Open) -> None:
    it = desk(stocks={"AAPL": Decimal(100)})
    order = it.send("AAPL", "sell", 100, type="trailing_stop", trail_percent=3, time_in_force="gtc")
    marks = [order.hwm]
    for day in range(40):
        for minute in (100, 389):
            it.goto(day, minute)
            if order.working:
                marks.append(order.hwm)
                assert order.stop_price == (order.hwm * Decimal("0.97")).quantize(Decimal("0.01"))
    assert marks == sorted(marks)
    assert marks[-1] > marks[0]
    assert order.status == "filled"
    assert order.filled_avg_price == pytest.approx(order.stop_price, rel=Decimal("0.03"))


def test_a_short_put_holds_its_strike_in_cash_until_bought_back(desk: Open) -> None:
    it = desk()
    bid, _ = it.bid_ask(KO_PUT)
    it.send(KO_PUT, "sell", 2, limit_price=bid)
    assert it.books.held(KO_PUT) == -2
    assert it.books.put_collateral() == 9_600
    assert it.books.buying_power() == it.books.cash - 9_600
    it.goto(0, 5)
    _, ask = it.bid_ask(KO_PUT)
    closing = it.send(KO_PUT, "buy", 2, limit_price=ask)
    assert (closing.position_intent, closing.status) == ("buy_to_close", "filled")
    assert it.books.buying_power() == it.books.cash


def test_partial_fills_come_at_the_seeded_rate_and_add_up(desk: Open) -> None:
    it = desk(terms={"partial_fill_rate": 0.999})
    order = it.send("KO", "buy", 100)
    assert (order.status, order.filled_qty) == ("partially_filled", 50)
    it.goto(0, 30)
    assert (order.status, it.books.held("KO")) == ("filled", 100)
    fills = [qty for kind, _, qty in it.activities() if kind == "FILL"]
    assert len(fills) > 2
    assert sum(fills) == 100


def test_a_stop_that_would_overspend_when_elected_is_rejected(desk: Open) -> None:
    it = desk(cash=Decimal(5_100))
    path = it.market.path("KO", it.start)
    stop = round(float(path[0]) + 0.02, 2)
    assert path.max() > stop
    qty = int(5_100 / stop)
    order = it.send("KO", "buy", qty, type="stop", stop_price=stop)
    if order.status == "new":
        it.goto(0, 389)
    assert order.status in ("rejected", "filled")
    assert it.books.cash >= 0


# --- what a state machine found ----------------------------------------------------------------


def test_a_gtc_order_ends_with_the_last_close_within_ninety_days(desk: Open) -> None:
    """Also when the clocks change between: an evening in winter is past a close in spring."""
    it = desk()
    it.goto(0, 389)
    order = it.send("KO", "buy", 1, limit_price=1, time_in_force="gtc")
    last = dt.date(2020, 5, 1)  # the 90th day is Sunday the 3rd
    session = it.market.calendar.on(last)
    assert session is not None
    assert order.expires_at == session.close
    it.now = session.close - dt.timedelta(seconds=1)
    it.exchange.advance(it.now)
    assert order.status == "new"
    it.exchange.advance(session.close)
    assert (order.status, order.canceled_at) == ("canceled", session.close)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_trailing_stop_never_loosens(desk: Open, side: str) -> None:
    it = desk(stocks={"AAPL": Decimal(100)}, start=dt.date(2020, 3, 9))
    order = it.send("AAPL", side, 10, type="trailing_stop", trail_percent=15, time_in_force="gtc")
    stops = []
    for day in range(3):
        for minute in range(0, 390, 30):
            it.goto(day, minute)
            if order.working:
                assert order.hwm is not None
                assert order.stop_price == order.trailing_stop(order.hwm)
                stops.append(order.stop_price)
    assert stops == sorted(stops, reverse=side == "buy")
    assert len(set(stops)) > 1, "it is live"


def test_fees_of_a_sale_are_never_more_than_it_brings(desk: Open) -> None:
    it = desk(
        cash=Decimal(0), stocks={"RRC": Decimal(100)}, terms={"fee_per_share_sold": Decimal(100)}
    )
    it.send("RRC", "sell", 100)
    assert it.books.cash == 0
    rows = {row.activity_type: row.net_amount for row in it.books.activities}
    assert rows["FEE"] < 0


def test_an_order_for_dollars_does_not_take_shares_that_cover_a_call(desk: Open) -> None:
    """At a lower price than it came at, so many dollars are more shares."""
    call = "KO200320C00055000"
    it = desk(stocks={"KO": Decimal(105)}, start=dt.date(2020, 2, 27))
    bid, _ = it.bid_ask(call)
    assert it.send(call, "sell", 1, limit_price=bid).status == "filled"
    close, opening = (
        float(it.market.path("KO", it.market.calendar.session(it.start.index + day))[at])
        for day, at in ((0, -1), (1, 0))
    )
    assert opening < close * 0.99
    it.now = it.start.close + dt.timedelta(minutes=30)
    order = it.send("KO", "sell", None, notional=f"{5 * close - 0.5:.2f}")
    it.goto(1)
    assert order.status == "filled"
    assert it.books.held("KO") == 100


def test_what_remains_of_an_order_and_cannot_be_paid_ends_as_cancelled(desk: Open) -> None:
    it = desk(cash=Decimal(10**6), terms={"partial_fill_rate": 0.999})
    ask = it.market.session_quotes("KO", it.start).ask
    dearer = next(m for m in range(300) if ask[m + 1] > ask[m] + 0.005)
    it.goto(0, dearer)
    it.books.cash = Decimal(repr(float(ask[dearer]))) * 100
    order = it.send("KO", "buy", 100)
    it.goto(0, dearer + 1)
    assert (order.status, order.filled_qty, order.failed_at) == ("canceled", 50, None)
    assert order.canceled_at == it.start.open + dt.timedelta(minutes=dearer + 1)
    assert it.books.outbox[-1].event == "canceled"


def test_what_an_auction_leaves_is_cancelled_before_anything_else_is_told(desk: Open) -> None:
    it = desk(terms={"partial_fill_rate": 0.999})
    it.now = it.market.calendar.session(it.start.index + 1).open - dt.timedelta(minutes=90)
    orders = [it.send("KO", "buy", 2, time_in_force="opg"), it.send("KO", "buy", 1)]
    it.goto(1, 10)
    assert [order.status for order in orders] == ["canceled", "filled"]
    times = [update.at for update in it.books.outbox]
    assert times == sorted(times)
