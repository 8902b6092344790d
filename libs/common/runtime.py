"""What every service process does alike: settings, logging, uvloop, signals, bus, heartbeat, end.

A service is an async function that takes a Context and runs until cancelled. The process ends
with 0 when told to stop, with 78 (EX_CONFIG) and one clear line when a promise is broken that no
restart mends (settings, credentials, schema, wrong account), and with 1 for anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import uvloop

from libs.common.beat_file import BEAT_FILE, write_beat
from libs.common.bus import Bus, BusError
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import AlertRaised, Heartbeat, Severity
from libs.common.log_lines import configure_logging
from libs.common.promises import BrokenPromiseError, RestartNeededError
from libs.common.settings import Settings
from libs.common.settings_sources import LoadedSettings, SettingsError, load_settings, require
from libs.common.vitals import Vitals

EXIT_BROKEN_PROMISE = 78
HEARTBEAT_SECONDS = 1.0
GRACE_SECONDS = 3.0
SWITCH_SECONDS = 0.0005
"""How long a thread that waits lets another compute: by default ten times as long, which an order's
next step would wait for whenever something else is written or read beside it.
"""
SUPERVISOR_PID = "ALPACLAUDIA_SUPERVISOR_PID"
ENV_FILE = "ALPACLAUDIA_ENV_FILE"

log = logging.getLogger("alpaclaudia")


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def settings_from(environ: Mapping[str, str]) -> LoadedSettings:
    """From the environment and the `.env` it names (default: `.env` in this folder).

    Raises SettingsError.
    """
    name = environ.get(ENV_FILE, ".env")
    path = Path(name) if name else None
    return load_settings(environ, env_file=path, cwd=Path.cwd())


class Context:
    """What a service's body is given."""

    def __init__(
        self, service: str, settings: Settings, bus: Bus, vitals: Vitals | None = None
    ) -> None:
        self.service = service
        self.vitals = vitals or Vitals(service)
        self.vitals.bus = bus
        self.instance = self.vitals.instance
        self.settings = settings
        self.bus = bus
        self.started_at = utc_now()
        self.state = "starting"
        self.market_now: dt.datetime | None = None
        self.recent_sessions: list[dt.date] = []
        self._beats = 0
        self._alerts = 0

    @property
    def state(self) -> str:
        """One of vitals.STATES."""
        return self.vitals.state

    @state.setter
    def state(self, state: str) -> None:
        self.vitals.state = state

    def ready(self) -> None:
        self.vitals.rereading = ""
        self.state = "ready"

    def count(self, what: str, by: float = 1, **labels: str) -> None:
        """One more of a counter in meters_table."""
        self.vitals.count(what, by, **labels)

    def begin(self, what: str, label: str, values: Iterable[str]) -> None:
        """Lets a counter say 0 for each of these, since Prometheus sees no rise in a first 1."""
        for value in values:
            self.count(what, 0, **{label: value})

    def measure(self, what: str, value: float, **labels: str) -> None:
        """How much of something there is now: a gauge in meters_table."""
        self.vitals.measure(what, value, **labels)

    def observe(self, what: str, value: float, **labels: str) -> None:
        """One more value of which the spread is of interest: a histogram in meters_table."""
        self.vitals.observe(what, value, **labels)

    @property
    def counters(self) -> dict[str, int]:
        return self.vitals.counters

    @property
    def market_open(self) -> bool | None:
        return self.vitals.market_open

    @market_open.setter
    def market_open(self, is_open: bool | None) -> None:
        self.vitals.market_open = is_open

    def unique_id(self, kind: str) -> str:
        """Unique to this process and moment, for facts that are only ever said once."""
        self._alerts += 1
        started_us = int(self.started_at.timestamp() * 1_000_000)
        return f"{kind}-{self.service}-{self.instance}-{started_us}-{self._alerts}"

    async def alert(
        self, severity: Severity, kind: str, text: str, *, symbol: str | None = None
    ) -> None:
        """Says it in the log and on the bus; a bus that is down does not stop the log."""
        level = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
        log.log(level[severity.value], "%s: %s", kind, text)
        self.count("alerts", severity=severity.value, kind=kind)
        if severity is Severity.ERROR:
            self.count("errors")
        message = AlertRaised(
            message_id=self.unique_id("alert"),
            at=utc_now(),
            severity=severity,
            service=self.service,
            kind=kind,
            text=text,
            symbol=symbol,
        )
        try:
            await self.bus.publish(message, patience_seconds=1.0)
        except BusError as error:
            log.warning("the alert above did not reach the bus: %s", error)

    def market_time(self) -> dt.datetime:
        """The broker's time as market's heartbeats last told it; ours until then."""
        return self.market_now or utc_now()

    async def follow_market_time(self) -> None:
        """For services without keys: learn the broker's time and sessions from market."""

        def on_beat(subject: str, payload: bytes) -> None:
            with contextlib.suppress(UndecodableError):
                beat = decode_message(subject, payload)
                if isinstance(beat, Heartbeat) and beat.market_now is not None:
                    self.market_now = beat.market_now
                    self.market_open = beat.market_open
                    self.recent_sessions = beat.recent_sessions

        await self.bus.watch("feed.ops.heartbeat.market.*", on_beat)

    def heartbeat(self) -> Heartbeat:
        self._beats += 1
        started_us = int(self.started_at.timestamp() * 1_000_000)
        return Heartbeat(
            message_id=f"beat-{self.service}-{self.instance}-{started_us}-{self._beats}",
            at=utc_now(),
            service=self.service,
            instance=self.instance,
            state=self.state,
            pid=os.getpid(),
            started_at=self.started_at,
            market_now=self.market_now,
            market_open=self.market_open,
            recent_sessions=self.recent_sessions,
            counters=self.counters,
        )

    async def beat(self) -> None:
        """Onto the bus, and into the file that a health check on this machine reads."""
        heartbeat = self.heartbeat()
        reached = False
        with contextlib.suppress(BusError):
            await self.bus.publish(heartbeat, patience_seconds=0.5)
            reached = True
        path = os.environ.get(BEAT_FILE)
        if path:
            write_beat(Path(path), msgspec.to_builtins(heartbeat), reached=reached)


