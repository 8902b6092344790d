"""The executor room's shell: one active instance, recovery first, then approvals."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from libs.common.broker import (
    BrokerError,
    BrokerRefusedError,
    PacedClock,
    check_account,
)
from libs.common.bus import BusError, Delivery
from libs.common.contracts import BotMode, Severity
from libs.common.database import DatabaseError, address_for, engine_for, wait_for_schema
from libs.common.promises import BrokenPromiseError, RestartNeededError
from libs.common.runtime import Context, run_service
from libs.common.topology import EXECUTOR_APPROVALS
from libs.common.wire import WireError
from services.executor.alpaca import OrderDesk
from services.executor.bookkeeping import Bookkeeper
from services.executor.desk import Desk
from services.executor.fence import IDLE_SECONDS
from services.executor.following import Following
from services.executor.reconcile_store import ReconcileStore
from services.executor.reconciling import Reconciling
from services.executor.record_store import RecordStore
from services.executor.recorder import Recorder
from services.executor.settling import Settling
from services.executor.store import ExecutorStore
from services.executor.stream import TradeUpdates
from services.executor.trading import TradingDoor
from services.executor.updates import Trust, poll_seconds

log = logging.getLogger(__name__)

POLL_SECONDS_MIN = 0.25
"""Wall seconds between two looks at open orders, however fast a simulated clock runs."""
LEDGER_SECONDS = 60.0
RECONCILE_SECONDS_MIN = 1.0
LOCK_SECONDS = 0.5
TRADING_SECONDS = 0.5
"""How often the trading state is looked at beside every order's own look."""
LOCK_ANSWER_SECONDS = 12.0
RETRY_SECONDS = 2.0
START_SECONDS = 20.0


