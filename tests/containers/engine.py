"""A Docker engine, and a stack of compose.yaml on it, as tests drive them: by `docker` itself."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
SERVICES = ("market", "planner", "risk", "executor", "reporter")
SERVERS = ("nats", "postgres", "exchange")
ONE_SHOTS = ("secrets", "provision", "migrate")
WAIT_SECONDS = 90.0


class EngineError(AssertionError):
    """A command of docker's that failed; the text has its words."""


def docker(*words: str, environ: dict[str, str] | None = None, fails: bool = False) -> str:
    """What it says, both streams. With `fails` it is expected to refuse."""
    done = subprocess.run(
        ["docker", *words],  # noqa: S607
        cwd=ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": "1", **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if (done.returncode != 0) is not fails:
        raise EngineError(f"docker {' '.join(words)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def trouble() -> str | None:
    """Why nothing here can run, in one line."""
    try:
        docker("compose", "version")
        docker("info")
    except FileNotFoundError:
        return "no Docker engine: there is no `docker` on this machine"
    except EngineError as error:
        return f"no Docker engine answers: {str(error).strip().splitlines()[-1]}"
    return None


def until(found: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


class Stack(msgspec.Struct, kw_only=True):
    """One project of compose.yaml with volumes of its own."""

    project: str
    environ: dict[str, str]

    def compose(self, *words: str, fails: bool = False) -> str:
        return docker("compose", "-p", self.project, *words, environ=self.environ, fails=fails)

    def up(self, *words: str) -> None:
        """Returns when all that has a health check is healthy."""
        self.compose("up", "-d", "--wait", *words)

    def run_in(self, service: str, *words: str, index: int = 1, fails: bool = False) -> str:
        return self.compose("exec", "-T", f"--index={index}", service, *words, fails=fails)

    def alpaclaudia(self, *words: str, service: str = "operator", fails: bool = False) -> str:
        return self.run_in(service, "alpaclaudia", *words, fails=fails)

    def python(self, service: str, code: str, *, fails: bool = False) -> str:
        return self.run_in(service, "python", "-c", code, fails=fails)

    def ids(self, service: str = "") -> list[str]:
        """Containers, ended ones too, in the order of their index."""
        words = (service,) if service else ()
        listed = self.compose("ps", "-a", "--format", "json", *words).splitlines()
        rows = [json.loads(line) for line in listed if line.startswith("{")]
        return [row["ID"] for row in sorted(rows, key=lambda row: row["Name"])]

    def inspect(self, service: str = "") -> list[dict[str, Any]]:
        ids = self.ids(service)
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found

    def lines(self, service: str) -> list[dict[str, Any]]:
        """The log of all its containers, line by line."""
        return [
            msgspec.json.decode(line)
            for one in self.ids(service)
            for line in docker("logs", one).splitlines()
        ]

    def sql(self, query: str) -> list[tuple[str, ...]]:
        """Asked as the database's owner, inside its container."""
        command = ("psql", "-U", "alpaclaudia", "-d", "alpaclaudia", "-qAtF|", "-c", query)
        return [tuple(line.split("|")) for line in self.run_in("postgres", *command).splitlines()]

    def count(self, query: str) -> int:
        return int(self.sql(f"select count(*) from {query}")[0][0])  # noqa: S608  # written in a test

    def kill(self, service: str, index: int = 1) -> None:
        """SIGKILL to the process itself, from inside: as a crash, and not as somebody's wish, on
        which the engine would leave the container down.
        """
        # A moment later, or it would meet the shell that says it.
        soon = "(sleep 0.2; kill -KILL -1) >/dev/null 2>&1 &"
        self.compose("exec", "-T", f"--index={index}", service, "sh", "-c", soon)

    def state_of(self, service: str, index: int = 1) -> str:
        """Of a service, by its last beat."""
        try:
            said = self.run_in(service, "alpaclaudia", "status", "--json", index=index)
            state: str = json.loads(said.splitlines()[-1])["state"]
        except EngineError:
            return "unwell"
        return state

    def ticks(self) -> int:
        return self.count("ticks")


def health(container: dict[str, Any]) -> str:
    state = container["State"]
    return str(state.get("Health", state)["Status"])


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])
