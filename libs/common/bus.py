"""The door to NATS for services: connect, publish, pull, answer, watch.

What the settings here are for was measured on nats-server 2.15 and nats-py 2.16: publishing while
disconnected must fail at once instead of being sent later as a ghost (`pending_size=0`); a refused
publish shows only in the error callback, so a permissions violation ends the process; the order
path fetches one message at a time, because a batch fetch can stall across a server's restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Self, TypeVar

import msgspec
import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from libs.common import bus_logs
from libs.common.bus_accounts import API_PREFIX, HEALTH_STREAM, PROVISION
from libs.common.bus_deliveries import RETRY_SECONDS, TRANSIENT, Batch, Delivery
from libs.common.bus_logs import BusError, Replayed, SequenceConflictError, Stored
from libs.common.bus_sign_in import distrust, sign_in_options
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import Message
from libs.common.log_lines import tell
from libs.common.promises import BrokenPromiseError, RestartNeededError
from libs.common.settings import BusSettings
from libs.common.topology import Consumer

__all__ = ["Batch", "Bus", "BusError", "BusRefusedError", "Delivery", "SequenceConflictError"]

log = logging.getLogger(__name__)

MessageT = TypeVar("MessageT", bound=Message)
Handler = Callable[[Delivery], Awaitable[None]]
BatchHandler = Callable[[Batch], Awaitable[None]]
_Take = Callable[[JetStreamContext.PullSubscription, Msg], Awaitable[None]]

_FETCH_SECONDS = 1.0
_GATHER_SECONDS = 0.05
"""How long a batch waits for more."""
_ATTEMPTS_MAX = 20
"""A message whose handling fails by itself that often is set aside as poison."""
_STREAM_MESSAGE_TOO_LARGE = 10054
"""The server's code for a message larger than its stream takes."""
_REFUSALS = ("permissions violation", "authorization violation", "authentication")


class BusRefusedError(BusError, BrokenPromiseError):
    """Wrong credentials, missing permissions, or streams that nobody provisioned."""


