"""The streams, method by method."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from alpaca.data.live import OptionDataStream, StockDataStream
from alpaca.data.models import Bar, Quote, Trade
from alpaca.data.requests import OptionChainRequest
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream

from tests.conformity.sdk.desk import CALL, PUT, SECRET, Desk, Rows
from tests.conformity.sdk.trading_orders import limit
from tests.integration.stream_clients import Sdk, Stream, running, until, url

ORDERS, STOCKS, OPTIONS = Rows("TradingStream"), Rows("StockDataStream"), Rows("OptionDataStream")
STREAMS = (ORDERS, STOCKS, OPTIONS)
NEVER = {
    "updated_bars": "accepted, never sent: no trade comes late",
    "trading_statuses": "accepted, never sent: nothing is halted",
    "trade_corrections": "accepted, never sent: no trade is corrected",
    "trade_cancels": "accepted, never sent: no trade is cancelled",
}


def orders(at: Desk) -> TradingStream:
    return TradingStream(at.key, SECRET, url_override=url(at.served, "/stream"))


def stocks(at: Desk) -> StockDataStream:
    return StockDataStream(at.key, SECRET, url_override=url(at.served, "/v2/iex"))


def options(at: Desk) -> OptionDataStream:
    return OptionDataStream(at.key, SECRET, url_override=url(at.served, "/v1beta1/indicative"))


Open = Callable[[Desk], Any]


# --- what is sent ------------------------------------------------------------------------------


@ORDERS.works("subscribe_trade_updates", "every event of the account's orders", "no replay")
def _(at: Desk) -> None:
    sdk = orders(at)
    with running(sdk, lambda stream: sdk.subscribe_trade_updates(stream.handler)) as stream:
        until(
            lambda: not stream.nothing_waits(),
            lambda: at.trading.cancel_order_by_id(at.trading.submit_order(limit()).id),
        )
        assert isinstance(stream.take(), TradeUpdate)
        order = at.trading.submit_order(limit(client_order_id="heard"))
        while (update := stream.take()).order.id != order.id:
            assert update.event in ("new", "canceled")
        assert (update.event, update.order.client_order_id) == ("new", "heard")


def sends(rows: Rows, open_: Open, name: str, kind: type[Any], symbols: list[str]) -> None:
    """Rows of a channel that is subscribed to, sends, and is left again."""

    @rows.works(f"subscribe_{name}")
    def _(at: Desk) -> None:
        sdk = open_(at)
        subscribe = getattr(sdk, f"subscribe_{name}")
        with running(sdk, lambda stream: subscribe(stream.handler, *symbols)) as stream:
            heard = heard_in_a_minute(at, stream, set(symbols))
            assert all(isinstance(each, kind) for each in heard)

    @rows.works(f"unsubscribe_{name}")
    def _(at: Desk) -> None:
        sdk = open_(at)
        subscribe = getattr(sdk, f"subscribe_{name}")
        with running(sdk, lambda stream: subscribe(stream.handler, *symbols)) as stream:
            heard_in_a_minute(at, stream, set(symbols))
            getattr(sdk, f"unsubscribe_{name}")(symbols[0])
            heard_in_a_minute(at, stream, {symbols[1]})


def heard_in_a_minute(at: Desk, stream: Stream, symbols: set[str]) -> list[Any]:
    """Step until a minute brings these symbols and no others; what it brought."""
    found: list[list[Any]] = []

    def minute() -> None:
        at.step(minutes=1)
        heard = []
        while not stream.nothing_waits():
            heard.append(stream.take())
        latest = max((each.timestamp for each in heard), default=None)
        found.append([each for each in heard if each.timestamp == latest])

    until(lambda: bool(found) and {each.symbol for each in found[-1]} == symbols, minute)
    return found[-1]


for _name, _kind in {"trades": Trade, "quotes": Quote, "bars": Bar, "daily_bars": Bar}.items():
    sends(STOCKS, stocks, _name, _kind, ["AAPL", "KO"])
sends(OPTIONS, options, "quotes", Quote, [CALL, PUT])


def traded(at: Desk) -> list[str]:
    """Of contracts that have traded, enough that one trades again soon."""
    chain = at.options.get_option_chain(OptionChainRequest(underlying_symbol="AAPL"))
    return [symbol for symbol, shown in chain.items() if shown.latest_trade][:60]


@contextlib.contextmanager
def hearing(at: Desk, symbols: list[str]) -> Iterator[tuple[OptionDataStream, Stream]]:
    """Trades of those contracts, and a contract's quotes, which tell that a minute has passed."""
    sdk = options(at)
    with running(
        sdk,
        lambda stream: sdk.subscribe_trades(stream.handler, *symbols),
        lambda stream: sdk.subscribe_quotes(stream.handler, CALL),
    ) as stream:
        until(lambda: not stream.nothing_waits(), lambda: at.step(minutes=1))
        yield sdk, stream


