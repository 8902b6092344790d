"""The exchange's streams through the unmodified alpaca-py, its own models, over real sockets.

Time stands still but for the steps a test takes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator

import pytest
from alpaca.data.live import OptionDataStream, StockDataStream
from alpaca.data.models import Bar, Quote, Trade
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream

from services.exchange.terms import Terms
from tests.conformity.served import KEY, KEYS, SECRET, Served, serving
from tests.integration.stream_clients import OTHER, Stream, running, step, submit, until, url

pytestmark = pytest.mark.integration


@pytest.fixture
def exchange(caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    """Whatever happens, nothing fails inside it."""
    caplog.set_level(logging.INFO, logger="alpaca")
    with serving(paused=True, accounts=[OTHER]) as served:
        yield served
    errors = [r for r in caplog.get_records("call") if r.name.startswith("services")]
    assert errors == []


# --- trade_updates -----------------------------------------------------------------------------


@contextlib.contextmanager
def listening(served: Served, key: str = KEY, secret: str = SECRET) -> Iterator[Stream]:
    sdk = TradingStream(key, secret, url_override=url(served, "/stream"))
    with running(sdk, lambda s: sdk.subscribe_trade_updates(s.handler)) as stream:
        wait_until_heard(served, stream, key, secret)
        yield stream


def wait_until_heard(
    served: Served, stream: Stream, key: str = KEY, secret: str = SECRET
) -> set[str]:
    """alpaca-py does not tell when the server listens: orders are sent until one is heard of.

    Gives the orders that were heard of; after it, nothing waits.
    """
    keys = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
    until(lambda: not stream.nothing_waits(), lambda: mark(served, keys))
    return take_until_canceled(stream, mark(served, keys))


def mark(served: Served, keys: dict[str, str] | None = None) -> str:
    """An order that is new and cancelled: all before it has been sent when that is heard."""
    order: dict[str, str] = submit(served, keys, limit_price="1.00")
    served.ask("DELETE", f"/v2/orders/{order['id']}", headers=keys or KEYS)
    return order["id"]


def take_until_canceled(stream: Stream, order_id: str) -> set[str]:
    heard: set[str] = set()
    while True:
        update = stream.take()
        heard.add(str(update.order.id))
        if (str(update.order.id), update.event) == (order_id, "canceled"):
            return heard


def test_a_market_order_is_new_then_filled(exchange: Served) -> None:
    with listening(exchange) as stream:
        order = submit(exchange, qty="2")
        new, fill = stream.take_many(2)
        assert isinstance(new, TradeUpdate)
        assert (new.event, fill.event) == ("new", "fill")
        assert str(fill.order.id) == order["id"]
        assert fill.order.status == "filled"
        assert (fill.qty, fill.position_qty) == (2.0, 302.0)
        assert fill.price == float(fill.order.filled_avg_price)
        assert fill.execution_id != new.execution_id
        booked = exchange.get(f"/v2/orders/{order['id']}")
        assert booked["filled_avg_price"] == fill.order.filled_avg_price


def test_an_order_that_rests_is_cancelled(exchange: Served) -> None:
    with listening(exchange) as stream:
        order = submit(exchange, limit_price="1.00")
        exchange.ask("DELETE", f"/v2/orders/{order['id']}")
        new, canceled = stream.take_many(2)
        assert (new.event, canceled.event) == ("new", "canceled")
        assert canceled.order.canceled_at is not None


def test_a_replaced_order_is_followed_by_a_new_one(exchange: Served) -> None:
    with listening(exchange) as stream:
        order = submit(exchange, limit_price="1.00")
        changed = exchange.ask(
            "PATCH", f"/v2/orders/{order['id']}", json={"limit_price": "2.00"}
        ).json()
        events = {(u.event, str(u.order.id)): u.order for u in stream.take_many(3)}
        assert set(events) == {
            ("new", order["id"]), ("replaced", order["id"]), ("new", changed["id"]),
        }  # fmt: skip
        assert str(events["replaced", order["id"]].replaced_by) == changed["id"]


def test_day_orders_expire_at_the_close(exchange: Served) -> None:
    with listening(exchange) as stream:
        order = submit(exchange, limit_price="1.00")
        assert stream.take().event == "new"
        step(exchange, to="close")
        expired = stream.take()
        assert (expired.event, str(expired.order.id)) == ("expired", order["id"])


def test_an_order_of_the_night_is_accepted_then_new_at_the_open(exchange: Served) -> None:
    with listening(exchange) as stream:
        step(exchange, to="close")
        submit(exchange)
        assert stream.take().event == "accepted"
        step(exchange, to="open")
        events = [u.event for u in stream.take_many(2)]
        assert events == ["new", "fill"]


def test_partial_fills_add_up() -> None:
    with (
        serving(paused=True, terms=Terms(partial_fill_rate=1.0)) as served,
        listening(served) as stream,
    ):
        submit(served, qty="10")
        until(lambda: not served.get("/v2/orders"), lambda: step(served))
        updates = [stream.take()]
        while updates[-1].event != "fill":
            updates.append(stream.take())
        fills = [u for u in updates if u.event in ("partial_fill", "fill")]
        assert len(fills) > 1
        assert sum(u.qty for u in fills) == 10
        assert [u.position_qty for u in fills] == sorted(u.position_qty for u in fills)
        assert len({u.execution_id for u in fills}) == len(fills)


def test_every_client_of_an_account_hears_it_and_no_other_account(exchange: Served) -> None:
    with (
        listening(exchange) as first,
        listening(exchange) as second,
        listening(exchange, OTHER.key, OTHER.secret) as other,
    ):
        marker = mark(exchange)
        for stream in (first, second):
            take_until_canceled(stream, marker)
        order = submit(exchange)
        for stream in (first, second):
            assert [u.event for u in stream.take_many(2)] == ["new", "fill"]
        theirs = submit(
            exchange,
            {"APCA-API-KEY-ID": OTHER.key, "APCA-API-SECRET-KEY": OTHER.secret},
            limit_price="1.00",
        )
        heard = other.take()
        assert str(heard.order.id) == theirs["id"] != order["id"]
        assert first.nothing_waits()


def test_after_a_reconnect_nothing_is_replayed(exchange: Served) -> None:
    with listening(exchange) as stream:
        stream.hang_up()
        missed = submit(exchange)
        # alpaca-py waits a second before it comes back; the probes start only after that order.
        heard = wait_until_heard(exchange, stream)
        assert missed["id"] not in heard


def test_wrong_keys_are_refused(exchange: Served, caplog: pytest.LogCaptureFixture) -> None:
    for sdk in (
        TradingStream(KEY, "wrong", url_override=url(exchange, "/stream")),
        StockDataStream(KEY, "wrong", url_override=url(exchange, "/v2/iex")),
    ):
        caplog.clear()
        stream = Stream(sdk)
        if isinstance(sdk, TradingStream):
            sdk.subscribe_trade_updates(stream.handler)
        else:
            sdk.subscribe_trades(stream.handler, "AAPL")
        stream.start()
        until(lambda: any("auth" in r.getMessage() for r in caplog.records if r.exc_info))
        stream.stop()


# --- market data -------------------------------------------------------------------------------


@pytest.fixture
def subscribed(caplog: pytest.LogCaptureFixture) -> Callable[[str], None]:
    """Wait until the server has confirmed subscriptions that contain that text."""

    def wait(text: str) -> None:
        until(lambda: any(text in m for m in caplog.messages if m.startswith("subscribed to")))

    return wait


def stocks(served: Served, feed: str = "iex") -> StockDataStream:
    return StockDataStream(KEY, SECRET, url_override=url(served, f"/v2/{feed}"))


def options(served: Served) -> OptionDataStream:
    return OptionDataStream(KEY, SECRET, url_override=url(served, "/v1beta1/indicative"))


def contracts(served: Served, count: int) -> list[str]:
    """Contracts near the money: quoted, and traded."""
    day = served.get("/v2/clock")["timestamp"][:10]
    chain = served.get(
        "/v1beta1/options/snapshots/AAPL", expiration_date_gte=day, strike_price_gte=77, limit=1000
    )["snapshots"]
    shown = [s for s, view in chain.items() if {"latestQuote", "latestTrade"} <= set(view)]
    return shown[:count]


def test_trades_quotes_and_bars_of_a_minute_are_what_rest_shows(
    exchange: Served, subscribed: Callable[[str], None]
) -> None:
    sdk = stocks(exchange)
    with running(
        sdk,
        lambda s: sdk.subscribe_trades(s.handler, "AAPL"),
        lambda s: sdk.subscribe_quotes(s.handler, "KO"),
        lambda s: sdk.subscribe_bars(s.handler, "MSFT"),
        lambda s: sdk.subscribe_daily_bars(s.handler, "MSFT"),
    ) as stream:
        subscribed("dailyBars: ['MSFT']")
        step(exchange)
        trade, quote, bar, daily = stream.take_many(4)
        assert isinstance(trade, Trade)
        assert isinstance(quote, Quote)
        assert isinstance(bar, Bar)
        shown = exchange.get("/v2/stocks/trades/latest", symbols="AAPL")["trades"]["AAPL"]
        assert (trade.symbol, trade.price, trade.size, trade.id) == (
            "AAPL", shown["p"], shown["s"], shown["i"],
        )  # fmt: skip
        assert trade.timestamp == dt.datetime.fromisoformat(shown["t"])
        shown = exchange.get("/v2/stocks/quotes/latest", symbols="KO")["quotes"]["KO"]
        assert (quote.bid_price, quote.ask_price) == (shown["bp"], shown["ap"])
        assert (quote.bid_size, quote.ask_size) == (shown["bs"], shown["as"])
        shown = exchange.get("/v2/stocks/bars/latest", symbols="MSFT")["bars"]["MSFT"]
        assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap) == (
            shown["o"], shown["h"], shown["l"], shown["c"], shown["v"], shown["vw"],
        )  # fmt: skip
        assert bar.timestamp == dt.datetime.fromisoformat(shown["t"])
        shown = exchange.get("/v2/stocks/snapshots", symbols="MSFT")["MSFT"]["dailyBar"]
        assert (daily.close, daily.volume) == (shown["c"], shown["v"])


def test_every_minute_of_a_short_step_is_sent_and_of_a_long_one_the_last(
    exchange: Served, subscribed: Callable[[str], None]
) -> None:
    sdk = stocks(exchange)
    with running(sdk, lambda s: sdk.subscribe_trades(s.handler, "AAPL")) as stream:
        subscribed("AAPL")
        step(exchange, minutes=3)
        minutes = [t.timestamp.minute for t in stream.take_many(3)]
        assert minutes == [31, 32, 33]
        step(exchange, to="close")
        last = stream.take_many(10)
        assert last[-1].timestamp == dt.datetime(2020, 2, 3, 21, tzinfo=dt.UTC)
        assert last[0].timestamp == dt.datetime(2020, 2, 3, 20, 51, tzinfo=dt.UTC)
        assert stream.nothing_waits()


def test_a_star_is_every_stock(exchange: Served, subscribed: Callable[[str], None]) -> None:
    sdk = stocks(exchange, "sip")
    with running(sdk, lambda s: sdk.subscribe_quotes(s.handler, "*")) as stream:
        subscribed("quotes: ['*']")
        step(exchange)
        assert {quote.symbol for quote in stream.take_many(3)} == {"AAPL", "KO", "MSFT"}


# Each method of the SDK, and how many messages a minute brings for one symbol.
STOCK_METHODS = {
    "trades": 1, "quotes": 1, "bars": 1, "daily_bars": 1, "updated_bars": 0, "trading_statuses": 0,
}  # fmt: skip


@pytest.mark.parametrize("what", STOCK_METHODS)
def test_each_stock_subscription_begins_and_ends(
    exchange: Served, subscribed: Callable[[str], None], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    sdk = stocks(exchange)
    marker = sdk.subscribe_quotes if what == "trades" else sdk.subscribe_trades
    with running(sdk, lambda s: marker(s.handler, "KO")) as stream:
        subscribed("KO")
        getattr(sdk, f"subscribe_{what}")(stream.handler, "MSFT")
        subscribed("MSFT")
        step(exchange)
        got = [message.symbol for message in stream.take_many(1 + STOCK_METHODS[what])]
        assert sorted(got) == ["KO"] + ["MSFT"] * STOCK_METHODS[what]

        caplog.clear()
        getattr(sdk, f"unsubscribe_{what}")("MSFT")
        subscribed("KO")
        step(exchange)
        assert stream.take().symbol == "KO"
        step(exchange)
        assert stream.take().symbol == "KO"
        assert stream.nothing_waits()


def test_corrections_and_cancels_are_registered_with_trades(
    exchange: Served, subscribed: Callable[[str], None]
) -> None:
    sdk = stocks(exchange)
    with running(
        sdk,
        lambda s: sdk.register_trade_corrections(s.handler),
        lambda s: sdk.register_trade_cancels(s.handler),
        lambda s: sdk.subscribe_trades(s.handler, "KO"),
    ) as stream:
        subscribed("corrections: ['KO'], cancelErrors: ['KO']")
        step(exchange)
        assert isinstance(stream.take(), Trade)


def minute_of(served: Served, stream: Stream) -> tuple[list[Trade], Quote]:
    """The next minute's trades, and the quote that comes after them: of one contract a minute."""
    step(served)
    trades: list[Trade] = []
    while isinstance(message := stream.take(), Trade):
        trades.append(message)
    assert isinstance(message, Quote)
    return trades, message


