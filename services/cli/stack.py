"""A whole system on this machine: servers, exchange, services, started in order and ended in order.

Each step waits for what it needs by asking it, never by sleeping: servers for their ports, the
schema and the streams for their making, the exchange for its health page, services for their
first heartbeat that says `ready`.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import msgspec

from libs.common.bus import Bus, BusError
from libs.common.bus_accounts import OPERATOR
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import Heartbeat
from libs.common.provisioning import provision
from libs.common.settings import DatabaseSettings, Settings
from libs.common.settings_sources import load_settings
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import EmbeddedServerError, free_port, port_taken, tail
from services.cli.home import Credentials, StackFolder
from services.cli.supervisor import (
    SERVICES,
    START_ORDER,
    Child,
    Supervisor,
    SupervisorError,
    environ_for,
    service_child,
    settings_for,
)
from services.exchange.config import ExchangeConfig

log = logging.getLogger(__name__)

READY_SECONDS = 30.0
POLL_SECONDS = 0.03
SERVER_WATCH_SECONDS = 0.5
TURNS_BETWEEN_CHECKS = 10

Say = Callable[[str], None]


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `environ` holds the services' settings; what is embedded is filled in."""

    environ: dict[str, str]
    exchange: ExchangeConfig | None = None
    embedded_nats: bool = True
    embedded_postgres: bool = True
    nats_port: int = 0
    postgres_port: int = 0
    exchange_port: int = 0


