"""Alpaca's JSON as it comes, whole and broken."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common import wire
from libs.common.contracts import AssetClass, ContractQuote, Side, StockQuote
from libs.common.symbols import Right
from libs.common.wire import WireError

PUT = "KO240315P00057500"
ACCOUNT = {
    "id": "uuid",
    "account_number": "PA3ABC",
    "status": "ACTIVE",
    "equity": "60123.45",
    "last_equity": "60000",
    "cash": "41000.10",
    "buying_power": "82000.20",
    "options_buying_power": "41000.10",
    "options_approved_level": 3,
    "options_trading_level": 2,
    "trading_blocked": False,
    "crypto_status": "INACTIVE",
    "multiplier": "1",
}
POSITION = {
    "symbol": PUT,
    "asset_class": "us_option",
    "qty": "-1",
    "qty_available": "-1",
    "avg_entry_price": "0.41",
    "market_value": "-38",
    "cost_basis": "-41",
    "current_price": "0.38",
    "unrealized_pl": "3",
    "side": "short",
    "swap_rate": None,
}
ORDER = {
    "id": "61e69015",
    "client_order_id": "acl-x",
    "symbol": PUT,
    "side": "sell",
    "type": "limit",
    "status": "new",
    "qty": "1",
    "filled_qty": "0",
    "filled_avg_price": None,
    "limit_price": "0.38",
    "position_intent": "sell_to_open",
    "submitted_at": "2024-03-04T15:00:00.123456789Z",
    "updated_at": "2024-03-04T10:00:01-05:00",
    "legs": None,
}
OPTION = {
    "latestQuote": {"bp": 0.37, "ap": 0.39, "bs": 10, "t": "2024-03-04T15:00:00Z", "c": "A"},
    "latestTrade": {"p": 0.38},
    "greeks": {"delta": -0.27, "gamma": 0.1, "theta": -0.04, "vega": 0.03, "rho": -0.01},
    "impliedVolatility": 0.21,
}
NOT_PRICES = [None, 0, 0.0, -0.01, "NaN", "-Infinity", "Infinity"]


def read(value: object, type_: Any) -> Any:
    return wire.decode(json.dumps(value).encode(), type_, "answer")


def option_quote(**changes: Any) -> ContractQuote:
    found = wire.contract_quote(PUT, read(OPTION | changes, wire.WireOptionSnapshot))
    assert found is not None
    return found


def stock_quote(**fields: Any) -> StockQuote:
    return wire.stock_quote(read(fields, wire.WireStockSnapshot))


# --- option contracts --------------------------------------------------------------------------


def test_a_contract_is_read_from_its_symbol_and_its_quote() -> None:
    quote = option_quote()
    assert (quote.right, quote.strike, quote.expiration) == (
        Right.PUT,
        Decimal("57.5"),
        dt.date(2024, 3, 15),
    )
    assert (quote.bid, quote.ask, quote.delta, quote.vega) == (0.37, 0.39, -0.27, 0.03)
    assert quote.implied_volatility == 0.21


@pytest.mark.parametrize("value", NOT_PRICES)
def test_what_cannot_be_a_price_is_none(value: object) -> None:
    quote = option_quote(latestQuote={"bp": value, "ap": 0.39}, impliedVolatility=value)
    assert (quote.bid, quote.ask, quote.implied_volatility) == (None, 0.39, None)
    stock = stock_quote(
        latestTrade={"p": value}, latestQuote={"bp": 58.9, "ap": value}, prevDailyBar={"c": value}
    )
    assert (stock.bid, stock.ask, stock.last, stock.previous_close) == (58.9, None, None, None)


@pytest.mark.parametrize("greeks", [None, {}, {"delta": None}, {"delta": "NaN", "gamma": None}])
def test_missing_greeks_are_none_and_the_quote_stays(greeks: object) -> None:
    quote = option_quote(greeks=greeks)
    assert (quote.delta, quote.gamma, quote.theta, quote.vega) == (None,) * 4
    assert quote.bid == 0.37


def test_partial_greeks_are_kept_as_far_as_they_go() -> None:
    quote = option_quote(greeks={"delta": -0.3, "vega": "Infinity"})
    assert (quote.delta, quote.vega, quote.theta) == (-0.3, None, None)


@pytest.mark.parametrize("part", ["latestQuote", "greeks", "impliedVolatility"])
def test_a_contract_may_lack_any_part(part: str) -> None:
    without = {name: value for name, value in OPTION.items() if name != part}
    for raw in (without, OPTION | {part: None}):
        found = wire.contract_quote(PUT, read(raw, wire.WireOptionSnapshot))
        assert found is not None
        assert found.symbol == PUT


def test_what_is_no_option_symbol_is_no_contract() -> None:
    assert wire.contract_quote("KO", read(OPTION, wire.WireOptionSnapshot)) is None


def test_an_adjusted_contract_is_read_and_says_so() -> None:
    found = wire.contract_quote("AAPL1240315C00100000", read(OPTION, wire.WireOptionSnapshot))
    assert found is not None
    assert found.symbol.startswith("AAPL1")


def test_a_chain_page_of_nothing_is_a_page() -> None:
    page = read({"snapshots": None, "next_page_token": None}, wire.WireChainPage)
    assert (page.snapshots, page.next_page_token) == (None, None)
    assert read({"snapshots": {PUT: {}}}, wire.WireChainPage).snapshots[PUT].greeks is None


number = st.none() | st.integers(-5, 5) | st.floats() | st.sampled_from(["NaN", "-0.0"])


@settings(deadline=None)
@given(bid=number, ask=number, delta=number, volatility=number)
def test_any_numbers_give_prices_above_zero_and_finite_greeks(
    bid: object, ask: object, delta: object, volatility: object
) -> None:
    def text(value: object) -> object:
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    quote = option_quote(
        latestQuote={"bp": text(bid), "ap": text(ask)},
        greeks={"delta": text(delta)},
        impliedVolatility=text(volatility),
    )
    for price in (quote.bid, quote.ask, quote.implied_volatility):
        assert price is None or (price > 0 and math.isfinite(price))
    assert quote.delta is None or math.isfinite(quote.delta)


# --- stocks ------------------------------------------------------------------------------------


def test_a_stocks_spot_is_its_last_trade_else_the_mid_else_yesterday() -> None:
    whole = {
        "latestTrade": {"p": 58.9},
        "latestQuote": {"bp": 58.0, "ap": 59.0},
        "prevDailyBar": {"c": 57.0},
    }
    assert stock_quote(**whole).spot == 58.9
    assert stock_quote(**whole | {"latestTrade": None}).spot == 58.5
    assert stock_quote(prevDailyBar={"c": 57.0}).spot == 57.0
    assert stock_quote().spot is None


def test_a_quotes_time_is_the_quotes_else_the_trades() -> None:
    quoted, traded = "2024-03-04T15:00:00Z", "2024-03-04T14:59:00Z"
    both = stock_quote(latestQuote={"t": quoted}, latestTrade={"t": traded})
    assert both.as_of == dt.datetime(2024, 3, 4, 15, tzinfo=dt.UTC)
    traded_only = stock_quote(latestTrade={"t": traded})
    assert traded_only.as_of == dt.datetime(2024, 3, 4, 14, 59, tzinfo=dt.UTC)


# --- account, positions, orders ----------------------------------------------------------------


def test_an_account_is_read_with_its_money_as_decimals() -> None:
    figures = wire.account_figures(read(ACCOUNT, wire.WireAccount))
    assert (figures.equity, figures.cash) == (Decimal("60123.45"), Decimal("41000.10"))
    assert (figures.options_level, figures.can_trade) == (2, True)


def test_money_may_come_as_numbers_and_levels_as_texts() -> None:
    raw = ACCOUNT | {"equity": 60123.45, "cash": 41000, "options_trading_level": "1"}
    figures = wire.account_figures(read(raw, wire.WireAccount))
    assert (figures.equity, figures.cash) == (Decimal("60123.45"), 41000)
    assert figures.options_level == 1


@pytest.mark.parametrize("name", ["equity", "cash", "buying_power"])
@pytest.mark.parametrize("value", [None, "NaN", "Infinity"])
def test_an_account_without_a_figure_that_counts_is_refused(name: str, value: object) -> None:
    with pytest.raises(WireError, match=name):
        wire.account_figures(read(ACCOUNT | {name: value}, wire.WireAccount))


def test_an_account_may_lack_what_only_informs() -> None:
    bare = ACCOUNT | {
        "last_equity": None,
        "options_buying_power": "NaN",
        "options_trading_level": None,
        "options_approved_level": None,
    }
    figures = wire.account_figures(read(bare, wire.WireAccount))
    assert figures.last_equity == figures.equity
    assert (figures.options_buying_power, figures.options_level) == (None, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "ACCOUNT_CLOSED"},
        {"status": "SOMETHING_NEW"},
        {"trading_blocked": True},
        {"account_blocked": True},
        {"trade_suspended_by_user": True},
    ],
)
def test_an_account_that_is_blocked_cannot_trade(changes: dict[str, Any]) -> None:
    assert not wire.account_figures(read(ACCOUNT | changes, wire.WireAccount)).can_trade


def test_a_position_is_read_and_lacks_what_it_lacks() -> None:
    view = wire.position_view(read(POSITION, wire.WirePosition))
    assert (view.asset_class, view.qty, view.current_price) == (AssetClass.OPTION, -1, 0.38)
    bare = {**POSITION, "qty_available": None, "current_price": None, "unrealized_pl": "NaN"}
    view = wire.position_view(read(bare, wire.WirePosition))
    assert (view.qty_available, view.current_price, view.unrealized_pl) == (-1, None, None)


def test_a_position_that_is_neither_stock_nor_option_is_refused() -> None:
    with pytest.raises(WireError, match=PUT):
        wire.position_view(read(POSITION | {"asset_class": "crypto"}, wire.WirePosition))


@pytest.mark.parametrize("field", ["qty", "avg_entry_price"])
def test_a_position_that_cannot_be_counted_stays_visible(field: str) -> None:
    """Planner and risk stop at it; what they cannot see they would count as nothing."""
    view = wire.position_view(read(POSITION | {field: "NaN"}, wire.WirePosition))
    assert getattr(view, field).is_nan()


@pytest.mark.parametrize("field", ["qty", "filled_qty", "filled_avg_price"])
def test_an_order_whose_figures_are_no_numbers_does_not_reach_the_books(field: str) -> None:
    with pytest.raises(WireError, match=field):
        wire.counted(read(ORDER | {field: "NaN"}, wire.WireOrder))


def test_an_order_is_read_with_words_we_do_not_know() -> None:
    strange = ORDER | {"status": "on_the_moon", "type": "iceberg", "position_intent": "to_hold"}
    view = wire.order_view(read(strange, wire.WireOrder))
    assert (view.status, view.order_type, view.position_intent) == (
        "on_the_moon",
        "iceberg",
        "to_hold",
    )
    assert (view.side, view.qty, view.open_qty) == (Side.SELL, 1, 1)


@pytest.mark.parametrize(
    "changes", [{"symbol": None}, {"qty": None}, {"side": ""}, {"side": "buy_minus"}]
)
def test_an_order_that_cannot_be_counted_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="61e69015"):
        wire.order_view(read(ORDER | changes, wire.WireOrder))


def test_the_last_thing_that_happened_to_an_order_dates_it() -> None:
    order = read(ORDER, wire.WireOrder)
    assert order.changed_at == dt.datetime(2024, 3, 4, 15, 0, 1, tzinfo=dt.UTC)
    filled = read(ORDER | {"filled_at": "2024-03-04T15:02:00Z"}, wire.WireOrder)
    assert filled.changed_at == dt.datetime(2024, 3, 4, 15, 2, tzinfo=dt.UTC)


# --- what is not what was promised -------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b'{"account_number": "PA3ABC"',
        b"null",
        b"[]",
        b'"ok"',
        b"{}",
        b"\xff\xfe",
        b'{"account_number":"\xff","status":"ACTIVE"}',
        b"[" * 100_000,
        b'{"account_number":"PA1","status":"ACTIVE","equity":NaN}',
        b'{"account_number":"PA1","status":"ACTIVE","equity":"a lot"}',
    ],
)
def test_an_answer_that_is_none_is_a_wire_error_that_says_of_what(payload: bytes) -> None:
    with pytest.raises(WireError, match="the broker's account does not decode"):
        wire.decode(payload, wire.WireAccount, "account")


def test_a_time_without_a_zone_is_no_time() -> None:
    """It could be New York's or ours; comparing it with anything would end the tick."""
    with pytest.raises(WireError, match="does not decode"):
        read({"t": "2024-03-04T15:00:00"}, wire.WireQuote)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_wire_error(payload: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(wire.decode(payload, wire.WireOrder, "order"), wire.WireOrder)
