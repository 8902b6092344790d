"""What the benchmarks of the whole path stand on: real servers and the real service processes.

A nats-server under the generated configuration (every acknowledged message is on disk), a Postgres
that syncs each commit, and services as processes with settings of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import nats
from nats.aio.client import Client

from libs.common.bus import Bus
from libs.common.bus_accounts import OPERATOR, inbox_prefix
from libs.common.contracts import Heartbeat
from libs.common.migrate import migrate_address
from libs.common.nkey_files import read_seed, seed_path
from libs.common.provisioning import provision
from libs.common.signing import KeyPair, generate_keypair
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import free_port, tail
from services.cli.supervisor import Child, service_child

READY_SECONDS = 120.0
SYMBOL = "KO"
WIDE_LIMITS = {
    "DTE_MIN": "5",
    "DTE_MAX": "14",
    "MIN_OPEN_INTEREST": "0",
    "MAX_SPREAD_PCT": "100",
    "CASH_BUFFER": "0",
    "MAX_POSITION_PCT": "100",
    "MAX_TOTAL_PCT": "1000",
    "MAX_SHORT_PUTS": "1000",
    "MAX_ORDERS_PER_MINUTE": "100000",
    "MAX_MESSAGES_PER_MINUTE": "100000",
    "MAX_ORDERS_PER_DAY": "100000",
    "MAX_REPEATS_PER_DAY": "100000",
    "REDUCE_DAILY_LOSS_PCT": "0",
    "HALT_DAILY_LOSS_PCT": "0",
    "REDUCE_DRAWDOWN_PCT": "0",
    "HALT_DRAWDOWN_PCT": "0",
    "MAX_ORDER_NOTIONAL": "1000000000",
    "EXECUTOR_MAX_NOTIONAL": "1000000000",
    "PRICE_COLLAR_PCT": "1000",
    "EXECUTOR_PRICE_COLLAR_PCT": "1000",
    "QUOTE_AGE_SECONDS_MAX": "3600",
    "ENTRY_MINUTES_BEFORE_CLOSE": "0",
    "PORTFOLIO_AGE_SECONDS_MAX": "7200",
}
"""Settings under which whatever is wished for is planned, approved and sent."""


class StandError(RuntimeError):
    """A service that does not get ready; the text carries its last words."""


class Stand:
    """A nats-server, a Postgres, and the services that were started on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.keys: KeyPair = generate_keypair()
        self.nats = NatsServer(folder=folder / "nats", port=free_port())
        self.postgres = PostgresServer(
            folder=folder / "postgres", port=free_port(), password="of-the-benchmarks"
        )
        self.address = self.postgres.url
        self.children: dict[str, Child] = {}

    async def open(self) -> None:
        self.nats.start()
        self.postgres.start()
        self.nats.wait()
        self.postgres.wait()
        migrate_address(self.address, logins_folder=self.folder / "logins")
        await provision(self.nats.settings)

    async def start(self, names: tuple[str, ...], changes: Mapping[str, str]) -> None:
        """The named services, one after the other; returns when each says that it is ready."""
        bus = await Bus.connect(self.nats.settings, account=OPERATOR)
        try:
            for name in names:
                child = service_child(name, self.environ() | dict(changes), self.logs)
                self.children[name] = child
                child.start(time.monotonic())
                await self._ready(bus, name)
        finally:
            await bus.close()

    async def _ready(self, bus: Bus, name: str) -> None:
        ready = asyncio.Event()

        def on_beat(_subject: str, payload: bytes) -> None:
            if msgspec.json.decode(payload, type=Heartbeat).state == "ready":
                ready.set()

        await bus.watch(f"feed.ops.heartbeat.{name}.*", on_beat)
        child = self.children[name]
        deadline = time.monotonic() + READY_SECONDS
        while not ready.is_set():
            ended = child.process is not None and child.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise StandError(f"{name} does not get ready:\n{tail(child.log_path, 20)}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), 0.1)

    def end(self, name: str) -> None:
        process = self.children.pop(name).process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

    def close(self) -> None:
        for name in list(self.children):
            self.end(name)
        self.nats.stop()
        self.postgres.stop()

    async def raw(self, account: str) -> Client:
        """Plain nats-py under an account's key."""
        return await nats.connect(
            self.nats.url,
            nkeys_seed_str=read_seed(seed_path(self.nats.seeds_folder, account)),
            inbox_prefix=inbox_prefix(account),
        )

    def environ(self) -> dict[str, str]:
        """Limits so wide that every wish passes, and nothing timed comes between."""
        return {
            "BOT_MODE": "live",
            "ALPACA_ENV": "sim",
            "ALPACA_API_KEY": "key",
            "ALPACA_SECRET_KEY": "secret",
            "NATS_URL": self.nats.url,
            "NATS_SEEDS_FOLDER": str(self.nats.seeds_folder),
            "DATABASE_URL": self.address,
            "DATABASE_LOGINS_FOLDER": str(self.folder / "logins"),
            "RISK_SIGNING_KEY": self.keys.private,
            "RISK_VERIFY_KEY": self.keys.public,
            "WHEEL_UNIVERSE": SYMBOL,
            **WIDE_LIMITS,
            # So that the limit of requests, which is counted in the broker's minutes, never bites.
            "EXECUTOR_REQUESTS_PER_MINUTE": "190",
            "MARKET_REQUESTS_PER_MINUTE": "10",
            "ALPACA_CLOCK_SPEED": "6",
            "ORDER_POLL_SECONDS": "300",
            "RECONCILE_SECONDS": "86400",
        }


@contextlib.asynccontextmanager
async def stands(count: int = 1) -> AsyncIterator[list[Stand]]:
    """Open stands, each with servers of its own; all of it gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="alpaclaudia-bench-") as folder:
        made = [Stand(Path(folder) / str(number)) for number in range(count)]
        try:
            for stand in made:
                await stand.open()
            yield made
        finally:
            for stand in made:
                stand.close()


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