def trades_of_a_minute(at: Desk, stream: Stream) -> list[Trade]:
    at.step(minutes=1)
    heard: list[Trade] = []
    while isinstance(message := stream.take(), Trade):
        heard.append(message)
    return heard


@OPTIONS.works("subscribe_trades", "", "a contract trades a few times a day at most")
def _(at: Desk) -> None:
    symbols, heard = traded(at), list[Trade]()
    with hearing(at, symbols) as (_, stream):
        until(lambda: bool(heard), lambda: heard.extend(trades_of_a_minute(at, stream)))
    assert {trade.symbol for trade in heard} <= set(symbols)


@OPTIONS.works("unsubscribe_trades")
def _(at: Desk) -> None:
    symbols, counts = traded(at), list[int]()
    with hearing(at, symbols) as (sdk, stream):
        sdk.unsubscribe_trades(*symbols)
        until(
            lambda: counts[-20:] == [0] * 20,
            lambda: counts.append(len(trades_of_a_minute(at, stream))),
        )


# --- what is accepted and never sent -----------------------------------------------------------


def silent(name: str, methods: tuple[str, ...]) -> None:
    """Rows of a channel on which nothing ever comes; the stream goes on beside it."""
    for method in methods:

        @STOCKS.works(method, "", NEVER[name])
        def _(at: Desk, method: str = method) -> None:
            sdk = stocks(at)
            none = Stream(sdk)  # its handler must not be called

            def subscribe(stream: Stream) -> None:
                sdk.subscribe_trades(stream.handler, "KO")
                if method.startswith("register"):
                    getattr(sdk, method)(none.handler)
                else:
                    getattr(sdk, f"subscribe_{name}")(none.handler, "KO")

            with running(sdk, subscribe) as stream:
                heard_in_a_minute(at, stream, {"KO"})
                if method.startswith("unsubscribe"):
                    getattr(sdk, method)("KO")
                heard_in_a_minute(at, stream, {"KO"})
                assert none.nothing_waits()


for _name in ("updated_bars", "trading_statuses"):
    silent(_name, (f"subscribe_{_name}", f"unsubscribe_{_name}"))
for _name in ("trade_corrections", "trade_cancels"):
    silent(_name, (f"register_{_name}",))


# --- their lives -------------------------------------------------------------------------------


def lives(rows: Rows, open_: Open, subscribe: Callable[[Any, Stream], None]) -> None:
    """Rows of how a stream is run and ended."""

    def started(at: Desk) -> tuple[Sdk, Stream]:
        sdk = open_(at)
        stream = Stream(sdk)
        subscribe(sdk, stream)
        stream.start()
        until(lambda: bool(sdk._running))
        return sdk, stream

    @rows.works("run", "", "comes back by itself after a lost connection")
    def _(at: Desk) -> None:
        sdk, stream = started(at)
        first = sdk._ws
        stream.hang_up()
        until(lambda: sdk._ws is not first and bool(sdk._running))
        stream.stop()

    @rows.works("stop")
    def _(at: Desk) -> None:
        _, stream = started(at)
        stream.stop()

    for method in ("stop_ws", "close"):

        @rows.works(method)
        def _(at: Desk, method: str = method) -> None:
            sdk, stream = started(at)
            asyncio.run_coroutine_threadsafe(getattr(sdk, method)(), sdk._loop).result(20)
            stream.stop()


lives(ORDERS, orders, lambda sdk, stream: sdk.subscribe_trade_updates(stream.handler))
lives(STOCKS, stocks, lambda sdk, stream: sdk.subscribe_trades(stream.handler, "KO"))
lives(OPTIONS, options, lambda sdk, stream: sdk.subscribe_trades(stream.handler, CALL))
