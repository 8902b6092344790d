"""The exchange's market data, corporate actions and watchlists through the unmodified alpaca-py.

What no schema says: pages together are the whole, the latest is the last of history, minutes add
up to days, trades of options lie within their quotes, adjustments undo splits and dividends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.models import Bar
from alpaca.data.requests import (
    CorporateActionsRequest,
    OptionBarsRequest,
    OptionChainRequest,
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
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import CorporateActionType
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    UpdateWatchlistRequest,
)

from services.exchange.prices.calendar import NEW_YORK
from tests.conformity.served import KEY, SECRET, Served, serving

pytestmark = pytest.mark.integration

SYMBOLS = ["AAPL", "KO", "MSFT"]
STARTED = dt.date(2020, 2, 3)


class Desk:
    """The SDK's clients of one exchange, and its clock."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.trading = TradingClient(KEY, SECRET, url_override=served.url)
        self.stocks = StockHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.options = OptionHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.actions = CorporateActionsClient(KEY, SECRET, url_override=served.url)

    def close(self) -> None:
        for client in (self.trading, self.stocks, self.options, self.actions):
            client._session.close()

    def now(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.served.get("/sim/clock")["simulated_time"])

    def step(self, **how: Any) -> None:
        assert self.served.ask("POST", "/sim/step", json=how).status_code == 200

    def inject(self, **action: Any) -> None:
        answer = self.served.ask("POST", "/sim/corporate-actions", json=action)
        assert answer.status_code == 200, answer.text

    def bars(self, symbol: str, timeframe: TimeFrame, start: dt.date, **more: Any) -> list[Bar]:
        request = StockBarsRequest(
            symbol_or_symbols=symbol,
            timeframe=timeframe,
            start=dt.datetime.combine(start, dt.time(), NEW_YORK),
            end=self.now(),
            **more,
        )
        return list(self.stocks.get_stock_bars(request).data[symbol])

    def contracts(self, **wanted: Any) -> list[str]:
        """Symbols of AAPL's contracts that are quoted and have traded."""
        chain = self.options.get_option_chain(
            OptionChainRequest(underlying_symbol="AAPL", root_symbol="AAPL", **wanted)
        )
        return sorted(s for s, view in chain.items() if view.latest_quote and view.latest_trade)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """On the eighth session, two hours after the open."""
    with serving(paused=True) as served:
        desk = Desk(served)
        desk.step(sessions=7)
        desk.step(minutes=120)
        yield desk
        desk.close()


# --- pages -------------------------------------------------------------------------------------

TOKEN = "next_page_token"
HISTORY_OF_STOCKS = {
    "/v2/stocks/bars": {"timeframe": "1Hour"},
    "/v2/stocks/quotes": {},
    "/v2/stocks/trades": {},
}


def all_pages(served: Served, path: str, name: str, **query: Any) -> dict[str, list[Any]]:
    """Rows by symbol, from as many pages as it takes; each page but the last is full."""
    found: dict[str, list[Any]] = {}
    token = None
    while True:
        page = served.get(path, page_token=token, **query)
        rows = sum(map(len, page[name].values()))
        for symbol, part in page[name].items():
            found.setdefault(symbol, []).extend(part)
        token = page[TOKEN]
        if token is None:
            return found
        assert rows == query["limit"]


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


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1beta1/options/trades", {}),
        ("/v1beta1/options/bars", {"timeframe": "1Hour"}),
        ("/v1beta1/options/bars", {"timeframe": "1Day"}),
    ],
)
def test_pages_of_option_history_together_are_the_whole(
    desk: Desk, path: str, more: dict[str, str], sort: str
) -> None:
    name = path.rpartition("/")[2]
    symbols = ",".join(desk.contracts()[:5])
    query = {"symbols": symbols, "start": "2020-01-20", "sort": sort, **more}
    whole = desk.served.get(path, limit=10_000, **query)
    assert whole[TOKEN] is None
    assert sum(map(len, whole[name].values())) > 20
    assert all_pages(desk.served, path, name, limit=6, **query) == whole[name]


