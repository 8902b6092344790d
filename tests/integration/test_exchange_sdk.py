"""The simulated exchange through the unmodified alpaca-py, its own models, over real HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote

import numpy as np
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import (
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    AssetStatus,
    ContractType,
    OrderSide,
    OrderStatus,
    PositionIntent,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.requests import (
    GetAssetsRequest,
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    TrailingStopOrderRequest,
)

from services.exchange.http.endpoints import MARKET_DATA, TRADING
from services.exchange.service import ExchangeConfig, serve

pytestmark = pytest.mark.integration

KEY, SECRET = "test-key", "test-secret"


class Running:
    """An exchange served from a thread, on a free port, until `close`."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._ready = threading.Event()
        self._config = config
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(self._config, on_ready=self._on_ready, stop=self._stop)

        try:
            asyncio.run(main())
        except Exception as error:  # handed to the thread that waits
            self.failure = error
            self._ready.set()

    def _on_ready(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def trading(self) -> TradingClient:
        return TradingClient(KEY, SECRET, url_override=self.url)

    def get(self, path: str, **params: str) -> requests.Response:
        headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        return requests.get(self.url + path, params=params, headers=headers, timeout=5)

    def post(self, path: str, body: bytes) -> requests.Response:
        headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        return requests.post(self.url + path, data=body, headers=headers, timeout=5)


def config(**changes: object) -> ExchangeConfig:
    fields: dict[str, object] = {
        "key": KEY,
        "secret": SECRET,
        "seed": 7,
        "symbols": ["AAPL", "KO", "MSFT"],
        "cash": Decimal(50_000),
        "stocks": {"AAPL": Decimal(250)},
        "start_date": dt.date(2020, 2, 3),
        "speed": 1.0,
        "rate_limit_per_minute": 10_000,
    }
    return ExchangeConfig(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Running]:
    running = Running(config())
    yield running
    running.close()


@pytest.fixture
def client(exchange: Running) -> TradingClient:
    return exchange.trading()


@pytest.fixture
def stocks(exchange: Running) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(KEY, SECRET, url_override=exchange.url)


@pytest.fixture
def options(exchange: Running) -> OptionHistoricalDataClient:
    return OptionHistoricalDataClient(KEY, SECRET, url_override=exchange.url)


def test_account_clock_calendar_and_assets_are_read_by_the_sdks_models(
    client: TradingClient,
) -> None:
    account = client.get_account()
    assert Decimal(account.cash or "") > 0
    assert account.options_approved_level == 3
    clock = client.get_clock()
    assert clock.is_open
    assert clock.timestamp.utcoffset() == dt.timedelta(hours=-5)
    assert clock.next_close.hour == 16
    days = client.get_calendar(
        GetCalendarRequest(start=dt.date(2020, 11, 25), end=dt.date(2020, 11, 30))
    )
    assert [(d.date.day, d.close.hour) for d in days] == [(25, 16), (27, 13), (30, 16)]
    assets = client.get_all_assets(GetAssetsRequest(status=AssetStatus.ACTIVE))
    assert {asset.symbol for asset in assets} == {"AAPL", "KO", "MSFT"}
    assert client.get_asset("KO").tradable


def test_a_position_is_listed_alone_and_missing(client: TradingClient) -> None:
    position = client.get_open_position("AAPL")
    assert position.qty == "250"
    assert "AAPL" in {p.symbol for p in client.get_all_positions()}
    with pytest.raises(APIError) as refusal:
        client.get_open_position("KO")
    assert (refusal.value.status_code, refusal.value.code) == (404, 40410000)


def test_stock_snapshots_quotes_trades_and_bars(stocks: StockHistoricalDataClient) -> None:
    snapshot = stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL", "KO"]))
    assert set(snapshot) == {"AAPL", "KO"}
    quotes = stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))
    trade = stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
    assert quotes["AAPL"].bid_price < quotes["AAPL"].ask_price
    assert abs(trade["AAPL"].price - quotes["AAPL"].ask_price) < 0.1
    stocks.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))
    bars = stocks.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols=["AAPL", "KO"],
            timeframe=TimeFrame.Day,
            start=dt.datetime(2020, 1, 27, tzinfo=dt.UTC),
        )
    )
    closes = [bar.close for bar in bars.data["KO"] if bar.timestamp.month == 1]
    assert closes[-1] == pytest.approx(50.176, abs=5)  # the real close of 2020-01-31, adjusted
    assert len(closes) == 5


def test_the_chain_pages_and_carries_greeks(options: OptionHistoricalDataClient) -> None:
    expiration = dt.date(2020, 2, 21)
    chain = options.get_option_chain(
        OptionChainRequest(
            underlying_symbol="AAPL",
            type=ContractType.PUT,
            expiration_date=expiration,
            strike_price_gte=60,
            strike_price_lte=80,
        )
    )
    assert len(chain) >= 20
    assert all("200221P" in symbol for symbol in chain)
    greeks = [s.greeks for s in chain.values() if s.greeks is not None]
    assert all(-1 <= (g.delta or 0) <= 0 for g in greeks)
    whole = options.get_option_chain(OptionChainRequest(underlying_symbol="AAPL"))
    assert len(whole) > 1000  # more than one page
    symbol = next(iter(chain))
    snapshot = options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=symbol))
    assert symbol in snapshot
    options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=symbol))
    options.get_option_latest_trade(OptionLatestTradeRequest(symbol_or_symbols=symbol))


