"""Faults of streams as the unmodified alpaca-py meets them: mute, doubled, disordered and cut."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream

from tests.conformity.served import KEY, SECRET, Served, serving
from tests.integration.stream_clients import Stream, running, step, submit, until, url

pytestmark = pytest.mark.integration


@pytest.fixture
def exchange() -> Iterator[Served]:
    with serving(paused=True) as served:
        yield served


def set_fault(exchange: Served, kind: str, **rule: Any) -> None:
    answer = exchange.ask("POST", "/sim/faults", json={"kind": kind} | rule)
    assert answer.status_code == 200, answer.text


def struck(exchange: Served) -> int:
    (rule,) = exchange.get("/sim/faults")
    return int(rule["injected"])


@contextlib.contextmanager
def listening(exchange: Served) -> Iterator[Stream]:
    """With nothing waiting: every order so far has been heard of."""
    sdk = TradingStream(KEY, SECRET, url_override=url(exchange, "/stream"))
    with running(sdk, lambda s: sdk.subscribe_trade_updates(s.handler)) as stream:
        heard_again(exchange, stream)
        yield stream


def rest(exchange: Served) -> str:
    return str(submit(exchange, limit_price="1.00")["id"])


def heard_again(exchange: Served, stream: Stream) -> None:
    """Orders are sent until one is heard of: alpaca-py does not tell when the server listens."""
    sent: list[str] = []
    until(lambda: not stream.nothing_waits(), lambda: sent.append(rest(exchange)))
    last = rest(exchange)
    while str(stream.take().order.id) != last:
        pass


def next_ones(stream: Stream, count: int) -> list[str]:
    return [str(update.order.id) for update in stream.take_many(count)]


def test_events_come_twice(exchange: Served) -> None:
    with listening(exchange) as stream:
        set_fault(exchange, "duplicate", stream="trade_updates", times=1)
        first, second = rest(exchange), rest(exchange)
        assert next_ones(stream, 3) == [first, first, second]


def test_events_come_in_another_order(exchange: Served) -> None:
    with listening(exchange) as stream:
        set_fault(exchange, "reorder", stream="trade_updates", times=1)
        orders = [rest(exchange) for _ in range(3)]
        assert next_ones(stream, 3) == [orders[1], orders[0], orders[2]]


def test_a_mute_stream_stays_open_and_loses_what_happened(exchange: Served) -> None:
    with listening(exchange) as stream:
        set_fault(exchange, "mute", stream="trade_updates")
        lost = rest(exchange)
        until(lambda: struck(exchange) == 1)
        exchange.ask("DELETE", "/sim/faults")
        heard = rest(exchange)
        assert next_ones(stream, 1) == [heard]
        assert {order["id"] for order in exchange.get("/v2/orders")} >= {lost, heard}


def test_a_dropped_stream_is_opened_again_by_the_client_and_misses_what_was_between(
    exchange: Served,
) -> None:
    with listening(exchange) as stream:
        first = stream.sdk._ws
        set_fault(exchange, "drop", stream="trade_updates", times=1)
        lost = rest(exchange)
        until(lambda: stream.sdk._ws is not first and struck(exchange) == 1)
        heard: list[str] = []
        until(lambda: not stream.nothing_waits(), lambda: heard.append(rest(exchange)))
        assert next_ones(stream, 1)[0] in heard
        assert exchange.get(f"/v2/orders/{lost}")["status"] == "new"


def test_faults_of_one_stream_and_account_leave_the_others_alone(exchange: Served) -> None:
    sdk = StockDataStream(KEY, SECRET, url_override=url(exchange, "/v2/iex"))
    with (
        listening(exchange) as orders,
        running(sdk, lambda s: sdk.subscribe_quotes(s.handler, "KO")) as stocks,
    ):
        until(lambda: not stocks.nothing_waits(), lambda: step(exchange))
        set_fault(exchange, "mute", stream="stocks")
        set_fault(exchange, "mute", stream="trade_updates", key="another")
        order = rest(exchange)
        step(exchange)
        assert next_ones(orders, 1) == [order]
        rules = exchange.get("/sim/faults")
        assert [rule["injected"] for rule in rules] == [1, 0]