def test_pages_of_a_chain_and_of_snapshots_together_are_the_whole(desk: Desk) -> None:
    path = "/v1beta1/options/snapshots/KO"
    whole: dict[str, Any] = {}
    token = None
    while True:
        page = desk.served.get(path, limit=170, page_token=token, type="call")
        whole |= page["snapshots"]
        token = page[TOKEN]
        if token is None:
            break
    assert list(whole) == sorted(whole)
    assert len(whole) > 400
    assert whole == desk.served.get(path, limit=1000, type="call")["snapshots"]
    some = list(whole)[100:110]
    path, query = "/v1beta1/options/snapshots", {"symbols": ",".join(reversed(some)), "limit": 4}
    first = desk.served.get(path, **query)
    second = desk.served.get(path, page_token=first[TOKEN], **query)
    third = desk.served.get(path, page_token=second[TOKEN], **query)
    assert (len(first["snapshots"]), len(third["snapshots"]), third[TOKEN]) == (4, 2, None)
    pages = first["snapshots"] | second["snapshots"] | third["snapshots"]
    assert pages == {symbol: whole[symbol] for symbol in some}


def test_pages_of_contracts_go_from_one_underlying_to_the_next(desk: Desk) -> None:
    request = GetOptionContractsRequest(
        underlying_symbols=["MSFT", "KO"],
        expiration_date_lte=dt.date(2020, 3, 1),
        type="put",
        limit=40,
    )
    found = []
    while True:
        page = desk.trading.get_option_contracts(request)
        found += page.option_contracts
        if page.next_page_token is None:
            break
        request.page_token = page.next_page_token
    symbols = [contract.symbol for contract in found]
    request.page_token, request.limit = None, 10_000
    assert symbols == [
        c.symbol for c in desk.trading.get_option_contracts(request).option_contracts
    ]
    assert {contract.underlying_symbol for contract in found} == {"KO", "MSFT"}
    assert len(set(symbols)) == len(symbols) > 100


# --- the latest is the last --------------------------------------------------------------------


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


def test_the_latest_of_an_option_is_the_last_of_its_history(desk: Desk) -> None:
    symbols = desk.contracts()[:40]
    latest = desk.options.get_option_latest_trade(
        OptionLatestTradeRequest(symbol_or_symbols=symbols)
    )
    snapshots = desk.options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=symbols))
    history = desk.options.get_option_trades(
        OptionTradesRequest(
            symbol_or_symbols=symbols, start=desk.now() - dt.timedelta(days=5), end=desk.now()
        )
    ).data
    for symbol in symbols:
        assert latest[symbol] == snapshots[symbol].latest_trade == history[symbol][-1]


# --- bars --------------------------------------------------------------------------------------


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


def day_of(bar: Bar) -> dt.date:
    return bar.timestamp.astimezone(NEW_YORK).date()


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


def test_what_is_of_other_venues_or_kinds_is_not_there(desk: Desk) -> None:
    request = StockLatestQuoteRequest(symbol_or_symbols="KO", feed=DataFeed.OTC)
    assert desk.stocks.get_stock_latest_quote(request) == {}
    refused = desk.served.ask("GET", "/v2/stocks/trades", params={"symbols": "BTC/USD"})
    assert (refused.status_code, refused.json()["message"]) == (400, "invalid symbol: BTC/USD")
    assert desk.served.get("/v2/stocks/trades", symbols="KO", feed="boats")["trades"] == {}
    with pytest.raises(APIError) as refusal:
        desk.trading.get_asset("BTC/USD")
    assert refusal.value.status_code == 404


# --- options -----------------------------------------------------------------------------------


def test_trades_of_options_lie_within_the_quotes_of_their_minute(desk: Desk) -> None:
    """Looked at minute by minute, as a client would have seen them."""
    symbols = ",".join(desk.contracts()[::30][:60])
    seen = 0
    for _ in range(40):
        desk.step(minutes=1)
        views = desk.served.get("/v1beta1/options/snapshots", symbols=symbols)["snapshots"]
        for view in views.values():
            quote, trade = view["latestQuote"], view["latestTrade"]
            if trade["t"] == quote["t"]:
                seen += 1
                assert quote["bp"] <= trade["p"] <= quote["ap"]
                assert view["dailyBar"]["c"] == trade["p"]
    assert seen > 10


