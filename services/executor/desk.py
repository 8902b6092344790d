"""Carrying out approvals: the executor's shell around money.

The order of things is the guarantee. The row is committed before the POST; the row is committed
again before the message is acknowledged; what is in doubt is resolved by asking, never by hoping.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import msgspec

from libs.common.broker import BrokerError, BrokerRefusedError
from libs.common.bus import Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import (
    BotMode,
    IntentApproved,
    OrderIntended,
    Severity,
    TradingStateSet,
)
from libs.common.database import DatabaseError
from libs.common.order_ids import client_order_id
from libs.common.promises import BrokenPromiseError
from libs.common.risk_config import risk_config_version
from libs.common.runtime import Context, utc_now
from libs.common.signing import Verified
from libs.common.trading_state import lowers_risk, permits, standing_of
from libs.common.wire import WireError, WireOrder
from services.executor.alpaca import ApprovalExpiredError, ClocksApartError, OrderDesk
from services.executor.bookkeeping import PATIENCE_SECONDS, Bookkeeper
from services.executor.lifecycle import FINAL, IN_DOUBT, OrderState, state_of
from services.executor.orders import OrderChange, OrderRow
from services.executor.replacing import refusal_of_target
from services.executor.resting import UNDER_WAY
from services.executor.store import EntriesStoppedError, ExecutorStore
from services.executor.submit import (
    Refusal,
    Verdict,
    change_from,
    refusal_of_approval,
    refusal_of_order,
    verdict_of,
)
from services.executor.trading import TradingDoor

log = logging.getLogger(__name__)

RECONCILED_SECONDS_MIN, READS_MISSED_MAX = 30.0, 3
"""Entries stop when so many reads of the account failed in a row, and not before so long."""


class NotSentError(Exception):
    """An order that the door or the last look held back; nothing left."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class UnsureError(Exception):
    """Nobody knows whether trading is halted: the order waits until its approval ends."""


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """An order's row, and what is to be done about it: `sends` when this approval was the first
    and made it `submitting`, else, while it is `approved`, why not (None: dry mode).
    """

    row: OrderRow
    sends: bool = False
    refusal: Refusal | None = None


