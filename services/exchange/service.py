"""The shell of the simulated exchange: configuration, wall time, the state file, the server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from services.exchange import state_file
from services.exchange.clock import SimulatedClock
from services.exchange.config import CONFIG_VARIABLE, ExchangeConfig, ExchangeError, read_config
from services.exchange.engine.account import Exchange, open_books
from services.exchange.engine.books import Books
from services.exchange.http.app import Face, make_app
from services.exchange.prices.calendar import Session, load_calendar
from services.exchange.prices.history import load_history
from services.exchange.prices.market import FIRST_DAY, Market
from services.exchange.venue import Venue

STEP_SECONDS = 0.05
SAVE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 75  # idle clients must not meet a connection that is just being closed
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


async def serve(
    config: ExchangeConfig,
    *,
    on_ready: Callable[[int], None] = lambda _port: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. Raises ExchangeError when it cannot start.

    `on_ready` is called with the port once the exchange answers.
    """
    venue = build(config)
    listener = _listen(config.host, config.port)
    try:
        venue.save()
    except OSError as error:
        listener.close()
        raise ExchangeError(f"state cannot be written: {error}") from None
    server = _Server(
        uvicorn.Config(
            _application(venue, config),
            http="httptools",
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
            asyncio.create_task(server.serve([listener])),
            asyncio.create_task(_step_forever(venue)),
        ]
        ending = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            await _end(tasks, ending)
            listener.close()
            venue.save()


def _application(venue: Venue, config: ExchangeConfig) -> Starlette:
    face = Face(
        venue,
        key=config.key,
        secret=config.secret,
        rate_limit_per_minute=config.rate_limit_per_minute,
        speed=config.speed,
    )
    return make_app(face)


def build(config: ExchangeConfig) -> Venue:
    """Everything wired together: the one place where it is. Raises ExchangeError."""
    history = load_history()
    known = history.symbols
    symbols = list(dict.fromkeys([*(config.symbols or known), *config.stocks]))
    _check_numbers(config)
    unknown = [symbol for symbol in symbols if symbol not in history]
    if unknown:
        raise ExchangeError(f"no prices for {', '.join(unknown)}; known: {', '.join(known)}")
    calendar = load_calendar()
    market = Market(calendar, history.only(symbols), config.seed)
    start = _start_session(config.start_date, market)
    path = Path(config.state_path) if config.state_path else None
    books = _saved(path, config.seed, symbols) or open_books(
        market,
        start=start,
        cash=config.cash,
        stocks=config.stocks,
        options_level=config.options_level,
    )
    clock = SimulatedClock(calendar, start=books.now, last_day=market.last_day, speed=config.speed)
    return Venue(
        exchange=Exchange(market, books, config.partial_fill_rate),
        clock=clock,
        elapsed_seconds=time.monotonic,
        save=lambda: _save(path, books, symbols),
        waiting=config.wait_for_client,
    )


def _check_numbers(config: ExchangeConfig) -> None:
    checks = (
        ("speed", config.speed > 0, config.speed, "above 0"),
        ("cash", config.cash.is_finite() and config.cash >= 0, config.cash, "0 or more"),
        ("options_level", 0 <= config.options_level <= 3, config.options_level, "0 to 3"),
        ("port", 0 <= config.port <= 65_535, config.port, "0 to 65535"),
        ("rate_limit_per_minute", config.rate_limit_per_minute > 0, "", "above 0"),
        ("partial_fill_rate", 0 <= config.partial_fill_rate < 1, "", "0 to below 1"),
        ("key and secret", bool(config.key and config.secret), "", "not empty"),
        ("stocks", all(q.is_finite() and q > 0 for q in config.stocks.values()), "", "above 0"),
    )
    for name, good, value, allowed in checks:
        if not good:
            raise ExchangeError(f"exchange {name} {value} must be {allowed}".replace("  ", " "))


def _start_session(date: dt.date, market: Market) -> Session:
    """The first session on or after the date."""
    index = market.calendar.first_from(date)
    first, last = market.calendar.dates[FIRST_DAY], market.calendar.dates[market.last_day]
    if not FIRST_DAY <= index <= market.last_day:
        raise ExchangeError(f"start date {date} must be from {first} to {last}")
    return market.calendar.session(index)


def _saved(path: Path | None, seed: int, symbols: list[str]) -> Books | None:
    if path is None:
        return None
    try:
        return state_file.load(path, seed=seed, symbols=symbols)
    except state_file.StateError as error:
        raise ExchangeError(str(error)) from None


def _save(path: Path | None, books: Books, symbols: list[str]) -> None:
    if path is not None:
        state_file.save(path, books, symbols)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise ExchangeError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


async def _step_forever(venue: Venue) -> None:
    """Play the market between requests, and keep the state file no older than a second."""
    saved_at = time.monotonic()
    while True:
        await asyncio.sleep(STEP_SECONDS)
        if venue.waiting:
            continue
        try:
            venue.advance()
            venue.save_changes()
            if time.monotonic() - saved_at > SAVE_SECONDS:
                venue.save()
                saved_at = time.monotonic()
        except OSError as error:  # a full disk must not stop the market; the next step tries again
            _log.error("exchange state not saved: %s", error)


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


async def _end(tasks: list[asyncio.Task[None]], ending: asyncio.Task[bool]) -> None:
    server, stepper = tasks
    for task in (stepper, ending):
        task.cancel()
    await asyncio.wait([server], timeout=0.5)
    server.cancel()
    await asyncio.gather(server, stepper, ending, return_exceptions=True)


def main() -> None:
    """Run the process: configuration from the environment, one line and status 1 on failure."""
    import uvloop

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s exchange: %(message)s")
    try:
        config = read_config(os.environ.get(CONFIG_VARIABLE))
        uvloop.run(serve(config, on_ready=_announce(config)))
    except ExchangeError as error:
        sys.exit(f"exchange: {error}")
    except OSError as error:
        sys.exit(f"exchange: {error}")


def _announce(config: ExchangeConfig) -> Callable[[int], None]:
    def announce(port: int) -> None:
        print(f"exchange ready on http://{config.host}:{port}", flush=True)

    return announce