@pytest.mark.parametrize("timeframe", [TimeFrame.Minute, TimeFrame.Hour, TimeFrame.Day])
def test_bars_of_an_option_are_made_of_its_trades(desk: Desk, timeframe: TimeFrame) -> None:
    symbols = desk.contracts()[:20]
    since = {"symbol_or_symbols": symbols, "start": dt.datetime(2020, 1, 20, tzinfo=NEW_YORK)}
    yesterday = desk.now().astimezone(NEW_YORK).replace(hour=0, minute=0)
    until = since | {"end": yesterday - dt.timedelta(minutes=1)}
    trades = desk.options.get_option_trades(OptionTradesRequest(**until)).data
    request = OptionBarsRequest(**until, timeframe=timeframe)
    bars = desk.options.get_option_bars(request).data
    assert set(bars) == set(trades)
    for symbol, rows in trades.items():
        assert sum(bar.volume for bar in bars[symbol]) == sum(trade.size for trade in rows)
        assert sum(bar.trade_count for bar in bars[symbol]) == len(rows)
        assert bars[symbol][0].open == rows[0].price
        assert bars[symbol][-1].close == rows[-1].price
        assert max(bar.high for bar in bars[symbol]) == max(trade.price for trade in rows)
        assert min(bar.low for bar in bars[symbol]) == min(trade.price for trade in rows)


def test_snapshots_show_the_days_of_history(desk: Desk) -> None:
    symbols = desk.contracts()[:60]
    query = {"symbols": ",".join(symbols)}
    views = desk.served.get("/v1beta1/options/snapshots", **query)["snapshots"]
    bars = desk.served.get(
        "/v1beta1/options/bars", **query, timeframe="1Day", start="2020-02-03", limit=10_000
    )["bars"]
    today = desk.now().astimezone(NEW_YORK).date()
    met = 0
    for symbol, view in views.items():
        by_day = {
            dt.datetime.fromisoformat(bar["t"]).astimezone(NEW_YORK).date(): bar
            for bar in bars.get(symbol, [])
        }
        assert view.get("dailyBar") == by_day.get(today)
        assert view.get("prevDailyBar") == by_day.get(today - dt.timedelta(days=1))
        met += "dailyBar" in view and "prevDailyBar" in view
    assert met > 20


def test_an_option_has_no_history_from_before_it_was_listed(desk: Desk) -> None:
    listed = desk.trading.get_option_contracts(
        GetOptionContractsRequest(
            underlying_symbols=["AAPL"], expiration_date_gte=dt.date(2020, 3, 30),
            expiration_date_lte=dt.date(2020, 4, 3), root_symbol="AAPL", limit=60,
        )
    ).option_contracts  # fmt: skip
    symbols = [contract.symbol for contract in listed]
    request = OptionTradesRequest(
        symbol_or_symbols=symbols, start=dt.datetime(2019, 6, 1, tzinfo=NEW_YORK), end=desk.now()
    )
    rows = [row for found in desk.options.get_option_trades(request).data.values() for row in found]
    assert rows
    eight_weeks_before = dt.date(2020, 4, 3) - dt.timedelta(days=56)
    assert min(row.timestamp.astimezone(NEW_YORK).date() for row in rows) >= eight_weeks_before


def test_snapshots_may_be_asked_for_by_when_they_changed(desk: Desk) -> None:
    path, query = "/v1beta1/options/snapshots/KO", {"limit": 1000, "type": "put"}
    everything = desk.served.get(path, **query)["snapshots"]
    now = desk.served.get(path, **query, updated_since=desk.now().isoformat())["snapshots"]
    assert set(now) == {symbol for symbol, view in everything.items() if "latestQuote" in view}
    later = (desk.now() + dt.timedelta(minutes=1)).isoformat()
    assert desk.served.get(path, **query, updated_since=later)["snapshots"] == {}


def test_codes_of_exchanges_and_conditions_explain_what_is_shown(desk: Desk) -> None:
    view = desk.served.get("/v2/stocks/KO/snapshot")
    exchanges = desk.served.get("/v2/stocks/meta/exchanges")
    assert {view["latestTrade"]["x"], view["latestQuote"]["bx"]} <= set(exchanges)
    tape = view["latestTrade"]["z"]
    for ticks, part in (("trade", "latestTrade"), ("quote", "latestQuote")):
        known = desk.served.get(f"/v2/stocks/meta/conditions/{ticks}", tape=tape)
        assert set(view[part]["c"]) <= set(known)
    options = desk.options.get_option_exchange_codes()
    (contract,) = desk.contracts()[:1]
    snapshot = desk.served.get("/v1beta1/options/snapshots", symbols=contract)["snapshots"]
    trade = snapshot[contract]["latestTrade"]
    assert trade["x"] in options
    assert trade["c"] in desk.served.get("/v1beta1/options/meta/conditions/trade")


# --- what else the trading client asks ---------------------------------------------------------


