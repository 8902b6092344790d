"""`alpaclaudia demo` as a person or a script runs it: two runs, and the ways it may not begin.

The first run is looked at from other terminals while it goes on; the second goes on from the
first's state, loses a service on the way, and is ended by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.embedded.processes import port_taken
from services.cli.home import Running
from services.cli.supervisor import SERVICES
from tests.integration.servers import folder_of_its_own
from tests.integration.world import Process

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

COMMAND = (sys.executable, "-m", "services.cli")
START_SECONDS = 60.0
KEYS = {
    "ticks",
    "intents",
    "approved",
    "blocked",
    "submitted",
    "filled",
    "assigned",
    "expired",
    "called_away",
    "trailing_stops",
    "errors",
    "equity",
    "first_tick_seconds",
}


class Terminal:
    """Starts commands in one state folder and keeps what each of them wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.outputs: list[Path] = []
        self._started: list[Process] = []

    def start(self, *arguments: str, home: Path | None = None) -> Process:
        path = self.folder / f"output-{len(self.outputs)}.txt"
        self.outputs.append(path)
        environ = {"ALPACLAUDIA_HOME": str(home or self.home)}
        self._started.append(Process([*COMMAND, *arguments], environ, path))
        return self._started[-1]

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        return process.status(), process.log

    def running(self) -> Running:
        """The stack that runs, once it can be found."""
        path = self.home / "demo" / "running.json"
        eventually(path.exists, "the demo to announce itself")
        return msgspec.json.decode(path.read_bytes(), type=Running)

    def healthy(self) -> dict[str, Any]:
        """`status --json` of the running demo, once every service is ready."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            status, said = self.run("status", "--json")
            if status == 0:
                found.append(json.loads(said))
            return bool(found)

        eventually(look, "every service to be ready")
        return found[0]

    def secrets(self) -> list[str]:
        """All that the stack's credentials hold but the public key, and the bus's seeds."""
        text = (self.home / "demo" / "credentials.json").read_text()
        kept: dict[str, str] = json.loads(text)
        seeds = [path.read_text().strip() for path in self.home.rglob("*.nk")]
        return [*seeds, *(value for name, value in kept.items() if name != "verify_key")]

    def written(self) -> dict[str, str]:
        """Everything commands and services wrote, by file."""
        logs = self.home.rglob("*.log")
        return {str(p): p.read_text(errors="replace") for p in [*self.outputs, *logs]}

    def end(self) -> None:
        for process in self._started:
            process.kill()


def eventually(check: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not check():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def processes_of(home: Path) -> dict[int, str]:
    """What runs of a stack: by its folder on the command line, in the environment or as place."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            environ = (folder / "environ").read_bytes().decode(errors="replace")
            place = os.readlink(folder / "cwd")
            if any(str(home) in text for text in (command, environ, place)):
                found[int(folder.name)] = command
    return found


def services_of(supervisor_pid: int) -> dict[int, str]:
    """The services and the exchange of one supervisor, by process id."""
    mark = f"ALPACLAUDIA_SUPERVISOR_PID={supervisor_pid}\0"
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().decode(errors="replace") + "\0":
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                found[int(folder.name)] = " ".join(words)
    return found


def ports_of(running: Running) -> list[int]:
    urls = [running.environ[name] for name in ("NATS_URL", "DATABASE_URL", "ALPACA_BASE_URL")]
    return [int(url.rpartition(":")[2].partition("/")[0]) for url in urls]


def last_line(process: Process) -> dict[str, Any]:
    lines = [line for line in process.log.splitlines() if line.startswith("{")]
    assert len(lines) == 1, process.log
    assert process.log.rstrip().splitlines()[-1] == lines[0] or "no process is left" in process.log
    found: dict[str, Any] = json.loads(lines[0])
    return found


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    with folder_of_its_own() as folder:
        made = Terminal(folder)
        yield made
        made.end()


class FirstRun:
    """What was seen of the first run, from its start to its last line."""

    def __init__(self, terminal: Terminal) -> None:
        demo = terminal.start("demo", "--fresh", "--seconds", "25", "--json")
        self.running = terminal.running()
        self.second_demo = terminal.run("demo", "--seconds", "5", "--json")
        self.status = terminal.healthy()
        self.status_shown = terminal.run("status")
        self.tick = terminal.run("tick", "--json")
        self.config = terminal.run("config", "--json")
        self.dump = terminal.run("dump-state", "--rows", "50")
        self.watch = terminal.run("watch", ">", "--seconds", "1.5")
        self.while_it_ran = processes_of(terminal.home) | services_of(self.running.pid)
        self.exit_status = demo.status(60)
        self.result = last_line(demo)
        self.left = processes_of(terminal.home) | services_of(self.running.pid)
        self.written = terminal.written()
        self.secrets = terminal.secrets()


