"""Following orders to their end: looking at the broker, resolving doubt, calling back."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from libs.common.broker import BrokerError, BrokerRefusedError
from libs.common.contracts import TradingState
from libs.common.database import DatabaseError
from libs.common.runtime import Context, utc_now
from libs.common.trading_state import Standing
from libs.common.wire import WireError, WireOrder
from services.executor.alpaca import OrderDesk
from services.executor.bookkeeping import Bookkeeper
from services.executor.clearing import to_cancel
from services.executor.desk import Desk
from services.executor.lifecycle import IN_DOUBT, IllegalTransitionError, OrderState
from services.executor.orders import OrderChange, OrderRow
from services.executor.replacing import Replaced, what_became
from services.executor.resting import to_let_go
from services.executor.store import ExecutorStore, StaleRowError
from services.executor.submit import Step, change_from, is_news, mismatch, step_when_not_found
from services.executor.updates import leads_on

log = logging.getLogger(__name__)


def _nobody(_client_order_id: str) -> None:
    """Told by default."""


TOO_MANY = 429
CANCEL_AGAIN_SECONDS = 5.0
MANY = 20
"""More orders than that which are not at work any more are looked for in lists before singly."""
AT_ONCE = 6
"""Rows that are written at the same time: their commits share the disk's syncs."""
STALE_MARGIN = dt.timedelta(seconds=60)


async def each(rows: Iterable[OrderRow], work: Callable[[OrderRow], Awaitable[None]]) -> None:
    """Some at a time, whatever becomes of the others; raises the first error afterwards."""
    waiting = iter(rows)

    async def worker() -> None:
        for row in waiting:
            await work(row)

    workers = (worker() for _ in range(AT_ONCE))
    for outcome in await asyncio.gather(*workers, return_exceptions=True):
        if outcome is not None:
            raise outcome


