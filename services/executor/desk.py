"""Carrying out approvals and following orders to their end: the executor's shell around money.

The order of things is the guarantee. The row is committed before the POST; the row is committed
again before the message is acknowledged; what is in doubt is resolved by asking, never by hoping.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable
from typing import TypeVar

from libs.common.broker import BrokerError, BrokerRefusedError
from libs.common.bus import BusError, Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import BotMode, IntentApproved, Severity
from libs.common.database import DatabaseError, UnstorableError
from libs.common.order_ids import client_order_id
from libs.common.promises import BrokenPromiseError
from libs.common.risk_config import risk_config_version
from libs.common.runtime import Context, utc_now
from libs.common.signing import verify
from libs.common.trading_state import Standing, permits
from libs.common.wire import WireError, WireOrder
from services.executor.alpaca import ApprovalExpiredError, OrderDesk
from services.executor.clearing import to_cancel
from services.executor.lifecycle import IllegalTransitionError, OrderState
from services.executor.orders import OrderChange, OrderRow, order_changed
from services.executor.store import ExecutorStore, StaleRowError
from services.executor.submit import (
    Refusal,
    Step,
    Verdict,
    change_from,
    is_news,
    mismatch,
    refusal_of_approval,
    refusal_of_order,
    step_when_not_found,
    verdict_of,
)
from services.executor.trading import TradingDoor

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
STALE_MARGIN = dt.timedelta(seconds=60)

T = TypeVar("T")


class Desk:
    def __init__(
        self,
        context: Context,
        store: ExecutorStore,
        broker: OrderDesk | None,
        trading: TradingDoor,
    ) -> None:
        """`broker` is None in dry mode: nothing here can reach the network then."""
        self._trading = trading
        self._context = context
        self._settings = context.settings
        self._store = store
        self._broker = broker
        self.account_number: str | None = None
        self._risk_config_version = risk_config_version(context.settings.risk)
        self._canceled: set[str] = set()
        """Broker's ids of orders that were called back."""
        self._busy: set[str] = set()
        """client_order_ids being carried out, which following leaves alone."""
        self._complained: set[tuple[str, int]] = set()

    async def patiently(self, call: Callable[[], T], delivery: Delivery | None = None) -> T:
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

    async def handle(self, delivery: Delivery) -> None:
        """One approval, from the bus to a row that says what became of it."""
        message = delivery.decode()
        if not isinstance(message, IntentApproved):
            raise UndecodableError(f"{delivery.subject}: not an approval")
        if not verify(self._settings.executor.verify_key or "", message):
            # No row is claimed: the genuine approval of this intent may still come.
            await self._alert_approval(message, "the approval's signature is not risk's")
            await delivery.terminate()
            return
        order_id = client_order_id(message.account_number, message.intent.message_id)
        self._busy.add(order_id)
        try:
            row = await self.patiently(lambda: self._store.begin(message, order_id), delivery)
            if row.approval.signature != message.signature:
                await self._alert_approval(message, "another approval holds this intent's id")
            elif row.state is OrderState.APPROVED:
                row = await self._carry_out(row, message, delivery)
            await self.publish(row)
            await delivery.ack()
        finally:
            self._busy.discard(order_id)

    async def _carry_out(
        self, row: OrderRow, approval: IntentApproved, delivery: Delivery
    ) -> OrderRow:
        """`approval` is what the bus delivered now, not what a row remembers of it."""
        broker = self._broker
        is_dry = self._settings.bot.mode is BotMode.DRY or broker is None
        refusal = self._refusal_of(approval)
        if refusal is None and is_dry:
            refusal = await self._door(approval, delivery)
        if refusal is not None:
            change = OrderChange(state=refusal.state, ts=utc_now(), note=refusal.reason)
            await self._alert_approval(approval, refusal.reason)
            return await self._write(row, change, delivery)
        if is_dry or broker is None:
            note = "dry mode: nothing was sent"
            dry = OrderChange(state=OrderState.DRY_RUN, ts=approval.intent.as_of, note=note)
            return await self._write(row, dry, delivery)
        row = await self._write(
            row, OrderChange(state=OrderState.SUBMITTING, ts=approval.intent.as_of), delivery
        )
        return await self._post(row, broker, delivery)

    async def _alert_approval(self, approval: IntentApproved, why: str) -> None:
        await self._context.alert(Severity.ERROR, "approval", f"{approval.intent.symbol}: {why}")

    def _refusal_of(self, approval: IntentApproved) -> Refusal | None:
        settings = self._settings
        return refusal_of_approval(
            approval,
            verify_key=settings.executor.verify_key or "",
            account_number=self.account_number,
            alpaca_env=settings.alpaca.env,
            now=utc_now(),
        ) or refusal_of_order(
            approval,
            settings.executor,
            settings.executor.risk_config_versions | {self._risk_config_version},
        )

    async def _door(self, approval: IntentApproved, delivery: Delivery | None) -> Refusal | None:
        """The last look before an order leaves: the approval, our caps, and the trading state as
        both logs have it now. Not knowing it means waiting, until the approval ends.
        """
        while True:
            standing = await self._trading.standing()
            refusal = self._refusal_of(approval)
            if refusal is not None:
                return refusal
            if not standing.problem:
                break
            log.warning("an order waits: %s", standing.words)
            if delivery is not None:
                await delivery.extend()
            await asyncio.sleep(PATIENCE_SECONDS)
        if permits(standing, approval.intent):
            return None
        return Refusal(OrderState.ERROR, f"not sent: trading is {standing.words}")

    async def _post(self, row: OrderRow, broker: OrderDesk, delivery: Delivery | None) -> OrderRow:
        """Sends a row that is `submitting`, once, and writes what is known afterwards."""
        approval = row.approval
        resent = delivery is None
        await asyncio.to_thread(broker.wait_for_room)
        # What is sent is what is verified here: the row's own approval, for this account, now.
        refusal = await self._door(approval, delivery)
        if refusal is not None:
            return await self._not_sent(row, refusal, delivery, resent=resent)
        try:
            order = await asyncio.to_thread(
                broker.submit, approval.intent, row.client_order_id, approval.expires_at
            )
        except ApprovalExpiredError:
            expired = Refusal(OrderState.EXPIRED, "the approval expired before it could be sent")
            return await self._not_sent(row, expired, delivery, resent=resent)
        except (BrokerError, WireError, ValueError) as error:
            return await self._after_failed_post(row, error, delivery, resent=resent)
        self._context.count("submitted")
        return await self._write(row, change_from(order, utc_now()), delivery)

    async def _not_sent(
        self, row: OrderRow, refusal: Refusal, delivery: Delivery | None, *, resent: bool
    ) -> OrderRow:
        """A first POST that was not made ends the order; a second one leaves the doubt about the
        first as it was.
        """
        await self._complain_once(row, refusal.reason)
        state = OrderState.UNKNOWN if resent else OrderState.EXPIRED
        change = OrderChange(
            state=state,
            ts=utc_now(),
            doubt_since=utc_now() if resent else None,
            note=refusal.reason,
        )
        return await self._write(row, change, delivery)

    async def _after_failed_post(
        self,
        row: OrderRow,
        error: BrokerError | ValueError,
        delivery: Delivery | None,
        *,
        resent: bool,
    ) -> OrderRow:
        """A refusal of a second POST says nothing about the first, which may have arrived."""
        verdict = verdict_of(error)
        if resent and verdict is Verdict.REJECTED:
            verdict = Verdict.UNKNOWN
        text = str(error)
        if verdict is Verdict.REJECTED:
            await self._context.alert(
                Severity.ERROR, "rejected", f"{row.approval.intent.symbol}: {text}"
            )
            change = OrderChange(
                state=OrderState.REJECTED, ts=utc_now(), broker_status="rejected", note=text
            )
            row = await self._write(row, change, delivery)
            if isinstance(error, BrokerRefusedError) and error.status == 401:
                await self.publish(row)
                raise BrokenPromiseError(f"Alpaca refuses the keys ({text})")
            return row
        if verdict is not Verdict.EXISTS:
            await self._context.alert(
                Severity.WARNING, "doubt", f"{row.approval.intent.symbol}: {text}; asking again"
            )
        now = utc_now()
        return await self._write(
            row,
            OrderChange(
                state=OrderState.UNKNOWN,
                ts=now,
                doubt_since=now,
                broker_status="pending_new" if verdict is Verdict.EXISTS else None,
                note=text,
            ),
            delivery,
        )

    # --- following -----------------------------------------------------------------------------

    async def recover(self) -> None:
        """At the start: every row in doubt is resolved and every fact published before anything
        new is taken. Rows that never got as far as `submitting` wait for their message.
        """
        for row in await self.patiently(self._store.unpublished_rows):
            await self.publish(row)
        for row in await self.patiently(self._store.open_rows):
            if row.state is OrderState.SUBMITTING:
                now = utc_now()
                change = OrderChange(
                    state=OrderState.UNKNOWN, ts=now, doubt_since=now, note="found at the start"
                )
                await self.publish(await self._write(row, change))
        await self.follow()

    async def follow(self) -> None:
        """One look at everything open: say what was not said, end what was never begun, resolve
        what is in doubt, take over what is new.
        """
        for row in await self.patiently(self._store.unpublished_rows):
            if row.client_order_id not in self._busy:
                await self.publish(row)
        rows = [
            row
            for row in await self.patiently(self._store.open_rows)
            if row.client_order_id not in self._busy
        ]
        for row in rows:
            if row.state is OrderState.APPROVED:
                with contextlib.suppress(StaleRowError):  # its message came after all
                    await self._end_if_stale(row)
        sent = [row for row in rows if row.state is not OrderState.APPROVED]
        if sent and self._broker is not None:
            await self._look_at_the_broker(sent, self._broker)

    async def call_back(self, standing: Standing) -> None:
        """Cancels what the trading state calls back, once each."""
        broker = self._broker
        if broker is None or not (standing.in_force and not standing.problem):
            return
        on_halt = self._settings.executor.cancel_entries_on_halt
        rows = await self.patiently(self._store.open_rows)
        for row in to_cancel(rows, standing, entries_on_halt=on_halt):
            order_id = row.order_id or ""
            if order_id in self._canceled:
                continue
            try:
                await asyncio.to_thread(broker.cancel, order_id)
            except BrokerRefusedError as error:
                log.info("%s cannot be cancelled: %s", row.client_order_id, error)
                if not error.certain:
                    continue
            self._canceled.add(order_id)
            self._context.count("called_back")

    async def _end_if_stale(self, row: OrderRow) -> None:
        """An approval whose message was given up would stay open for ever."""
        now = utc_now()
        if now < row.approval.expires_at + STALE_MARGIN:
            return
        note = "the approval expired before it was carried out"
        change = OrderChange(state=OrderState.EXPIRED, ts=now, note=note)
        await self.publish(await self._write(row, change))

    async def _look_at_the_broker(self, rows: list[OrderRow], broker: OrderDesk) -> None:
        shown = {
            order.client_order_id: order for order in await asyncio.to_thread(broker.open_orders)
        }
        for row in rows:
            try:
                await self._follow_row(row, shown.get(row.client_order_id), broker)
            except (BrokerRefusedError, WireError) as error:
                # One order the broker will not show must not hide the others.
                await self._complain_once(row, f"it cannot be followed: {error}")
            except StaleRowError as error:
                log.info("%s; the next round looks again", error)

    async def _follow_row(self, row: OrderRow, order: WireOrder | None, broker: OrderDesk) -> None:
        if order is None and row.order_id is None:
            await self._resolve(row, broker)
            return
        if order is None and row.order_id is not None:
            order = await asyncio.to_thread(broker.by_id, row.order_id)
        if order is not None:
            await self._take_over(row, order)

    async def _complain_once(self, row: OrderRow, text: str) -> None:
        """Once per order and state: the same trouble comes up in every round."""
        key = (row.client_order_id, row.revision)
        if key not in self._complained:
            self._complained.add(key)
            await self._context.alert(Severity.ERROR, "order", f"{row.client_order_id}: {text}")

    async def _resolve(self, row: OrderRow, broker: OrderDesk) -> None:
        order = await asyncio.to_thread(broker.by_client_order_id, row.client_order_id)
        if order is not None:
            await self._take_over(row, order)
            return
        if row.approval.account_number != self.account_number:
            # Not found here says nothing: it was sent to another account, and may live there.
            await self._complain_once(row, f"it belongs to {row.approval.account_number}")
            return
        now = utc_now()
        settle_seconds = self._settings.executor.settle_seconds
        match step_when_not_found(row, now, settle_seconds):
            case Step.WAIT:
                if row.broker_status is not None:
                    await self._complain_once(row, "the broker has it but does not show it")
            case Step.GIVE_UP:
                note = "the broker never showed it and its approval expired"
                change = OrderChange(state=OrderState.EXPIRED, ts=now, note=note)
                await self.publish(await self._write(row, change))
            case Step.SEND_AGAIN:
                sending = OrderChange(state=OrderState.SUBMITTING, ts=now, note="sent again")
                row = await self._write(row, sending)
                await self.publish(await self._post(row, broker, None))

    async def _take_over(self, row: OrderRow, order: WireOrder) -> None:
        """Writes the broker's order over our row, if it says anything new."""
        if row.order_id is None:
            difference = mismatch(row, order)
            if difference is not None:
                await self._complain_once(row, difference)
        if not is_news(row, order):
            return
        try:
            written = await self._write(row, change_from(order, utc_now()))
        except IllegalTransitionError as error:
            await self._complain_once(row, f"the broker calls it {order.status}, but {error}")
            return
        await self.publish(written)

    async def _write(
        self, row: OrderRow, change: OrderChange, delivery: Delivery | None = None
    ) -> OrderRow:
        written = await self.patiently(lambda: self._store.change(row, change), delivery)
        self._context.count(f"orders_{written.state.value}")
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
