"""Planted secrets, a run of everything with the most talkative logs, and a search for them in all
that it printed, said and stored: they are where they belong and nowhere else.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import psycopg
import pytest

from libs.common.bus_accounts import USERS
from libs.common.database_roles import ROLES
from libs.common.nkey_files import read_seed, seed_path
from services.cli.home import Credentials, home_folder, running_stack
from services.cli.supervisor import SERVICES
from tests.integration.servers import folder_of_its_own
from tests.integration.world import Process, RunningExchange

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="reads other processes' environment"),
]

KEY = "PKPLANTEDKEYPLANTED7"
SECRET = "planted-secret-of-alpaca-Zq8xW"
TOKEN = "planted-token-of-discord-Hn3vT"
COMMANDS = (
    ("config",),
    ("config", "--json"),
    ("status",),
    ("status", "--json"),
    ("tick", "--json"),
    ("dump-state", "--rows", "100000"),
    ("watch", ">", "--json", "--seconds", "2"),
    ("report",),
    ("report", "--post"),
)


class _Hook(BaseHTTPRequestHandler):
    """Takes every report."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Seen:
    """All that one run printed, stored, and had as processes."""

    def __init__(self, folder: Path, exchange: RunningExchange, hook_port: int) -> None:
        self.home = folder / "home"
        self.folder = folder
        (folder / "key").write_text(f"{KEY}\n")
        self.environ = {
            "ALPACLAUDIA_HOME": str(self.home),
            "BOT_MODE": "live",
            "ALPACA_ENV": "sim",
            "ALPACA_API_KEY_FILE": str(folder / "key"),
            "ALPACA_SECRET_KEY": SECRET,
            "ALPACA_BASE_URL": exchange.url,
            "ALPACA_DATA_URL": exchange.url,
            "ALPACA_CLOCK_SPEED": "3900",
            "TICK_SECONDS": "7800",
            "WHEEL_UNIVERSE": "KO,AAPL",
            "LOG_LEVEL": "DEBUG",
            "DISCORD_WEBHOOK_URL": f"http://127.0.0.1:{hook_port}/api/webhooks/1/{TOKEN}",
            "WEBHOOK_HOST": f"127.0.0.1:{hook_port}",
        }
        loop = self._start("loop", environ=self.environ)
        try:
            self._wait_until(lambda: self._run("status") == 0)
            self.statuses = {command: self._run(*command) for command in COMMANDS}
            self.processes = self._processes(loop.popen.pid)
            self.rows = self._rows()
            self.held = self._held()
        finally:
            loop.popen.terminate()
            self.loop_status = loop.status(60)

    def _start(self, *arguments: str, environ: dict[str, str]) -> Process:
        number = len(list(self.folder.glob("output-*")))
        path = self.folder / f"output-{number}-{arguments[0]}.txt"
        return Process([sys.executable, "-m", "services.cli", *arguments], environ, path)

    def _run(self, *arguments: str) -> int:
        """As in another terminal, which knows of the state folder and nothing else."""
        environ = {"ALPACLAUDIA_HOME": str(self.home)}
        return self._start(*arguments, environ=environ).status(60)

    def _wait_until(self, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not check():
            assert time.monotonic() < deadline, "the loop did not get ready"

    def _processes(self, pid: int) -> dict[str, tuple[str, str]]:
        """Command line and environment of every process of the run, by what it is."""
        found: dict[str, tuple[str, str]] = {}
        for child in psutil.Process(pid).children(recursive=True):
            words = child.cmdline()
            name = words[-1] if words and "services." in words[-1] else child.name()
            if name in found:  # Postgres' own children
                name = f"{name} {child.pid}"
            found[name] = (" ".join(words), json.dumps(child.environ()))
        return found

    def _rows(self) -> dict[str, str]:
        """Every row of every table, as the operator may read them."""
        running = running_stack(home_folder(self.environ))
        assert running is not None
        with psycopg.connect(running.environ["DATABASE_URL"]) as connection:
            tables = connection.execute(
                "select tablename from pg_tables where schemaname='public'"
            ).fetchall()
            return {
                table: str(connection.execute(f"select t::text from {table} t").fetchall())  # type: ignore[arg-type]  # noqa: S608
                for (table,) in tables
            }

    def _held(self) -> dict[str, str]:
        """The stack's own secrets, by name: made at its start."""
        folder = self.home / "loop"
        held = {
            f"seed of {user}": read_seed(seed_path(folder / "nats" / "seeds", user))
            for user in USERS
        }
        for path in (folder / "logins").iterdir():
            held[f"password of {path.stem}"] = path.read_text().split("@")[0].rpartition(":")[2]
        kept = json.loads((folder / "credentials.json").read_text())
        held |= {name: kept[name] for name in Credentials.__struct_fields__ if name != "verify_key"}
        return held

    @property
    def secrets(self) -> dict[str, str]:
        planted = {"alpaca's key": KEY, "alpaca's secret": SECRET, "discord's token": TOKEN}
        return planted | self.held

    def files(self) -> dict[str, bytes]:
        """Everything written, but the files that are there to hold secrets, and Postgres' own."""
        kept = {".nk", ".url"}
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
            and path.suffix not in kept
            and path.name not in ("credentials.json", "running.json", "key")
            and "postgres/data" not in str(path)
        }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    hook = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    serving = threading.Thread(target=hook.serve_forever, args=(0.05,))
    serving.start()
    with folder_of_its_own() as folder:
        exchange = RunningExchange(
            tmp_path_factory.mktemp("exchange"),
            key=KEY,
            secret=SECRET,
            symbols=["KO", "AAPL"],
            speed=3900.0,
        )
        try:
            yield Seen(folder, exchange, hook.server_port)
        finally:
            exchange.close()
            hook.shutdown()
            serving.join()
            hook.server_close()


