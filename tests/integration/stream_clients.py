"""Clients of the exchange's streams: alpaca-py's in a thread of their own, and a bare one."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from alpaca.data.live import OptionDataStream, StockDataStream
from alpaca.trading.stream import TradingStream
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_raw

from services.exchange.config import AccountConfig
from tests.conformity.served import KEY, KEYS, SECRET, Served

WAIT_SECONDS = 20
MSGPACK = {"Content-Type": "application/msgpack"}
AUTH = {"action": "auth", "key": KEY, "secret": SECRET}
OTHER = AccountConfig(key="other-key", secret="other-secret")
Sdk = TradingStream | StockDataStream | OptionDataStream


class Stream:
    """A stream of alpaca-py running in its own thread; what its handler got waits in a queue."""

    def __init__(self, sdk: Sdk) -> None:
        self.sdk = sdk
        self._got: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=sdk.run, daemon=True)

    async def handler(self, message: Any) -> None:
        self._got.put(message)

    def start(self) -> None:
        self._thread.start()

    def take(self) -> Any:
        return self._got.get(timeout=WAIT_SECONDS)

    def take_many(self, count: int) -> list[Any]:
        return [self.take() for _ in range(count)]

    def nothing_waits(self) -> bool:
        return self._got.empty()

    def hang_up(self) -> None:
        """Close the socket under it: alpaca-py connects again by itself."""
        loop = self.sdk._loop
        assert loop is not None
        transport = self.sdk._ws.transport
        loop.call_soon_threadsafe(transport.abort)
        until(transport.is_closing)

    def stop(self) -> None:
        loop = self.sdk._loop
        if loop is not None and loop.is_running():
            self.sdk.stop()
            with contextlib.suppress(RuntimeError):  # it may have ended just now
                loop.call_soon_threadsafe(lambda: loop.create_task(self.sdk.close()))
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def running(sdk: Sdk, *subscribe: Callable[[Stream], None]) -> Iterator[Stream]:
    stream = Stream(sdk)
    for each in subscribe:
        each(stream)
    stream.start()
    try:
        yield stream
    finally:
        stream.stop()


def url(served: Served, path: str) -> str:
    return f"ws://127.0.0.1:{served.port}{path}"


def until(done: Callable[[], bool], deed: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < end, "it does not come"
        deed()
        time.sleep(0.02)


def step(served: Served, **how: Any) -> None:
    assert served.ask("POST", "/sim/step", json=how or {"minutes": 1}).status_code == 200


def submit(served: Served, headers: dict[str, str] | None = None, **terms: Any) -> Any:
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    body |= terms
    if "limit_price" in terms:
        body |= {"type": "limit"}
    answer = served.ask("POST", "/v2/orders", json=body, headers=headers or KEYS)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextlib.contextmanager
def raw(served: Served, path: str, **how: Any) -> Iterator[ClientConnection]:
    with connect_raw(
        url(served, path), open_timeout=WAIT_SECONDS, close_timeout=1, **how
    ) as client:
        yield client


def ask(client: ClientConnection, frame: Any) -> Any:
    """The one message that answers; a value is sent as JSON, a string or bytes as they are."""
    client.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    return hear(client)


def hear(client: ClientConnection) -> Any:
    frame = client.recv(WAIT_SECONDS)
    assert isinstance(frame, str), "JSON comes in text frames"
    (message,) = json.loads(frame)
    return message


def tell(client: ClientConnection, message: Any) -> Any:
    """To /stream, where JSON comes in binary frames."""
    client.send(json.dumps(message))
    frame = client.recv(WAIT_SECONDS)
    assert isinstance(frame, bytes)
    return json.loads(frame)


def authenticated(client: ClientConnection) -> ClientConnection:
    assert hear(client) == {"T": "success", "msg": "connected"}
    assert ask(client, AUTH) == {"T": "success", "msg": "authenticated"}
    return client
