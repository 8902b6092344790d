"""The executor room's shell: one active instance, recovery first, then approvals."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from functools import partial

from libs.common.broker import (
    BrokerError,
    BrokerRefusedError,
    PacedClock,
    check_account,
)
from libs.common.bus import BusError, Delivery
from libs.common.contracts import BotMode, Severity
from libs.common.database import address_for, engine_for, wait_for_schema
from libs.common.promises import BrokenPromiseError, RestartNeededError
from libs.common.runtime import Context, run_service, utc_now
from libs.common.topology import EXECUTOR_APPROVALS
from libs.common.wire import WireError
from services.executor.alpaca import OrderDesk
from services.executor.desk import Desk
from services.executor.ledger import entry_of
from services.executor.record_store import RecordStore
from services.executor.recorder import Recorder
from services.executor.store import ExecutorStore
from services.executor.trading import TradingDoor

log = logging.getLogger(__name__)

POLL_SECONDS_MIN = 0.25
"""Wall seconds between two looks at open orders, however fast a simulated clock runs."""
LEDGER_SECONDS = 60.0
LEDGER_DAYS_BACK = 4
LOCK_SECONDS = 1.0
TRADING_SECONDS = 0.5
"""How often the trading state is looked at beside every order's own look."""
LOCK_ANSWER_SECONDS = 12.0
RETRY_SECONDS = 2.0
START_SECONDS = 20.0


class ExecutorService:
    def __init__(self, context: Context) -> None:
        self.context = context
        settings = context.settings
        engine = engine_for(address_for(settings.database, "executor"), application="executor")
        self.engine = engine
        self.store = ExecutorStore(engine)
        self.speed = settings.alpaca.clock_speed
        self.broker: OrderDesk | None = None
        if settings.bot.mode is BotMode.LIVE:
            pace = PacedClock(settings.executor.requests_per_minute, self.speed)
            self.broker = OrderDesk(settings.alpaca, pace)
        self.trading = TradingDoor(context.bus, engine)
        self.desk = Desk(context, self.store, self.broker, self.trading)
        self.recorder = Recorder(context, RecordStore(engine), self.desk)

    async def run(self) -> None:
        await self.context.follow_market_time()
        await asyncio.to_thread(wait_for_schema, self.engine, patience_seconds=START_SECONDS)
        await self._take_the_lock()
        if self.broker is not None:
            await self._meet_the_account(self.broker)
            await self._recover()
        self.context.ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._approvals())
            group.create_task(self.recorder.run())
            group.create_task(self._watch_the_lock())
            group.create_task(self._follow())
            group.create_task(self._mind_the_trading_state())
            if self.broker is not None:
                group.create_task(self._ledger(self.broker))

    async def _take_the_lock(self) -> None:
        """Standby until the active executor is gone."""
        waiting = False
        while not await self.desk.patiently(self.store.take_lock):
            if not waiting:
                log.info("another executor is active; standing by")
                self.context.state = "standby"
                waiting = True
            await asyncio.sleep(LOCK_SECONDS)

    async def _watch_the_lock(self) -> None:
        while True:
            try:
                held = await asyncio.wait_for(
                    asyncio.to_thread(self.store.holds_lock), LOCK_ANSWER_SECONDS
                )
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
                number = await asyncio.to_thread(broker.account_number)
                break
            except BrokerRefusedError as error:
                if error.status in (401, 403):
                    raise BrokenPromiseError(f"Alpaca refuses the keys ({error})") from error
                await self._trouble("broker", str(error))
            except (BrokerError, WireError) as error:
                await self._trouble("broker", f"the broker cannot be reached: {error}")
        check_account(self.context.settings, number)
        self.desk.account_number = number

    async def _recover(self) -> None:
        while True:
            try:
                await self.desk.recover()
                return
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("recovery", f"open orders cannot be resolved yet: {error}")

    async def _approvals(self) -> None:
        await self.context.bus.consume(EXECUTOR_APPROVALS, self.desk.handle, on_poison=self._poison)

    async def _poison(self, delivery: Delivery) -> None:
        await self.context.alert(
            Severity.ERROR, "poison", f"{delivery.subject}: {delivery.payload[:200]!r}"
        )

    async def _follow(self) -> None:
        pause = max(
            POLL_SECONDS_MIN, self.context.settings.executor.order_poll_seconds / self.speed
        )
        while True:
            try:
                await self.desk.follow()
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("broker", f"open orders cannot be followed: {error}")
            await asyncio.sleep(pause)

    async def _mind_the_trading_state(self) -> None:
        """Keeps both logs of it alike, and calls back what it no longer lets stand."""
        while True:
            standing = await self.trading.mirror()
            try:
                await self.desk.call_back(standing)
            except (BrokerError, WireError) as error:
                await self._trouble("broker", f"working orders cannot be cancelled: {error}")
            await asyncio.sleep(TRADING_SECONDS)

    async def _ledger(self, broker: OrderDesk) -> None:
        pause = max(2 * POLL_SECONDS_MIN, LEDGER_SECONDS / self.speed)
        while True:
            try:
                await self._read_ledger(broker)
            except (BrokerError, WireError, BusError) as error:
                await self._trouble("broker", f"account activities cannot be read: {error}")
            await asyncio.sleep(pause)

    async def _read_ledger(self, broker: OrderDesk) -> None:
        """Activities are read from some days before the last one known: rows may come late, and
        each is entered once, by its id.
        """
        last = await self.desk.patiently(self.store.last_ledger_date)
        activities = await asyncio.to_thread(
            broker.activities_after,
            last - dt.timedelta(days=LEDGER_DAYS_BACK) if last else None,
        )
        for activity in activities:
            entry = entry_of(activity, utc_now())
            if entry is None:
                continue
            ts = self.context.market_time()
            if await self.desk.patiently(partial(self.store.enter, entry, ts)):
                self.context.count(f"ledger_{entry.event.value}")
        for entry in await self.desk.patiently(self.store.unpublished_entries):
            await self.context.bus.publish(entry)
            await self.desk.patiently(partial(self.store.mark_entry_published, entry.activity_id))

    async def _trouble(self, kind: str, text: str) -> None:
        await self.context.alert(Severity.ERROR, kind, text)
        await asyncio.sleep(RETRY_SECONDS)


async def serve(context: Context) -> None:
    await ExecutorService(context).run()


def main() -> int:
    return run_service("executor", serve)
