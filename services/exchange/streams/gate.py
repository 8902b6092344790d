"""The ASGI application of the streams: who is connected, and what of the venue concerns them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.exchange.engine.updates import OrderUpdate
from services.exchange.http.views import update_view
from services.exchange.prices.market import Moment
from services.exchange.stream_limits import StreamLimits
from services.exchange.streams import errors
from services.exchange.streams.codec import JSON_BINARY, JSON_TEXT, MSGPACK, MSGPACK_TYPE
from services.exchange.streams.connection import Connection, Message, Send
from services.exchange.streams.data_session import DataSession
from services.exchange.streams.endpoints import ORDERS_PATH, Endpoint, data_endpoint
from services.exchange.streams.order_session import OrderSession
from services.exchange.streams.session import Answer, Tap, untouched
from services.exchange.streams.tape import (
    Tape,
    latest_minutes,
    option_minutes_max,
    underlyings_of,
)
from services.exchange.venue import Tenant, Venue

CONNECTIONS_MAX = 2_000  # of all accounts together
ABORT = "abort"  # in a scope's state: cuts the line at once
Receive = Callable[[], Awaitable[Message]]
OpenTap = Callable[[str, str], Tap]  # from the path and the account's key
_log = logging.getLogger(__name__)


def no_faults(_path: str, _key: str) -> Tap:
    return untouched


class _Client:
    """A connection with the session it holds, and whose it is once it has authenticated."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.tenant: Tenant | None = None
        self.connection: Connection
        self.session: DataSession | OrderSession


class Streams:
    """Tells its clients what the venue tells it. `open_tap` is asked once per authenticated
    connection: every event for that connection passes through the tap it gives."""

    def __init__(
        self, venue: Venue, limits: StreamLimits, *, open_tap: OpenTap = no_faults
    ) -> None:
        self._venue = venue
        self._limits = limits
        self._open_tap = open_tap
        # In the order they came, for faults strike events by their number.
        self._clients: dict[_Client, None] = {}
        venue.tell_orders = self.on_orders
        venue.tell_time = self.on_time

    @property
    def connected(self) -> int:
        return len(self._clients)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()  # the handshake
        path, endpoint = scope["path"], data_endpoint(scope["path"])
        if endpoint is None and path != ORDERS_PATH:
            text = f"{path[:200]} is not a stream of the simulated exchange"
            await _refuse(send, 404, text)
            return
        if len(self._clients) >= CONNECTIONS_MAX:
            await _refuse(send, 503, f"at most {CONNECTIONS_MAX} streams")
            return
        await send({"type": "websocket.accept"})
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client, greeting = self._open(path, endpoint, headers, send, scope["state"][ABORT])
        await self._serve(client, greeting, receive)

    def close(self) -> None:
        """Cut the lines that cannot be closed in order, for their clients do not read."""
        for client in list(self._clients):
            if client.connection.backlog:
                client.connection.drop()

    def _open(
        self,
        path: str,
        endpoint: Endpoint | None,
        headers: dict[bytes, str],
        send: Send,
        abort: Callable[[], None],
    ) -> tuple[_Client, Answer]:
        client = _Client(path)
        msgpack = headers.get(b"content-type", "").split(";")[0].strip() == MSGPACK_TYPE
        greeting = Answer()
        if endpoint is None:
            codec = MSGPACK if msgpack else JSON_BINARY
            client.session = OrderSession(lambda key, secret: self._enter(client, key, secret))
        else:
            codec = MSGPACK if msgpack else JSON_TEXT
            session = client.session = DataSession(
                endpoint,
                self._limits,
                lambda key, secret: self._enter_data(client, endpoint, key, secret),
            )
        client.connection = Connection(
            client.session,
            codec,
            send=send,
            abort=abort,
            queue_frames_max=self._limits.queue_frames_max,
        )
        if endpoint is not None:
            key, secret = headers.get(b"apca-api-key-id"), headers.get(b"apca-api-secret-key")
            greeting = session.opened(key or "", secret or "", msgpack=msgpack)
        return client, greeting

    async def _serve(self, client: _Client, greeting: Answer, receive: Receive) -> None:
        connection = client.connection
        self._clients[client] = None
        pump = asyncio.create_task(connection.pump())
        timer = asyncio.get_running_loop().call_later(
            self._limits.auth_timeout_seconds, connection.time_out
        )
        try:
            connection.answer(greeting)
            while (message := await receive())["type"] != "websocket.disconnect":
                connection.receive(message)
        finally:
            timer.cancel()
            self._clients.pop(client, None)
            pump.cancel()

    # --- who comes in --------------------------------------------------------------------------

    def _enter(self, client: _Client, key: str, secret: str) -> bool:
        tenant = self._venue.holder(key, secret)
        if tenant is None:
            return False
        self._venue.begin()
        client.tenant = tenant
        client.connection.tap = self._open_tap(client.path, key)
        return True

    def _enter_data(self, client: _Client, endpoint: Endpoint, key: str, secret: str) -> int | None:
        """None, or the code of the error."""
        tenant = self._venue.holder(key, secret)
        if tenant is None:
            return errors.AUTH_FAILED
        if endpoint.feed in self._limits.feeds_refused:
            return errors.INSUFFICIENT_SUBSCRIPTION
        held = sum(
            other.tenant is tenant and other.path == client.path and other.session.authenticated
            for other in self._clients
        )
        if held >= self._limits.connections_max:
            return errors.CONNECTION_LIMIT
        return None if self._enter(client, key, secret) else errors.AUTH_FAILED

    # --- what the venue tells ------------------------------------------------------------------

    def on_orders(self, account_id: str, updates: list[OrderUpdate]) -> None:
        listeners = [client for client in self._clients if _listens(client, account_id)]
        if not listeners:
            return
        try:
            events = [update_view(update) for update in updates]
            for client in listeners:
                client.connection.deliver(events)
        except Exception:  # a stream that fails must not stop orders
            _log.exception("order updates were not sent")

    def on_time(self, before: Moment, after: Moment) -> None:
        if not self._clients:
            return
        try:
            self._end_closed_accounts()
            self._send_minutes(before, after)
        except Exception:  # nor the market
            _log.exception("market data was not sent")

    def _end_closed_accounts(self) -> None:
        for client in list(self._clients):
            tenant = client.tenant
            if tenant is not None and self._venue.tenants.get(tenant.key) is not tenant:
                client.connection.end()

    def _send_minutes(self, before: Moment, after: Moment) -> None:
        wanting = [
            (client.connection, client.session)
            for client in self._clients
            if isinstance(client.session, DataSession)
            and client.session.authenticated
            and any(client.session.subscriptions.values())
        ]
        if not wanting:
            return
        market = self._venue.market
        minutes = latest_minutes(market.calendar, before, after, self._limits.minutes_max)
        underlyings: set[str] = set()
        for _, session in wanting:
            if session.endpoint.options:
                underlyings |= underlyings_of(market, session.subscriptions)
        options_from = len(minutes) - option_minutes_max(len(underlyings), len(minutes))
        for number, minute in enumerate(minutes):
            tape = Tape(market, minute)
            for connection, session in wanting:
                if not session.endpoint.options or number >= options_from:
                    events = tape.events(session.endpoint, session.subscriptions)
                    if events:
                        connection.deliver(events)


def _listens(client: _Client, account_id: str) -> bool:
    session, tenant = client.session, client.tenant
    if not isinstance(session, OrderSession) or tenant is None:
        return False
    return session.listening and tenant.books.account_id == account_id


async def _refuse(send: Send, status: int, text: str) -> None:
    body = msgspec.json.encode({"message": text})
    headers: list[Any] = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
