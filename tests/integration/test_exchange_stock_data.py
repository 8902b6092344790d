"""Market data of stocks through the unmodified alpaca-py.

What no schema says: pages together are the whole, the latest is the last of history, minutes add
up to hours, days, weeks and months.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import DataFeed
from alpaca.data.models import Bar
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from services.exchange.prices.calendar import NEW_YORK
from tests.conformity.served import serving
from tests.integration.data_desk import STARTED, SYMBOLS, TOKEN, Desk, all_pages, day_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """On the eighth session, two hours after the open."""
    with serving(paused=True) as served:
        desk = Desk(served)
        desk.step(sessions=7)
        desk.step(minutes=120)
        yield desk
        desk.close()


HISTORY_OF_STOCKS = {
    "/v2/stocks/bars": {"timeframe": "1Hour"},
    "/v2/stocks/quotes": {},
    "/v2/stocks/trades": {},
}


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("path", HISTORY_OF_STOCKS)
def test_pages_of_stock_history_together_are_the_whole(desk: Desk, path: str, sort: str) -> None:
    name = path.rpartition("/")[2]
    query = {
        "symbols": "MSFT,AAPL,ZZZZ",
        "start": "2020-02-10",
        "sort": sort,
        **HISTORY_OF_STOCKS[path],
    }
    whole = desk.served.get(path, limit=10_000, **query)
    assert whole[TOKEN] is None
    assert list(whole[name]) == ["AAPL", "MSFT"]
    limit = 3 if name == "bars" else 260
    assert all_pages(desk.served, path, name, limit=limit, **query) == whole[name]
    times = [row["t"] for row in whole[name]["AAPL"]]
    assert times == sorted(times, reverse=sort == "desc")
    assert len(set(times)) == len(times) > 10
    alone = desk.served.get(
        path.replace("stocks/", "stocks/AAPL/"), limit=10_000, **(query | {"symbols": ""})
    )
    assert alone == {"symbol": "AAPL", name: whole[name]["AAPL"], TOKEN: None}


def test_the_latest_of_a_stock_is_the_last_of_its_history(desk: Desk) -> None:
    latest = {"symbol_or_symbols": SYMBOLS}
    recent = latest | {"start": desk.now() - dt.timedelta(minutes=3), "end": desk.now()}
    quotes = desk.stocks.get_stock_quotes(StockQuotesRequest(**recent)).data
    trades = desk.stocks.get_stock_trades(StockTradesRequest(**recent)).data
    bars = desk.stocks.get_stock_bars(StockBarsRequest(**recent, timeframe=TimeFrame.Minute)).data
    for symbol in SYMBOLS:
        assert len(quotes[symbol]) == len(trades[symbol]) == 4
        assert len(bars[symbol]) == 3
    last_quotes = desk.stocks.get_stock_latest_quote(StockLatestQuoteRequest(**latest))
    last_trades = desk.stocks.get_stock_latest_trade(StockLatestTradeRequest(**latest))
    last_bars = desk.stocks.get_stock_latest_bar(StockLatestBarRequest(**latest))
    assert last_quotes == {symbol: rows[-1] for symbol, rows in quotes.items()}
    assert last_trades == {symbol: rows[-1] for symbol, rows in trades.items()}
    assert last_bars == {symbol: rows[-1] for symbol, rows in bars.items()}


def test_a_quote_of_history_is_what_was_the_latest_then(desk: Desk) -> None:
    request = StockLatestQuoteRequest(symbol_or_symbols="KO")
    seen = []
    for _ in range(3):
        seen.append(desk.stocks.get_stock_latest_quote(request)["KO"])
        desk.step(minutes=1)
    history = StockQuotesRequest(
        symbol_or_symbols="KO", start=seen[0].timestamp, end=seen[-1].timestamp
    )
    assert desk.stocks.get_stock_quotes(history).data["KO"] == seen


def test_one_stock_is_answered_as_among_many(desk: Desk) -> None:
    many = desk.served.get("/v2/stocks/snapshots", symbols="AAPL,KO")
    alone = desk.served.get("/v2/stocks/KO/snapshot", currency="USD")
    assert alone == {"symbol": "KO", **many["KO"], "currency": "USD"}
    for what, name in (("quotes", "quote"), ("trades", "trade"), ("bars", "bar")):
        latest = desk.served.get(f"/v2/stocks/{what}/latest", symbols="KO")
        assert desk.served.get(f"/v2/stocks/KO/{what}/latest") == {
            "symbol": "KO",
            name: latest[what]["KO"],
        }
    answer = desk.served.ask("GET", "/v2/stocks/ZZZZ/quotes/latest")
    assert (answer.status_code, answer.json()["message"]) == (404, "no quote found for ZZZZ")
    assert desk.served.get("/v2/stocks/ZZZZ/trades")["trades"] == []


def assert_adds_up(whole: Bar, parts: list[Bar]) -> None:
    assert whole.open == parts[0].open
    assert whole.close == parts[-1].close
    assert whole.high == max(part.high for part in parts)
    assert whole.low == min(part.low for part in parts)
    assert whole.volume == sum(part.volume for part in parts)
    assert whole.trade_count == sum(part.trade_count for part in parts)
    weighted = sum(part.vwap * part.volume for part in parts) / whole.volume
    assert whole.vwap == pytest.approx(weighted, abs=2e-4)
    assert whole.low <= whole.vwap <= whole.high


@pytest.mark.parametrize(
    "timeframe",
    [TimeFrame(7, TimeFrameUnit.Minute), TimeFrame.Hour, TimeFrame(4, TimeFrameUnit.Hour)],
    ids=lambda frame: frame.value,
)
def test_bars_within_a_day_add_up_to_the_day(desk: Desk, timeframe: TimeFrame) -> None:
    days = desk.bars("AAPL", TimeFrame.Day, STARTED)
    minutes = desk.bars("AAPL", TimeFrame.Minute, STARTED)
    longer = desk.bars("AAPL", timeframe, STARTED)
    assert len(days) == 8
    for day in days:
        assert day.timestamp.astimezone(NEW_YORK).time() == dt.time()
        assert_adds_up(day, [bar for bar in minutes if day_of(bar) == day_of(day)])
        assert_adds_up(day, [bar for bar in longer if day_of(bar) == day_of(day)])


def test_hours_are_those_of_the_clock_and_the_running_one_is_shown(desk: Desk) -> None:
    today = desk.now().astimezone(NEW_YORK).date()
    bars = desk.bars("KO", TimeFrame.Hour, today)
    starts = [bar.timestamp.astimezone(NEW_YORK).time() for bar in bars]
    assert starts == [dt.time(9), dt.time(10), dt.time(11)]
    minutes = desk.bars("KO", TimeFrame.Minute, today)
    hour = [m for m in minutes if m.timestamp.astimezone(NEW_YORK).hour == 11]
    assert_adds_up(bars[-1], hour)


def test_the_snapshots_bars_are_those_of_history(desk: Desk) -> None:
    snapshot = desk.stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="KO"))["KO"]
    days = desk.bars("KO", TimeFrame.Day, STARTED)
    assert [snapshot.previous_daily_bar, snapshot.daily_bar] == days[-2:]
    assert snapshot.minute_bar == desk.bars("KO", TimeFrame.Minute, STARTED)[-1]


def test_weeks_and_months_are_made_of_days(desk: Desk) -> None:
    first = dt.date(2019, 12, 30)  # a Monday
    days = desk.bars("MSFT", TimeFrame.Day, first)
    weeks = desk.bars("MSFT", TimeFrame.Week, first)
    assert [day_of(week).weekday() for week in weeks] == [0] * 7
    for week in weeks:
        inside = [d for d in days if 0 <= (day_of(d) - day_of(week)).days < 7]
        assert_adds_up(week, inside)
    months = desk.bars("MSFT", TimeFrame.Month, dt.date(2020, 1, 1))
    assert [day_of(month) for month in months] == [dt.date(2020, 1, 1), dt.date(2020, 2, 1)]
    assert_adds_up(months[0], [d for d in days if (day_of(d).year, day_of(d).month) == (2020, 1)])
    quarters = desk.bars("MSFT", TimeFrame(3, TimeFrameUnit.Month), dt.date(2019, 1, 1))
    assert [day_of(q) for q in quarters] == [
        dt.date(2019, 1, 1), dt.date(2019, 4, 1), dt.date(2019, 7, 1), dt.date(2019, 10, 1),
        dt.date(2020, 1, 1),
    ]  # fmt: skip
    assert_adds_up(quarters[-1], months)
    (year,) = desk.bars("MSFT", TimeFrame(12, TimeFrameUnit.Month), dt.date(2020, 1, 1))
    assert_adds_up(year, months)


def test_a_limit_and_an_order_are_kept_by_the_sdk(desk: Desk) -> None:
    all_bars = desk.bars("KO", TimeFrame.Minute, STARTED)
    assert desk.bars("KO", TimeFrame.Minute, STARTED, limit=5) == all_bars[:5]
    newest = desk.bars("KO", TimeFrame.Minute, STARTED, limit=5, sort=Sort.DESC)
    assert newest == all_bars[:-6:-1]


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/v2/stocks/bars", {"symbols": "KO", "timeframe": "60Min"}, "timeframe"),
        ("/v2/stocks/bars", {"symbols": "KO", "timeframe": "2Day"}, "timeframe"),
        ("/v2/stocks/bars", {"symbols": "KO", "timeframe": "5Month"}, "timeframe"),
        ("/v2/stocks/KO/bars", {"timeframe": "24Hour"}, "timeframe"),
        ("/v2/stocks/bars", {"symbols": "KO", "timeframe": "1Day", "adjustment": "x"}, "adjust"),
        ("/v2/stocks/bars", {"symbols": "KO", "timeframe": "1Day", "feed": "overnight"}, "feed"),
        ("/v2/stocks/quotes", {"symbols": "KO", "feed": "cboe"}, "feed"),
        ("/v2/stocks/trades", {"symbols": "KO", "currency": "EUR"}, "currency"),
        ("/v2/stocks/trades", {"symbols": "KO", "asof": "yesterday"}, "asof"),
        ("/v2/stocks/trades", {"symbols": "KO", "limit": 10_001}, "limit"),
        ("/v2/stocks/quotes", {"symbols": "KO", "page_token": "S08="}, "page_token"),
        ("/v1beta1/options/trades", {"symbols": "KO"}, "symbol"),
        ("/v1beta1/options/snapshots", {"symbols": "KO200221P00050000", "feed": "x"}, "feed"),
        ("/v2/stocks/meta/conditions/trade", {}, "tape"),
    ],
)
def test_what_alpaca_does_not_take_is_refused_and_named(
    desk: Desk, path: str, query: dict[str, Any], named: str
) -> None:
    answer = desk.served.ask("GET", path, params=query)
    assert answer.status_code == 400
    assert named in answer.json()["message"]


def test_every_feed_shows_the_same_and_other_kinds_of_assets_are_not_there(desk: Desk) -> None:
    quotes = [
        desk.stocks.get_stock_latest_quote(
            StockLatestQuoteRequest(symbol_or_symbols="KO", feed=feed)
        )
        for feed in DataFeed
    ]
    assert quotes == [quotes[0]] * len(DataFeed)
    refused = desk.served.ask("GET", "/v2/stocks/trades", params={"symbols": "BTC/USD"})
    assert (refused.status_code, refused.json()["message"]) == (400, "invalid symbol: BTC/USD")
    with pytest.raises(APIError) as refusal:
        desk.trading.get_asset("BTC/USD")
    assert refusal.value.status_code == 404