def test_contracts_page_by_token_and_default_to_the_coming_weekend(client: TradingClient) -> None:
    request = GetOptionContractsRequest(
        underlying_symbols=["KO"], expiration_date_lte=dt.date(2020, 3, 1), limit=50
    )
    seen: list[str] = []
    while True:
        page = client.get_option_contracts(request)
        seen += [contract.symbol for contract in page.option_contracts or []]
        if page.next_page_token is None:
            break
        request.page_token = page.next_page_token
    assert len(seen) == len(set(seen)) > 50
    assert seen == sorted(seen)
    soon = client.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["KO"]))
    assert {c.expiration_date for c in soon.option_contracts or []} == {dt.date(2020, 2, 7)}
    one = client.get_option_contract(seen[0])
    assert one.symbol == seen[0]


def test_a_cash_secured_put_is_sold_filled_and_shows_in_books(
    client: TradingClient, options: OptionHistoricalDataClient
) -> None:
    symbol = "KO200221P00048000"
    latest = options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=symbol))
    order = client.submit_order(
        LimitOrderRequest(
            symbol=symbol,
            qty=1,
            side=OrderSide.SELL,
            time_in_force=TimeInForce.DAY,
            limit_price=latest[symbol].bid_price,
            client_order_id="wheel-ko-1",
            position_intent=PositionIntent.SELL_TO_OPEN,
        )
    )
    assert order.status == OrderStatus.NEW
    filled = client.get_order_by_client_id("wheel-ko-1")
    assert filled.status == OrderStatus.FILLED
    assert client.get_order_by_id(order.id).filled_qty == "1"
    assert client.get_open_position(symbol).qty == "-1"
    rows = client.get("/account/activities", {"activity_types": "FILL"})
    assert rows[0]["order_id"] == str(order.id)
    listed = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED, symbols=[symbol]))
    assert [o.client_order_id for o in listed] == ["wheel-ko-1"]
    with pytest.raises(APIError) as refusal:
        client.submit_order(
            MarketOrderRequest(
                symbol="KO",
                qty=1,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
                client_order_id="wheel-ko-1",
            )
        )
    assert (refusal.value.status_code, refusal.value.code) == (422, 40010001)


def test_a_trailing_stop_holds_its_shares_until_cancelled(client: TradingClient) -> None:
    order = client.submit_order(
        TrailingStopOrderRequest(
            symbol="AAPL",
            qty=50,
            side=OrderSide.SELL,
            time_in_force=TimeInForce.GTC,
            trail_percent=5,
        )
    )
    assert float(order.hwm or 0) * 0.95 == pytest.approx(float(order.stop_price or 0), abs=0.01)
    assert client.get_open_position("AAPL").qty_available == "200"
    with pytest.raises(APIError) as wash:
        client.submit_order(
            MarketOrderRequest(
                symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
            )
        )
    assert (wash.value.status_code, wash.value.code) == (403, 40310000)
    client.cancel_order_by_id(order.id)
    assert client.get_open_position("AAPL").qty_available == "250"
    with pytest.raises(APIError) as final:
        client.cancel_order_by_id(order.id)
    assert (final.value.status_code, final.value.code) == (422, 42210000)


def test_all_open_orders_are_cancelled_at_once(client: TradingClient) -> None:
    for price in (10, 11):
        client.submit_order(
            LimitOrderRequest(
                symbol="MSFT",
                qty=1,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.GTC,
                limit_price=price,
            )
        )
    statuses = [answer.status for answer in client.cancel_orders()]
    assert statuses == [200, 200]
    assert client.get_orders() == []


