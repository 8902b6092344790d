"""The servers of the integration tests in containers, as the embedded ones are driven: the same
configuration, ports of this machine, killed and started again with what they had stored.
"""

from __future__ import annotations

import os
from typing import Any

from testcontainers.community.nats import NatsContainer
from testcontainers.community.postgres import PostgresContainer

from libs.common.bus_accounts import USERS
from libs.common.nats_configuration import ServerPlace, render
from libs.common.nkey_files import make_seeds
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer

NATS_IMAGE, POSTGRES_IMAGE = "nats:2.15-alpine", "postgres:17"
LOOPBACK = "127.0.0.1"


class ContainerProcess:
    """What tests do to a server's process, done to its container."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def kill(self) -> None:
        self._container.kill()

    def wait(self, timeout: float | None = None) -> int:
        return int(self._container.wait(timeout=timeout)["StatusCode"])

    def poll(self) -> int | None:
        self._container.reload()
        if self._container.status == "running":
            return None
        return int(self._container.attrs["State"]["ExitCode"])


class NatsInContainer(NatsServer, kw_only=True):
    container: Any = None

    def start(self) -> None:
        if self.container is not None:
            self.container.get_wrapped_container().start()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats.conf"
        place = ServerPlace(listen="0.0.0.0:4222", store_folder=str(self.folder / "jetstream"))
        path.write_text(render(place, make_seeds(self.seeds_folder, USERS)))
        made = NatsContainer(NATS_IMAGE, user=f"{os.getuid()}:{os.getgid()}")
        made.with_volume_mapping(str(self.folder), str(self.folder), "rw")
        made.with_command(["-c", str(path)])
        made.ports = {4222: (LOOPBACK, self.port)}
        made.start()
        self.container = made
        self.process = ContainerProcess(made.get_wrapped_container())  # type: ignore[assignment]

    def stop(self) -> None:
        if self.container is not None:
            self.container.stop()
        self.container = self.process = None


class PostgresInContainer(PostgresServer, kw_only=True):
    container: Any = None

    def prepare(self) -> None:
        """Its image makes the cluster."""

    def launch(self) -> None:
        made = PostgresContainer(
            POSTGRES_IMAGE,
            username=self.user,
            password=self.password,
            dbname="postgres",
            driver=None,
        )
        made.with_command(
            "postgres -c fsync=off -c max_connections=50 -c shared_buffers=64MB"
            " -c log_min_messages=warning"
        )
        made.ports = {5432: (LOOPBACK, self.port)}
        made.start()
        self.container = made

    def wait(self) -> None:
        """It was waited for while it started."""

    @property
    def ended(self) -> bool:
        return False

    def stop(self) -> None:
        if self.container is not None:
            self.container.stop()
        self.container = None
