"""The shell of the simulated exchange: configuration, wall time, the state on disk, the server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from libs.common.log_lines import configure_logging
from services.exchange import state_file
from services.exchange.clock import SimulatedClock
from services.exchange.config import (
    CONFIG_VARIABLE,
    DEFAULT_START,
    KEYS_VARIABLE,
    ExchangeConfig,
    ExchangeError,
    check_config,
    read_config,
)
from services.exchange.engine.refusals import Refusal
from services.exchange.http.answers import Receive, Scope, Send
from services.exchange.http.app import Face
from services.exchange.http.call import Call
from services.exchange.http.endpoints import all_routes
from services.exchange.http.protocol import CuttableProtocol
from services.exchange.prices.calendar import load_calendar
from services.exchange.prices.market import Market
from services.exchange.prices.sources.config import SourceError, read_source, without_keys
from services.exchange.prices.sources.opening import open_source
from services.exchange.state_file import Entry, SavedAccount, SavedState, StateFile
from services.exchange.streams.faulty import taps
from services.exchange.streams.gate import Streams
from services.exchange.streams.protocol import StreamProtocol
from services.exchange.venue import Venue

STEP_SECONDS = 0.05
TICK_SECONDS = 1.0
SNAPSHOT_SECONDS = 60.0
KEEP_ALIVE_SECONDS = 75  # idle clients must not meet a connection that is just being closed
FRAME_BYTES_MAX = 1_000_000  # of a message from a client of a stream
PING_SECONDS, PONG_SECONDS = 20.0, 60.0
_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: `serve` saves the books before it ends."""
        yield


