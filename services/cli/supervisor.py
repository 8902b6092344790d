"""Runs the service processes: starts them, restarts what dies, ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from libs.common.bus_accounts import BY_NAME as BUS_ACCOUNTS
from libs.common.bus_accounts import OPERATOR
from libs.common.database_roles import login_path
from libs.common.nkey_files import seed_path
from libs.common.promises import BrokenPromiseError
from libs.common.runtime import EXIT_BROKEN_PROMISE, SUPERVISOR_PID
from libs.embedded.processes import spawn, tail

SERVICES = ("market", "planner", "risk", "executor", "reporter")

START_ORDER = (("market", "executor"), ("planner", "risk", "reporter"))
"""Each group is ready before the next starts: the two that import alpaca-py first and together,
since on a small machine all at once would be slower for every one of them.
"""

BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_SECONDS = 30.0
"""A process that lived this long starts its backoff anew."""
WATCH_SECONDS = 0.1
STOP_SECONDS = 2.5

SECRETS_OF: dict[str, frozenset[str]] = {
    "NATS_NKEY_SEED": frozenset(),  # that of whoever starts them; each service has its own
    "ALPACA_API_KEY": frozenset({"market", "executor"}),
    "ALPACA_SECRET_KEY": frozenset({"market", "executor"}),
    "RISK_SIGNING_KEY": frozenset({"risk"}),
    "DATABASE_URL": frozenset({"executor", "reporter", OPERATOR}),
    "DISCORD_WEBHOOK_URL": frozenset({"reporter", OPERATOR}),
}
"""Secrets and the only services that are given them, and those the operator's commands need."""


class SupervisorError(RuntimeError):
    """A process that does not get ready; the text carries its last words."""


def environ_for(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings a service is given: all but the secrets of others; its own key to the bus, and
    its own role's address, where they are kept in folders.
    """
    kept = settings_for(service, settings)
    seeds = kept.pop("NATS_SEEDS_FOLDER", None)
    if seeds and service in BUS_ACCOUNTS:
        kept["NATS_NKEY_SEED_FILE"] = str(seed_path(Path(seeds), service))
    logins = kept.pop("DATABASE_LOGINS_FOLDER", None)
    if logins and service in SECRETS_OF["DATABASE_URL"]:
        kept.pop("DATABASE_URL", None)
        kept["DATABASE_URL_FILE"] = str(login_path(Path(logins), service))
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
        or name.startswith(("PYTHON", "REQUESTS_", "SSL_", "HTTPS_"))
    }
    kept |= metrics_place(service, kept)
    return inherited | kept | {SUPERVISOR_PID: str(os.getpid()), "ALPACLAUDIA_ENV_FILE": ""}


def metrics_place(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """METRICS_PORT for the first service, the next ports for the others: they share a machine."""
    text = settings.get("METRICS_PORT", "")
    if service not in SERVICES or not text.isdigit() or int(text) == 0:
        return {}
    return {"METRICS_PORT": str(int(text) + SERVICES.index(service))}


def settings_for(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Without the secrets of others."""
    return {
        name: value
        for name, value in settings.items()
        if service in SECRETS_OF.get(name.removesuffix("_FILE"), frozenset({service}))
    }


class Child(msgspec.Struct, kw_only=True):
    """One supervised process."""

    name: str
    command: list[str]
    environ: dict[str, str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started_at_seconds: float = 0.0
    failures: int = 0
    restarts: int = 0
    start_again_at_seconds: float | None = None
    stopping: bool = False

    def start(self, now_seconds: float) -> None:
        self.process = spawn(self.command, log_path=self.log_path, environ=self.environ)
        self.started_at_seconds = now_seconds
        self.start_again_at_seconds = None


def service_child(service: str, settings: Mapping[str, str], logs: Path) -> Child:
    return Child(
        name=service,
        command=[sys.executable, "-m", f"services.{service}"],
        environ=environ_for(service, settings),
        log_path=logs / f"{service}.log",
    )


class Supervisor:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._children: list[Child] = []
        self.stopping = False

    @property
    def restarts(self) -> int:
        return sum(child.restarts for child in self._children)

    def start(self, child: Child) -> None:
        child.start(asyncio.get_running_loop().time())
        self._children.append(child)

    async def watch(self) -> None:
        """Until cancelled: restarts what died. Raises BrokenPromiseError when one ended
        for a reason that no restart mends."""
        while True:
            for child in self._children:
                self._tend(child)
            await asyncio.sleep(WATCH_SECONDS)

    def _tend(self, child: Child) -> None:
        now = asyncio.get_running_loop().time()
        if child.start_again_at_seconds is not None:
            if now >= child.start_again_at_seconds and not self.stopping:
                child.restarts += 1
                child.start(now)
            return
        if child.process is None or child.process.poll() is None:
            return
        if self.stopping or child.stopping:
            return
        status = child.process.returncode
        if status == EXIT_BROKEN_PROMISE:
            raise BrokenPromiseError(f"{child.name} cannot go on:\n{tail(child.log_path)}")
        if now - child.started_at_seconds > STEADY_SECONDS:
            child.failures = 0
        pause = BACKOFF_SECONDS[min(child.failures, len(BACKOFF_SECONDS) - 1)]
        child.failures += 1
        child.start_again_at_seconds = now + pause
        self._say(f"{child.name} ended ({ending(status)}); it starts again in {pause:g} s")

    async def stop(self, names: frozenset[str] | None = None) -> None:
        """SIGTERM to all (or the named), and SIGKILL to those that have not ended in time."""
        if names is None:
            self.stopping = True
        chosen = [child for child in self._children if names is None or child.name in names]
        for child in chosen:
            child.stopping = True
            child.start_again_at_seconds = None
            _signal(child, signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if all(child.process is None or child.process.poll() is not None for child in chosen):
                break
            await asyncio.sleep(0.02)
        for child in chosen:
            if child.process is not None and child.process.poll() is None:
                _signal(child, signal.SIGKILL)
                child.process.wait()
        self._children = [child for child in self._children if child not in chosen]


def ending(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"status {status}"


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(number)