@pytest.fixture(scope="module")
def first(terminal: Terminal) -> FirstRun:
    return FirstRun(terminal)


def test_a_demo_ends_with_one_line_of_all_that_came_of_it(first: FirstRun) -> None:
    assert first.exit_status == 0
    assert first.result.keys() >= KEYS
    assert first.result["errors"] == 0
    assert first.result["ticks"] > 0
    assert first.result["approved"] + first.result["blocked"] <= first.result["intents"]
    assert float(first.result["equity"]) > 0
    assert first.result["first_tick_seconds"] > 0


def test_a_demo_leaves_no_process_and_no_port(first: FirstRun) -> None:
    names = " ".join(first.while_it_ran.values())
    assert all(f"services.{service}" in names for service in (*SERVICES, "exchange"))
    assert "nats-server" in names
    assert "postgres" in names
    assert first.left == {}
    assert [port for port in ports_of(first.running) if port_taken(port)] == []


def test_two_demos_in_one_folder_are_one_too_many(first: FirstRun) -> None:
    status, said = first.second_demo
    assert status == 1
    assert said.startswith("alpaclaudia: a demo runs already in ")
    assert said.count("\n") == 1


def test_commands_find_the_running_demo(first: FirstRun) -> None:
    assert {service["service"] for service in first.status["services"]} == set(SERVICES)
    assert (first.status["mode"], first.status["environment"]) == ("live", "sim")
    status, said = first.status_shown
    assert status == 0
    assert "BOT_MODE=live ALPACA_ENV=sim" in said
    status, said = first.tick
    assert status == 0, said
    assert json.loads(said)["tick_id"].startswith("tick-")
    status, said = first.config
    assert status == 0
    assert {row["variable"] for row in json.loads(said)} >= {"BOT_MODE", "ALPACA_SECRET_KEY"}
    status, said = first.dump
    assert status == 0
    document = json.loads(said)
    assert document["tables"].keys() >= {"ticks", "order_intents", "events"}
    assert document["streams"]["EVENTS"] > 0
    status, said = first.watch
    assert status == 0
    assert "market" in said


def test_no_secret_is_written_or_shown_anywhere(first: FirstRun) -> None:
    assert len(first.secrets) >= 4 + len(SERVICES)
    leaks = [
        f"{place}: {secret[:3]}…"
        for secret in first.secrets
        for place, text in [*first.written.items(), *map(_named, first.while_it_ran.items())]
        if secret in text
    ]
    assert leaks == []


def _named(process: tuple[int, str]) -> tuple[str, str]:
    pid, command = process
    return f"command line of {pid}", command


def test_the_next_demo_goes_on_survives_a_death_and_ends_by_ctrl_c(
    terminal: Terminal, first: FirstRun
) -> None:
    demo = terminal.start("demo", "--json")
    running = terminal.running()
    before = {s["service"]: s["pid"] for s in terminal.healthy()["services"]}
    os.kill(before["planner"], signal.SIGKILL)

    def planner_again() -> bool:
        after = {s["service"]: s.get("pid") for s in terminal.healthy()["services"]}
        return after["planner"] not in (None, before["planner"])

    eventually(planner_again, "another planner")
    status, said = terminal.run("tick", "--json")
    assert status == 0, said
    demo.popen.send_signal(signal.SIGINT)
    assert demo.status() == 0
    result = last_line(demo)
    assert "going on from" in demo.log
    assert "planner ended (killed by SIGKILL); it starts again" in demo.log
    assert result["market_time"] > first.result["market_time"]
    assert result["ticks"] > 0
    assert result["errors"] == 1, "the restart"
    assert processes_of(terminal.home) | services_of(running.pid) == {}
    assert [port for port in ports_of(running) if port_taken(port)] == []


# --- ways it may not begin -----------------------------------------------------------------------


def test_a_taken_port_is_named_and_nothing_is_left(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        started = {
            option: terminal.start(
                "demo", "--json", option, str(port), home=terminal.folder / option.strip("-")
            )
            for option in ("--nats-port", "--postgres-port", "--exchange-port")
        }
        for option, demo in started.items():
            assert demo.status() == 1
            (line,) = [x for x in demo.log.splitlines() if x.startswith("alpaclaudia: ")]
            assert f"port {port} of 127.0.0.1" in line
            assert "is taken" in line
            assert option in line
            assert processes_of(terminal.folder / option.strip("-")) == {}


def test_a_folder_that_cannot_be_used_is_named(terminal: Terminal) -> None:
    file = terminal.folder / "a-file"
    file.touch()
    demo = terminal.start("demo", "--json", home=file / "below")
    assert demo.status() == 1
    assert f"the state folder {file / 'below'} cannot be written" in demo.log
    assert "ALPACLAUDIA_HOME" in demo.log
    assert demo.log.count("\n") == 1