class Running:
    """An exchange with its state on disk: everything wired together, but for the server."""

    def __init__(self, config: ExchangeConfig) -> None:
        """Raises ExchangeError."""
        check_config(config)
        self.config = config
        self._file = StateFile(Path(config.state_path) if config.state_path else None)
        market = _market(config)
        self._world = {
            "seed": config.seed,
            "symbols": list(market.history.symbols),
            "source": without_keys(config.source),
        }
        self.routes = all_routes()
        self._standing: float | None = time.monotonic()
        found = self._load()
        self.venue = self._venue(market, found[0] if found else None)
        self.face = Face(
            self.venue,
            self.routes,
            rate_limit_per_minute=config.rate_limit_per_minute,
            journal=self._note,
        )
        if found:
            self._restore(*found)
        else:
            self._open_accounts()
        self._standing = None
        self.streams = Streams(self.venue, config.streams, open_tap=taps(self.venue.faults))

    def _wall_seconds(self) -> float:
        """While the journal is played the wall's clock stands: the times are the journal's."""
        return time.monotonic() if self._standing is None else self._standing

    def _load(self) -> tuple[SavedState, list[Entry]] | None:
        try:
            return self._file.load(self._world)
        except state_file.StateError as error:
            raise ExchangeError(str(error), field="state_path") from None

    def _venue(self, market: Market, saved: SavedState | None) -> Venue:
        config = self.config
        start = saved.now if saved else _start(config.start_date, market)
        clock = SimulatedClock(
            market.calendar,
            start=start,
            last_day=market.last_day,
            speed=config.speed,
            skip_closed=config.skip_closed,
            paused=config.paused,
        )
        return Venue(
            market=market,
            clock=clock,
            terms=config.terms,
            elapsed_seconds=self._wall_seconds,
            waiting=config.wait_for_client,
        )

    def _open_accounts(self) -> None:
        for account in self.config.all_accounts:
            try:
                self.venue.open_account(account)
            except Refusal as refusal:
                raise ExchangeError(
                    f"account {account.key}: {refusal.message}", field="accounts"
                ) from None

    def _restore(self, saved: SavedState, entries: list[Entry]) -> None:
        """The snapshot, then the journal's requests at their own times."""
        self.venue.market.actions.restore(saved.actions)
        for account in saved.accounts:
            self.venue.restore_account(account.key, account.secret, account.books)
        for entry in entries:
            moment = self.venue.advance_to(entry.at)
            if not entry.method:
                continue
            found = self.routes.find(entry.method, entry.path)
            if found is None:
                raise ExchangeError(f"journal: {entry.method} {entry.path} is not known any more")
            call = self.face.call_at(
                found, entry.query, entry.body.encode(), self.venue.tenants.get(entry.key), moment
            )
            with contextlib.suppress(Refusal):
                found.route.endpoint(call)
        if entries:
            self.venue.clock.step_to(entries[-1].at, 0.0)

    def _note(self, call: Call, method: str, path: str, query: str) -> None:
        """Write down a request that changed something; raises OSError."""
        if self._file.snapshot_due:
            self.save()
            return
        entry = Entry(
            n=self._file.sequence + 1,
            at=call.moment.now,
            key=call.holder.key if call.holder else "",
            method=method,
            path=path,
            query=query,
            body=call.body.decode("utf-8", "replace"),
        )
        self._file.append(entry)

    def app(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The ASGI application: HTTP and streams on one port."""
        if scope["type"] == "websocket":
            return self.streams(scope, receive, send)
        return self.face(scope, receive, send)

    def tick(self) -> None:
        """Write down that time went on; a new snapshot when the journal has grown long."""
        if self._file.snapshot_due:
            self.save()
        else:
            self._file.append(Entry(n=self._file.sequence + 1, at=self.venue.now()))

    def save(self) -> None:
        """Write the snapshot; raises OSError."""
        venue = self.venue
        venue.advance()
        accounts = [
            # How often books changed says how time was cut into steps, which must leave no trace.
            SavedAccount(
                key=tenant.key,
                secret=tenant.secret,
                books=msgspec.structs.replace(tenant.books, revision=0),
            )
            for tenant in venue.tenants.values()
        ]
        self._file.save(
            SavedState(
                world=self._world,
                now=venue.now(),
                sequence=self._file.sequence,
                actions=venue.market.actions.saved(),
                accounts=accounts,
            )
        )

    def close(self) -> None:
        self._file.close()


async def serve(
    config: ExchangeConfig,
    *,
    on_ready: Callable[[int], None] = lambda _port: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. Raises ExchangeError when it cannot start.

    `on_ready` is called with the port once the exchange answers.
    """
    await serve_running(Running(config), on_ready=on_ready, stop=stop)


async def serve_running(
    running: Running,
    *,
    on_ready: Callable[[int], None] = lambda _port: None,
    stop: asyncio.Event | None = None,
) -> None:
    """As `serve`, of an exchange that was made already. Raises ExchangeError also when it ends
    without having been told to: a market that stands still, or a server that does not answer, must
    not look like an exchange that was stopped."""
    config = running.config
    listener = _listen(config.host, config.port)
    try:
        running.save()
    except OSError as error:
        listener.close()
        raise ExchangeError(f"state cannot be written: {error}", field="state_path") from None
    server = _Server(
        uvicorn.Config(
            running.app,
            interface="asgi3",
            http=CuttableProtocol,
            ws=StreamProtocol,
            ws_max_size=FRAME_BYTES_MAX,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PONG_SECONDS,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="critical",
            timeout_graceful_shutdown=0,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ),
        on_ready=lambda: on_ready(listener.getsockname()[1]),
    )
    stop = stop or asyncio.Event()
    with _stop_on_signals(stop):
        tasks = [
            asyncio.create_task(server.serve([listener]), name="the server"),
            asyncio.create_task(_step_forever(running), name="the market"),
        ]
        ending = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
            failure = None if stop.is_set() else _failure(tasks)
        finally:
            server.should_exit = True
            running.streams.close()
            await _end(tasks, ending)
            listener.close()
            try:
                # Books that could not be played on are left as they were kept: a snapshot taken in
                # the middle of it would be the only one.
                if not _broke(tasks[1]):
                    running.save()
            finally:
                running.close()
        if failure is not None:
            raise failure


def _market(config: ExchangeConfig) -> Market:
    calendar = load_calendar()
    try:
        source = read_source(config.source)
        start = config.start_date or DEFAULT_START
        history = open_source(source, calendar, start=start, seed=config.seed)
    except SourceError as error:
        raise ExchangeError(str(error), field="source") from None
    known = history.symbols
    symbols = list(dict.fromkeys([*(config.symbols or known), *config.stocks]))
    unknown = [symbol for symbol in symbols if symbol not in history]
    if unknown:
        raise ExchangeError(
            f"no prices for {', '.join(unknown)}; known: {', '.join(known)}", field="symbols"
        )
    return Market(calendar, history.only(symbols), config.seed)


def _start(wished: dt.date | None, market: Market) -> dt.datetime:
    """The open of the first session on or after the date."""
    index = market.calendar.first_from(wished or DEFAULT_START)
    first, last = market.calendar.dates[market.first_day], market.calendar.dates[market.last_day]
    if not market.first_day <= index <= market.last_day:
        if wished is not None:
            raise ExchangeError(
                f"start date {wished} must be from {first} to {last}", field="start_date"
            )
        index = market.first_day
    return market.calendar.session(index).open


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise ExchangeError(
            f"cannot listen on {host}:{port}: {error.strerror}", field="port" if taken else "host"
        ) from None
    listener.setblocking(False)
    return listener


async def _step_forever(running: Running) -> None:
    """Play the market between requests, and keep the state on disk no older than a second."""
    ticked_at = saved_at = time.monotonic()
    while True:
        await asyncio.sleep(STEP_SECONDS)
        if running.venue.waiting:
            continue
        running.venue.advance()
        now = time.monotonic()
        try:
            if now - saved_at > SNAPSHOT_SECONDS:
                running.save()
                saved_at = ticked_at = now
            elif now - ticked_at > TICK_SECONDS:
                running.tick()
                ticked_at = now
        except OSError as error:  # a full disk must not stop the market; the next step tries again
            _log.error("exchange state not saved: %s", error)
            saved_at = ticked_at = now


@contextlib.contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handled = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(signum, stop.set)  # ValueError: not the main thread
            handled.append(signum)
    try:
        yield
    finally:
        for signum in handled:
            loop.remove_signal_handler(signum)


def _failure(tasks: list[asyncio.Task[None]]) -> ExchangeError | None:
    """Of the first of these tasks that is over, though none should be."""
    over = next((task for task in tasks if task.done()), None)
    if over is None:
        return None
    cause = None if over.cancelled() else over.exception()
    _log.error("%s stopped", over.get_name(), exc_info=cause)
    failure = ExchangeError(f"{over.get_name()} stopped by an error: {cause!r}")
    failure.__cause__ = cause
    return failure


def _broke(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


async def _end(tasks: list[asyncio.Task[None]], ending: asyncio.Task[Any]) -> None:
    server, stepper = tasks
    for task in (stepper, ending):
        task.cancel()
    await asyncio.wait([server], timeout=0.5)
    server.cancel()
    await asyncio.gather(server, stepper, ending, return_exceptions=True)


def run(running: Running, on_ready: Callable[[int], None]) -> None:
    """Serve in this process until it is told to end. Raises ExchangeError, OSError."""
    import uvloop

    # What was made while starting lives for ever; orders and rows refer to no cycle. So the
    # collector has little to find, and looking often would only make answers late.
    gc.set_threshold(20_000, 20, 100)
    if _logs_are_json():
        configure_logging("exchange", "INFO", "json")
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s exchange: %(message)s")
    uvloop.run(serve_running(running, on_ready=on_ready))


def main() -> None:
    """Run the process: configuration from the environment, one line and status 1 on failure."""
    try:
        config = read_config(os.environ.get(CONFIG_VARIABLE), os.environ.get(KEYS_VARIABLE))
        run(Running(config), _announce(config))
    except ExchangeError as error:
        sys.exit(f"exchange: {error}")
    except OSError as error:
        sys.exit(f"exchange: {error}")


def _announce(config: ExchangeConfig) -> Callable[[int], None]:
    def announce(port: int) -> None:
        text = f"exchange ready on http://{config.host}:{port}"
        if _logs_are_json():
            _log.info(text)
        else:
            print(text, flush=True)

    return announce


def _logs_are_json() -> bool:
    return os.environ.get("LOG_FORMAT") == "json"