class Stack:
    def __init__(self, plan: StackPlan, folder: StackFolder, say: Say) -> None:
        self.plan = plan
        self.folder = folder
        self.say = say
        self.environ = dict(plan.environ)
        self.supervisor = Supervisor(say)
        self.watching: asyncio.Task[None] | None = None
        self.bus: Bus | None = None
        self.bus_made: asyncio.Future[Bus] = asyncio.get_running_loop().create_future()
        self._credentials: Credentials = folder.credentials()
        self._nats: NatsServer | None = None
        self._postgres: PostgresServer | None = None
        self._ready: set[str] = set()
        self.server_restarts = 0

    # --- starting ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises EmbeddedServerError, SupervisorError, BusError or DatabaseError, each with one
        clear text.
        """
        self.environ["RISK_SIGNING_KEY"] = self._credentials.signing_key
        self.environ["RISK_VERIFY_KEY"] = self._credentials.verify_key
        self._start_nats()
        self._start_exchange()
        self.watching = asyncio.create_task(self._watch())
        await self._guarded(self._bring_up())

    async def _watch(self) -> None:
        """Restarts what dies, servers and services alike; raises what no restart mends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.supervisor.watch())
            group.create_task(self._watch_servers())

    async def _watch_servers(self) -> None:
        """The servers keep their ports and their data, so the services find them again."""
        for turn in itertools.count(1):
            await asyncio.sleep(SERVER_WATCH_SECONDS)
            if self._nats is not None and self._nats.ended:
                self._note_restart("NATS")
                self._nats.start()
            elif self._nats is not None and turn % TURNS_BETWEEN_CHECKS == 0:
                await self._cure(self._nats)
            if self._postgres is not None and self._postgres.ended:
                self._note_restart("Postgres")
                self._postgres.launch()

    async def _cure(self, nats: NatsServer) -> None:
        if sickness := await asyncio.to_thread(nats.sick):
            self.say("NATS stores nothing any more since its disk was full; it is started again")
            log.error("NATS: %s", sickness)
            await asyncio.to_thread(nats.stop)
            nats.start()
            self.server_restarts += 1

    def _note_restart(self, name: str) -> None:
        self.server_restarts += 1
        self.say(f"{name} ended; it is started again")

    @property
    def restarts(self) -> int:
        return self.supervisor.restarts + self.server_restarts

    async def _bring_up(self) -> None:
        await asyncio.gather(self._database(), self._streams(), self._exchange_ready())
        self.folder.announce(self._operators_environ())
        for group in START_ORDER:
            for service in group:
                self.supervisor.start(service_child(service, self.environ, self.folder.logs))
            await self._services_ready(group)

    @property
    def settings(self) -> Settings:
        """What the environment says now; what is embedded fills it in as it starts."""
        return load_settings(self.environ, env_file=None, cwd=Path.cwd()).settings

    def _operators_environ(self) -> dict[str, str]:
        """For commands in other terminals: nothing of the owner's, or of any service's."""
        from libs.common.database import address_for

        environ = settings_for(OPERATOR, self.environ)
        database = self.settings.database
        if environ.pop("DATABASE_LOGINS_FOLDER", None) is not None:
            environ["DATABASE_URL"] = str(address_for(database, OPERATOR))
        return environ

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Does the work unless a supervised process says first that it cannot go on."""
        task = asyncio.create_task(work)
        watching = self.watching
        assert watching is not None  # noqa: S101  # start() made it
        await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.raise_what_broke()
        task.result()

    def raise_what_broke(self) -> None:
        """Raises the first cause when watching ended by itself."""
        if self.watching is None or not self.watching.done() or self.watching.cancelled():
            return
        cause = self.watching.exception()
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if cause is not None:
            raise cause

    def _start_nats(self) -> None:
        if not self.plan.embedded_nats:
            return
        self._nats = NatsServer(
            folder=self.folder.path / "nats",
            port=self.plan.nats_port or free_port(),
            monitor_port=free_port(),
        )
        self._nats.start()
        self.environ["NATS_URL"] = self._nats.url
        self.environ["NATS_SEEDS_FOLDER"] = str(self._nats.seeds_folder)

    def _start_exchange(self) -> None:
        config = self.plan.exchange
        if config is None:
            return
        port = self.plan.exchange_port or free_port()
        if port_taken(port):
            raise EmbeddedServerError(
                f"port {port} of 127.0.0.1, which the exchange would listen on, is taken;"
                " end what uses it or choose another with --exchange-port"
            )
        config = msgspec.structs.replace(
            config,
            port=port,
            key=self._credentials.exchange_key,
            secret=self._credentials.exchange_secret,
            state_path=str(self.folder.path / "exchange.json"),
        )
        url = f"http://127.0.0.1:{port}"
        self.environ |= {
            "ALPACA_API_KEY": config.key,
            "ALPACA_SECRET_KEY": config.secret,
            "ALPACA_BASE_URL": url,
            "ALPACA_DATA_URL": url,
        }
        environ = environ_for("exchange", {})
        environ["EXCHANGE_CONFIG"] = msgspec.json.encode(config).decode()
        self.supervisor.start(
            Child(
                name="exchange",
                command=[sys.executable, "-m", "services.exchange"],
                environ=environ,
                log_path=self.folder.logs / "exchange.log",
            )
        )

    async def _database(self) -> None:
        if self.plan.embedded_postgres:
            self._postgres = PostgresServer(
                folder=self.folder.path / "postgres",
                port=self.plan.postgres_port or free_port(),
                password=self._credentials.postgres_password,
            )
            await asyncio.to_thread(self._postgres.prepare)
            self._postgres.launch()
            await asyncio.to_thread(self._postgres.wait)
            self.environ["DATABASE_URL"] = self._postgres.url
            self.environ["DATABASE_LOGINS_FOLDER"] = str(self.folder.path / "logins")
            self.say("Postgres is up")
        revision = await asyncio.to_thread(_migrate, self.settings.database)
        self.say(f"the database is at revision {revision}")

    async def _streams(self) -> None:
        if self._nats is not None:
            await asyncio.to_thread(self._nats.wait)
            self.say("NATS is up")
        settings = self.settings.bus
        made = await provision(settings)
        self.say(f"streams and consumers are provisioned ({len(made)} new)")
        self.bus = await Bus.connect(settings, account=OPERATOR)
        self.bus_made.set_result(self.bus)
        await self.bus.watch("feed.ops.heartbeat.*.*", self._on_heartbeat)

    async def _exchange_ready(self) -> None:
        if self.plan.exchange is None:
            return
        port = int(self.environ["ALPACA_BASE_URL"].rpartition(":")[2])
        log_path = self.folder.logs / "exchange.log"
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while not await asyncio.to_thread(_healthy, port):
            if asyncio.get_running_loop().time() > deadline or self.supervisor.restarts > 2:
                raise SupervisorError(f"the exchange does not start:\n{tail(log_path)}")
            await asyncio.sleep(POLL_SECONDS)
        self.say("the simulated exchange is up")

    def _on_heartbeat(self, subject: str, payload: bytes) -> None:
        with suppress(UndecodableError):
            beat = decode_message(subject, payload)
            if (
                isinstance(beat, Heartbeat)
                and beat.state in ("ready", "standby")
                and beat.service not in self._ready
            ):
                self._ready.add(beat.service)
                self.say(f"{beat.service} is ready")

    async def _services_ready(self, names: tuple[str, ...]) -> None:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while not self._ready.issuperset(names):
            if asyncio.get_running_loop().time() > deadline:
                missing = sorted(set(names) - self._ready)
                words = "\n".join(tail(self.folder.logs / f"{name}.log") for name in missing)
                raise SupervisorError(f"{', '.join(missing)} did not get ready:\n{words}")
            await asyncio.sleep(POLL_SECONDS)

    # --- ending --------------------------------------------------------------------------------

    async def stop_services(self) -> None:
        await self.supervisor.stop(frozenset(SERVICES))

    async def stop(self) -> None:
        """Services first, then the exchange, then the servers their words were written to."""
        await self.supervisor.stop()
        if self.watching is not None:  # before the servers, or they would be started again
            self.watching.cancel()
            await asyncio.gather(self.watching, return_exceptions=True)
        if self.bus is not None:
            with suppress(BusError):
                await self.bus.close()
        for server in (self._nats, self._postgres):
            if server is not None:
                await asyncio.to_thread(server.stop)


def _migrate(settings: DatabaseSettings) -> str:
    # Imported here, while Postgres starts: SQLAlchemy and Alembic cost half a second.
    from libs.common.migrate import migrate_address

    folder = settings.logins_folder
    return migrate_address(
        settings.address or "", logins_folder=None if folder is None else Path(folder)
    )


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/sim/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
