"""Real servers for the integration tests: one Postgres a run, one NATS and one database a test."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from libs.common.migrate import migrate_address
from libs.common.provisioning import provision
from libs.common.runtime import run_service
from libs.common.settings_table import BY_VARIABLE
from libs.common.signing import KeyPair, generate_keypair
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from tests.containers.engine import trouble
from tests.integration.broker import Broker
from tests.integration.discord import Discord
from tests.integration.servers import (
    LOGINS,
    TEMPLATE,
    administer,
    choose,
    folder_of_its_own,
    make_database,
    make_nats,
    make_postgres,
)
from tests.integration.world import (
    End,
    Process,
    RunningExchange,
    World,
    service_process,
    told_to_stop_after,
)


@pytest.fixture(scope="session", autouse=True)
def servers(request: pytest.FixtureRequest) -> None:
    """The one place that chooses: every NATS and every Postgres below is of this kind."""
    kind: str = request.config.getoption("--servers")
    if kind == "containers":
        missing = trouble()
        if missing:
            pytest.skip(missing)
    choose(kind)


@pytest.fixture(scope="session")
def postgres(servers: None) -> Iterator[PostgresServer]:
    """With an empty database of the name `postgres` and a migrated one to copy. What tests make
    is left until the end: dropping a database costs a checkpoint each time.
    """
    with folder_of_its_own() as folder:
        yield from _serve_postgres(folder)


def _serve_postgres(folder: Path) -> Iterator[PostgresServer]:
    server = make_postgres(folder)
    server.start()
    try:
        server.wait()
        administer(server, f"create database {TEMPLATE}")
        migrate_address(server.url_of(TEMPLATE), logins_folder=folder / LOGINS)
        yield server
    finally:
        server.stop()


@pytest.fixture
def database_url(postgres: PostgresServer) -> str:
    """A migrated database of the test's own."""
    return make_database(postgres)


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> str:
    return make_database(postgres, template="template0")


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    """A server without streams."""
    with folder_of_its_own() as folder:
        server = make_nats(folder)
        yield server
        if server.process is not None:
            server.process.kill()  # nothing of it is needed any more, and a proper end takes time
        server.stop()


@pytest.fixture
def provisioned(nats: NatsServer) -> NatsServer:
    """A server with its streams and consumers."""

    asyncio.run(provision(nats.settings))
    return nats


@pytest.fixture
def refused_connections() -> Iterator[None]:
    """Collects what a refused test left, while its own filters (LEFT_OPEN) hold."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def keys() -> KeyPair:
    """Risk's."""
    return generate_keypair()


@pytest.fixture
async def world(nats: NatsServer, database_url: str, keys: KeyPair) -> AsyncIterator[World]:
    made = World(nats, database_url, keys)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.close()


@pytest.fixture
def discord() -> Iterator[Discord]:
    made = Discord()
    yield made
    made.close()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Callable[..., RunningExchange]]:
    made: list[RunningExchange] = []

    def start(**changes: object) -> RunningExchange:
        made.append(RunningExchange(tmp_path, **changes))
        return made[-1]

    yield start
    for running in made:
        running.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts a service as a process; what still runs at the end of the test is killed."""
    started: list[Process] = []

    def start(name: str, environ: dict[str, str]) -> Process:
        started.append(service_process(name, environ, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def run_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., End]]:
    """Runs a service in this process, as its own would, until it ends by itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(name: str, environ: dict[str, str]) -> End:
        for variable in BY_VARIABLE:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in (environ | {"ALPACLAUDIA_ENV_FILE": ""}).items():
            monkeypatch.setenv(variable, value)
        body = importlib.import_module(f"services.{name}.service").serve
        with told_to_stop_after(40):
            status = run_service(name, body)
        return End(status, capfd.readouterr().err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    with warnings.catch_warnings():  # what a process that ends leaves for the system to close
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