class ExecutorService:
    def __init__(self, context: Context) -> None:
        self.context = context
        settings = context.settings
        engine = engine_for(
            address_for(settings.database, "executor"),
            application="executor",
            idle_in_transaction_ms=IDLE_SECONDS * 1000,
        )
        self.engine = engine
        self.store = ExecutorStore(engine)
        self.speed = settings.alpaca.clock_speed
        self.broker: OrderDesk | None = None
        self.updates: TradeUpdates | None = None
        if settings.bot.mode is BotMode.LIVE:
            pace = PacedClock(settings.executor.requests_per_minute, self.speed)
            self.broker = OrderDesk(settings.alpaca, pace)
        self.trading = TradingDoor(context.bus, engine)
        self.books = Bookkeeper(context, self.store)
        self.desk = Desk(context, self.store, self.broker, self.trading, self.books)
        self.following = Following(context, self.store, self.broker, self.books, self.desk)
        self.recorder = Recorder(context, RecordStore(engine), self.books)

    async def run(self) -> None:
        await self.context.follow_market_time()
        await asyncio.to_thread(wait_for_schema, self.engine, patience_seconds=START_SECONDS)
        await self._take_the_lock()
        self.context.state = "recovering"
        async with asyncio.TaskGroup() as group:
            # From the first: the server takes the lock of whoever is silent for some seconds.
            group.create_task(self._watch_the_lock())
            if self.broker is not None:
                await self._meet_the_account(self.broker)
                await self._recover(self.broker)
            self.context.ready()
            group.create_task(self._approvals())
            group.create_task(self.recorder.run())
            group.create_task(self._mind_the_trading_state())
            if self.broker is None:
                group.create_task(self._follow(None))
            else:
                updates = self.updates = TradeUpdates(
                    self.context, self.following.hear, self.following.wake.set
                )
                self.following.polled_news = updates.polled_news
                group.create_task(updates.run())
                group.create_task(self._follow(updates))
                settling, reconciling = self._drop_copy(self.broker)
                group.create_task(self._ledger(settling))
                group.create_task(self._reconcile(reconciling))

    def _drop_copy(self, broker: OrderDesk) -> tuple[Settling, Reconciling]:
        settling = Settling(self.context, self.store, broker, self.books)

        async def catch_up() -> None:
            await self.following.follow()
            await settling.read()

        store = ReconcileStore(self.engine, self.store.fence)
        return settling, Reconciling(self.context, store, broker, self.books, catch_up)

    async def _take_the_lock(self) -> None:
        """Standby until the active executor is gone."""
        waiting = False
        while not await self._try_the_lock():
            if not waiting:
                log.info("another executor is active; standing by")
                self.context.state = "standby"
                waiting = True
            await asyncio.sleep(LOCK_SECONDS)

    async def _try_the_lock(self) -> bool:
        try:
            return await self.store.fence.take()
        except DatabaseError as error:
            log.warning("the executor's lock: %s", error)
            return False

    async def _watch_the_lock(self) -> None:
        while True:
            try:
                held = await asyncio.wait_for(self.store.fence.held(), LOCK_ANSWER_SECONDS)
            except TimeoutError:
                held = False
            if not held:
                raise RestartNeededError(
                    "the database connection that held the executor's lock is gone"
                )
            await asyncio.sleep(LOCK_SECONDS)

    async def _meet_the_account(self, broker: OrderDesk) -> None:
        while True:
            try:
                number = (await asyncio.to_thread(broker.account)).account_number
                break
            except BrokerRefusedError as error:
                if error.status in (401, 403):
                    raise BrokenPromiseError(f"Alpaca refuses the keys ({error})") from error
                await self._trouble("broker", str(error))
            except (BrokerError, WireError) as error:
                await self._trouble("broker", f"the broker cannot be reached: {error}")
        check_account(self.context.settings, number)
        self.desk.account_number = number

    async def _recover(self, broker: OrderDesk) -> None:
        """Before anything new is taken: every row in doubt is resolved, and orders, positions and
        activities are held against the broker's.
        """
        _, reconciling = self._drop_copy(broker)
        while True:
            try:
                await self.following.recover()
                await self._hold_together(reconciling)
                return
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("recovery", f"open orders cannot be resolved yet: {error}")

    async def _approvals(self) -> None:
        """What the one before was given and left is asked for again: nobody else reads now."""
        try:
            await self.context.bus.take_back(EXECUTOR_APPROVALS)
        except BusError as error:
            log.warning("%s; it comes by itself later", error)
        await self.context.bus.consume(EXECUTOR_APPROVALS, self.desk.handle, on_poison=self._poison)

    async def _poison(self, delivery: Delivery) -> None:
        await self.context.alert(
            Severity.ERROR, "poison", f"{delivery.subject}: {delivery.payload[:200]!r}"
        )

    async def _follow(self, updates: TradeUpdates | None) -> None:
        settings = self.context.settings.executor
        while True:
            self.following.wake.clear()
            try:
                await self.following.follow()
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("broker", f"open orders cannot be followed: {error}")
            seconds = poll_seconds(
                updates.trust if updates else Trust(),
                in_doubt=self.following.in_doubt,
                often=settings.order_poll_seconds,
                seldom=settings.order_poll_seconds_streaming,
            )
            await self._sleep_or_wake(max(POLL_SECONDS_MIN, seconds / self.speed), updates)

    async def _sleep_or_wake(self, seconds: float, updates: TradeUpdates | None) -> None:
        """Also ends when a trusted stream stops being one: polling is what is left then."""
        trusted = updates is not None and updates.trust.healthy
        deadline = asyncio.get_running_loop().time() + seconds
        await asyncio.sleep(POLL_SECONDS_MIN)
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if updates is not None and trusted and not updates.trust.healthy:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.following.wake.wait(), min(left, POLL_SECONDS_MIN))
                return

    async def _mind_the_trading_state(self) -> None:
        """Keeps both logs of it alike, and calls back what it no longer lets stand."""
        while True:
            standing = await self.trading.mirror()
            try:
                await self.following.call_back(standing)
            except (BrokerError, WireError) as error:
                await self._trouble("broker", f"working orders cannot be cancelled: {error}")
            await asyncio.sleep(TRADING_SECONDS)

    async def _ledger(self, settling: Settling) -> None:
        pause = max(2 * POLL_SECONDS_MIN, LEDGER_SECONDS / self.speed)
        while True:
            try:
                await settling.read()
                await settling.publish()
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("broker", f"account activities cannot be read: {error}")
            await asyncio.sleep(pause)

    async def _reconcile(self, reconciling: Reconciling) -> None:
        seconds = self.context.settings.executor.reconcile_seconds / self.speed
        pause = max(RECONCILE_SECONDS_MIN, seconds)
        while True:
            await asyncio.sleep(pause)
            try:
                await self._hold_together(reconciling)
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("broker", f"the account cannot be reconciled: {error}")

    async def _hold_together(self, reconciling: Reconciling) -> None:
        await reconciling.reconcile(self.desk.account_number or "")
        self.desk.reconciled_at = time.monotonic()

    async def _trouble(self, kind: str, text: str) -> None:
        await self.context.alert(Severity.ERROR, kind, text)
        await asyncio.sleep(RETRY_SECONDS)


async def serve(context: Context) -> None:
    await ExecutorService(context).run()


def main() -> int:
    return run_service("executor", serve)
