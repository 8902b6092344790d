"""Writes what passes on the bus to Postgres: ticks, plans, decisions, portfolios, alerts."""

from __future__ import annotations

import asyncio

import msgspec

from libs.common.bus import Batch, Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import IntentApproved, Message, Severity
from libs.common.runtime import Context
from libs.common.signing import verify
from libs.common.topology import RECORDERS, Consumer
from services.executor.bookkeeping import Bookkeeper
from services.executor.record_store import RecordStore

Read = tuple[Delivery, Message]
PART_BYTES_MAX = 4 * 1024 * 1024
_SUPERSEDED = "Unacknowledged message was deleted"
"""The server's words when a newer snapshot replaced one still under way: no loss, no letter."""


class Recorder:
    def __init__(self, context: Context, store: RecordStore, books: Bookkeeper) -> None:
        self._context = context
        self._store = store
        self._books = books

    async def run(self) -> None:
        """Until cancelled, one consumer each, so that a slow one holds up no other."""
        async with asyncio.TaskGroup() as group:
            for consumer in RECORDERS:
                group.create_task(self._consume(consumer))

    async def _consume(self, consumer: Consumer) -> None:
        bus = self._context.bus
        if consumer.stream == "DEADLETTERS":
            await bus.consume(consumer, self._dead_letter, on_poison=self._poison)
        else:
            await bus.consume_batches(consumer, self._record, on_poison=self._poison)

    async def _record(self, batch: Batch) -> None:
        """In parts, so that one transaction does not grow with the size of what it is given."""
        part: list[Read] = []
        size = 0
        for delivery in batch.deliveries:
            part.append((delivery, self._readable(delivery)))
            size += len(delivery.payload)
            if size > PART_BYTES_MAX:
                await self._write(part)
                part, size = [], 0
        if part:
            await self._write(part)

    def _readable(self, delivery: Delivery) -> Message:
        message = delivery.decode()
        key = self._context.settings.executor.verify_key or ""
        if isinstance(message, IntentApproved) and not verify(key, message):
            # Written as a decision it would take the genuine one's place.
            raise UndecodableError(f"{delivery.subject}: the signature is not risk's")
        return message

    async def _write(self, part: list[Read]) -> None:
        """One transaction, and acknowledged after it."""
        batch = Batch([delivery for delivery, _ in part])
        messages = [message for _, message in part]
        now = self._context.market_time()
        await self._books.patiently(lambda: self._store.record_all(messages, now), batch)
        self._context.count("recorded", len(part))
        await batch.ack()

    async def _poison(self, delivery: Delivery) -> None:
        await self._context.alert(
            Severity.ERROR, "poison", f"{delivery.subject}: {delivery.payload[:200]!r}"
        )

    async def _dead_letter(self, delivery: Delivery) -> None:
        """The server's advisory that a message was given up."""
        try:
            advisory = msgspec.json.decode(delivery.payload)
        except msgspec.DecodeError:
            advisory = {"raw": repr(delivery.payload[:200])}
        if isinstance(advisory, dict) and advisory.get("reason") == _SUPERSEDED:
            await delivery.ack()
            return
        text = f"a message was given up: {advisory}"
        message_id = f"dead-{delivery.sequence}"
        await self._books.patiently(
            lambda: self._store.record_dead_letter(
                delivery.subject, advisory, message_id, self._context.market_time()
            ),
            delivery,
        )
        await self._context.alert(Severity.ERROR, "dead_letter", text[:500])
        await delivery.ack()