def test_the_run_was_a_whole_one(seen: Seen) -> None:
    """Else there would be nothing to find."""
    assert seen.loop_status == 0
    assert {c[0]: s for c, s in seen.statuses.items() if s} == {}
    assert {f"services.{name}" for name in SERVICES} <= set(seen.processes)
    assert {"nats-server", "postgres"} <= set(seen.processes)
    assert all(rows != "[]" for table, rows in seen.rows.items() if table in ("ticks", "plans"))
    assert len(seen.secrets) > 15
    written = seen.files()
    assert sum(name.endswith(".log") for name in written) >= len(SERVICES) + 2
    assert any("jetstream" in name and b"KO" in content for name, content in written.items())


def test_no_secret_is_printed_or_stored_but_where_it_is_kept(seen: Seen) -> None:
    found = [
        f"{what} in {name}"
        for name, content in seen.files().items()
        for what, secret in seen.secrets.items()
        if secret.encode() in content
    ]
    assert found == []


def test_no_secret_is_in_the_books(seen: Seen) -> None:
    found = [
        f"{what} in {table}"
        for table, text in seen.rows.items()
        for what, secret in seen.secrets.items()
        if secret in text
    ]
    assert found == []


def test_no_secret_is_in_the_process_list(seen: Seen) -> None:
    found = [
        f"{what} on the command line of {name}"
        for name, (words, _) in seen.processes.items()
        for what, secret in seen.secrets.items()
        if secret in words
    ]
    assert found == []


def test_a_secret_is_in_no_environment_but_its_owners(seen: Seen) -> None:
    """A key given as a value is in its owners' environment; one in a file is in nobody's."""
    holders = {
        what: {name for name, (_, environ) in seen.processes.items() if secret in environ}
        for what, secret in seen.secrets.items()
    }
    assert {what: names for what, names in holders.items() if names} == {
        "alpaca's secret": {"services.market", "services.executor"},
        "discord's token": {"services.reporter"},
        "signing_key": {"services.risk"},
    }


def test_no_process_knows_where_anothers_secrets_are_kept(seen: Seen) -> None:
    for name in SERVICES:
        _, environ = seen.processes[f"services.{name}"]
        seeds = [user for user in USERS if f"/{user}.nk" in environ]
        assert seeds == [name]
        logins = [role.name for role in ROLES if f"/{role.name}.url" in environ]
        assert logins == ([name] if name in ("executor", "reporter") else [])


def test_what_holds_secrets_is_readable_by_its_owner_only(seen: Seen) -> None:
    holders = [
        path
        for path in (seen.home / "loop").rglob("*")
        if path.suffix in (".nk", ".url") or path.name in ("credentials.json", "running.json")
    ]
    assert len(holders) > 10
    assert [path.name for path in holders if path.stat().st_mode & 0o077] == []
