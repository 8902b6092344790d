"""Messages as a handler is given them, to be acknowledged. One part of the door to NATS."""

from __future__ import annotations

import contextlib

import nats.errors
from nats.aio.msg import Msg

from libs.common.bus_logs import BusError
from libs.common.codec import decode_message
from libs.common.contracts import Message

RETRY_SECONDS = 0.2
TRANSIENT = (nats.errors.Error, TimeoutError, OSError)
_NAK_SECONDS_MAX = 5.0


class Delivery:
    """One message pulled from a consumer, to be acknowledged once its effects are stored."""

    def __init__(self, msg: Msg) -> None:
        self._msg = msg
        self.subject = msg.subject
        self.payload = msg.data
        self.attempt = int(msg.metadata.num_delivered or 1)
        self.sequence = int(msg.metadata.sequence.stream)

    def decode(self) -> Message:
        return decode_message(self.subject, self.payload)

    async def ack(self) -> None:
        """Raises BusError when the server did not confirm; the message will come again."""
        try:
            await self._msg.ack_sync(timeout=2)
        except nats.errors.MsgAlreadyAckdError:
            return
        except TRANSIENT as error:
            raise BusError(f"acknowledging {self.subject} failed: {error!r}") from error

    async def ack_unconfirmed(self) -> None:
        """For one of many: without a round trip, and without knowing."""
        with contextlib.suppress(nats.errors.MsgAlreadyAckdError, *TRANSIENT):
            await self._msg.ack()

    async def again(self) -> None:
        """It comes again after a pause that grows with each attempt."""
        delay_seconds = min(RETRY_SECONDS * self.attempt, _NAK_SECONDS_MAX)
        with contextlib.suppress(*TRANSIENT):
            await self._msg.nak(delay=delay_seconds)

    async def extend(self) -> None:
        """Still working on it: the acknowledgement wait starts anew."""
        with contextlib.suppress(*TRANSIENT):
            await self._msg.in_progress()

    async def terminate(self) -> None:
        """Never deliver this again; the server's advisory keeps it as a dead letter."""
        with contextlib.suppress(*TRANSIENT):
            await self._msg.term()


class Batch:
    """Messages of one consumer that are handled together, in their order."""

    def __init__(self, deliveries: list[Delivery]) -> None:
        self.deliveries = deliveries

    async def extend(self) -> None:
        for delivery in self.deliveries:
            await delivery.extend()

    async def again(self) -> None:
        for delivery in self.deliveries:
            await delivery.again()

    async def ack(self) -> None:
        """Raises BusError when the server did not confirm the last; what it did not hear comes
        again.
        """
        if self.deliveries:
            *others, last = self.deliveries
            for delivery in others:
                await delivery.ack_unconfirmed()
            await last.ack()
