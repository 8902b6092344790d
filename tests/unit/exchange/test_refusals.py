"""What Alpaca refuses, row by row: status and code are the contract, and nothing changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.exchange.engine.books import Configurations
from services.exchange.engine.refusals import Refusal
from services.exchange.prices.market import Market
from tests.unit.exchange.desk import Desk

Open = Callable[..., Desk]
UNPROCESSABLE, FORBIDDEN = (422, 42210000), (403, 40310000)
KO_PUT, KO_CALL, AAPL_CALL = "KO200221P00048000", "KO200221C00055000", "AAPL200221C00080000"
RRC_PUT = "RRC200221P00002500"  # outside the penny programme


def refused(it: Desk, request: Callable[[], object]) -> Refusal:
    """What the request is answered with; the books must be as they were, byte for byte."""

    def state() -> tuple[bytes, int]:
        return msgspec.json.encode(it.books), len(it.books.outbox)

    it.exchange.advance(it.now)  # time itself may change them
    before = state()
    with pytest.raises(Refusal) as answer:
        request()
    assert state() == before
    return answer.value


def at(it: Desk, minute: int) -> None:
    """So many minutes after the open of the second session."""
    second = it.market.calendar.session(it.start.index + 1)
    it.now = second.open + dt.timedelta(minutes=minute)


def refusal(it: Desk, symbol: str, side: str, qty: object, **terms: object) -> tuple[int, int]:
    answer = refused(it, lambda: it.send(symbol, side, qty, **terms))
    return answer.status, answer.code


# --- form --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"limit_price": 0.30, "qty": 1.5}, UNPROCESSABLE),
        ({"limit_price": 0.30, "qty": None, "notional": 100}, UNPROCESSABLE),
        ({"type": "trailing_stop", "trail_percent": 5}, UNPROCESSABLE),
        ({"type": "trailing_stop", "trail_price": 0.1}, UNPROCESSABLE),
        ({"limit_price": 0.30, "time_in_force": "ioc"}, UNPROCESSABLE),
        ({"limit_price": 0.30, "time_in_force": "fok"}, UNPROCESSABLE),
        ({"limit_price": 0.30, "time_in_force": "opg"}, UNPROCESSABLE),
        ({"limit_price": 0.30, "time_in_force": "cls"}, UNPROCESSABLE),
        ({"limit_price": 0.30, "extended_hours": True}, UNPROCESSABLE),
        ({"limit_price": 0.30, "order_class": "mleg"}, UNPROCESSABLE),
        ({"limit_price": 0.30, "client_order_id": "x" * 129}, UNPROCESSABLE),
    ],
)
def test_options_go_whole_by_day_or_gtc_and_never_trail(
    desk: Open, terms: dict[str, Any], expected: tuple[int, int]
) -> None:
    qty = terms.get("qty", 1)
    rest = {name: value for name, value in terms.items() if name != "qty"}
    assert refusal(desk(), KO_PUT, "sell", qty, **rest) == expected


@pytest.mark.parametrize(
    ("order_type", "prices"),
    [
        ("market", {}),
        ("limit", {"limit_price": 0.3}),
        ("stop", {"stop_price": 0.1}),
        ("stop_limit", {"stop_price": 0.1, "limit_price": 0.1}),
    ],
)
@pytest.mark.parametrize("tif", ["day", "gtc"])
def test_what_options_may_be(
    desk: Open, order_type: str, prices: dict[str, float], tif: str
) -> None:
    order = desk().send(KO_PUT, "sell", 1, type=order_type, time_in_force=tif, **prices)
    assert order.status in ("new", "filled")


@pytest.mark.parametrize(
    ("symbol", "good", "bad"),
    [
        (KO_PUT, [0.01, 2.99, 3.00, 3.05], [0.123, 0.001, 3.01, 3.04]),
        (RRC_PUT, [0.05, 2.95, 3.00, 3.10], [0.01, 2.99, 3.05, 0.051]),
        ("KO", [50.12, 1.01, 0.9999], [50.123, 1.0001, 0.99999]),
    ],
)
def test_prices_lie_on_the_grid(
    desk: Open, symbol: str, good: list[float], bad: list[float]
) -> None:
    it = desk()
    for price in good:
        assert it.send(symbol, "buy", 1, limit_price=price).status in ("new", "filled")
    for price in bad:
        assert refusal(it, symbol, "buy", 1, limit_price=price) == UNPROCESSABLE
    for price in bad[:1]:
        assert refusal(it, symbol, "buy", 1, type="stop", stop_price=price) == UNPROCESSABLE


def test_more_than_two_decimals_are_named(desk: Open) -> None:
    it = desk()
    answer = refused(it, lambda: it.send(KO_PUT, "sell", 1, limit_price=0.123))
    assert answer.message == "limit price must be limited to 2 decimal places"


@pytest.mark.parametrize(
    ("symbol", "side", "terms"),
    [
        ("ZZZZ", "buy", {}),
        ("KO200222P00048000", "sell", {"limit_price": 1}),  # a Saturday
        ("KO200131P00048000", "sell", {"limit_price": 1}),  # expired
        ("KO200221P00048250", "sell", {"limit_price": 1}),  # no such strike
        ("KO", "buy", {"limit_price": 50, "stop_price": 49}),
        ("KO", "sell", {"type": "trailing_stop"}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 1, "trail_price": 1}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 100}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 1, "time_in_force": "ioc"}),
        ("KO", "sell", {"type": "trailing_stop", "trail_percent": 1, "qty": 0.5}),
        ("KO", "buy", {"type": "limit"}),
        ("KO", "buy", {"qty": 0}),
        ("KO", "buy", {"qty": -1}),
        ("KO", "buy", {"qty": "NaN"}),
        ("KO", "buy", {"qty": 1, "notional": 100}),
    ],
)
def test_a_malformed_order_is_unprocessable(
    desk: Open, symbol: str, side: str, terms: dict[str, Any]
) -> None:
    qty = terms.get("qty", 1)
    rest = {name: value for name, value in terms.items() if name != "qty"}
    assert refusal(desk(stocks={"KO": Decimal(5)}), symbol, side, qty, **rest) == UNPROCESSABLE


@pytest.mark.parametrize("tif", ["gtc", "ioc", "fok", "opg", "cls"])
def test_parts_of_shares_are_bought_by_the_day(desk: Open, tif: str) -> None:
    it = desk()
    assert refusal(it, "KO", "buy", 0.5, time_in_force=tif) == UNPROCESSABLE
    assert refusal(it, "KO", "buy", None, notional=50, time_in_force=tif) == UNPROCESSABLE
    assert it.send("KO", "buy", 0.5).status == "filled"
    assert it.send("KO", "buy", None, notional=50).status == "filled"


def test_parts_of_shares_can_be_switched_off_and_have_a_least_cost(desk: Open) -> None:
    it = desk()
    assert refusal(it, "KO", "buy", None, notional=0.99) == FORBIDDEN
    it.books.configurations = Configurations(fractional_trading=False)
    assert refusal(it, "KO", "buy", 0.5) == FORBIDDEN


# --- sessions ----------------------------------------------------------------------------------


def test_an_option_market_order_needs_an_open_market(desk: Open) -> None:
    it = desk()
    at(it, -5)
    assert refusal(it, KO_PUT, "sell", 1) == UNPROCESSABLE
    assert it.send(KO_PUT, "sell", 1, limit_price=0.3).status == "accepted"
    assert it.send("KO", "buy", 1).status == "accepted"


def test_after_the_last_session_of_the_data_too(desk: Open) -> None:
    it = desk(start=dt.date(2022, 12, 27))
    it.goto(5)  # the data ended on the 28th; the market is closed for good
    assert refusal(it, "KO230120P00060000", "sell", 1) == UNPROCESSABLE
    assert it.send("KO", "buy", 1).status == "accepted"


@pytest.mark.parametrize("tif", ["ioc", "fok"])
def test_immediate_orders_need_an_open_market(desk: Open, tif: str) -> None:
    it = desk()
    at(it, -5)
    assert refusal(it, "KO", "buy", 1, time_in_force=tif) == UNPROCESSABLE


@pytest.mark.parametrize(
    ("tif", "minute", "taken"),
    [
        ("opg", -3, True),
        ("opg", -2, False),
        ("opg", 100, False),
        ("opg", 569, False),
        ("opg", 570, True),  # 19:00
        ("cls", 379, True),
        ("cls", 380, False),
        ("cls", 569, False),
        ("cls", 570, True),
    ],
)
def test_orders_for_the_auctions_have_their_hours(
    desk: Open, tif: str, minute: int, taken: bool
) -> None:
    it = desk(start=dt.date(2020, 2, 3))
    at(it, minute)
    if taken:
        assert it.send("KO", "buy", 1, time_in_force=tif).working
    else:
        assert refusal(it, "KO", "buy", 1, time_in_force=tif) == UNPROCESSABLE


# --- what the account may and can --------------------------------------------------------------


def test_the_options_level_decides(desk: Open) -> None:
    """0 nothing, 1 covered calls and cash-secured puts, 2 long options too."""
    stocks = {"KO": Decimal(100)}
    none, covered, long = (desk(options_level=n, stocks=stocks) for n in (0, 1, 2))
    for symbol, side in ((KO_PUT, "sell"), (KO_CALL, "sell"), (KO_PUT, "buy"), (KO_CALL, "buy")):
        assert refusal(none, symbol, side, 1, limit_price=0.3) == FORBIDDEN
    for symbol in (KO_PUT, KO_CALL):
        assert covered.send(symbol, "sell", 1, limit_price=2.9).status == "new"
        assert refusal(covered, symbol, "buy", 1, limit_price=0.01) == FORBIDDEN
        assert long.send(symbol, "buy", 1, limit_price=0.01).position_intent == "buy_to_open"


def test_a_lower_wish_for_the_options_level_counts(desk: Open) -> None:
    it = desk()
    it.books.configurations = Configurations(max_options_trading_level=1)
    assert refusal(it, KO_CALL, "buy", 1, limit_price=0.3) == FORBIDDEN


def test_a_put_needs_its_strike_in_cash(desk: Open) -> None:
    it = desk(cash=Decimal(9_599))
    answer = refused(it, lambda: it.send(KO_PUT, "sell", 2, limit_price=0.3))
    assert (answer.status, answer.code) == FORBIDDEN
    assert answer.message == (
        "insufficient options buying power for cash-secured put "
        "(required: 9600.00, available: 9599.00)"
    )
    assert answer.details == {
        "required_options_buying_power": "9600.00",
        "buying_power": "9599.00",
    }


def test_open_orders_to_sell_puts_count_against_collateral(desk: Open) -> None:
    it = desk(cash=Decimal(10_000))
    it.send(KO_PUT, "sell", 1, limit_price=2.5)
    it.send(KO_PUT, "sell", 1, limit_price=2.6)
    assert it.books.buying_power() == 400
    assert refusal(it, KO_PUT, "sell", 1, limit_price=2.7) == FORBIDDEN
    assert refusal(it, "KO", "buy", 100) == FORBIDDEN


def test_a_call_needs_a_hundred_shares(desk: Open) -> None:
    it = desk()
    answer = refused(it, lambda: it.send(KO_CALL, "sell", 1, limit_price=0.5))
    assert (answer.status, answer.code) == FORBIDDEN
    assert answer.message == (
        "insufficient underlying qty available for covered call (required: 100, available: 0)"
    )
    assert refusal(desk(stocks={"KO": Decimal("99.9")}), KO_CALL, "sell", 1) == FORBIDDEN


def test_a_call_needs_shares_that_nothing_else_holds(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(250)})
    it.send(KO_CALL, "sell", 1, limit_price=2)
    it.send("KO", "sell", 50, type="trailing_stop", trail_percent=9)
    assert it.books.shares_free("KO") == 100
    it.send(KO_CALL, "sell", 1, limit_price=2)
    assert refusal(it, KO_CALL, "sell", 1, limit_price=2) == FORBIDDEN
    assert it.books.qty_available(it.books.positions["KO"]) == 0


def test_shares_that_cover_a_call_or_an_order_are_not_sold(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal("100.5")})
    bid, _ = it.bid_ask(KO_CALL)
    assert it.send(KO_CALL, "sell", 1, limit_price=bid).status == "filled"
    answer = refused(it, lambda: it.send("KO", "sell", 1, type="trailing_stop", trail_percent=5))
    assert (answer.status, answer.code) == FORBIDDEN
    assert answer.message.startswith("insufficient qty available for order")
    assert answer.details == {
        "symbol": "KO",
        "existing_qty": "100.5",
        "held_for_orders": "100",
        "available": "0.5",
    }
    assert refusal(it, "KO", "sell", None, notional=50) == FORBIDDEN


def test_contracts_are_closed_once(desk: Open) -> None:
    it = desk()
    _, ask = it.bid_ask(KO_PUT)
    it.send(KO_PUT, "buy", 2, limit_price=ask)
    it.send(KO_PUT, "sell", 1, limit_price=2.9)
    assert refusal(it, KO_PUT, "sell", 2, limit_price=2.9) == FORBIDDEN
    assert it.send(KO_PUT, "sell", 1, limit_price=2.9).status == "new"
    assert refusal(it, KO_PUT, "sell", 1, limit_price=2.9) == FORBIDDEN


def test_a_buy_needs_its_cost(desk: Open) -> None:
    it = desk(cash=Decimal(100))
    assert refusal(it, "KO", "buy", 3) == FORBIDDEN
    assert refusal(it, "KO", "buy", None, notional=101) == FORBIDDEN
    assert refusal(it, KO_CALL, "buy", 1, limit_price=1.01) == FORBIDDEN


@pytest.mark.parametrize("intent", ["buy_to_open", "buy_to_close", "sell_to_close"])
def test_a_stated_intent_is_what_the_order_does(desk: Open, intent: str) -> None:
    terms = {"limit_price": 0.3, "position_intent": intent}
    assert refusal(desk(), KO_PUT, "sell", 1, **terms) == UNPROCESSABLE


def test_an_order_never_meets_the_accounts_own(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(100)})
    first = it.send("KO", "sell", 25, limit_price=60)
    it.send("KO", "sell", 25, limit_price=60)
    assert it.send("KO", "buy", 1, limit_price=40).status == "new"  # they cannot meet
    answer = refused(it, lambda: it.send("KO", "buy", 1))
    assert (answer.status, answer.code) == FORBIDDEN
    assert answer.message.startswith("potential wash trade detected")
    assert answer.details["existing_order_id"] == first.id


def test_a_buy_does_not_meet_the_accounts_own_sell_stop(desk: Open) -> None:
    it = desk(stocks={"KO": Decimal(100)})
    stop = it.send("KO", "sell", 100, type="stop", stop_price=40, time_in_force="gtc")
    answer = refused(it, lambda: it.send("KO", "buy", 1, limit_price=30))
    assert answer.details["existing_order_id"] == stop.id
    assert answer.details["reject_reason"] == "opposite side order exists"


def test_the_order_named_is_the_eldest_whatever_happened_since(desk: Open) -> None:
    """So it is after a restart, when orders are looked at as they came."""
    it = desk(stocks={"KO": Decimal(100)})
    at(it, -5)
    first = it.send("KO", "sell", 25, limit_price=60, time_in_force="gtc")
    it.goto(1, 1)  # it opens, and so it is put anew among those that rest
    it.send("KO", "sell", 25, limit_price=61)
    replaced = it.exchange.replace(first.id, {"limit_price": "62"}, it.now)
    second = next(o for o in it.books.open_orders.values() if o.limit_price == 61)
    assert replaced.number > second.number
    answer = refused(it, lambda: it.send("KO", "buy", 1))
    assert answer.details["existing_order_id"] == second.id


def test_contracts_of_an_adjusted_root_are_not_opened(desk: Open, market: Market) -> None:
    moment = market.moment(desk().now)
    listings = [market.listing(symbol, moment) for symbol in market.history.symbols]
    adjusted = [c.symbol for listed in listings for c in listed.contracts if c.parts.adjusted]
    assert adjusted
    assert refusal(desk(), adjusted[0], "buy", 1, limit_price=0.05) == UNPROCESSABLE


def test_trading_can_be_suspended(desk: Open) -> None:
    it = desk()
    it.books.configurations = Configurations(suspend_trade=True)
    assert refusal(it, "KO", "buy", 1) == FORBIDDEN


# --- ids and final orders ----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["canceled", "filled", "working"])
def test_a_client_order_id_is_used_once_however_its_order_ended(desk: Open, end: str) -> None:
    it = desk()
    limit = 100 if end == "filled" else 1
    order = it.send("KO", "buy", 1, limit_price=limit, client_order_id="mine")
    if end == "canceled":
        it.exchange.cancel(order.id, it.now)
    answer = refused(it, lambda: it.send("KO", "buy", 1, limit_price=1, client_order_id="mine"))
    assert (answer.status, answer.code) == (422, 40010001)
    assert answer.message == "client_order_id must be unique"
    assert it.exchange.order_by_client_id("mine") is order


def test_a_final_order_is_neither_cancelled_nor_replaced(desk: Open) -> None:
    it = desk()
    order = it.send("KO", "buy", 1)
    requests: list[Callable[[], object]] = [
        lambda: it.exchange.cancel(order.id, it.now),
        lambda: it.exchange.replace(order.id, {"qty": "2"}, it.now),
    ]
    for request in requests:
        answer = refused(it, request)
        assert (answer.status, answer.code) == UNPROCESSABLE


def test_what_is_not_there_is_not_found(desk: Open) -> None:
    it = desk()
    requests: list[Callable[[], object]] = [
        lambda: it.exchange.cancel("nothing", it.now),
        lambda: it.exchange.order_by_client_id("nothing"),
        lambda: it.exchange.close_position("KO", None, None, it.now),
    ]
    for request in requests:
        answer = refused(it, request)
        assert (answer.status, answer.code) == (404, 40410000)


def test_only_long_contracts_are_exercised(desk: Open) -> None:
    it = desk()
    answer = refused(it, lambda: it.exchange.exercise(KO_PUT, it.now))
    assert (answer.status, answer.code) == FORBIDDEN
    bid, _ = it.bid_ask(KO_PUT)
    it.send(KO_PUT, "sell", 1, limit_price=bid)
    answer = refused(it, lambda: it.exchange.exercise(KO_PUT, it.now))
    assert (answer.status, answer.code) == (403, 40310001)
