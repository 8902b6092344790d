"""Market data of options through the unmodified alpaca-py.

Trades lie within the quotes, bars are made of trades, and all is there only while it is listed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from alpaca.data.requests import (
    OptionBarsRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.requests import (
    GetOptionContractsRequest,
)

from services.exchange.prices.calendar import NEW_YORK
from tests.conformity.served import serving
from tests.integration.data_desk import TOKEN, Desk, all_pages

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
