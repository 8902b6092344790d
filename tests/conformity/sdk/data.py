"""The historical clients for stocks and options, method by method."""

from __future__ import annotations

import datetime as dt
from typing import Any

from alpaca.data.models import Bar, OptionsSnapshot, Quote, Snapshot, Trade
from alpaca.data.requests import (
    OptionBarsRequest,
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.conformity.sdk.desk import CALL, PUT, Desk, Rows

STOCKS = Rows("StockHistoricalDataClient")
OPTIONS = Rows("OptionHistoricalDataClient")
BOTH = ["AAPL", "KO"]


def lately(at: Desk, **more: Any) -> dict[str, Any]:
    """The last two hours before now."""
    now = at.trading.get_clock().timestamp
    return {"start": now - dt.timedelta(hours=2), "end": now} | more


# --- stocks ------------------------------------------------------------------------------------


@STOCKS.works("get_stock_bars", "minutes to months, paged", "regular sessions only")
def _(at: Desk) -> None:
    frames = (
        TimeFrame.Minute,
        TimeFrame(15, TimeFrameUnit.Minute),
        TimeFrame.Hour,
        TimeFrame.Day,
        TimeFrame.Week,
        TimeFrame.Month,
    )
    now = at.trading.get_clock().timestamp
    for frame in frames:
        asked = StockBarsRequest(
            symbol_or_symbols=BOTH, timeframe=frame, start=now - dt.timedelta(days=70), end=now
        )
        found = at.stocks.get_stock_bars(asked).data
        assert set(found) == set(BOTH), frame
        for bar in (bar for bars in found.values() for bar in bars):
            assert isinstance(bar, Bar)
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


@STOCKS.works("get_stock_quotes", "paged", "one a minute")
def _(at: Desk) -> None:
    asked = StockQuotesRequest(symbol_or_symbols=BOTH, **lately(at))
    found = at.stocks.get_stock_quotes(asked).data
    assert set(found) == set(BOTH)
    latest = at.stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))
    assert all(isinstance(quote, Quote) for quote in found["KO"])
    assert found["KO"][-1] == latest["KO"]


@STOCKS.works("get_stock_trades", "paged", "one a minute")
def _(at: Desk) -> None:
    asked = StockTradesRequest(symbol_or_symbols=BOTH, **lately(at))
    found = at.stocks.get_stock_trades(asked).data
    latest = at.stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))
    assert all(isinstance(trade, Trade) for trade in found["KO"])
    assert found["KO"][-1] == latest["KO"]


@STOCKS.works("get_stock_latest_bar", "", "the last whole minute")
def _(at: Desk) -> None:
    found = at.stocks.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=BOTH))
    assert set(found) == set(BOTH)
    assert isinstance(found["KO"], Bar)


@STOCKS.works("get_stock_latest_quote")
def _(at: Desk) -> None:
    found = at.stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=BOTH))
    assert found["KO"].bid_price < found["KO"].ask_price


@STOCKS.works("get_stock_latest_trade")
def _(at: Desk) -> None:
    found = at.stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=BOTH))
    assert found["KO"].price > 0


@STOCKS.works("get_stock_snapshot")
def _(at: Desk) -> None:
    found = at.stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=BOTH))
    assert isinstance(found["KO"], Snapshot)
    assert found["KO"].daily_bar.close == found["KO"].latest_trade.price
    assert found["KO"].previous_daily_bar.timestamp < found["KO"].daily_bar.timestamp


@STOCKS.refused("get_stock_bars", "a symbol that is none", "400 40010000")
def _(at: Desk) -> None:
    asked = StockBarsRequest(symbol_or_symbols="no such!", timeframe=TimeFrame.Day)
    at.refusal(40010000, lambda: at.stocks.get_stock_bars(asked))


# --- options -----------------------------------------------------------------------------------


@OPTIONS.works("get_option_chain", "every filter, paged by the client", "some greeks are missing")
def _(at: Desk) -> None:
    asked = OptionChainRequest(
        underlying_symbol="AAPL",
        type="put",
        root_symbol="AAPL",
        expiration_date=dt.date(2020, 2, 21),
        strike_price_gte=70,
        strike_price_lte=80,
    )
    found = at.options.get_option_chain(asked)
    assert len(found) == 11
    for snapshot in found.values():
        assert isinstance(snapshot, OptionsSnapshot)
        assert snapshot.greeks is None or -1 <= snapshot.greeks.delta <= 0
    whole = at.options.get_option_chain(OptionChainRequest(underlying_symbol="AAPL"))
    assert set(found) < set(whole)
    assert len(whole) > 1_000


@OPTIONS.works("get_option_snapshot")
def _(at: Desk) -> None:
    found = at.options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=[CALL, PUT]))
    assert set(found) == {CALL, PUT}
    assert found[CALL].implied_volatility > 0


@OPTIONS.works("get_option_latest_quote")
def _(at: Desk) -> None:
    found = at.options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=CALL))
    assert found[CALL].bid_price <= found[CALL].ask_price


@OPTIONS.works("get_option_latest_trade")
def _(at: Desk) -> None:
    found = at.options.get_option_latest_trade(OptionLatestTradeRequest(symbol_or_symbols=CALL))
    assert found[CALL].price > 0


@OPTIONS.works("get_option_bars", "paged")
def _(at: Desk) -> None:
    asked = OptionBarsRequest(
        symbol_or_symbols=[CALL, PUT], timeframe=TimeFrame.Minute, **lately(at)
    )
    found = at.options.get_option_bars(asked).data
    assert found
    assert all(bar.low <= bar.high for bars in found.values() for bar in bars)


@OPTIONS.works("get_option_trades", "paged", "one a minute where the contract trades")
def _(at: Desk) -> None:
    asked = OptionTradesRequest(symbol_or_symbols=[CALL, PUT], **lately(at))
    found = at.options.get_option_trades(asked).data
    assert found
    assert all(isinstance(trade, Trade) for trades in found.values() for trade in trades)


@OPTIONS.works("get_option_exchange_codes")
def _(at: Desk) -> None:
    assert at.options.get_option_exchange_codes()["C"]
