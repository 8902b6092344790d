"""The real servers behind the tests: where they keep their files, and a database for each test."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import free_port

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")  # noqa: S108  # the folders made there are of random names
MEMORY_BYTES_MIN = 3 * 1024**3
LOGINS = "logins"
_numbers = count(1)
_LOGINS: dict[str, Path] = {}
_KINDS: dict[Any, Any] = {NatsServer: NatsServer, PostgresServer: PostgresServer}


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
    """Its owner's address. The roles of a migrated one find theirs by `logins_of`."""
    name = f"test_{next(_numbers)}"
    administer(server, f"create database {name} template {template}")
    url = server.url_of(name)
    if template == TEMPLATE:
        _LOGINS[url] = server.folder / f"logins-{name}"
        _LOGINS[url].mkdir()
        for path in (server.folder / LOGINS).iterdir():
            text = path.read_text().replace(f"/{TEMPLATE}", f"/{name}")
            (_LOGINS[url] / path.name).write_text(text)
    return url


def logins_of(url: str) -> dict[str, str]:
    """The setting with which each service signs in to a test's database as its own role."""
    return {"DATABASE_LOGINS_FOLDER": str(_LOGINS[url])} if url in _LOGINS else {}


def choose(kind: str) -> None:
    """`embedded` or `containers`, for all that is made from here on."""
    if kind == "containers":
        from tests.integration.container_servers import NatsInContainer, PostgresInContainer

        _KINDS.update({NatsServer: NatsInContainer, PostgresServer: PostgresInContainer})


def make_postgres(folder: Path) -> PostgresServer:
    """Not started yet, and not durable."""
    kind = _KINDS[PostgresServer]
    return kind(folder=folder, port=free_port(), password="of-the-tests", durable=False)


def make_nats(folder: Path) -> NatsServer:
    server = _KINDS[NatsServer](folder=folder, port=free_port())
    server.start()
    server.wait()
    return server
