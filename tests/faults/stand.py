"""The system under test: real servers, the exchange and the services as processes, with proxies
between them, kept running unless a fault holds one down.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import requests
from nats.aio.client import Client

from benchmarks.stand import WIDE_LIMITS
from libs.common.bus import Bus
from libs.common.bus_accounts import PROVISION
from libs.common.migrate import migrate_address
from libs.common.provisioning import provision
from libs.common.runtime import EXIT_BROKEN_PROMISE
from libs.common.signing import KeyPair, generate_keypair
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import free_port, tail
from services.cli.supervisor import Child, environ_for, service_child
from services.exchange.config import ExchangeConfig
from tests.conformity.served import KEY, KEYS, SECRET
from tests.faults.invariants import Halt, Sent
from tests.faults.proxy import Proxy
from tests.integration.voices import raw_client

SPEED = 60.0
"""A minute of trading in a second: market ticks every other second."""
TICKS_PER_MINUTE = 30
SYMBOLS = ("AAPL", "BAC", "CVX", "HD", "JNJ", "JPM", "KO", "MSFT", "PFE", "XOM")
START = dt.date(2017, 5, 1)
APPROVAL_SECONDS = 45
KEEP_SECONDS = 0.1
TURNS_BETWEEN_CHECKS = 10
REQUEST_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
SERVICES = ("market", "planner", "risk", "executor", "reporter")
POSTED_ID = re.compile(rb'"client_order_id": ?"(acl-[a-z2-7]{32})"')


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Stand:
    """Everything it keeps is below `folder`, and everything it starts ends with `close`.

    `changes` are settings of its services that differ.
    """

    def __init__(
        self,
        folder: Path,
        *,
        services: tuple[str, ...] = SERVICES,
        ticks_per_minute: int = TICKS_PER_MINUTE,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.ticks_per_minute = ticks_per_minute
        self.changes = dict(changes or {})
        self.keys: KeyPair = generate_keypair()
        self.services = services
        self.children: dict[str, Child] = {}
        self.held_down: set[str] = set()
        """What the keeper does not start again now."""
        self.gave_up: list[str] = []
        self.kills: Counter[str] = Counter()
        self.cures = 0
        """How often NATS was started anew because it refused to write."""
        self.sent: list[Sent] = []
        self.proxies: dict[str, Proxy] = {}
        self.environ: dict[str, str] = {}
        self.halts: list[Halt] = []
        self.has_small_disks = False
        self.nats = NatsServer(folder=folder / "nats", port=free_port(), monitor_port=free_port())
        self.postgres = PostgresServer(
            folder=folder / "postgres", port=free_port(), password="of-the-faults", durable=False
        )
        self.exchange_port = free_port()
        self.bus: Bus
        self.raw: Client
        self._keeper: asyncio.Task[None] | None = None

    # --- beginning and end -----------------------------------------------------------------------

    async def open(self) -> None:
        (self.folder / "logs").mkdir()
        self.nats.start()
        await asyncio.to_thread(self.postgres.prepare)
        self.postgres.launch()
        self._start_exchange()
        await asyncio.to_thread(self.nats.wait)
        await asyncio.to_thread(self.postgres.wait)
        await asyncio.to_thread(self.migrate)
        await provision(self.nats.settings)
        self.bus = await Bus.connect(self.nats.settings, account="planner")
        self.raw = await self._raw_client()
        await self._until(self._exchange_answers, "the exchange")
        await self._make_proxies()
        self.environ = self._settings()
        for name in self.services:
            self.start(name)
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for child in self.children.values():
            end(child)
        with contextlib.suppress(Exception):
            await self.raw.close()
            await self.bus.close()
        for proxy in self.proxies.values():
            await proxy.close()
        for server in (self.nats, self.postgres):
            if server.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    server.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.05)  # transports close at the loop's next turns

    def migrate(self) -> None:
        migrate_address(self.postgres.url, logins_folder=self.folder / "logins")

    async def _raw_client(self) -> Client:
        """Plain nats-py as the owner of the streams: what reads them, and an attacker who got
        further than the bus lets anybody get.
        """
        return await raw_client(
            self.nats,
            PROVISION,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            ping_interval=2,
            error_cb=_quiet,
        )

    async def _make_proxies(self) -> None:
        ports = {
            "nats": self.nats.port,
            "postgres": self.postgres.port,
            "exchange": self.exchange_port,
        }
        links = ("executor-nats", "executor-postgres", "executor-exchange", "risk-nats")
        for link in links:
            far = link.partition("-")[2]
            tap = self._note_posts if link == "executor-exchange" else None
            self.proxies[link] = Proxy(ports[far], tap=tap)
            await self.proxies[link].start()

    def _note_posts(self, data: bytes) -> None:
        for found in POSTED_ID.finditer(data):
            self.sent.append(Sent(client_order_id=found[1].decode(), at=now()))

    # --- settings --------------------------------------------------------------------------------

    def _settings(self) -> dict[str, str]:
        """Limits wide enough that what is wished for is mostly approved; patience short."""
        exchange = f"http://127.0.0.1:{self.exchange_port}"
        return {
            "BOT_MODE": "live",
            "ALPACA_ENV": "sim",
            "ALPACA_CLOCK_SPEED": f"{SPEED:g}",
            "ALPACA_API_KEY": KEY,
            "ALPACA_SECRET_KEY": SECRET,
            "ALPACA_BASE_URL": exchange,
            "ALPACA_DATA_URL": exchange,
            "ALPACA_CONNECT_TIMEOUT_SECONDS": "2",
            "ALPACA_READ_TIMEOUT_SECONDS": "3",
            "NATS_URL": self.nats.url,
            "NATS_SEEDS_FOLDER": str(self.nats.seeds_folder),
            "DATABASE_URL": self.postgres.url,
            "DATABASE_LOGINS_FOLDER": str(self.folder / "logins"),
            "RISK_SIGNING_KEY": self.keys.private,
            "RISK_VERIFY_KEY": self.keys.public,
            "TICK_SECONDS": str(int(SPEED * 60 / self.ticks_per_minute)),
            "WHEEL_UNIVERSE": ",".join(SYMBOLS),
            **WIDE_LIMITS,
            "REPRICE_SECONDS": "120",
            "APPROVAL_TTL_SECONDS": str(APPROVAL_SECONDS),
            "SETTLE_SECONDS": "2",
            "ORDER_POLL_SECONDS": "15",
            "EXECUTOR_REQUESTS_PER_MINUTE": "100",
            "MARKET_REQUESTS_PER_MINUTE": "100",
            **self.changes,
        }

    def _environ_of(self, service: str) -> dict[str, str]:
        """What a service is given, with the proxies its connections lead through."""
        environ = environ_for(service, self.environ)
        login = environ.pop("DATABASE_URL_FILE", None)
        if login is not None:
            environ["DATABASE_URL"] = Path(login).read_text().strip()
        ports = {
            "nats": ("NATS_URL", self.nats.port),
            "postgres": ("DATABASE_URL", self.postgres.port),
            "exchange": ("ALPACA_BASE_URL", self.exchange_port),
        }
        for link, proxy in self.proxies.items():
            near, _, far = link.partition("-")
            if near == service:
                variable, port = ports[far]
                environ[variable] = environ[variable].replace(f":{port}", f":{proxy.port}")
        return environ

    # --- processes -------------------------------------------------------------------------------

    def start(self, name: str, *, instance: str = "", clock_offset_seconds: int = 0) -> None:
        """A service; `instance` names a second one of the same kind."""
        child = service_child(name, self.environ, self.folder / "logs")
        child.environ = self._environ_of(name)
        child.name = name + instance
        child.log_path = self.folder / "logs" / f"{child.name}.log"
        if clock_offset_seconds:
            module = ["-m", "tests.faults.clock", name, str(clock_offset_seconds)]
            child.command = [sys.executable, *module]
        child.start(time.monotonic())
        self.children[child.name] = child
        self.held_down.discard(child.name)

    def _start_exchange(self) -> None:
        config = ExchangeConfig(
            port=self.exchange_port,
            seed=7,
            start_date=START,
            symbols=list(SYMBOLS),
            cash=Decimal(1_000_000_000),
            speed=SPEED,
            wait_for_client=True,
            rate_limit_per_minute=1_000_000,
            key=KEY,
            secret=SECRET,
            state_path=str(self.folder / "exchange.json"),
        )
        environ = environ_for("exchange", {})
        environ["EXCHANGE_CONFIG"] = msgspec.json.encode(config).decode()
        child = Child(
            name="exchange",
            command=[sys.executable, "-m", "services.exchange"],
            environ=environ,
            log_path=self.folder / "logs" / "exchange.log",
        )
        child.start(time.monotonic())
        self.children["exchange"] = child

    async def _keep(self) -> None:
        """Starts again what died, as a service manager would; not what gave up for good."""
        for turn in itertools.count(1):
            for child in list(self.children.values()):
                if child.name not in self.held_down and not alive(child):
                    self._start_again(child)
            if "nats" not in self.held_down and self.nats.ended:
                with contextlib.suppress(OSError):  # its disk is full; it is tried again
                    self.nats.start()
            elif self._is_time(turn) and await asyncio.to_thread(self.nats.sick):
                await asyncio.to_thread(self.nats.stop)
                self.nats.start()
                self.cures += 1
            if "postgres" not in self.held_down and self.postgres.ended:
                self.postgres.launch()
            await asyncio.sleep(KEEP_SECONDS)

    def _is_time(self, turn: int) -> bool:
        return "nats" not in self.held_down and turn % TURNS_BETWEEN_CHECKS == 0

    def _start_again(self, child: Child) -> None:
        assert child.process is not None
        if child.process.returncode == EXIT_BROKEN_PROMISE:
            self.gave_up.append(f"{child.name}: {tail(child.log_path, 3)}")
            self.held_down.add(child.name)
            return
        child.start(time.monotonic())

    def kill(self, name: str) -> None:
        child = self.children.get(name)
        if child is not None and alive(child) and child.process is not None:
            child.process.kill()
            child.process.wait()
            self.kills[name.removesuffix("-2")] += 1

    def signal_to(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, KeyError):
            process = {"nats": self.nats.process, "postgres": self.postgres.process}.get(
                name
            ) or self.children[name].process
            if process is not None and process.poll() is None:
                os.kill(process.pid, number)

    def kill_nats(self) -> None:
        if self.nats.process is not None and not self.nats.ended:
            self.nats.process.kill()
            self.nats.process.wait()
            self.kills["nats"] += 1

    def kill_postgres(self) -> None:
        """The postmaster; its backends notice and end by themselves, as after a crash."""
        if self.postgres.process is not None and not self.postgres.ended:
            self.postgres.process.kill()
            self.postgres.process.wait()
            self.kills["postgres"] += 1

    def stop_postgres(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT for the postmaster and all its backends."""
        import psutil

        if self.postgres.process is None or self.postgres.ended:
            return
        with contextlib.suppress(psutil.Error):
            postmaster = psutil.Process(self.postgres.process.pid)
            for process in (postmaster, *postmaster.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)

    # --- the operator ----------------------------------------------------------------------------

    async def say(self, verb: str) -> bool:
        """`alpaclaudia halt` and `resume`, as the operator's own process. Whether it worked."""
        environ = environ_for("operator", {}) | {
            name: self.environ[name]
            for name in (
                "NATS_URL",
                "NATS_SEEDS_FOLDER",
                "DATABASE_URL",
                "DATABASE_LOGINS_FOLDER",
                "ALPACA_ENV",
            )
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli", verb, "--why", "a schedule says so"),
            env=environ,
            cwd=Path.cwd(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait() == 0

    def count(self, table: str) -> int:
        """Rows of a table."""
        with psycopg.connect(self.postgres.url, connect_timeout=5) as connection:
            found = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[arg-type]  # noqa: S608
        assert found is not None
        return int(found[0])

    # --- the exchange ----------------------------------------------------------------------------

    async def exchange(self, method: str, path: str, **how: Any) -> Any:
        """Straight to the exchange. Raises requests.RequestException, AssertionError."""
        return await asyncio.to_thread(self._exchange, method, path, **how)

    def _exchange(self, method: str, path: str, **how: Any) -> Any:
        url = f"http://127.0.0.1:{self.exchange_port}{path}"
        answer = requests.request(method, url, headers=KEYS, timeout=REQUEST_SECONDS, **how)
        assert answer.status_code in (200, 204), (path, answer.status_code, answer.text[:300])
        return answer.json() if answer.content else None

    async def _exchange_answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            await self.exchange("GET", "/sim/health")
            return True
        return False

    async def _until(self, check: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await check():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            await asyncio.sleep(0.05)


def alive(child: Child) -> bool:
    return child.process is not None and child.process.poll() is None


def end(child: Child) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.kill()
    if child.process is not None:
        child.process.wait()


async def _quiet(_error: Exception) -> None:
    """Servers that are killed are no news here."""
