"""`alpaclaudia loop` on servers of one's own, as the runbook says: NATS from `provision --out` and
Postgres with `migrate --logins`, both spoken to under TLS only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.embedded.nats import nats_server_binary
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import accepts, free_port
from tests.conformity.served import KEY, SECRET
from tests.integration.authority import Authority, in_front_of
from tests.integration.servers import LOGINS, make_database
from tests.integration.world import RunningExchange, rows

pytestmark = pytest.mark.integration


def alpaclaudia(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "ALPACLAUDIA_ENV_FILE": ""} | environ
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def test_a_loop_on_servers_of_ones_own(postgres: PostgresServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority", "ours")
    certificate, key = authority.certify("127.0.0.1")
    port = free_port()
    bus = tmp_path / "bus"
    done = alpaclaudia(
        {}, "provision", "--out", str(bus), "--listen", f"127.0.0.1:{port}",
        "--store", str(bus / "store"), "--tls-cert", str(certificate), "--tls-key", str(key),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    server = subprocess.Popen([nats_server_binary(), "-c", str(bus / "nats.conf"), "-l",
                               str(bus / "log")])  # fmt: skip
    owner = make_database(postgres, template="template0")
    exchange = RunningExchange(tmp_path, cash=Decimal(60_000), speed=3900.0)
    try:
        with in_front_of(postgres.port, certificate, key) as front:
            environ = {
                "ALPACLAUDIA_HOME": str(tmp_path / "home"),
                "NATS_URL": f"nats://127.0.0.1:{port}",
                "NATS_SEEDS_FOLDER": str(bus / "seeds"),
                "NATS_TLS_CA": str(authority.certificate_path),
                "DATABASE_URL": owner.replace(f":{postgres.port}/", f":{front.port}/"),
                "DATABASE_TLS_CA": str(authority.certificate_path),
                # The cluster is the other tests' too: its passwords are these.
                "DATABASE_LOGINS_FOLDER": str(_copy(postgres.folder / LOGINS, tmp_path / "logins")),
                "BOT_MODE": "live",
                "ALPACA_ENV": "sim",
                "ALPACA_API_KEY": KEY,
                "ALPACA_SECRET_KEY": SECRET,
                "ALPACA_BASE_URL": exchange.url,
                "ALPACA_DATA_URL": exchange.url,
                "ALPACA_CLOCK_SPEED": "3900",
                "TICK_SECONDS": "7800",
                "WHEEL_UNIVERSE": "KO",
            }
            _wait_for(port)
            outcome = alpaclaudia(environ, "loop", "--seconds", "25", "--json")
    finally:
        exchange.close()
        server.kill()
        server.wait()
    assert outcome.returncode == 0, outcome.stderr
    tally: dict[str, Any] = json.loads(outcome.stdout)
    assert tally["errors"] == 0, outcome.stderr
    assert tally["ticks"] > 0
    assert rows(owner, "select count(*) as n from plans")[0]["n"] > 0


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while not accepts(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_text(path.read_text())
    return target
