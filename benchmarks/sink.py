"""A bare HTTP sink that stands for the broker: it answers at once and stamps what arrives.

It lives in the benchmark's own loop, which does nothing else while it waits for an order.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

ACCOUNT_NUMBER = "PA0000000001"
ACCOUNT = {
    "account_number": ACCOUNT_NUMBER,
    "status": "ACTIVE",
    "equity": "1000000000",
    "last_equity": "1000000000",
    "cash": "1000000000",
    "buying_power": "1000000000",
    "options_buying_power": "1000000000",
    "options_trading_level": 3,
}
Query = dict[str, str]


class Sink:
    """`orders` answers GET /v2/orders…, by path and query; it may answer None: not found."""

    def __init__(self, orders: Callable[[str, Query], Any] = lambda _path, _query: []) -> None:
        self.port = 0
        self.asked: list[tuple[float, str]] = []
        """When and what was asked."""
        self._orders = orders
        self._arrival: asyncio.Future[float] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()

    def next_order(self) -> asyncio.Future[float]:
        """Resolves to the monotonic time at which the next order has arrived whole."""
        self._arrival = asyncio.get_running_loop().create_future()
        return self._arrival

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(_length(head))
                arrived = time.monotonic()
                method, target, _ = head.split(b" ", 2)
                self.asked.append((arrived, target.decode()))
                answer = self._answer(method.decode(), target.decode(), body, arrived)
                writer.write(_response(answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, method: str, target: str, body: bytes, arrived: float) -> Any:
        parts = urlsplit(target)
        if method == "POST" and parts.path == "/v2/orders":
            if self._arrival is not None and not self._arrival.done():
                self._arrival.set_result(arrived)
            return canceled(json.loads(body))
        if parts.path == "/v2/account":
            return ACCOUNT
        if parts.path.startswith("/v2/orders"):
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            return self._orders(parts.path, query)
        return [] if parts.path in ("/v2/positions", "/v2/account/activities") else None


def canceled(asked: dict[str, Any]) -> dict[str, Any]:
    """An order that ended at once, so that the books stay as small as in life."""
    return asked | {
        "id": str(uuid.uuid4()),
        "status": "canceled",
        "qty": str(asked["qty"]),
        "filled_qty": "0",
    }


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _response(answer: Any) -> bytes:
    status = "404 Not Found" if answer is None else "200 OK"
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
