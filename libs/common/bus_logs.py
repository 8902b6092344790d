"""Streams as logs: append after what is known, read on from there. One half of the door to NATS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api

from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import Message, subject_filter
from libs.common.topology import STREAMS, Consumer

log = logging.getLogger(__name__)

_FETCH_SECONDS = 1.0
_TRANSIENT = (nats.errors.Error, TimeoutError, OSError)
_RETRY_SECONDS = 0.2
_WRONG_LAST_SEQUENCE = (10071, 10164)


class BusError(Exception):
    """The bus did not do what was asked in the time given."""


class SequenceConflictError(BusError):
    """Somebody else wrote to the subjects meanwhile, so nothing was written."""


class Replayed(msgspec.Struct, frozen=True):
    """How many messages a replay read, and the stream sequence of the last; 0 for none."""

    count: int
    last_sequence: int


class Stored(msgspec.Struct, frozen=True):
    sequence: int
    payload: bytes


def ack_subject(consumer: Consumer, info: api.ConsumerInfo) -> str:
    """Where the answer to the newest delivery of a consumer goes: the reply subject that the
    server gave with it (`$JS.ACK.stream.consumer.deliveries.stream seq.consumer seq.time.left`),
    of which it reads the two sequences.
    """
    at, newest = f"{consumer.stream}.{consumer.name}", info.delivered
    if newest is None:
        raise BusError(f"nothing was ever delivered from {at}")
    return f"$JS.ACK.{at}.1.{newest.stream_seq}.{newest.consumer_seq}.0.0"


async def append(
    js: JetStreamContext,
    message: Message,
    pattern: str,
    after: int,
    *,
    patience_seconds: float = 5.0,
) -> int:
    """Stores the message only if `after` is the last sequence among the subjects of
    `pattern` (0: there is none); returns its own. Raises SequenceConflictError, BusError.

    The server looks at the sequence before it looks for repeats, so a message whose answer
    went missing is found again by its bytes.
    """
    payload = msgspec.json.encode(message)
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(after),
        "Nats-Expected-Last-Subject-Sequence-Subject": pattern,
    }
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            ack = await js.publish(message.subject, payload, timeout=2, headers=headers)
            return ack.seq
        except nats.js.errors.APIError as error:
            if error.err_code not in _WRONG_LAST_SEQUENCE:
                raise BusError(f"publishing {message.subject} failed: {error}") from error
            return await _found_last(js, message, pattern, payload, after)
        except _TRANSIENT as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise BusError(f"publishing {message.subject} failed: {error!r}") from error
            await asyncio.sleep(_RETRY_SECONDS)


async def _found_last(
    js: JetStreamContext, message: Message, pattern: str, payload: bytes, after: int
) -> int:
    since = await read_after(js, _stream_of(message), pattern, after)
    if not since or since[-1].payload != payload:
        place = since[-1].sequence if since else after
        raise SequenceConflictError(f"another writer of {pattern} is at {place}")
    return since[-1].sequence


async def replay(
    js: JetStreamContext,
    subscription: JetStreamContext.PullSubscription,
    consumer: Consumer,
    handle: Callable[[Message], None],
) -> Replayed:
    """Every message of a consumer, from its first to its last. Raises BusError, also when some
    that were there did not arrive: what was sent and lost is not sent a second time.
    """
    count = last_sequence = 0
    try:
        await js.reset_consumer(consumer.stream, consumer.name, seq=1)
        expected = pending = (await subscription.consumer_info()).num_pending or 0
        while pending:
            for msg in await subscription.fetch(100, timeout=_FETCH_SECONDS):
                count += 1
                last_sequence = int(msg.metadata.sequence.stream)
                try:
                    handle(decode_message(msg.subject, msg.data))
                except UndecodableError as error:
                    log.error("left out of the replay: %s", error)
            pending = (await subscription.consumer_info()).num_pending or 0
        reached = (await subscription.consumer_info()).delivered
    except _TRANSIENT as error:
        raise BusError(f"replaying {consumer.stream} failed: {error!r}") from error
    is_behind = reached is not None and count and reached.stream_seq != last_sequence
    if is_behind or count < expected:
        raise BusError(f"replaying {consumer.stream} lost what it was sent")
    return Replayed(count, last_sequence)


async def delivered(js: JetStreamContext, consumer: Consumer) -> int:
    """The stream sequence of the last message sent to a consumer. Raises BusError."""
    try:
        info = await js.consumer_info(consumer.stream, consumer.name)
    except _TRANSIENT as error:
        raise BusError(f"asking after {consumer.stream} failed: {error!r}") from error
    return (info.delivered.stream_seq or 0) if info.delivered else 0


async def backlog(js: JetStreamContext, consumer: Consumer) -> tuple[int, int]:
    """How many messages a consumer has yet to deliver, and how many it waits to see acknowledged.
    Raises BusError.
    """
    try:
        info = await js.consumer_info(consumer.stream, consumer.name)
    except _TRANSIENT as error:
        raise BusError(f"asking after {consumer.stream} failed: {error!r}") from error
    return info.num_pending or 0, info.num_ack_pending or 0


async def read_after(js: JetStreamContext, stream: str, subject: str, after: int) -> list[Stored]:
    """The messages of a subject beyond a sequence, oldest first. Raises BusError."""
    found: list[Stored] = []
    while True:
        try:
            raw = await js.get_msg(stream, seq=after + 1, subject=subject, next=True, direct=True)
        except nats.js.errors.NotFoundError:
            return found
        except _TRANSIENT as error:
            raise BusError(f"reading {subject} failed: {error!r}") from error
        after = int(raw.seq or after + 1)
        found.append(Stored(after, raw.data or b""))


async def last_payload(js: JetStreamContext, stream: str, subject: str) -> bytes | None:
    """The bytes of a subject's newest message, or None. Raises BusError."""
    try:
        raw = await js.get_msg(stream, subject=subject, direct=True)
    except nats.js.errors.NotFoundError:
        return None
    except _TRANSIENT as error:
        raise BusError(f"reading {subject} failed: {error!r}") from error
    return raw.data or b""


def _stream_of(message: Message) -> str:
    wanted = subject_filter(type(message))
    return next(stream.name for stream in STREAMS if wanted in stream.subjects)
