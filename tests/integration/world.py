"""The world one test lives in: a bus and a database of its own, and rooms run in this process.

A room runs as `libs.common.runtime` runs it: its own connection, a Context, a heartbeat, and
cancellation as its end. Where the end of a process matters, `Process` starts a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import requests
from nats.aio.client import Client
from psycopg.rows import dict_row

from libs.common.bus import Bus
from libs.common.bus_accounts import PROVISION
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import AlertRaised, Message, OrderChanged
from libs.common.runtime import Context
from libs.common.settings import Settings
from libs.common.settings_sources import load_settings
from libs.common.signing import KeyPair
from libs.embedded.nats import NatsServer
from services.exchange.service import ExchangeConfig, serve
from tests.conformity.served import KEY, SECRET
from tests.integration.servers import logins_of
from tests.integration.voices import Voices, raw_client

PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.02
THREADS = 8
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")

LEFT_OPEN = "ignore::ResourceWarning"
"""nats-py leaves a connection that was refused for the system to close."""

MessageT = TypeVar("MessageT", bound=Message)
T = TypeVar("T")


def settings_of(environ: Mapping[str, str]) -> Settings:
    return load_settings(environ, env_file=None, cwd=Path.cwd()).settings


def base_environ(nats: NatsServer, database_url: str, keys: KeyPair) -> dict[str, str]:
    """What every room of these tests is given; patience is short and the broker simulated."""
    return {
        "BOT_MODE": "live",
        "ALPACA_ENV": "sim",
        "NATS_URL": nats.url,
        "NATS_SEEDS_FOLDER": str(nats.seeds_folder),
        "DATABASE_URL": database_url,
        **logins_of(database_url),
        "RISK_SIGNING_KEY": keys.private,
        "RISK_VERIFY_KEY": keys.public,
        "WHEEL_UNIVERSE": "KO",
        "ORDER_POLL_SECONDS": "0.1",
        "ORDER_POLL_SECONDS_STREAMING": "0.1",
        "SETTLE_SECONDS": "0.1",
        "ALPACA_CONNECT_TIMEOUT_SECONDS": "2",
        "ALPACA_READ_TIMEOUT_SECONDS": "5",
        "ALPACA_API_KEY": KEY,
        "ALPACA_SECRET_KEY": SECRET,
        "MARKET_REQUESTS_PER_MINUTE": "139",
    }


async def until(check: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """The first answer of `check` that is true; fails, naming `what`, when there is none."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        await asyncio.sleep(POLL_SECONDS)


async def threads_idle() -> None:
    """Returns when no thread works any more for a task that was cancelled meanwhile."""
    together = threading.Barrier(THREADS)
    waits = [asyncio.to_thread(together.wait, PATIENCE_SECONDS) for _ in range(THREADS)]
    await asyncio.gather(*waits)