def test_assets_are_filtered_and_contracts_tell_what_they_deliver(desk: Desk) -> None:
    found = desk.trading.get_all_assets(GetAssetsRequest(exchange="NYSE"))
    assert [asset.symbol for asset in found] == ["KO"]
    options = GetAssetsRequest(attributes="has_options,ipo")
    assert len(desk.trading.get_all_assets(options)) == len(SYMBOLS)
    assert desk.trading.get_all_assets(GetAssetsRequest(attributes="ipo")) == []
    query = {"underlying_symbols": "AAPL", "limit": 1, "show_deliverables": True}
    (contract,) = desk.served.get("/v2/options/contracts", **query)["option_contracts"]
    (delivered,) = contract["deliverables"]
    assert (delivered["symbol"], delivered["amount"]) == ("AAPL", contract["size"])
    (plain,) = desk.served.get("/v2/options/contracts", **(query | {"show_deliverables": False}))[
        "option_contracts"
    ]
    assert "deliverables" not in plain


def test_the_calendar_may_be_asked_for_by_settlement(desk: Desk) -> None:
    days = desk.served.get(
        "/v2/calendar", start="2020-02-14", end="2020-02-18", date_type="SETTLEMENT"
    )
    assert [(day["date"], day["settlement_date"]) for day in days] == [
        ("2020-02-13", "2020-02-14"),
        ("2020-02-14", "2020-02-18"),  # a long weekend
    ]


def test_the_story_of_a_watchlist(desk: Desk) -> None:
    trading = desk.trading
    made = trading.create_watchlist(CreateWatchlistRequest(name="wheel", symbols=["MSFT", "KO"]))
    assert [asset.symbol for asset in made.assets] == ["MSFT", "KO"]
    for name, symbols in (("wheel", ["KO"]), ("other", ["ZZZZ"]), ("x" * 65, [])):
        with pytest.raises(APIError) as refusal:
            trading.create_watchlist(CreateWatchlistRequest(name=name, symbols=symbols))
        assert refusal.value.status_code == 422
    desk.step(minutes=1)
    added = trading.add_asset_to_watchlist_by_id(made.id, "AAPL")
    assert [asset.symbol for asset in added.assets] == ["MSFT", "KO", "AAPL"]
    assert added.updated_at > made.updated_at == made.created_at
    removed = trading.remove_asset_from_watchlist_by_id(made.id, "KO")
    assert [asset.symbol for asset in removed.assets] == ["MSFT", "AAPL"]
    renamed = trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="mine"))
    assert (renamed.name, renamed.assets) == ("mine", removed.assets)
    (listed,) = trading.get_watchlists()
    assert (listed.id, listed.name, listed.assets) == (made.id, "mine", None)
    by_name = desk.served.get("/v2/watchlists:by_name", name="mine")
    assert by_name["id"] == str(trading.get_watchlist_by_id(made.id).id)
    trading.delete_watchlist_by_id(made.id)
    for deed in (trading.get_watchlist_by_id, trading.delete_watchlist_by_id):
        with pytest.raises(APIError) as refusal:
            deed(made.id)
        assert refusal.value.status_code == 404
    assert trading.get_watchlists() == []


def test_watchlists_survive_a_restart(tmp_path: Path) -> None:
    lists = []
    for _ in range(2):
        with serving(paused=True, state_path=str(tmp_path / "state.json")) as served:
            if not lists:
                body = {"name": "kept", "symbols": ["KO"]}
                assert served.ask("POST", "/v2/watchlists", json=body).status_code == 200
            lists.append(served.get("/v2/watchlists:by_name", name="kept"))
    assert lists[0] == lists[1]


# --- corporate actions -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def after_actions() -> Iterator[Desk]:
    """A dividend of KO, a split of AAPL, and four sessions later."""
    with serving(paused=True) as served:
        desk = Desk(served)
        desk.inject(type="cash_dividend", symbol="KO", ex_date="2020-02-05", rate="0.5")
        desk.inject(type="split", symbol="AAPL", ex_date="2020-02-06", new_rate="4", old_rate="1")
        desk.inject(type="split", symbol="MSFT", ex_date="2020-02-10", new_rate="1", old_rate="8")
        desk.step(sessions=4)
        desk.step(minutes=30)
        yield desk
        desk.close()


