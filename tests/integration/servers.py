"""The real servers behind the tests: where they keep their files, and a database for each test."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg

from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import free_port

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")  # noqa: S108  # the folders made there are of random names
MEMORY_BYTES_MIN = 3 * 1024**3
_numbers = count(1)


@contextlib.contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """In memory where there is room, since NATS waits for the disk at every write. Not pytest's:
    each run of pytest takes others' right to pass through the folder they share, and as root
    Postgres runs as `nobody`.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    parent = MEMORY if roomy else None
    with tempfile.TemporaryDirectory(prefix="alpaclaudia-tests-", dir=parent) as name:
        yield Path(name)


def administer(server: PostgresServer, statement: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def make_database(server: PostgresServer, *, template: str = TEMPLATE) -> str:
    name = f"test_{next(_numbers)}"
    administer(server, f"create database {name} template {template}")
    return server.url_of(name)


def make_nats(folder: Path) -> NatsServer:
    server = NatsServer(folder=folder, port=free_port())
    server.start()
    server.wait()
    return server
