"""Running a stack in a terminal: progress while it starts, the view while it runs, the last line.

Three ways to show the same run: the live view on a terminal, plain lines elsewhere, one JSON line
for scripts.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from libs.common.bus_accounts import OPERATOR
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import MarketTicked, TradingState
from libs.common.runtime import encode_line, utc_now
from libs.common.trading_log import BusTradingLog
from services.cli.home import StackFolder
from services.cli.stack import Stack, StackPlan
from services.cli.tally import Tally
from services.cli.view import ViewState, draw

FRAME_SECONDS = 0.2
SETTLE_SECONDS = 1.5
"""How long the recorder is given to write what the last tick said."""


class Run:
    """One run of a stack, from its start to its last line."""

    def __init__(
        self,
        plan: StackPlan,
        folder: StackFolder,
        *,
        title: str,
        synthetic: bool,
        as_json: bool,
        began_seconds: float,
    ) -> None:
        self.console = Console(stderr=as_json, highlight=False)
        self.as_json = as_json
        self.state = ViewState(title=title, synthetic=synthetic)
        self.stack = Stack(plan, folder, self._say)
        self.began_seconds = began_seconds
        self.first_tick_seconds: float | None = None
        self.started_at = utc_now()
        self.live: Live | None = None
        self.stop = asyncio.Event()

    def _say(self, text: str) -> None:
        if self.live is not None:
            self.state.note(text)
        else:
            stamp = f"{time.monotonic() - self.began_seconds:5.1f} s"
            self.console.print(Text.assemble((stamp, "dim"), f"  {text}"))

    async def run(self, seconds: float | None) -> Tally:
        """Raises what Stack.start raises; always leaves no process behind."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop.set)
        try:
            starting = asyncio.create_task(self._start())
            await _first_of(starting, self.stop)
            if self.stop.is_set() and not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return Tally()
            starting.result()
            await self._learn_the_trading_state()
            await self._show(seconds)
            return await self._finish()
        finally:
            self._say("stopping")
            await self.stack.stop()
            self._say("stopped; no process is left")

    async def _start(self) -> None:
        watching = asyncio.create_task(self._watch_the_bus())
        try:
            await self.stack.start()
        finally:
            watching.cancel()

    async def _learn_the_trading_state(self) -> None:
        """What was said in an earlier run holds in this one."""
        bus = await self.stack.bus_made
        for record in await BusTradingLog(bus).read() or []:
            self.state.fold(record)
        if self.state.standing.state is not TradingState.ACTIVE:
            self._say(f"trading is {self.state.standing.words}")

    async def _watch_the_bus(self) -> None:
        """From the first moment there is a bus, so that the first tick is seen."""
        bus = await self.stack.bus_made
        await bus.watch("feed.>", self._on_message)

    def _on_message(self, subject: str, payload: bytes) -> None:
        with suppress(UndecodableError):
            message = decode_message(subject, payload)
            if isinstance(message, MarketTicked) and self.first_tick_seconds is None:
                self.first_tick_seconds = time.monotonic() - self.began_seconds
                self._say(f"first tick after {self.first_tick_seconds:.1f} s")
            events = len(self.state.events)
            self.state.fold(message)
            if self.live is None and not self.as_json and len(self.state.events) != events:
                self.console.print(Text(self.state.events[-1].text))

    async def _show(self, seconds: float | None) -> None:
        watching = self.stack.watching
        assert watching is not None  # noqa: S101  # it started
        deadline = None if seconds is None else self.began_seconds + seconds
        if self.console.is_terminal and not self.as_json:
            with Live(
                console=self.console, screen=True, auto_refresh=False, vertical_overflow="crop"
            ) as live:
                self.live = live
                try:
                    await self._frames(live, watching, deadline)
                finally:
                    self.live = None
        else:
            await self._frames(None, watching, deadline)
        self.stack.raise_what_broke()

    async def _frames(
        self, live: Live | None, watching: asyncio.Task[None], deadline: float | None
    ) -> None:
        while not self.stop.is_set() and not watching.done():
            if deadline is not None and time.monotonic() >= deadline:
                return
            if live is not None:
                size = self.console.size
                live.update(draw(self.state, width=size.width, height=size.height), refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), FRAME_SECONDS)

    async def _finish(self) -> Tally:
        """Lets the books take in the last tick, then counts them."""
        await self.stack.supervisor.stop(frozenset({"market"}))
        if not self.stop.is_set():
            await asyncio.sleep(SETTLE_SECONDS)
        return await asyncio.to_thread(self._tally)

    def _tally(self) -> Tally:
        from libs.common.database import address_for, engine_for
        from services.cli.store import OperatorStore

        address = address_for(self.stack.settings.database, OPERATOR)
        engine = engine_for(address, application="operator")
        try:
            tally = OperatorStore(engine).tally(self.started_at)
        finally:
            engine.dispose()
        first = self.first_tick_seconds
        return msgspec.structs.replace(
            tally,
            errors=tally.errors + self.stack.restarts,
            first_tick_seconds=None if first is None else round(first, 2),
        )


async def _first_of(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def print_tally(tally: Tally, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(encode_line(tally) + "\n")
        return
    console = Console(highlight=False)
    for name, value in msgspec.structs.asdict(tally).items():
        console.print(f"  {name.replace('_', ' '):<24} {value}")
