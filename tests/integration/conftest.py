"""Real servers for the integration tests: one Postgres a run, one NATS and one database a test."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from libs.common.database import engine_for
from libs.common.migrate import migrate
from libs.common.runtime import run_service
from libs.common.settings_table import BY_VARIABLE
from libs.common.signing import KeyPair, generate_keypair
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import free_port
from tests.integration.faulty_broker import FaultyBroker
from tests.integration.world import (
    End,
    Process,
    RunningExchange,
    World,
    service_process,
    told_to_stop_after,
)

TEMPLATE = "migrated"
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """With an empty database of the name `postgres` and a migrated one to copy."""
    server = PostgresServer(
        folder=tmp_path_factory.mktemp("postgres"),
        port=free_port(),
        password="of-the-tests",
        durable=False,
    )
    server.start()
    try:
        server.wait()
        _administer(server, f"create database {TEMPLATE}")
        engine = engine_for(server.url_of(TEMPLATE), application="tests")
        migrate(engine)
        engine.dispose()
        yield server
    finally:
        server.stop()


def _administer(server: PostgresServer, statement: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def make_database(server: PostgresServer, *, template: str = TEMPLATE) -> str:
    name = f"test_{next(_numbers)}"
    _administer(server, f"create database {name} template {template}")
    return server.url_of(name)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database of the test's own."""
    url = make_database(postgres)
    yield url
    _administer(postgres, f"drop database {url.rpartition('/')[2]} with (force)")


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    url = make_database(postgres, template="template0")
    yield url
    _administer(postgres, f"drop database {url.rpartition('/')[2]} with (force)")


def make_nats(folder: Path) -> NatsServer:
    server = NatsServer(folder=folder, port=free_port(), user="tests", password="of-the-tests")
    server.start()
    server.wait()
    return server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server without streams."""
    server = make_nats(tmp_path / "nats")
    yield server
    server.stop()


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
def broker() -> Iterator[FaultyBroker]:
    made = FaultyBroker()
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


@pytest.fixture
def command_environ(tmp_path: Path) -> dict[str, str]:
    """For `alpaclaudia` as a process: no settings of ours, and a state folder in the test's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"ALPACLAUDIA_HOME": str(tmp_path / "home"), "ALPACLAUDIA_ENV_FILE": ""}
