"""What carrying out and following orders have in common: writing a row, and saying so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from libs.common.bus import Batch, BusError, Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import Severity
from libs.common.database import DatabaseError, UnstorableError
from libs.common.runtime import Context, utc_now
from services.executor.lifecycle import OrderState
from services.executor.orders import OrderChange, OrderRow, order_changed
from services.executor.store import ExecutorStore

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0

T = TypeVar("T")


class Bookkeeper:
    def __init__(self, context: Context, store: ExecutorStore) -> None:
        self._context = context
        self._store = store
        self._complained: set[tuple[str, int]] = set()
        context.begin("orders", "state", OrderState)

    async def patiently(self, call: Callable[[], T], delivery: Delivery | Batch | None = None) -> T:
        """The store's answer, however long the database is away; the message waits with us.

        Raises UndecodableError for what the database will never take: it is set aside as poison.
        """
        warned = False
        while True:
            try:
                return await asyncio.to_thread(call)
            except UnstorableError as error:
                raise UndecodableError(str(error)) from error
            except DatabaseError as error:
                if not warned:
                    await self._context.alert(Severity.ERROR, "database", str(error))
                    warned = True
                if delivery is not None:
                    await delivery.extend()
                await asyncio.sleep(PATIENCE_SECONDS)

    async def complain_once(self, row: OrderRow, text: str) -> None:
        """Once per order and state: the same trouble comes up in every round."""
        key = (row.client_order_id, row.revision)
        if key not in self._complained:
            self._complained.add(key)
            await self._context.alert(Severity.ERROR, "order", f"{row.client_order_id}: {text}")

    async def write(
        self, row: OrderRow, change: OrderChange, delivery: Delivery | None = None
    ) -> OrderRow:
        written = await self.patiently(lambda: self._store.change(row, change), delivery)
        self._context.count("orders", state=written.state.value)
        return written

    async def publish(self, row: OrderRow) -> None:
        """Publishes what the row says and notes that it did. A bus that is away is no harm: the
        row stays unpublished and the next round says it again under the same id.
        """
        if row.published_revision >= row.revision:
            return
        try:
            await self._context.bus.publish(order_changed(row, utc_now()))
        except BusError as error:
            log.warning("%s: it is published later", error)
            return
        await self.patiently(lambda: self._store.mark_published(row))
