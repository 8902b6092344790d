"""The exchange's streams and what alpaca-py would not do: frames that make no sense, too many
connections, clients that do not read or just vanish."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.exchange.stream_limits import StreamLimits
from tests.conformity.served import KEY, KEYS, Served, serving
from tests.integration.stream_clients import (
    AUTH,
    MSGPACK,
    OTHER,
    WAIT_SECONDS,
    ask,
    authenticated,
    hear,
    raw,
    step,
    submit,
    tell,
    until,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def exchange(caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    """Whatever happens, nothing fails inside it."""
    with serving(paused=True, accounts=[OTHER]) as served:
        yield served
    errors = [r for r in caplog.get_records("call") if r.name.startswith("services")]
    assert errors == []


def test_an_account_that_is_closed_loses_its_streams(exchange: Served) -> None:
    with raw(exchange, "/stream") as client:
        tell(client, {"action": "auth", "key": OTHER.key, "secret": OTHER.secret})
        assert exchange.ask("DELETE", f"/sim/accounts/{OTHER.key}").status_code == 204
        step(exchange)
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_SECONDS)


def test_errors_that_a_connection_survives(exchange: Served) -> None:
    with raw(exchange, "/v2/iex") as client:
        assert hear(client)["msg"] == "connected"
        for frame in ("{", "[]", "", b"\xff\x00", '{"action":"dance"}'):
            assert ask(client, frame) == {"T": "error", "code": 400, "msg": "invalid syntax"}
        assert ask(client, {"action": "subscribe", "trades": ["AAPL"]})["code"] == 401
        assert ask(client, AUTH)["msg"] == "authenticated"
        assert ask(client, AUTH)["code"] == 403
        assert ask(client, {"action": "subscribe", "orderbooks": ["AAPL"]})["code"] == 410
        listed = ask(client, {"action": "subscribe", "trades": ["AAPL"]})
        assert (listed["T"], listed["trades"]) == ("subscription", ["AAPL"])
        step(exchange)
        assert hear(client)["t"] == "2020-02-03T14:31:00.000000Z"


def test_errors_that_end_a_connection(exchange: Served) -> None:
    with raw(exchange, "/v2/iex") as client:
        hear(client)
        assert ask(client, {"action": "auth", "key": KEY, "secret": "wrong"})["code"] == 402
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_SECONDS)
    with raw(exchange, "/v1beta1/indicative") as client:
        assert hear(client)["code"] == 412
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_SECONDS)


def test_option_streams_are_message_pack(exchange: Served) -> None:
    with raw(exchange, "/v1beta1/opra", additional_headers=MSGPACK) as client:

        def answer() -> Any:
            return msgpack.unpackb(client.recv(WAIT_SECONDS))[0]

        assert answer()["msg"] == "connected"
        client.send(msgpack.packb(AUTH))
        assert answer()["msg"] == "authenticated"
        client.send(msgpack.packb({"action": "subscribe", "quotes": ["*"]}))
        assert answer()["code"] == 413
        client.send(msgpack.packb({"action": "subscribe", "bars": ["*"]}))
        assert answer()["code"] == 410


def test_keys_may_come_with_the_handshake(exchange: Served) -> None:
    with raw(exchange, "/v2/sip", additional_headers=KEYS) as client:
        assert [hear(client)["msg"] for _ in range(2)] == ["connected", "authenticated"]
        assert ask(client, {"action": "subscribe", "bars": ["*"]})["bars"] == ["*"]


def test_limits_of_the_subscription() -> None:
    limits = StreamLimits(stock_symbols_max=2, feeds_refused=["sip"])
    with serving(paused=True, streams=limits) as served:
        with raw(served, "/v2/iex") as client:
            authenticated(client)
            many = {"action": "subscribe", "trades": ["AAPL", "KO", "MSFT"]}
            assert ask(client, many)["code"] == 405
            assert ask(client, many | {"trades": ["*"]})["trades"] == ["*"]
        with raw(served, "/v2/sip") as client:
            hear(client)
            assert ask(client, AUTH)["code"] == 409


def test_one_connection_per_account_and_endpoint(exchange: Served) -> None:
    with raw(exchange, "/v2/iex") as first:
        authenticated(first)
        with raw(exchange, "/v2/iex") as second:
            hear(second)
            assert ask(second, AUTH)["code"] == 406
        with raw(exchange, "/v2/sip") as elsewhere:
            authenticated(elsewhere)
        with raw(exchange, "/v2/iex") as other:
            hear(other)
            keys = {"action": "auth", "key": OTHER.key, "secret": OTHER.secret}
            assert ask(other, keys)["msg"] == "authenticated"
        assert ask(first, {"action": "subscribe", "trades": ["KO"]})["T"] == "subscription"
    with raw(exchange, "/v2/iex") as again:
        authenticated(again)


def test_the_time_to_authenticate_is_bounded() -> None:
    with serving(paused=True, streams=StreamLimits(auth_timeout_seconds=0.2)) as served:
        with raw(served, "/v2/iex") as client:
            hear(client)
            assert hear(client) == {"T": "error", "code": 404, "msg": "auth timeout"}
            with pytest.raises(ConnectionClosed):
                client.recv(WAIT_SECONDS)
        with raw(served, "/stream") as client, pytest.raises(ConnectionClosed):
            client.recv(WAIT_SECONDS)


def test_malformed_frames_do_not_end_the_trading_stream(exchange: Served) -> None:
    with raw(exchange, "/stream") as client:
        early = tell(client, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert early["data"] == {"status": "unauthorized", "action": "listen"}
        assert tell(client, AUTH)["data"]["status"] == "authorized"
        for message in ([], {"action": "dance"}, {"action": "listen"}, {}):
            assert tell(client, message)["stream"] == "error"
        heard = tell(client, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert heard == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        submit(exchange, limit_price="1.00")
        assert json.loads(client.recv(WAIT_SECONDS))["data"]["event"] == "new"
        assert tell(client, {"action": "listen", "data": {"streams": []}})["data"] == {
            "streams": []
        }
        submit(exchange, limit_price="1.00")
        assert tell(client, {})["stream"] == "error"  # and nothing of the order came before it


def test_a_frame_that_is_too_long_ends_only_its_own_connection(exchange: Served) -> None:
    with raw(exchange, "/v2/iex") as client, raw(exchange, "/v2/sip") as other:
        hear(client)
        client.send("x" * 1_100_000)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WAIT_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        authenticated(other)


def test_paths_that_are_no_stream_are_refused(exchange: Served) -> None:
    for path in ("/v2/nonsense", "/", "/v2/stream", "/v1beta1/iex"):
        with pytest.raises(InvalidStatus) as refused, raw(exchange, path):
            pass
        assert refused.value.response.status_code == 404
        assert b"not a stream" in refused.value.response.body
    assert exchange.ask("GET", "/stream").status_code == 404


def test_a_client_that_does_not_read_is_cut_and_may_come_back() -> None:
    limits = StreamLimits(queue_frames_max=4)
    with serving(paused=True, streams=limits) as served:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", served.port))
        with raw(
            served, "/v1beta1/opra", sock=narrow, additional_headers=MSGPACK, max_queue=2,
            max_size=None,
        ) as client:  # fmt: skip
            client.send(msgpack.packb(AUTH))
            client.send(msgpack.packb({"action": "subscribe", "trades": ["*"]}))
            until(lambda: msgpack.unpackb(client.recv(WAIT_SECONDS))[0]["T"] == "subscription")
            until(lambda: comes_in(served, "/v1beta1/opra"), lambda: step(served, minutes=10))
            with pytest.raises(ConnectionClosed):
                until(lambda: False, lambda: client.recv(WAIT_SECONDS))


def test_the_exchange_ends_promptly_though_a_client_does_not_read() -> None:
    with contextlib.ExitStack() as lines, serving(paused=True) as served:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", served.port))
        client = lines.enter_context(
            raw(
                served, "/v1beta1/opra", sock=narrow, additional_headers=MSGPACK | KEYS, max_queue=2
            )
        )
        client.send(msgpack.packb({"action": "subscribe", "trades": ["*"]}))
        until(lambda: msgpack.unpackb(client.recv(WAIT_SECONDS))[0]["T"] == "subscription")
        for _ in range(10):
            step(served, minutes=10)
        assert not comes_in(served, "/v1beta1/opra"), "it waits, and is not cut"


def comes_in(served: Served, path: str) -> bool:
    """Whether the account's only place at that endpoint is free."""
    with raw(served, path, additional_headers=MSGPACK | KEYS) as client:
        client.recv(WAIT_SECONDS)
        answer = msgpack.unpackb(client.recv(WAIT_SECONDS))[0]
        return bool(answer["T"] == "success")


def test_clients_that_vanish_leave_their_place(exchange: Served) -> None:
    for _ in range(20):
        with raw(exchange, "/v2/iex", additional_headers=KEYS) as client:
            assert [hear(client)["msg"] for _ in range(2)] == ["connected", "authenticated"]
            client.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: place_is_free(exchange))
    step(exchange)


def place_is_free(served: Served) -> bool:
    with raw(served, "/v2/iex", additional_headers=KEYS) as client:
        hear(client)
        return bool(hear(client)["T"] == "success")


def test_five_hundred_listen_and_the_exchange_ends_promptly() -> None:
    with contextlib.ExitStack() as lines:
        with serving(paused=True) as served:
            clients = [lines.enter_context(raw(served, "/stream")) for _ in range(500)]
            for client in clients:
                assert tell(client, AUTH)["data"]["status"] == "authorized"
                tell(client, {"action": "listen", "data": {"streams": ["trade_updates"]}})
            submit(served)
            for client in clients:
                heard = [json.loads(client.recv(WAIT_SECONDS)) for _ in range(2)]
                assert [message["data"]["event"] for message in heard] == ["new", "fill"]
            assert served.get("/sim/health") == {"status": "ok"}
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(WAIT_SECONDS)
