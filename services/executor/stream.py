"""The socket of trade_updates: kept open, replaced when it is silent or deaf.

websockets itself rather than alpaca-py's TradingStream (decision 0005): that one tells nobody of a
reconnect, so no gap could be filled; it waits three minutes for a pong; it asks again for ever
after a refusal of the keys, and it wants a thread and a loop of its own. This one runs in ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from libs.common.contracts import AlpacaEnv, Severity
from libs.common.runtime import Context
from libs.common.wire import WireError, WireOrder
from services.executor.updates import (
    Said,
    Trust,
    after_connect,
    after_deaf,
    after_loss,
    after_polled_news,
    after_update,
    heard_in,
    is_deaf,
    stream_url,
)

log = logging.getLogger(__name__)

OPEN_SECONDS = 5.0
PING_SECONDS = 2.0
WATCH_SECONDS = 0.25
FRAME_BYTES_MAX = 1024 * 1024


class StreamRefusedError(Exception):
    """The stream does not take our keys, or does not listen."""


class _DeafError(Exception):
    """It is open and tells nothing."""


class TradeUpdates:
    def __init__(
        self,
        context: Context,
        on_order: Callable[[WireOrder], Awaitable[None]],
        on_connect: Callable[[], None],
    ) -> None:
        """`on_order` is given each order that is told of; `on_connect` is called after each
        connection, because what happened before it is told by nobody.
        """
        self._context = context
        self._on_order = on_order
        self._on_connect = on_connect
        self.trust = Trust()

    def polled_news(self, client_order_id: str) -> None:
        self.trust = after_polled_news(self.trust, client_order_id, time.monotonic())

    async def run(self) -> None:
        """Until cancelled. Nothing that goes wrong here ends it: orders are polled anyway."""
        while True:
            try:
                await self._one_connection()
            except _DeafError:
                self.trust = after_deaf(self.trust)
                await self._tell("it is open and tells nothing; it is replaced")
            except (OSError, WebSocketException, StreamRefusedError) as error:
                await self._tell(f"{type(error).__name__} {error}".strip())
            self.trust = after_loss(self.trust)
            self._context.count("stream_connections_lost")
            await asyncio.sleep(self.trust.pause_seconds)

    async def _tell(self, what: str) -> None:
        """In the log each time, to people when it was well before."""
        text = f"trade_updates: {what}; orders are polled"
        if self.trust.connected:
            await self._context.alert(Severity.WARNING, "stream", text)
        else:
            log.info(text)

    async def _one_connection(self) -> None:
        settings = self._context.settings.alpaca
        url = stream_url(settings.base_url, live=settings.env is AlpacaEnv.LIVE)
        async with connect(
            url,
            open_timeout=OPEN_SECONDS,
            close_timeout=1.0,
            ping_interval=PING_SECONDS,
            ping_timeout=2 * PING_SECONDS,
            max_size=FRAME_BYTES_MAX,
            proxy=None,
        ) as socket:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._listen(socket)
            self.trust = after_connect(self.trust, time.monotonic())
            self._on_connect()
            self._context.count("stream_connections")
            await self._hear(socket)

    async def _listen(self, socket: ClientConnection) -> None:
        settings = self._context.settings.alpaca
        keys = {"key_id": settings.api_key, "secret_key": settings.secret_key}
        for action, data, wanted in (
            ("authenticate", keys, Said.AUTHORIZED),
            ("listen", {"streams": ["trade_updates"]}, Said.LISTENING),
        ):
            await socket.send(json.dumps({"action": action, "data": data}))
            try:
                said = heard_in(_bytes(await socket.recv())).said
            except WireError as error:
                raise StreamRefusedError(str(error)) from error
            if said is not wanted:
                raise StreamRefusedError(f"it answers {said} to {action}")

    async def _hear(self, socket: ClientConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    frame = await socket.recv()
            except TimeoutError:
                frame = None
            if frame is not None:
                await self._take(_bytes(frame))
            if is_deaf(self.trust, time.monotonic()):
                raise _DeafError

    async def _take(self, frame: bytes) -> None:
        """A frame that does not decode is told of and left: the next poll sees what it said."""
        try:
            heard = heard_in(frame)
        except WireError as error:
            log.warning("%s", error)
            return
        if heard.order is not None:
            self.trust = after_update(self.trust, heard.order.client_order_id)
            self._context.count("stream_updates")
            await self._on_order(heard.order)


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
