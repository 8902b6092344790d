"""Whatever clients do: money and shares are conserved, and nothing is promised twice."""

from __future__ import annotations

import contextlib
import datetime as dt
from decimal import Decimal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol
from services.exchange.engine.books import Books
from services.exchange.engine.marks import market_value
from services.exchange.engine.refusals import Refusal
from services.exchange.prices.market import Market
from tests.unit.exchange.desk import Desk

STOCKS = {"AAPL": Decimal(230), "KO": Decimal(100)}
CASH = Decimal(40_000)
SYMBOLS = st.sampled_from(
    [
        "AAPL",
        "KO",
        "AAPL200207P00083000",
        "AAPL200207C00078000",
        "AAPL200214P00080000",
        "KO200207P00050000",
        "KO200207C00048000",
        "KO200214P00052000",
    ]
)
ORDERS = st.fixed_dictionaries(
    {
        "symbol": SYMBOLS,
        "side": st.sampled_from(["buy", "sell"]),
        "qty": st.sampled_from([1, 1, 2, 100]),
        "type": st.sampled_from(["market", "limit", "market", "stop", "trailing_stop"]),
        "time_in_force": st.sampled_from(["day", "gtc"]),
        "away": st.sampled_from([-0.3, -0.02, 0.0, 0.02, 0.3]),
    }
)
STEPS = st.lists(
    st.one_of(
        ORDERS,
        st.integers(1, 900).map(lambda minutes: {"wait": minutes}),
        st.integers(0, 5).map(lambda number: {"cancel": number}),
    ),
    min_size=8,
    max_size=40,
)
RATES = st.sampled_from([0.0, 0.7])


def take(it: Desk, step: dict[str, object]) -> None:
    if "wait" in step:
        wait(it, int(str(step["wait"])))
    elif "cancel" in step:
        working = list(it.books.open_orders)
        if working:
            it.exchange.cancel(working[int(str(step["cancel"])) % len(working)], it.now)
    else:
        send(it, dict(step))


def wait(it: Desk, minutes: int) -> None:
    moment = it.market.moment(it.now)
    minute = moment.minute + minutes
    days = moment.session.index - it.start.index + minute // 390
    it.goto(days, minute % 390)


def send(it: Desk, terms: dict[str, object]) -> None:
    symbol, away = str(terms.pop("symbol")), float(str(terms.pop("away")))
    try:
        bid, ask = it.bid_ask(symbol)
    except AssertionError:  # no longer listed
        bid = ask = 1.0
    price = f"{max(0.05, round((bid + ask) / 2 * (1 + away) / 0.05) * 0.05):.2f}"
    match terms["type"]:
        case "limit":
            terms["limit_price"] = price
        case "stop":
            terms["stop_price"] = price
        case "trailing_stop":
            terms["trail_percent"] = 2
    with contextlib.suppress(Refusal):
        it.send(symbol, str(terms.pop("side")), terms.pop("qty"), **terms)


def check(it: Desk) -> None:
    books = it.books
    assert books.cash >= 0
    assert books.put_collateral() >= 0
    assert books.cash >= books.put_collateral() + books.reserved(), "nothing is promised twice"
    for position in books.positions.values():
        available = books.qty_available(position)
        assert abs(available) <= abs(position.qty)
        assert available * position.qty >= 0
    for stock in STOCKS:
        assert books.held(stock) >= books.shares_locked(stock) >= 0
    check_sums(books)


def check_sums(books: Books) -> None:
    """Cash and holdings are what the account began with and what its activities say."""
    cash, held = CASH, dict(STOCKS)
    for row in books.activities:
        signed = row.qty
        multiplier = SHARES_PER_CONTRACT if parse_option_symbol(row.symbol) else 1
        if row.activity_type == "FILL":
            signed = row.qty if row.side == "buy" else -row.qty
            assert row.price is not None
            cash -= signed * row.price * multiplier
        elif row.activity_type == "OPTRD":
            assert row.net_amount is not None
            cash += row.net_amount
        else:  # a contract that ended: towards zero
            signed = -row.qty if held[row.symbol] > 0 else row.qty
        held[row.symbol] = held.get(row.symbol, Decimal(0)) + signed
    assert cash == books.cash
    assert {s: q for s, q in held.items() if q} == {s: p.qty for s, p in books.positions.items()}


@given(STEPS, RATES)
@settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_books_add_up_after_every_step(
    market: Market, steps: list[dict[str, object]], rate: float
) -> None:
    it = Desk(
        market, dt.date(2020, 2, 5), cash=CASH, stocks=STOCKS, terms={"partial_fill_rate": rate}
    )
    for step in steps:
        take(it, step)
        check(it)
        values = (
            market_value(market, p, market.moment(it.now)) for p in it.books.positions.values()
        )
        assert it.equity() == it.books.cash + sum(values)
    it.goto(8)  # both expirations are over
    check(it)
    assert all(p.option is None for p in it.books.positions.values())


@given(STEPS)
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_same_requests_give_the_same_books_byte_for_byte(
    market: Market, steps: list[dict[str, object]]
) -> None:
    def books() -> bytes:
        it = Desk(market, dt.date(2020, 2, 5), cash=CASH, stocks=STOCKS)
        for step in steps:
            take(it, step)
        return msgspec.json.encode(it.books)

    assert books() == books()
