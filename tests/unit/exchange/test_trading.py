"""Stories of orders: how they fill, what they hold, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from services.exchange.engine.refusals import Refusal
from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]
KO_PUT, KO_CALL, AAPL_CALL = "KO200221P00048000", "KO200221C00055000", "AAPL200221C00080000"


def refusal(desk: Desk, symbol: str, side: str, qty: object, **terms: object) -> tuple[int, int]:
    """(status, code) of the refusal; the books must be as they were."""
    before = desk.books.revision, desk.books.cash, dict(desk.books.positions)
    with pytest.raises(Refusal) as refused:
        desk.send(symbol, side, qty, **terms)
    assert (desk.books.revision, desk.books.cash, desk.books.positions) == before
    return refused.value.status, refused.value.code


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


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"limit_price": 0.123}, (422, 42210000)),  # more than two decimals
        ({"limit_price": 3.01}, (422, 42210000)),  # from 3.00 the grid is five cents
        ({"limit_price": 0.30, "qty": 1.5}, (422, 42210000)),
        ({"type": "trailing_stop", "trail_percent": 5}, (422, 42210000)),
        ({"limit_price": 0.30, "position_intent": "sell_to_close"}, (422, 42210000)),
        ({"limit_price": 0.30, "qty": 11}, (403, 40310000)),  # 52,800 of collateral
        ({"limit_price": 0.30, "time_in_force": "ioc"}, (422, 42210000)),
        ({"limit_price": 0.30, "extended_hours": True}, (501, 50110000)),
        ({"limit_price": 0.30, "client_order_id": "x" * 129}, (422, 42210000)),
    ],
)
def test_an_order_to_sell_a_put_is_refused(
    desk: Open, terms: dict[str, Any], expected: tuple[int, int]
) -> None:
    qty = terms.pop("qty", 1)
    assert refusal(desk(), KO_PUT, "sell", qty, **terms) == expected


@pytest.mark.parametrize(
    ("symbol", "side", "terms"),
    [
        ("ZZZZ", "buy", {}),
        ("KO200222P00048000", "sell", {"limit_price": 1}),  # a Saturday
        ("KO200131P00048000", "sell", {"limit_price": 1}),  # expired
        ("KO200221P00048250", "sell", {"limit_price": 1}),  # no such strike
        ("KO", "buy", {"limit_price": 50.123}),
        ("KO", "buy", {"qty": 0.5, "time_in_force": "gtc"}),
        ("KO", "buy", {"limit_price": 50, "stop_price": 49}),
        ("KO", "sell", {"type": "trailing_stop"}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 1, "trail_price": 1}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 100}),
        ("KO", "buy", {"type": "limit"}),
    ],
)
def test_a_malformed_order_is_unprocessable(
    desk: Open, symbol: str, side: str, terms: dict[str, Any]
) -> None:
    qty = terms.pop("qty", 1)
    assert refusal(desk(stocks={"KO": Decimal(5)}), symbol, side, qty, **terms) == (422, 42210000)


def test_open_orders_to_sell_puts_count_against_collateral(desk: Open) -> None:
    it = desk(cash=Decimal(10_000))
    it.send(KO_PUT, "sell", 1, limit_price=2.5)
    it.send(KO_PUT, "sell", 1, limit_price=2.6)
    assert it.books.buying_power() == 400
    assert refusal(it, KO_PUT, "sell", 1, limit_price=2.7) == (403, 40310000)
    assert refusal(it, "KO", "buy", 100) == (403, 40310000)


def test_a_call_needs_shares_that_nothing_else_holds(desk: Open) -> None:
    assert refusal(desk(), KO_CALL, "sell", 1, limit_price=0.5) == (403, 40310000)
    it = desk(stocks={"KO": Decimal(250)})
    it.send(KO_CALL, "sell", 1, limit_price=2)
    it.send("KO", "sell", 50, type="trailing_stop", trail_percent=9)
    assert it.books.shares_free("KO") == 100
    it.send(KO_CALL, "sell", 1, limit_price=2)
    assert refusal(it, KO_CALL, "sell", 1, limit_price=2) == (403, 40310000)
    assert refusal(it, "KO", "sell", 1, type="trailing_stop", trail_percent=5) == (403, 40310000)
    assert it.books.qty_available(it.books.positions["KO"]) == 0


def test_the_options_level_decides(desk: Open) -> None:
    none, covered, long = desk(options_level=0), desk(options_level=1), desk(options_level=2)
    assert refusal(none, KO_PUT, "sell", 1, limit_price=0.3) == (403, 40310000)
    covered.send(KO_PUT, "sell", 1, limit_price=0.3)
    assert refusal(covered, KO_CALL, "buy", 1, limit_price=0.3) == (403, 40310000)
    assert long.send(KO_CALL, "buy", 1, limit_price=5).position_intent == "buy_to_open"


def test_an_order_never_meets_the_accounts_own(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(100)})
    resting = it.send("KO", "sell", 50, limit_price=60)
    assert it.send("KO", "buy", 1, limit_price=40).status == "new"  # they cannot meet
    with pytest.raises(Refusal) as wash:
        it.send("KO", "buy", 1)
    assert wash.value.details["existing_order_id"] == resting.id


def test_a_client_order_id_is_used_once_even_when_cancelled(desk: Open) -> None:
    it = desk()
    order = it.send("KO", "buy", 1, limit_price=1, client_order_id="mine")
    it.exchange.cancel(order.id, it.now)
    assert refusal(it, "KO", "buy", 1, limit_price=1, client_order_id="mine") == (422, 40010001)
    with pytest.raises(Refusal) as final:
        it.exchange.cancel(order.id, it.now)
    assert final.value.code == 42210000
    assert it.exchange.order_by_client_id("mine") is order


def test_an_option_market_order_waits_for_no_morning(desk: Open) -> None:
    it = desk(start=dt.date(2022, 12, 27))
    it.goto(5)  # the data ended on the 28th; the market is closed for good
    assert refusal(it, "KO230120P00060000", "sell", 1) == (422, 42210000)
    assert it.send("KO", "buy", 1).status == "accepted"


def test_contracts_of_an_adjusted_root_are_not_traded(desk: Open, market: Any) -> None:
    moment = market.moment(desk().now)
    listings = [market.listing(symbol, moment) for symbol in market.history.symbols]
    adjusted = [c.symbol for listed in listings for c in listed.contracts if c.parts.adjusted]
    for symbol in adjusted[:1]:
        assert refusal(desk(), symbol, "buy", 1, limit_price=0.05) == (422, 42210000)