def test_corporate_actions_are_read_by_the_sdk(after_actions: Desk) -> None:
    year = {"start": dt.date(2020, 1, 1), "end": dt.date(2020, 12, 31)}
    found = after_actions.actions.get_corporate_actions(CorporateActionsRequest(**year)).data
    assert set(found) == {"cash_dividends", "forward_splits", "reverse_splits"}
    (dividend,), (split,) = found["cash_dividends"], found["forward_splits"]
    assert (dividend.symbol, dividend.rate, dividend.ex_date) == ("KO", 0.5, dt.date(2020, 2, 5))
    assert dividend.process_date == dividend.payable_date
    assert (split.symbol, split.new_rate, split.old_rate) == ("AAPL", 4, 1)
    (reverse,) = found["reverse_splits"]
    assert (reverse.symbol, reverse.new_rate, reverse.old_rate) == ("MSFT", 1, 8)
    some = CorporateActionsRequest(**year, symbols=["AAPL", "KO"], types=["forward_split"])
    assert set(after_actions.actions.get_corporate_actions(some).data) == {"forward_splits"}
    by_id = CorporateActionsRequest(ids=[str(dividend.id)])
    assert after_actions.actions.get_corporate_actions(by_id).data["cash_dividends"] == [dividend]
    assert after_actions.actions.get_corporate_actions(CorporateActionsRequest()).data == {}


def test_pages_of_corporate_actions_together_are_the_whole(after_actions: Desk) -> None:
    path, query = "/v1/corporate-actions", {"start": "2020-01-01", "end": "2020-12-31"}
    for sort in ("asc", "desc"):
        dates, token = [], None
        for _ in range(3):
            page = after_actions.served.get(path, **query, limit=1, sort=sort, page_token=token)
            ((row,),) = page["corporate_actions"].values()
            dates.append(row["process_date"])
            token = page[TOKEN]
        assert token is None
        assert dates == sorted(dates, reverse=sort == "desc")
        assert len(set(dates)) == 3


def test_announcements_are_read_by_the_sdk(after_actions: Desk) -> None:
    request = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.DIVIDEND, CorporateActionType.SPLIT],
        since=dt.date(2020, 2, 1),
        until=dt.date(2020, 2, 28),
    )
    with pytest.warns(DeprecationWarning, match="get_corporate_announcements"):
        found = after_actions.trading.get_corporate_announcements(request)
    told = [(one.initiating_symbol, one.ca_sub_type.value, one.cash) for one in found]
    assert told == [("KO", "cash", 0.5), ("AAPL", "stock_split", 0), ("MSFT", "reverse_split", 0)]
    one = after_actions.trading.get_corporate_announcement_by_id(found[1].id)
    assert (one, one.new_rate, one.old_rate) == (found[1], 4, 1)
    with pytest.raises(APIError) as refusal:
        after_actions.trading.get_corporate_announcement_by_id(found[1].id.hex[::-1])
    assert refusal.value.status_code == 404


def test_adjusted_bars_undo_a_split(after_actions: Desk) -> None:
    raw = after_actions.bars("AAPL", TimeFrame.Day, STARTED)
    adjusted = after_actions.bars("AAPL", TimeFrame.Day, STARTED, adjustment=Adjustment.SPLIT)
    before, after = slice(0, 3), slice(3, 5)
    assert raw[after] == adjusted[after]
    for shown, traded in zip(adjusted[before], raw[before], strict=True):
        assert shown.close == pytest.approx(traded.close / 4, abs=1e-4)
        assert shown.volume == traded.volume * 4
    returns = [b.close / a.close - 1 for a, b in pairwise(adjusted)]
    assert max(map(abs, returns)) < 0.1
    dividends_only = after_actions.bars(
        "AAPL", TimeFrame.Day, STARTED, adjustment=Adjustment.DIVIDEND
    )
    assert dividends_only == raw


def test_adjusted_bars_undo_a_dividend(after_actions: Desk) -> None:
    raw = after_actions.bars("KO", TimeFrame.Minute, STARTED)
    adjusted = after_actions.bars("KO", TimeFrame.Minute, STARTED, adjustment=Adjustment.ALL)
    last_before = [bar for bar in raw if day_of(bar) < dt.date(2020, 2, 5)][-1]
    factor = 1 - 0.5 / last_before.close
    for shown, traded in zip(adjusted, raw, strict=True):
        expected = factor if day_of(traded) < dt.date(2020, 2, 5) else 1.0
        assert shown.close == pytest.approx(traded.close * expected, abs=1e-4)
        assert shown.volume == traded.volume
    assert after_actions.bars("KO", TimeFrame.Minute, STARTED, adjustment=Adjustment.SPLIT) == raw