def test_option_quotes_begin_and_end(
    exchange: Served, subscribed: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    stays, goes = contracts(exchange, 2)
    sdk = options(exchange)
    with running(sdk, lambda s: sdk.subscribe_quotes(s.handler, stays)) as stream:
        subscribed(stays)
        sdk.subscribe_quotes(stream.handler, goes)
        subscribed(goes)
        step(exchange)
        assert {message.symbol for message in stream.take_many(2)} == {stays, goes}
        caplog.clear()
        sdk.unsubscribe_quotes(goes)
        subscribed(stays)
        for _ in range(2):
            step(exchange)
            assert stream.take().symbol == stays
        assert stream.nothing_waits()


def test_option_trades_begin_and_end(
    exchange: Served, subscribed: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A contract trades a few times a day: of many, one does soon."""
    quoted, *traded = contracts(exchange, 41)
    sdk = options(exchange)
    with running(sdk, lambda s: sdk.subscribe_quotes(s.handler, quoted)) as stream:
        subscribed(quoted)
        sdk.subscribe_trades(stream.handler, *traded)
        subscribed(traded[-1])
        heard = [trade for _ in range(30) for trade in minute_of(exchange, stream)[0]]
        assert heard
        assert {trade.symbol for trade in heard} <= set(traded)
        caplog.clear()
        sdk.unsubscribe_trades(*traded)
        subscribed(quoted)
        assert [minute_of(exchange, stream)[0] for _ in range(30)] == [[]] * 30
        assert stream.nothing_waits()


def test_option_numbers_are_what_rest_shows(
    exchange: Served, subscribed: Callable[[str], None]
) -> None:
    symbols = contracts(exchange, 40)
    sdk = options(exchange)
    with running(
        sdk,
        lambda s: sdk.subscribe_trades(s.handler, *symbols),
        lambda s: sdk.subscribe_quotes(s.handler, symbols[0]),
    ) as stream:
        subscribed(f"quotes: ['{symbols[0]}']")
        trades: list[Trade] = []
        while not trades:
            trades, quote = minute_of(exchange, stream)
        shown = exchange.get("/v1beta1/options/snapshots", symbols=",".join(symbols))["snapshots"]
        for trade in trades:
            last = shown[trade.symbol]["latestTrade"]
            assert (trade.price, trade.size) == (last["p"], last["s"])
            assert trade.timestamp == dt.datetime.fromisoformat(last["t"])
        latest = shown[symbols[0]]["latestQuote"]
        assert (quote.bid_price, quote.ask_price) == (latest["bp"], latest["ap"])
        assert (quote.bid_size, quote.ask_size) == (latest["bs"], latest["as"])
        assert quote.timestamp == dt.datetime.fromisoformat(latest["t"])


def test_a_long_subscription_comes_in_fragments(
    exchange: Served, subscribed: Callable[[str], None]
) -> None:
    letters = "ABCDEFGHIJKLMNOPQRST"
    unknown = [f"Z{a}{b}{c}Z" for a in letters for b in letters for c in letters]
    sdk = stocks(exchange)
    with running(sdk, lambda s: sdk.subscribe_trades(s.handler, *unknown, "AAPL")) as stream:
        assert sum(map(len, unknown)) > sdk._max_frame_size
        subscribed("AAPL")
        step(exchange)
        assert stream.take().symbol == "AAPL"


def test_after_a_reconnect_the_subscriptions_are_made_anew(
    exchange: Served, subscribed: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    sdk = stocks(exchange)
    with running(sdk, lambda s: sdk.subscribe_trades(s.handler, "AAPL")) as stream:
        subscribed("AAPL")
        caplog.clear()
        stream.hang_up()
        subscribed("AAPL")
        step(exchange)
        assert stream.take().symbol == "AAPL"
        assert stream.nothing_waits()
