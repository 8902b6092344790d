"""Stories of brackets and pairs of exits: what one fills the other does not sell again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest

from services.exchange.engine.orders import Order
from services.exchange.engine.refusals import Refusal
from tests.unit.exchange import audit
from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]


def bracket(it: Desk, qty: int = 10, width: float = 0.1, **terms: object) -> Order:
    _, ask = it.bid_ask("KO")
    exits = {
        "take_profit": {"limit_price": round(ask * (1 + width), 2)},
        "stop_loss": {"stop_price": round(ask * (1 - width), 2)},
    }
    return it.send("KO", "buy", qty, order_class="bracket", **exits, **terms)


def pair(it: Desk, qty: int = 10, width: float = 0.1) -> tuple[Order, Order]:
    """An OCO order to sell: the take-profit, and its stop-loss."""
    bid, _ = it.bid_ask("KO")
    first = it.send(
        "KO",
        "sell",
        qty,
        type="limit",
        order_class="oco",
        take_profit={"limit_price": round(bid * (1 + width), 2)},
        stop_loss={"stop_price": round(bid * (1 - width), 2)},
    )
    return first, it.exchange.order(first.legs[0])


def told(it: Desk, order: Order) -> list[str]:
    return [update.event for update in it.books.outbox if update.order.id == order.id]


def test_an_exit_that_fills_cancels_the_other(desk: Open) -> None:
    it = desk()
    entry = bracket(it, width=0.002, time_in_force="gtc")
    exits = [it.exchange.order(leg) for leg in entry.legs]
    assert [leg.status for leg in exits] == ["new", "new"]
    assert it.books.shares_free("KO") == 0
    it.goto(20)
    assert sorted(leg.status for leg in exits) == ["canceled", "filled"]
    assert it.books.held("KO") == it.books.shares_locked("KO") == 0


@pytest.mark.parametrize("which", [0, 1])
def test_the_one_in_an_exits_place_holds_what_that_held(desk: Open, which: int) -> None:
    it = desk(stocks={"KO": Decimal(10)})
    orders = pair(it)
    field = ("limit_price", "stop_price")[which]
    price = float(str(getattr(orders[which], field))) + 0.05
    new = it.exchange.replace(orders[which].id, {field: f"{price:.2f}"}, it.now)
    audit.check_holds(it.books)
    assert it.books.shares_locked("KO") == 10
    assert told(it, new) == ["new"]
    assert told(it, orders[1 - which]) == ["new"]  # and not again
    it.exchange.cancel(new.id, it.now)
    assert orders[1 - which].status == "canceled"
    assert it.books.shares_free("KO") == 10


def test_the_one_in_an_exits_place_works_at_once(desk: Open) -> None:
    it = desk()
    entry = bracket(it)
    bid, _ = it.bid_ask("KO")
    new = it.exchange.replace(entry.legs[0], {"limit_price": f"{bid - 0.05:.2f}"}, it.now)
    assert it.exchange.order(new.id).status == "filled"
    assert told(it, new) == ["new", "fill"]
    assert it.exchange.order(entry.legs[1]).status == "canceled"


@pytest.mark.parametrize("wish", [{"qty": "5"}, {"time_in_force": "gtc"}])
def test_only_prices_of_linked_orders_are_replaced(desk: Open, wish: dict[str, str]) -> None:
    it = desk(stocks={"KO": Decimal(10)})
    for order in pair(it):
        with pytest.raises(Refusal) as refused:
            it.exchange.replace(order.id, wish, it.now)
        assert (refused.value.status, refused.value.code) == (422, 42210000)


def test_a_bracket_does_not_sell_for_it_would_have_to_buy_back(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(10)})
    bid, _ = it.bid_ask("KO")
    with pytest.raises(Refusal) as refused:
        it.send(
            "KO",
            "sell",
            10,
            order_class="bracket",
            take_profit={"limit_price": round(bid * 0.9, 2)},
            stop_loss={"stop_price": round(bid * 1.1, 2)},
        )
    assert (refused.value.status, refused.value.code) == (403, 40310000)


def test_a_cancelled_entry_leaves_exits_for_what_it_bought(desk: Open) -> None:
    it = desk(terms={"partial_fill_rate": 0.999})
    entry = bracket(it, 100)
    assert (entry.status, entry.filled_qty) == ("partially_filled", 50)
    it.exchange.cancel(entry.id, it.now)
    assert [it.exchange.order(leg).qty for leg in entry.legs] == [50, 50]
    assert it.books.shares_locked("KO") == 50


def test_an_entry_replaced_on_the_way_has_exits_for_all_it_bought(desk: Open) -> None:
    it = desk(terms={"partial_fill_rate": 0.999})
    _, ask = it.bid_ask("KO")
    entry = bracket(it, 100, type="limit", limit_price=ask)
    assert entry.filled_qty == 50
    new = it.exchange.replace(entry.id, {"limit_price": f"{ask + 0.01:.2f}"}, it.now)
    it.exchange.cancel(new.id, it.now)
    filled = 50 + it.exchange.order(new.id).filled_qty
    assert {it.exchange.order(leg).qty for leg in new.legs} == {filled}
    assert it.books.held("KO") == filled


def test_exits_do_not_sell_what_was_sold_meanwhile(desk: Open) -> None:
    it = desk(terms={"partial_fill_rate": 0.999})
    _, ask = it.bid_ask("KO")
    entry = bracket(it, 100, width=0.2, type="limit", limit_price=ask, time_in_force="gtc")
    assert entry.filled_qty == 50
    it.send("KO", "sell", 50, limit_price=round(ask + 0.01, 2), time_in_force="gtc")
    for minute in range(1, 380, 10):
        it.goto(0, minute)
        audit.check_promises(it.books)
    if entry.working:
        it.exchange.cancel(entry.id, it.now)
    audit.check_promises(it.books)
    assert all(
        it.exchange.order(leg).status in ("canceled", "new")
        and it.exchange.order(leg).qty <= it.books.held("KO") + 50
        for leg in entry.legs
    )


def test_an_entry_that_cannot_be_paid_to_the_end_has_its_exits_work_at_once(desk: Open) -> None:
    it = desk(cash=Decimal(10**6), terms={"partial_fill_rate": 0.999})
    quotes = it.market.session_quotes("KO", it.start)
    dearer = next(m for m in range(300) if quotes.ask[m + 1] > quotes.ask[m] + 0.005)
    it.goto(0, dearer)
    it.books.cash = Decimal(str(float(quotes.ask[dearer]))) * 100
    entry = bracket(it, 100, width=0.0006)
    assert entry.filled_qty == 50
    it.goto(0, 389)
    assert (entry.status, entry.failed_at) == ("canceled", None)
    assert entry.canceled_at == it.start.open + dt.timedelta(minutes=dearer + 1)
    exits = [it.exchange.order(leg) for leg in entry.legs]
    assert any(leg.filled_qty for leg in exits), "they rested in the same session"
