"""The broker's account activities, brought to the ledger and to the bus, each once."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial

from libs.common.runtime import Context, utc_now
from services.executor.alpaca import OrderDesk
from services.executor.bookkeeping import Bookkeeper
from services.executor.ledger import entry_of
from services.executor.store import ExecutorStore

LEDGER_DAYS_BACK = 4


class Settling:
    def __init__(
        self, context: Context, store: ExecutorStore, broker: OrderDesk, books: Bookkeeper
    ) -> None:
        self._context = context
        self._store = store
        self._broker = broker
        self._books = books

    async def read(self) -> None:
        """Activities are read from some days before the last one known, or before today if that
        is earlier: rows may come late, and each is entered once, by its id.

        Raises BrokerError, WireError, BusError.
        """
        last = await self._books.patiently(self._store.last_ledger_date)
        today = self._context.market_time().date()
        activities = await asyncio.to_thread(
            self._broker.activities_after,
            min(last, today) - dt.timedelta(days=LEDGER_DAYS_BACK) if last else None,
        )
        for activity in activities:
            entry = entry_of(activity, utc_now())
            if entry is None:
                continue
            ts = self._context.market_time()
            if await self._books.patiently(partial(self._store.enter, entry, ts)):
                self._context.count("ledger", event=entry.event.value)

    async def publish(self) -> None:
        """Raises BusError: what was not published is published by the next round."""
        for entry in await self._books.patiently(self._store.unpublished_entries):
            await self._context.bus.publish(entry)
            await self._books.patiently(
                partial(self._store.mark_entry_published, entry.activity_id)
            )