def test_without_the_right_keys_nothing_is_answered(exchange: Running) -> None:
    assert requests.get(f"{exchange.url}/v2/account", timeout=5).status_code == 401
    stranger = TradingClient("other", "keys", url_override=exchange.url)
    with pytest.raises(APIError) as refusal:
        stranger.get_account()
    assert refusal.value.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"symbol": NaN}',
        b'{"symbol":"AAPL","qty":1e400,"side":"buy","type":"market","time_in_force":"day"}',
        b'{"symbol":"AAPL","qty":"NaN","side":"buy","type":"market","time_in_force":"day"}',
        b'{"symbol":"AAPL","qty":-1,"side":"buy","type":"market","time_in_force":"day"}',
        b'{"symbol":"AAPL","qty":true,"side":"buy","type":"market","time_in_force":"day"}',
        b'{"symbol":["AAPL"],"qty":1,"side":"buy","type":"market","time_in_force":"day"}',
        b'{"symbol":"AAPL","qty":1,"side":{},"type":[],"time_in_force":"day"}',
        b'{"symbol":"AAPL","qty":"9999999999999999999999","side":"buy","type":"market"}',
        b'{"symbol":"\xc3\x84","qty":1,"side":"buy","type":"market","time_in_force":"day"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * 1_100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_order_is_refused_and_changes_nothing(
    exchange: Running, body: bytes
) -> None:
    before = exchange.get("/v2/orders", status="all").json()
    answer = exchange.post("/v2/orders", body)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"code", "message"}
    assert exchange.get("/v2/orders", status="all").json() == before


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v2/orders", {"limit": "0"}),
        ("/v2/orders", {"status": "sideways"}),
        ("/v2/orders", {"after": "yesterday"}),
        ("/v2/calendar", {"start": "9999-99-99"}),
        ("/v2/calendar", {"start": "2021-01-01", "end": "2020-01-01"}),
        ("/v2/options/contracts", {"page_token": "%%%"}),
        ("/v2/options/contracts", {"strike_price_gte": "NaN"}),
        ("/v2/account/activities", {"page_size": "1e3"}),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Fortnight"}),
        ("/v2/stocks/snapshots", {}),
        ("/v2/stocks/snapshots", {"symbols": "not a symbol"}),
        ("/v1beta1/options/snapshots", {"symbols": "AAPL"}),
        ("/v1beta1/options/snapshots/AAPL", {"type": "straddle"}),
    ],
)
def test_a_wrong_parameter_is_a_clear_refusal(
    exchange: Running, path: str, params: dict[str, str]
) -> None:
    answer = exchange.get(path, **params)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"]


ODD_VALUES = [
    "", "0", "-1", "1e999999999", "NaN", "9" * 400, "\x00", "ä", "٣", "%", "0001-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "AAPL", "KO200221P00048000", "put", "1Day",
    "true", "asc", "open", "AAPL,KO", "2020-01-31", "MQ==", "A" * 3000,
]  # fmt: skip
ODD_NAMES = [
    "symbols", "limit", "status", "after", "until", "direction", "side", "nested", "start", "end",
    "timeframe", "sort", "page_token", "page_size", "date", "activity_types", "underlying_symbols",
    "expiration_date", "expiration_date_gte", "expiration_date_lte", "strike_price_gte", "type",
    "strike_price_lte", "root_symbol", "style", "ppind", "updated_since", "client_order_id",
]  # fmt: skip


def test_no_query_whatever_breaks_an_endpoint(exchange: Running) -> None:
    rng = np.random.default_rng(5)
    paths = [path for method, path in (TRADING | MARKET_DATA) if method == "GET"]
    for number in range(600):
        path = paths[number % len(paths)]
        for name in ("type", "symbol", "order_id", "underlying"):
            path = path.replace(
                "{" + name + "}", quote(str(rng.choice(ODD_VALUES)) or "-", safe="")
            )
        names = rng.choice(ODD_NAMES, size=3, replace=False)
        answer = exchange.get(path, **{name: str(rng.choice(ODD_VALUES)) for name in names})
        assert answer.status_code in (200, 400, 404, 422), (path, answer.url, answer.text)
        assert answer.status_code == 200 or answer.json()["message"]


def test_what_is_not_offered_says_so(exchange: Running) -> None:
    assert "not offered" in exchange.get("/v2/stocks/auctions").json()["message"]
    client = exchange.trading()
    body = {"order_class": "mleg", "qty": 1, "type": "market", "time_in_force": "day"}
    with pytest.raises(APIError) as refusal:
        client.post("/orders", body | {"legs": []})
    assert refusal.value.status_code == 422


def test_too_many_requests_in_a_simulated_minute_are_refused() -> None:
    running = Running(config(rate_limit_per_minute=3, wait_for_client=True))
    try:
        answers = [running.get("/v2/clock") for _ in range(4)]
    finally:
        running.close()
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert answers[3].json()["code"] == 42910000
    assert answers[3].headers["X-Ratelimit-Limit"] == "3"
    assert answers[3].headers["X-Ratelimit-Remaining"] == "0"


def test_time_waits_for_the_first_client_then_runs_and_stops_at_the_datas_end() -> None:
    start = dt.date(2022, 12, 27)
    running = Running(config(start_date=start, wait_for_client=True, speed=200_000.0))
    try:
        state = requests.get(f"{running.url}/sim/state", timeout=5).json()
        assert state["waiting_for_client"]
        assert state["simulated_time"] == "2022-12-27T14:30:00Z"
        running.trading().get_account()
        for _ in range(1_000):
            state = requests.get(f"{running.url}/sim/state", timeout=5).json()
            if state["ended"]:
                break
            time.sleep(0.01)
        assert state["simulated_time"] == "2022-12-28T21:00:00Z"
        assert not running.trading().get_clock().is_open
        assert "synthetic" in state["note"]
    finally:
        running.close()