class Room:
    """One service in this process."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.context: Context
        self.service: Any
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        bus = await Bus.connect(self.settings.bus, account=self.name)
        self.context = Context(self.name, self.settings, bus)
        module = importlib.import_module(f"services.{self.name}.service")
        self.service = getattr(module, f"{self.name.capitalize()}Service")(self.context)
        self._tasks = [
            asyncio.create_task(self.service.run()),
            asyncio.create_task(self._beat()),
        ]

    async def _beat(self) -> None:
        while True:
            await self.context.beat()
            await asyncio.sleep(0.1)

    async def ready(self) -> None:
        await until(self._is_ready, f"{self.name} to be ready")

    def _is_ready(self) -> bool:
        if self._tasks[0].done():
            self._tasks[0].result()
        return self.context.state == "ready"

    async def ended(self) -> BaseException | None:
        """What ended it by itself."""
        await until(self._tasks[0].done, f"{self.name} to end")
        error = self._tasks[0].exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error

    async def close(self) -> None:
        ending: set[asyncio.Task[Any]] = set(self._tasks)
        while ending:
            for task in ending:
                task.cancel()
            _, ending = await asyncio.wait(ending, timeout=0.5)
            ending |= self._left_behind() if ending else set()
        self._tasks = []
        await self.context.bus.close()
        await threads_idle()
        self._leave_the_database()

    def _left_behind(self) -> set[asyncio.Task[Any]]:
        """Its tasks that were cancelled in vain: Python 3.11's wait_for swallows a cancellation
        that meets its result, and a task group cancels its children only once.
        """
        folder = f"services/{self.name}/"
        return {
            task
            for task in asyncio.all_tasks()
            if folder in getattr(task.get_coro(), "cr_code", self.open.__code__).co_filename
        }

    def _leave_the_database(self) -> None:
        """A process that ends drops its connections, and with one of them the lock."""
        store = getattr(self.service, "store", None)
        fence = getattr(store, "fence", None)
        if fence is not None:
            fence.close()
        engine = getattr(self.service, "engine", None)
        if engine is None:
            return
        engine.dispose()


class World:
    def __init__(self, nats: NatsServer, database_url: str, keys: KeyPair) -> None:
        self.nats = nats
        self.database_url = database_url
        self.keys = keys
        self.environ = base_environ(nats, database_url, keys)
        self.messages: list[Message] = []
        """Everything the streams took in since the world began, in their order."""
        self.bus = Voices(nats)
        self.raw: Client
        """The provisioner's, for looking at streams and consumers."""
        self._rooms: list[Room] = []

    async def open(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        await self.bus.provision()
        await self.bus.watch("feed.>", self._on_message)
        self.raw = await raw_client(self.nats, PROVISION)

    def _on_message(self, subject: str, payload: bytes) -> None:
        with contextlib.suppress(UndecodableError):
            self.messages.append(decode_message(subject, payload))

    async def close(self) -> None:
        for room in reversed(self._rooms):
            await room.close()
        await self.raw.close()
        await self.bus.close()
        await asyncio.sleep(POLL_SECONDS)  # transports close at the loop's next turns

    # --- rooms ---------------------------------------------------------------------------------

    async def room(self, name: str, **changes: str) -> Room:
        """A room that is ready; `changes` are settings of its own."""
        room = await self.start(name, **changes)
        await room.ready()
        return room

    async def start(self, name: str, **changes: str) -> Room:
        room = Room(name, settings_of(self.environ | changes))
        self._rooms.append(room)
        await room.open()
        return room

    async def end(self, room: Room) -> None:
        self._rooms.remove(room)
        await room.close()

    def broker_at(self, url: str) -> dict[str, str]:
        return {"ALPACA_BASE_URL": url, "ALPACA_DATA_URL": url}

    # --- what was said -------------------------------------------------------------------------

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        return [message for message in self.messages if isinstance(message, kind)]

    def alerts(self, kind: str) -> list[str]:
        return [alert.text for alert in self.of(AlertRaised) if alert.kind == kind]

    def statuses(self, intent_id: str) -> list[str]:
        """What was said of an intent's order, in order."""
        return [o.status for o in self.of(OrderChanged) if o.intent_id == intent_id]

    async def poison(self, subject: str, payload: bytes) -> None:
        await self.bus.publish_raw(subject, payload)

    # --- what was written ----------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        return rows(self.database_url, query, *values)

    async def row_when(self, query: str, *values: object) -> dict[str, Any]:
        """The first row of a query, as soon as there is one."""
        found = await until(lambda: self.rows(query, *values), f"{query} {values}")
        return found[0]

    async def ask(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


def rows(database_url: str, query: str, *values: object) -> list[dict[str, Any]]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()  # type: ignore[arg-type]


def row_counts(database_url: str) -> dict[str, int]:
    tables = [
        row["tablename"]
        for row in rows(database_url, "select tablename from pg_tables where schemaname='public'")
    ]
    return {
        table: rows(database_url, f"select count(*) as n from {table}")[0]["n"]  # noqa: S608
        for table in tables
    }


# --- the exchange ------------------------------------------------------------------------------


class RunningExchange:
    """The simulated exchange, served from a thread; ended and begun again, it goes on."""

    def __init__(self, folder: Path, **changes: object) -> None:
        fields: dict[str, Any] = {
            "key": KEY,
            "secret": SECRET,
            "symbols": ["KO"],
            "cash": Decimal(60_000),
            "state_path": str(folder / "exchange.json"),
            "rate_limit_per_minute": 100_000,
            "wait_for_client": True,
        }
        self._fields = fields | changes
        self.port = 0
        self._begin()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _begin(self) -> None:
        ready = threading.Event()
        self._failure: Exception | None = None
        config = ExchangeConfig(**(self._fields | {"port": self.port}))

        def on_ready(port: int) -> None:
            self.port = port
            ready.set()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(config, on_ready=on_ready, stop=self._stop)

        def run() -> None:
            try:
                asyncio.run(main())
            except Exception as error:  # handed to the thread that waits
                self._failure = error
                ready.set()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(20)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)

    def go_on_at(self, speed: float) -> None:
        """The same books and the same port, at another speed."""
        self.close()
        self._fields["speed"] = speed
        self._begin()

    def get(self, path: str, **query: str) -> Any:
        answer = requests.get(self.url + path, params=query, headers=_HEADERS, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post_order(self, **terms: object) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/v2/orders", json=terms, headers=_HEADERS, timeout=10)
        assert answer.status_code == 200, answer.text
        order: dict[str, Any] = answer.json()
        return order


_HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


# --- processes ---------------------------------------------------------------------------------


class Process:
    """A service (or the command) as a process of its own; what it writes goes to one file."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log_path: Path) -> None:
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.log_path = log_path
        with log_path.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                env=inherited | {"ALPACLAUDIA_ENV_FILE": ""} | dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def status(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status, once it ended."""
        return self.popen.wait(seconds)

    def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)


def service_process(name: str, environ: Mapping[str, str], folder: Path) -> Process:
    command = [sys.executable, "-m", f"services.{name}"]
    return Process(command, environ, folder / f"{name}.log")


class End:
    """How a service ended: its status and what it said last."""

    def __init__(self, status: int, log: str) -> None:
        self.status = status
        self.log = log

    @property
    def last_words(self) -> str:
        """The one critical line there must be."""
        (line,) = [line for line in self.log.splitlines() if " CRITICAL " in line]
        assert "Traceback" not in self.log
        return line.partition(" CRITICAL ")[2].strip()


@contextlib.contextmanager
def told_to_stop_after(seconds: float) -> Iterator[None]:
    """A service that should end by itself and does not is told to, so that the test can fail."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
