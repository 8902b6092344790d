"""The market room's shell: watches the broker's clock and ticks when it is time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

from libs.common import wire
from libs.common.broker import BrokerError, BrokerRefusedError, PacedClock, check_account
from libs.common.bus import BusError
from libs.common.contracts import (
    MarketTicked,
    Severity,
    TickAnswered,
    TickRequested,
)
from libs.common.promises import BrokenPromiseError
from libs.common.runtime import Context, run_service, utc_now
from libs.common.settings import Settings
from services.market.alpaca import MarketReader
from services.market.schedule import (
    BrokerTime,
    Cause,
    Session,
    broker_time,
    next_due,
    recent_sessions,
    seconds_until,
    session_at,
    sessions_of,
)
from services.market.ticking import Ticker

CLOCK_SECONDS_MAX = 30.0
"""How long at most the broker's clock goes unread, in its own seconds."""
CLOCK_SECONDS_MIN = 0.1
"""Wall seconds between two readings, however fast a simulated clock runs."""
FILL_PAUSE_SECONDS = 0.5
"""Wall seconds that fills are gathered before they cause one tick."""
RETRY_SECONDS = 2.0


class MarketService:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings: Settings = context.settings
        self.speed = self.settings.alpaca.clock_speed
        pace = PacedClock(self.settings.market.requests_per_minute, self.speed)
        self.reader = MarketReader(self.settings.alpaca, pace)
        self.ticker = Ticker(self.settings, self.reader, context.bus, self._complain)
        self.sessions: list[Session] = []
        self.calendar_read_on: dt.date | None = None
        self.last_tick_at: dt.datetime | None = None
        self.wake = asyncio.Event()
        self.fill_at_seconds: float | None = None
        self.requests: list[asyncio.Future[TickAnswered]] = []

    async def run(self) -> None:
        await self._meet_the_account()
        await self.context.bus.watch("feed.orders.filled.*", self._on_fill)
        await self.context.bus.answer(TickRequested, self._on_request)
        while True:
            try:
                await self._once()
            except BrokerRefusedError as error:
                if error.status == 401:
                    raise BrokenPromiseError(_KEYS_REFUSED.format(error)) from error
                await self._trouble("broker", str(error))
            except (BrokerError, wire.WireError) as error:
                await self._trouble("broker", f"the broker cannot be read: {error}")
            except BusError as error:
                await self._trouble("bus", str(error))

    async def _trouble(self, kind: str, text: str) -> None:
        self._refuse_requests(text)
        await self.context.alert(Severity.ERROR, kind, text)
        await asyncio.sleep(RETRY_SECONDS)

    async def _meet_the_account(self) -> None:
        """Waits for the broker and checks that the account is the one meant."""
        while True:
            try:
                account = await self.ticker.read(self.reader.account)
                break
            except BrokerRefusedError as error:
                if error.status in (401, 403):
                    raise BrokenPromiseError(_KEYS_REFUSED.format(error)) from error
                await self._trouble("broker", str(error))
            except (BrokerError, wire.WireError) as error:
                await self._trouble("broker", f"the broker cannot be read: {error}")
        check_account(self.settings, account.account_number)

    async def _once(self) -> None:
        clock = await self._read_clock()
        session = session_at(self.sessions, clock.now) if clock.is_open else None
        self.context.ready()
        if session is None:
            self._refuse_requests(
                f"the market is closed; it opens at {clock.next_open:%Y-%m-%d %H:%M} UTC"
            )
            await self._sleep(seconds_until(clock.next_open, clock.now, self.speed))
            return
        cause = self._cause(session, clock)
        if cause is None:
            due = next_due(session, self.last_tick_at, self.settings.market.tick_seconds)
            await self._sleep(seconds_until(due or session.closes_at, clock.now, self.speed))
            return
        await self._tick(session, clock, cause)

    def _cause(self, session: Session, clock: BrokerTime) -> Cause | None:
        if self.requests:
            return Cause.REQUEST
        filled_at = self.fill_at_seconds
        if filled_at is not None and time.monotonic() - filled_at >= FILL_PAUSE_SECONDS:
            return Cause.FILL
        due = next_due(session, self.last_tick_at, self.settings.market.tick_seconds)
        return Cause.SCHEDULE if due is not None and due <= clock.now else None

    async def _tick(self, session: Session, clock: BrokerTime, cause: Cause) -> None:
        requests, self.requests = self.requests, []
        self.fill_at_seconds = None
        self.last_tick_at = clock.now
        try:
            ticked = await self.ticker.tick(session, clock.now, utc_now(), cause)
        except BusError as error:
            for request in requests:
                request.set_result(_answer(False, str(error), ""))
            raise
        self._measure(ticked)
        for request in requests:
            request.set_result(_answer(True, "; ".join(ticked.errors), ticked.tick_id))

    def _measure(self, ticked: MarketTicked) -> None:
        context = self.context
        context.count("ticks")
        context.count("tick_errors", len(ticked.errors))
        context.count("snapshots", ticked.snapshots)
        context.observe("tick_seconds", ticked.duration_ms / 1000)
        context.measure("broker_requests_per_tick", ticked.requests)
        if ticked.snapshots:
            context.measure("snapshot_last_timestamp_seconds", utc_now().timestamp())
        if ticked.account is not None:
            context.measure("equity_dollars", float(ticked.account.equity))
            context.measure("cash_dollars", float(ticked.account.cash))
            context.measure("buying_power_dollars", float(ticked.account.buying_power))

    async def _read_clock(self) -> BrokerTime:
        clock = broker_time(await self.ticker.read(self.reader.clock), time.monotonic())
        if self.calendar_read_on != clock.now.date():
            days = await self.ticker.read(
                lambda: self.reader.calendar(
                    clock.now.date() - dt.timedelta(days=10),
                    clock.now.date() + dt.timedelta(days=10),
                )
            )
            self.sessions = sessions_of(days)
            self.calendar_read_on = clock.now.date()
        self.context.market_now = clock.now
        self.context.market_open = clock.is_open
        self.context.recent_sessions = recent_sessions(self.sessions, clock.now)
        return clock

    async def _sleep(self, seconds: float) -> None:
        """Until it is time to look at the clock again, or something wakes us."""
        limit = max(CLOCK_SECONDS_MIN, CLOCK_SECONDS_MAX / self.speed)
        if self.fill_at_seconds is not None:
            limit = min(limit, FILL_PAUSE_SECONDS)
        self.wake.clear()
        if self.requests:
            return
        try:
            await asyncio.wait_for(self.wake.wait(), min(max(seconds, CLOCK_SECONDS_MIN), limit))
        except TimeoutError:
            return

    def _on_fill(self, _subject: str, _payload: bytes) -> None:
        if self.fill_at_seconds is None:
            self.fill_at_seconds = time.monotonic()
            self.wake.set()

    async def _on_request(self, _request: TickRequested) -> TickAnswered:
        answer: asyncio.Future[TickAnswered] = asyncio.get_running_loop().create_future()
        self.requests.append(answer)
        self.wake.set()
        return await answer

    def _refuse_requests(self, reason: str) -> None:
        for request in self.requests:
            request.set_result(_answer(False, reason, ""))
        self.requests = []

    async def _complain(self, kind: str, text: str, symbol: str | None) -> None:
        await self.context.alert(Severity.ERROR, kind, text, symbol=symbol)


_KEYS_REFUSED = (
    "Alpaca refuses the keys ({}); check ALPACA_API_KEY, ALPACA_SECRET_KEY and that ALPACA_ENV"
    " fits them"
)


def _answer(ok: bool, reason: str, tick_id: str) -> TickAnswered:
    return TickAnswered(
        message_id=f"answer-{tick_id}", at=utc_now(), tick_id=tick_id, ok=ok, reason=reason
    )


async def serve(context: Context) -> None:
    await MarketService(context).run()


def main() -> int:
    return run_service("market", serve)