def _asked_to_end() -> bool:
    """Python 3.11's wait_for loses a cancellation that meets its result; the task still knows."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _leave(subscription: JetStreamContext.PullSubscription) -> None:
    with contextlib.suppress(*TRANSIENT):
        await subscription.unsubscribe()


class Bus:
    def __init__(self, account: str) -> None:
        self.account = account
        self.refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves to the server's words when it refuses us something: the process must end."""
        self.reconnects = 0
        self._last_error = ""
        self._client = Client()
        self.jetstream: JetStreamContext

    @classmethod
    async def connect(
        cls, settings: BusSettings, *, account: str, patience_seconds: float = 15.0
    ) -> Self:
        """As the user of one of bus_accounts' accounts.

        Raises BusError after `patience_seconds` without a server, BusRefusedError at once for a
        wrong key or a server that is not the one meant.
        """
        if not settings.url:
            raise BusRefusedError("NATS_URL is not set, so there is no bus to connect to")
        bus = cls(account)
        options: dict[str, object] = {
            "servers": settings.url,
            "name": account,
            **sign_in_options(settings, account),
            "error_cb": bus._on_error,
            "reconnected_cb": bus._on_reconnect,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RETRY_SECONDS,
            "connect_timeout": 2,
            "ping_interval": 2,
            "max_outstanding_pings": 2,
            "pending_size": 0,
        }
        connecting: asyncio.Future[None] = asyncio.ensure_future(bus._client.connect(**options))  # type: ignore[arg-type]
        waited: list[asyncio.Future[object]] = [connecting, bus.refused]  # type: ignore[list-item]
        done, _ = await asyncio.wait(
            waited,
            timeout=patience_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if bus.refused in done or connecting not in done:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            if bus.refused.done():
                raise BusRefusedError(
                    f"NATS at {settings.url} refused {account}: {bus.refused.result()}"
                )
            raise BusError(
                f"no NATS server at {settings.url} after {patience_seconds:.0f} s"
                f" ({bus._last_error or 'no answer'}); start it or correct NATS_URL,"
                " and NATS_TLS_CA if it speaks TLS"
            )
        connecting.result()
        if account == PROVISION:  # the only one at home where the streams are
            bus.jetstream = bus._client.jetstream(timeout=2)
        else:
            bus.jetstream = bus._client.jetstream(prefix=API_PREFIX, timeout=2)
        return bus

    async def _on_error(self, error: Exception) -> None:
        self._last_error = distrust(error) or str(error) or repr(error)
        if distrust(error) is not None or any(
            word in self._last_error.lower() for word in _REFUSALS
        ):
            if not self.refused.done():
                self.refused.set_result(self._last_error)
        elif not isinstance(error, nats.errors.UnexpectedEOF | OSError):
            log.debug("nats: %s", self._last_error)

    async def _on_reconnect(self) -> None:
        self.reconnects += 1
        log.warning("connected to NATS again")

    def failure(self, text: str) -> BusError:
        """The error to raise for something that failed: what the server refuses shows in no
        return value, only as silence.
        """
        if self.refused.done():
            return BusRefusedError(f"NATS refused {self.account}: {self.refused.result()}")
        return BusError(text)

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def close(self) -> None:
        with contextlib.suppress(*TRANSIENT):
            await self._client.close()

    async def check_provisioned(self) -> None:
        """Raises BusRefusedError when nobody made the streams, BusError when the bus is silent."""
        try:
            await self.jetstream.stream_info(HEALTH_STREAM)
        except nats.js.errors.NotFoundError as error:
            raise BusRefusedError(
                "the bus has no streams yet; run `alpaclaudia provision`"
            ) from error
        except TRANSIENT as error:
            raise self.failure(f"the bus does not answer: {error!r}") from error

    # --- publishing ----------------------------------------------------------------------------

    async def publish(self, message: Message, *, patience_seconds: float = 5.0) -> None:
        """Returns once the stream has stored the message; the server drops repeats of its id.

        Raises BusError when that was not confirmed within `patience_seconds`.
        """
        payload = msgspec.json.encode(message)
        subject = message.subject
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while True:
            try:
                await self.jetstream.publish(
                    subject, payload, timeout=2, headers={"Nats-Msg-Id": message.message_id}
                )
                tell(message)
                return
            except nats.errors.MaxPayloadError as error:
                raise BusError(f"{subject} is too large ({len(payload)} bytes)") from error
            except TRANSIENT as error:
                if getattr(error, "err_code", None) == _STREAM_MESSAGE_TOO_LARGE:
                    raise BusError(f"{subject} is too large ({len(payload)} bytes)") from error
                if asyncio.get_running_loop().time() >= deadline:
                    if isinstance(error, nats.js.errors.NoStreamResponseError):
                        raise BusError(
                            f"no stream takes {subject}; run `alpaclaudia provision`"
                        ) from error
                    raise self.failure(f"publishing {subject} failed: {error!r}") from error
                await asyncio.sleep(RETRY_SECONDS)

    async def append(self, message: Message, pattern: str, after: int) -> int:
        """Stores the message only after a certain one; see bus_logs.append."""
        sequence = await bus_logs.append(self.jetstream, message, pattern, after)
        tell(message)
        return sequence

    # --- reading -------------------------------------------------------------------------------

    async def consume(
        self, consumer: Consumer, handle: Handler, *, on_poison: Handler | None = None
    ) -> None:
        """Feeds `handle` one message at a time until cancelled.

        `handle` acknowledges. A message that does not decode is terminated and given to
        `on_poison`; one whose handler fails comes again after a pause that grows: for ever while
        it is the bus that fails, else until it counts as poison too.
        """

        async def take(_subscription: JetStreamContext.PullSubscription, msg: Msg) -> None:
            await self._deliver(Delivery(msg), handle, on_poison)

        await self._pull(consumer, take)

    async def consume_batches(
        self,
        consumer: Consumer,
        handle: BatchHandler,
        *,
        on_poison: Handler | None = None,
        at_most: int = 200,
    ) -> None:
        """Feeds `handle` up to `at_most` messages at a time until cancelled: those that come
        within a moment of the first. Not for the order path, where nothing waits for more.

        `handle` decodes and acknowledges. When it fails, each message is handled alone, and what
        becomes of the one that failed is as with `consume`.
        """

        async def take(subscription: JetStreamContext.PullSubscription, first: Msg) -> None:
            msgs = [first]
            with contextlib.suppress(*TRANSIENT):
                msgs += await subscription.fetch(at_most - 1, timeout=_GATHER_SECONDS)
            await self._deliver_batch(Batch([Delivery(msg) for msg in msgs]), handle, on_poison)

        await self._pull(consumer, take)

    async def _pull(self, consumer: Consumer, take: _Take) -> None:
        """Messages one by one, whatever becomes of the connection."""
        subscription = await self._bind(consumer)
        try:
            while True:
                if _asked_to_end():
                    raise asyncio.CancelledError
                try:
                    (msg,) = await subscription.fetch(1, timeout=_FETCH_SECONDS)
                except TimeoutError:
                    continue
                except TRANSIENT as error:
                    log.debug("fetching from %s/%s: %r", consumer.stream, consumer.name, error)
                    await asyncio.sleep(RETRY_SECONDS)
                    if self.connected:  # a consumer that is gone shows here, and only here
                        await _leave(subscription)
                        subscription = await self._bind(consumer)
                    continue
                await take(subscription, msg)
        finally:  # a request left open would swallow the next message
            await _leave(subscription)

    async def _deliver_batch(
        self, batch: Batch, handle: BatchHandler, on_poison: Handler | None
    ) -> None:
        try:
            await handle(batch)
        except (BrokenPromiseError, RestartNeededError):
            raise
        except BusError:
            log.error("handling a batch of %s failed; it comes again", batch.deliveries[0].subject)
            await batch.again()
        except Exception as error:
            if len(batch.deliveries) == 1:
                await self._failed(batch.deliveries[0], error, on_poison)
                return
            for delivery in batch.deliveries:
                await self._deliver_batch(Batch([delivery]), handle, on_poison)

    async def _deliver(
        self, delivery: Delivery, handle: Handler, on_poison: Handler | None
    ) -> None:
        try:
            await handle(delivery)
        except (BrokenPromiseError, RestartNeededError):
            await delivery.again()  # to whoever comes after us, and not when our time is over
            raise
        except BusError:  # however long it lasts, it is no fault of the message
            log.error("handling %s failed; it comes again", delivery.subject)
            await delivery.again()
        except Exception as error:
            await self._failed(delivery, error, on_poison)

    async def _failed(
        self, delivery: Delivery, error: Exception, on_poison: Handler | None
    ) -> None:
        if isinstance(error, UndecodableError):
            log.error("a message that does not decode was set aside: %s", error)
        else:
            log.error("handling %s failed", delivery.subject, exc_info=error)
            if delivery.attempt < _ATTEMPTS_MAX:
                await delivery.again()
                return
        if on_poison:
            await on_poison(delivery)
        await delivery.terminate()

    async def _bind(self, consumer: Consumer) -> JetStreamContext.PullSubscription:
        """Waits for the bus; raises BusRefusedError when the consumer was never provisioned."""
        while True:
            try:
                await self.jetstream.consumer_info(consumer.stream, consumer.name)
                return await self.jetstream.pull_subscribe_bind(
                    consumer=consumer.name, stream=consumer.stream
                )
            except nats.js.errors.NotFoundError as error:
                raise BusRefusedError(
                    f"the consumer {consumer.stream}/{consumer.name} does not exist;"
                    " run `alpaclaudia provision`"
                ) from error
            except TRANSIENT:
                await asyncio.sleep(RETRY_SECONDS)

    async def replay(self, consumer: Consumer, handle: Callable[[Message], None]) -> Replayed:
        """Reads an unacknowledged consumer from its first message to its last.

        What does not decode is left out with an error in the log. Raises BusError.
        """
        subscription = await self._bind(consumer)
        try:
            return await bus_logs.replay(self.jetstream, subscription, consumer, handle)
        finally:
            await _leave(subscription)

    async def take_back(self, consumer: Consumer) -> bool:
        """Has the message that a consumer of one at a time gave to a reader that is gone delivered
        again at once, instead of after its acknowledgement wait; whether there was one.

        Only for the one reader that may read now. Raises BusError.
        """
        try:
            info = await self.jetstream.consumer_info(consumer.stream, consumer.name)
            if not info.num_ack_pending:
                return False
            await self._client.publish(bus_logs.ack_subject(consumer, info), b"-NAK")
            return True
        except TRANSIENT as error:
            raise self.failure(f"asking after {consumer.stream} failed: {error!r}") from error

    async def delivered(self, consumer: Consumer) -> int:
        """The stream sequence of the last message sent to a consumer. Raises BusError."""
        return await bus_logs.delivered(self.jetstream, consumer)

    async def backlog(self, consumer: Consumer) -> tuple[int, int]:
        """What a consumer has yet to deliver and to see acknowledged. Raises BusError."""
        return await bus_logs.backlog(self.jetstream, consumer)

    async def read_after(self, stream: str, subject: str, after: int) -> list[Stored]:
        """The messages of a subject beyond a sequence, oldest first. Raises BusError."""
        return await bus_logs.read_after(self.jetstream, stream, subject, after)

    async def last_payload(self, stream: str, subject: str) -> bytes | None:
        """The bytes of a subject's newest message, or None. Raises BusError."""
        return await bus_logs.last_payload(self.jetstream, stream, subject)

    async def last(
        self, stream: str, subject: str, message_type: type[MessageT]
    ) -> MessageT | None:
        """The newest message of a subject, or None. Raises BusError, UndecodableError."""
        payload = await self.last_payload(stream, subject)
        message = None if payload is None else decode_message(subject, payload)
        return message if isinstance(message, message_type) else None

    async def stream_counts(self, names: Iterable[str]) -> dict[str, int]:
        """How many messages each stream holds. Raises BusError."""
        try:
            return {name: (await self.jetstream.stream_info(name)).state.messages for name in names}
        except TRANSIENT as error:
            raise self.failure(f"reading the streams failed: {error!r}") from error

    async def watch(self, subject: str, handle: Callable[[str, bytes], None]) -> None:
        """Live messages of a subject pattern, for screens; what is missed stays missed."""

        async def on_message(msg: Msg) -> None:
            handle(msg.subject, msg.data)

        await self._client.subscribe(subject, cb=on_message)

    # --- request and reply ---------------------------------------------------------------------

    async def answer(
        self,
        request_type: type[MessageT],
        handle: Callable[[MessageT], Awaitable[Message]],
    ) -> None:
        async def on_request(msg: Msg) -> None:
            try:
                request = decode_message(msg.subject, msg.data)
            except UndecodableError as error:
                log.error("a request that does not decode was left unanswered: %s", error)
                return
            if isinstance(request, request_type) and msg.reply:
                reply = await handle(request)
                with contextlib.suppress(*TRANSIENT):
                    await msg.respond(msgspec.json.encode(reply))

        await self._client.subscribe(request_type.SUBJECT, cb=on_request)

    async def request(
        self, message: Message, reply_type: type[MessageT], *, timeout_seconds: float
    ) -> MessageT:
        """Raises BusError when nobody answers in time."""
        try:
            msg = await self._client.request(
                message.subject, msgspec.json.encode(message), timeout=timeout_seconds
            )
        except nats.errors.NoRespondersError as error:
            raise BusError(
                f"nobody listens on {message.subject}; `alpaclaudia status` tells what runs"
            ) from error
        except TRANSIENT as error:
            raise self.failure(f"no answer to {message.subject} in time") from error
        try:
            return msgspec.json.decode(msg.data, type=reply_type)
        except msgspec.DecodeError as error:
            raise BusError(f"the answer to {message.subject} does not decode: {error}") from error