class Desk:
    def __init__(
        self,
        context: Context,
        store: ExecutorStore,
        broker: OrderDesk | None,
        trading: TradingDoor,
        books: Bookkeeper,
    ) -> None:
        """`broker` is None in dry mode: nothing here can reach the network then."""
        self._trading = trading
        self._books = books
        self._context = context
        self._settings = context.settings
        self._store = store
        self._broker = broker
        self._is_dry = broker is None or context.settings.bot.mode is BotMode.DRY
        self._is_signed = Verified()
        self.account_number: str | None = None
        self.reconciled_at = time.monotonic()
        """When books and broker were last held together, by a monotonic clock."""
        self._risk_config_version = risk_config_version(context.settings.risk)
        self.busy: set[str] = set()
        """client_order_ids being carried out, which following leaves alone."""
        self.told: set[str] = set()
        """Those of which the stream told meanwhile."""
        self.wake = asyncio.Event()
        """Set when the next look at the broker should come at once."""

    async def handle(self, delivery: Delivery) -> None:
        """One approval, from the bus to a row that says what became of it."""
        message = delivery.decode()
        if not isinstance(message, IntentApproved):
            raise UndecodableError(f"{delivery.subject}: not an approval")
        if not self._is_signed(self._settings.executor.verify_key or "", message):
            # No row is claimed: the genuine approval of this intent may still come.
            await self._alert_approval(message, "the approval's signature is not risk's")
            await delivery.terminate()
            return
        order_id = client_order_id(message.account_number, message.intent.message_id)
        self.busy.add(order_id)
        try:
            begun = await self._books.patiently(lambda: self._begin(message, order_id), delivery)
            row = begun.row
            if row.approval.signature != message.signature:
                await self._alert_approval(message, "another approval holds this intent's id")
            elif begun.sends and self._broker is not None:
                self._context.count("orders", state=row.state.value)
                row = await self.post(row, self._broker, delivery)
            elif row.state is OrderState.APPROVED:
                row = await self._end_unsent(row, message, begun.refusal, delivery)
            await self._books.publish(row)
            await delivery.ack()
            replaces = message.intent.replaces is not None  # the other one has news too
            if row.state in IN_DOUBT or order_id in self.told or replaces:
                self.wake.set()
        finally:
            self.busy.discard(order_id)

    def _begin(self, approval: IntentApproved, order_id: str) -> _Begun:
        """The order's row and, when nothing speaks against it, its next commit in the same thread.
        Everything is looked at again before the POST.
        """
        row = self._store.begin(approval, order_id)
        if row.state is not OrderState.APPROVED or row.approval.signature != approval.signature:
            return _Begun(row=row)
        refusal = self._refusal_of(approval)
        if refusal is not None or self._is_dry:
            return _Begun(row=row, refusal=refusal)
        sending = OrderChange(state=OrderState.SUBMITTING, ts=approval.intent.as_of)
        return _Begun(row=self._store.change(row, sending), sends=True)

    async def _end_unsent(
        self,
        row: OrderRow,
        approval: IntentApproved,
        refusal: Refusal | None,
        delivery: Delivery,
    ) -> OrderRow:
        """`approval` is what the bus delivered now, not what a row remembers of it. Without a
        refusal it is dry mode.
        """
        refusal = refusal or await self._dry_look(approval, delivery)
        if refusal is not None:
            change = OrderChange(state=refusal.state, ts=utc_now(), note=refusal.reason)
            await self._alert_approval(approval, refusal.reason)
            return await self._books.write(row, change, delivery)
        note = "dry mode: nothing was sent"
        dry = OrderChange(state=OrderState.DRY_RUN, ts=approval.intent.as_of, note=note)
        return await self._books.write(row, dry, delivery)

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
            is_signed=self._is_signed,
        ) or refusal_of_order(
            approval,
            settings.executor,
            settings.executor.risk_config_versions | {self._risk_config_version},
        )

    async def _dry_look(self, approval: IntentApproved, delivery: Delivery) -> Refusal | None:
        """What would be looked at before an order left: the approval, our caps, and the trading
        state as both logs have it now. Not knowing it means waiting.
        """
        while True:
            standing = await self._trading.standing()
            refusal = self._refusal_of(approval)
            if refusal is not None:
                return refusal
            if not standing.problem:
                break
            log.warning("an order waits: %s", standing.words)
            await delivery.extend()
            await asyncio.sleep(PATIENCE_SECONDS)
        if permits(standing, approval.intent):
            return None
        return Refusal(OrderState.ERROR, f"not sent: trading is {standing.words}")

    async def post(self, row: OrderRow, broker: OrderDesk, delivery: Delivery | None) -> OrderRow:
        """Sends a row that is `submitting`, once, and writes what is known afterwards."""
        resent = delivery is None
        if not broker.takes_room_now():
            await asyncio.to_thread(broker.wait_for_room)
        try:
            order = await self._send(row, broker, delivery)
        except NotSentError as error:
            return await self._not_sent(row, error.refusal, delivery, resent=resent)
        except (BrokerError, WireError, ValueError) as error:
            return await self._after_failed_post(row, error, delivery, resent=resent)
        self._context.count("submitted")
        return await self._books.write(row, change_from(order, utc_now()), delivery)

    async def _send(self, row: OrderRow, broker: OrderDesk, delivery: Delivery | None) -> WireOrder:
        """Through the door to the broker. Raises NotSentError, or what the POST raises.

        What is sent is what is verified here: the row's own approval, for this account, now. A
        database that is away at the last look means that nothing leaves until it is back.
        """
        approval = row.approval
        while True:
            in_place_of = await self._order_to_replace(row, delivery)
            on_bus = await self._trading.on_bus()
            refusal = self._refusal_of(approval)
            if refusal is not None:
                raise NotSentError(refusal)
            try:
                with self._timed(approval):
                    return await asyncio.to_thread(
                        broker.submit,
                        approval.intent,
                        row.client_order_id,
                        approval.expires_at,
                        partial(self._last_look, approval.intent, on_bus),
                        in_place_of,
                    )
            except ApprovalExpiredError:
                reason = "the approval expired before it could be sent"
                raise NotSentError(Refusal(OrderState.EXPIRED, reason)) from None
            except (EntriesStoppedError, ClocksApartError) as error:
                reason = f"not sent: {error}"
                raise NotSentError(Refusal(OrderState.EXPIRED, reason)) from None
            except (DatabaseError, UnsureError) as error:
                log.warning("an order waits: %s", error)
                if delivery is not None:
                    await delivery.extend()
                await asyncio.sleep(PATIENCE_SECONDS)

    def _last_look(self, intent: OrderIntended, on_bus: list[TradingStateSet] | None) -> None:
        """In the thread that sends, with nothing between it and the POST. Raises what the store's
        last look raises, UnsureError, or NotSentError.
        """
        is_entry = not lowers_risk(intent)
        in_table = self._store.last_look(entry=is_entry)
        if is_entry:
            self._look_at_the_drop_copy()
        standing = standing_of({"bus": on_bus, "database": in_table})
        if standing.problem:
            raise UnsureError(standing.words)
        if not permits(standing, intent):
            reason = f"not sent: trading is {standing.words}"
            raise NotSentError(Refusal(OrderState.ERROR, reason))

    def _look_at_the_drop_copy(self) -> None:
        """Raises EntriesStoppedError when books and broker were not held together for too long: a
        read that always fails must not pass for one that found nothing.
        """
        settings = self._settings
        pause = settings.executor.reconcile_seconds / settings.alpaca.clock_speed
        unread = time.monotonic() - self.reconciled_at
        if unread > max(RECONCILED_SECONDS_MIN, READS_MISSED_MAX * pause):
            raise EntriesStoppedError(
                f"the account could not be held against the books for {unread:.0f} s"
            )

    @contextmanager
    def _timed(self, approval: IntentApproved) -> Iterator[None]:
        """Around one POST: what it took from the approval, and until the broker said yes or no."""
        posted_at = utc_now()
        answered = True
        try:
            yield
        except BaseException as error:
            answered = isinstance(error, BrokerRefusedError)
            raise
        finally:
            if answered:
                waited = (posted_at - approval.at).total_seconds()
                took = (utc_now() - posted_at).total_seconds()
                self._context.observe("order_seconds", waited, stage="approved_to_posted")
                self._context.observe("order_seconds", took, stage="posted_to_answered")

    async def _order_to_replace(self, row: OrderRow, delivery: Delivery | None) -> str | None:
        """The broker's id of the order whose place it takes; None for one that takes no other's.
        Raises NotSentError when it cannot be taken any more.
        """
        replaces = row.approval.intent.replaces
        if replaces is None:
            return None
        target = await self._books.patiently(lambda: self._store.row(replaces), delivery)
        rivals = await self._books.patiently(lambda: self._store.rows_replacing(replaces), delivery)
        refusal = refusal_of_target(row, target, rivals)
        if refusal is not None or target is None:
            raise NotSentError(refusal or Refusal(OrderState.ERROR, "nothing is to be replaced"))
        return target.order_id

    async def _not_sent(
        self, row: OrderRow, refusal: Refusal, delivery: Delivery | None, *, resent: bool
    ) -> OrderRow:
        """A first POST that was not made ends the order; a second one leaves the doubt about the
        first as it was.
        """
        if refusal.usual:
            log.info("%s is not sent: %s", row.client_order_id, refusal.reason)
        else:
            await self._books.complain_once(row, refusal.reason)
        state = OrderState.UNKNOWN if resent else OrderState.EXPIRED
        change = OrderChange(
            state=state,
            ts=utc_now(),
            doubt_since=utc_now() if resent else None,
            note=refusal.reason,
        )
        return await self._books.write(row, change, delivery)

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
            severity = Severity.INFO if await self._was_overtaken(row) else Severity.ERROR
            await self._context.alert(severity, "rejected", f"{row.approval.intent.symbol}: {text}")
            change = OrderChange(
                state=OrderState.REJECTED, ts=utc_now(), broker_status="rejected", note=text
            )
            row = await self._books.write(row, change, delivery)
            if isinstance(error, BrokerRefusedError) and error.status == 401:
                await self._books.publish(row)
                raise BrokenPromiseError(f"Alpaca refuses the keys ({text})")
            return row
        if verdict is not Verdict.EXISTS:
            await self._context.alert(
                Severity.WARNING, "doubt", f"{row.approval.intent.symbol}: {text}; asking again"
            )
        now = utc_now()
        return await self._books.write(
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

    async def _was_overtaken(self, row: OrderRow) -> bool:
        """Whether a refused order was to take the place of one that has ended or is about to, which
        is nobody's fault. A look that fails proves nothing.
        """
        replaces, broker = row.approval.intent.replaces, self._broker
        if replaces is None or broker is None:
            return False
        target = await self._books.patiently(lambda: self._store.row(replaces))
        if target is None or target.order_id is None:
            return False
        try:
            old = await asyncio.to_thread(broker.by_id, target.order_id)
        except (BrokerError, WireError):
            return False
        return state_of(old.status) in FINAL or old.status in UNDER_WAY