class Following:
    def __init__(
        self,
        context: Context,
        store: ExecutorStore,
        broker: OrderDesk | None,
        books: Bookkeeper,
        desk: Desk,
    ) -> None:
        """`broker` is None in dry mode, as for the desk."""
        self._context = context
        self._settings = context.settings
        self._store = store
        self._broker = broker
        self._books = books
        self._desk = desk
        self._looking = asyncio.Lock()
        self._canceled: dict[str, float] = {}
        """When the cancels of broker's ids were asked for, by a monotonic clock."""
        self.wake = desk.wake
        self.polled_news: Callable[[str], None] = _nobody
        """Told the client_order_id of whatever looking found out before the stream did."""
        self._sure_at = time.monotonic()
        """When the trading state was last known."""
        self.in_doubt = False
        """Whether the last look left an order whose answer is not known."""

    async def hear(self, order: WireOrder) -> None:
        """An order that the stream told of. A hint: what is later than our row is taken over as
        if it had been looked up; anything else is left, and an order that is being carried out
        is looked at when its answer has been written.
        """
        order_id = order.client_order_id
        if order_id in self._desk.busy:
            self._desk.told.add(order_id)
            return
        row = await self._books.patiently(partial(self._store.row, order_id))
        if row is None:
            self._context.count("stream_unknown_orders")
            return
        if not leads_on(row, order):
            self._context.count("stream_repeats")
            return
        try:
            await self._take_over(row, order)
        except StaleRowError:
            self.wake.set()

    async def recover(self) -> None:
        """At the start: every row in doubt is resolved and every fact published before anything
        new is taken. Rows that never got as far as `submitting` wait for their message.
        """
        await each(await self._books.patiently(self._store.unpublished_rows), self._books.publish)
        rows = await self._books.patiently(self._store.open_rows)
        submitting = [row for row in rows if row.state is OrderState.SUBMITTING]
        if submitting:
            await self._doubt(submitting)
        await self.follow()

    async def _doubt(self, submitting: list[OrderRow]) -> None:
        """What the broker shows at work has arrived; of all else nobody knows yet."""
        shown: dict[str, WireOrder] = {}
        if self._broker is not None:
            found = await asyncio.to_thread(self._broker.open_orders)
            shown = {order.client_order_id: order for order in found}

        async def settle(row: OrderRow) -> None:
            order = shown.get(row.client_order_id)
            if order is not None and await self._take_over(row, order):
                return
            now = utc_now()
            change = OrderChange(
                state=OrderState.UNKNOWN, ts=now, doubt_since=now, note="found at the start"
            )
            await self._books.publish(await self._books.write(row, change))

        await each(submitting, settle)

    async def follow(self) -> None:
        """One look at everything open: say what was not said, end what was never begun, resolve
        what is in doubt, take over what is new.
        """
        async with self._looking:
            await self._follow()

    async def _follow(self) -> None:
        for row in await self._books.patiently(self._store.unpublished_rows):
            if row.client_order_id not in self._desk.busy:
                await self._books.publish(row)
        rows = [
            row
            for row in await self._books.patiently(self._store.open_rows)
            if row.client_order_id not in self._desk.busy
        ]
        for row in rows:
            if row.state is OrderState.APPROVED:
                with contextlib.suppress(StaleRowError):  # its message came after all
                    await self._end_if_stale(row)
        sent = [row for row in rows if row.state is not OrderState.APPROVED]
        self.in_doubt = any(row.state in IN_DOUBT for row in sent)
        if sent and self._broker is not None:
            await self._look_at_the_broker(sent, self._broker)
            await self._let_go(sent, self._broker)
        self._desk.told &= self._desk.busy

    async def call_back(self, standing: Standing) -> None:
        """Cancels what the trading state calls back. Raises BrokerError when all were asked and
        one could not be.
        """
        broker, cut_off = self._broker, self._cut_off(standing)
        told = standing.worst_known is TradingState.HALTED
        if broker is None or not (cut_off or told if standing.problem else standing.in_force):
            return
        try:
            rows = await asyncio.to_thread(self._store.open_rows)
        except DatabaseError:  # when it is back, the state is another
            return
        on_halt = self._settings.executor.cancel_entries_on_halt
        called_back = to_cancel(rows, standing, entries_on_halt=on_halt, cut_off=cut_off)
        await self._cancel_all(called_back, broker, "called_back")

    def _cut_off(self, standing: Standing) -> bool:
        """Whether for CANCEL_ON_DISCONNECT_SECONDS nobody could have told us to stop."""
        now = time.monotonic()
        if not standing.problem:
            self._sure_at = now
        patience = self._settings.executor.cancel_on_disconnect_seconds
        return patience > 0 and now - self._sure_at >= patience

    async def _let_go(self, rows: list[OrderRow], broker: OrderDesk) -> None:
        """Cancels what has rested long enough."""
        rested = to_let_go(
            rows,
            now=self._context.market_now,
            market_open=self._context.market_open,
            rest_minutes=self._settings.executor.entry_rest_minutes,
        )
        await self._cancel_all(rested, broker, "let_go")

    async def _cancel_all(self, rows: list[OrderRow], broker: OrderDesk, counter: str) -> None:
        """One that cannot be asked for hides none of the others."""
        failed: BrokerError | None = None
        for row in rows:
            try:
                await self._cancel(row, broker, counter)
            except BrokerError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _cancel(self, row: OrderRow, broker: OrderDesk, counter: str) -> None:
        """Asks, and after CANCEL_AGAIN_SECONDS once more while the order still works: a refusal may
        have passed, and a cancel that was taken may have come to nothing. What became of it is
        seen as of any other order: it may have filled.
        """
        order_id, now = row.order_id or "", time.monotonic()
        if now - self._canceled.get(order_id, -CANCEL_AGAIN_SECONDS) < CANCEL_AGAIN_SECONDS:
            return
        self._canceled = {
            asked: at for asked, at in self._canceled.items() if now - at < CANCEL_AGAIN_SECONDS
        }
        try:
            await asyncio.to_thread(broker.cancel, order_id)
        except BrokerRefusedError as error:
            log.info("%s cannot be cancelled: %s", row.client_order_id, error)
            if not error.certain or error.status == TOO_MANY:
                return
        self._canceled[order_id] = now
        self._context.count(counter)

    async def _end_if_stale(self, row: OrderRow) -> None:
        """An approval whose message was given up would stay open for ever."""
        now = utc_now()
        if now < row.approval.expires_at + STALE_MARGIN:
            return
        note = "the approval expired before it was carried out"
        change = OrderChange(state=OrderState.EXPIRED, ts=now, note=note)
        await self._books.publish(await self._books.write(row, change))

    async def _look_at_the_broker(self, rows: list[OrderRow], broker: OrderDesk) -> None:
        shown = {
            order.client_order_id: order for order in await asyncio.to_thread(broker.open_orders)
        }
        missing = {row.client_order_id for row in rows} - shown.keys()
        if len(missing) > MANY:
            look = partial(broker.ended_orders, missing, len(missing) // MANY)
            shown |= {order.client_order_id: order for order in await asyncio.to_thread(look)}

        async def follow_row(row: OrderRow) -> None:
            try:
                await self._follow_row(row, shown.get(row.client_order_id), broker)
            except (BrokerRefusedError, WireError) as error:
                # One order the broker will not show must not hide the others.
                await self._books.complain_once(row, f"it cannot be followed: {error}")
            except StaleRowError as error:
                log.info("%s; the next round looks again", error)

        await each(rows, follow_row)

    async def _follow_row(self, row: OrderRow, order: WireOrder | None, broker: OrderDesk) -> None:
        if order is None and row.order_id is None:
            await self._resolve(row, broker)
            return
        if order is None and row.order_id is not None:
            order = await asyncio.to_thread(broker.by_id, row.order_id)
        if order is None or not await self._take_over(row, order):
            return
        if row.order_id is not None and row.client_order_id not in self._desk.told:
            self.polled_news(row.client_order_id)

    async def _resolve(self, row: OrderRow, broker: OrderDesk) -> None:
        order = await asyncio.to_thread(broker.by_client_order_id, row.client_order_id)
        if order is not None:
            await self._take_over(row, order)
            return
        if row.approval.account_number != self._desk.account_number:
            # Not found here says nothing: it was sent to another account, and may live there.
            await self._books.complain_once(row, f"it belongs to {row.approval.account_number}")
            return
        if row.approval.intent.replaces is not None and await self._told_by_the_old(row, broker):
            return
        now = utc_now()
        settle_seconds = self._settings.executor.settle_seconds
        match step_when_not_found(row, now, settle_seconds):
            case Step.WAIT:
                if row.broker_status is not None:
                    await self._books.complain_once(row, "the broker has it but does not show it")
            case Step.GIVE_UP:
                note = "the broker never showed it and its approval expired"
                change = OrderChange(state=OrderState.EXPIRED, ts=now, note=note)
                await self._books.publish(await self._books.write(row, change))
            case Step.SEND_AGAIN:
                sending = OrderChange(state=OrderState.SUBMITTING, ts=now, note="sent again")
                row = await self._books.write(row, sending)
                await self._books.publish(await self._desk.post(row, broker, None))

    async def _told_by_the_old(self, row: OrderRow, broker: OrderDesk) -> bool:
        """Whether the order whose place it was to take says all there is to say, or to wait."""
        replaces = row.approval.intent.replaces or ""
        target = await self._books.patiently(partial(self._store.row, replaces))
        if target is None or target.order_id is None:
            return False  # then nothing was ever asked of the broker
        old = await asyncio.to_thread(broker.by_id, target.order_id)
        if old.replaced_by is not None:
            follower = await asyncio.to_thread(broker.by_id, old.replaced_by)
            if follower.client_order_id == row.client_order_id:
                await self._take_over(row, follower)
                return True
        match what_became(old):
            case Replaced.NOT_YET:
                return False
            case Replaced.UNDER_WAY:
                return True
            case Replaced.BY_ANOTHER:
                note = "another order took the place it was to take"
            case Replaced.ENDED:
                note = f"the order it was to replace is {old.status}"
        change = OrderChange(
            state=OrderState.REJECTED, ts=utc_now(), broker_status="rejected", note=note
        )
        await self._books.publish(await self._books.write(row, change))
        return True

    async def _take_over(self, row: OrderRow, order: WireOrder) -> bool:
        """Writes the broker's order over our row, if it says anything new; whether it did."""
        if row.order_id is None:
            difference = mismatch(row, order)
            if difference is not None:
                await self._books.complain_once(row, difference)
        if not is_news(row, order):
            return False
        try:
            written = await self._books.write(row, change_from(order, utc_now()))
        except IllegalTransitionError as error:
            await self._books.complain_once(row, f"the broker calls it {order.status}, but {error}")
            return False
        await self._books.publish(written)
        return True