Body = Callable[[Context], Awaitable[None]]


def run_service(service: str, body: Body) -> int:
    """Runs a service to its end and returns the exit status."""
    try:
        loaded = settings_from(os.environ)
    except SettingsError as error:
        configure_logging(service, "INFO", os.environ.get("LOG_FORMAT", "text"))
        log.critical("settings:\n%s", error)
        return EXIT_BROKEN_PROMISE
    settings = loaded.settings
    configure_logging(service, settings.bot.log_level, settings.bot.log_format)
    sys.setswitchinterval(SWITCH_SECONDS)
    missing = require(settings, service)
    if missing:
        log.critical("settings:\n%s", "\n".join(missing))
        return EXIT_BROKEN_PROMISE
    try:
        _run(service, settings, body)
    except BrokenPromiseError as error:
        log.critical("%s", error)
        return EXIT_BROKEN_PROMISE
    except (BusError, RestartNeededError) as error:
        log.critical("%s", error)
        return 1
    except Exception:
        log.critical("%s ended by an error nobody expected", service, exc_info=True)
        return 1
    return 0


def _run(service: str, settings: Settings, body: Body) -> None:
    """Task groups wrap what ended them; the first cause is what a person wants to read."""
    try:
        uvloop.run(_main(service, settings, body))
    except BaseExceptionGroup as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        raise cause from group


async def _main(service: str, settings: Settings, body: Body) -> None:
    vitals = Vitals(service)
    async with vitals.shown(settings.metrics):
        bus = await Bus.connect(settings.bus, account=service)
        try:
            await bus.check_provisioned()
            await _live(Context(service, settings, bus, vitals), body)
        finally:
            await bus.close()


async def _live(context: Context, body: Body) -> None:
    """Until the body ends, a signal comes, or the bus refuses us."""
    bus = context.bus
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working = asyncio.ensure_future(body(context))
    beating = asyncio.ensure_future(_beat(context, stop))
    stopping = asyncio.ensure_future(stop.wait())
    measuring = asyncio.ensure_future(_measure(context))
    try:
        waited: list[asyncio.Future[object]] = [working, stopping, bus.refused, beating]  # type: ignore[list-item]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if bus.refused.done():
            raise bus.failure("the bus refused us")
        if working.done():
            working.result()  # raises what ended it
            return
        if beating.done():
            beating.result()
    finally:
        for task in (working, beating, stopping, measuring):
            task.cancel()
        await asyncio.wait({working, beating, measuring}, timeout=GRACE_SECONDS)


async def _measure(context: Context) -> None:
    if context.settings.metrics.port:
        await context.vitals.measure_backlogs(context.bus)


async def _beat(context: Context, stop: asyncio.Event) -> None:
    supervisor = int(os.environ.get(SUPERVISOR_PID, "0"))
    is_frozen = False
    while True:
        if context.state == "ready" and not is_frozen:
            # What was made until now is here to stay. Going through all of alpaca-py and SQLAlchemy
            # in search of garbage would stop everything for a tenth of a second.
            gc.collect()
            gc.freeze()
            is_frozen = True
        if supervisor and os.getppid() != supervisor:
            log.warning("the supervisor is gone, so this process ends too")
            stop.set()
        await context.beat()
        await asyncio.sleep(HEARTBEAT_SECONDS if context.state == "ready" else 0.1)


def encode_line(value: object) -> str:
    """One JSON line for scripts."""
    return msgspec.json.encode(value, enc_hook=str).decode()
