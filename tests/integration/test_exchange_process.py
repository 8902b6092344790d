"""The exchange as a process: it starts with one line or fails with one, and survives restarts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from services.exchange.service import (
    ExchangeError,
    Running,
    read_config,
    serve,
    serve_running,
)

pytestmark = pytest.mark.integration

HEADERS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
Start = Callable[..., "Process"]


class Process:
    def __init__(self, config: dict[str, Any] | str) -> None:
        text = config if isinstance(config, str) else json.dumps(config)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.exchange"],
            env=os.environ | {"EXCHANGE_CONFIG": text},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("exchange ready on http://"), self.failure()
        return line.split()[-1]

    def failure(self) -> tuple[int, str]:
        """(status, what it wrote to stderr) once it ended."""
        _, errors = self._process.communicate(timeout=20)
        return self._process.returncode, errors

    def end(self, signum: int = signal.SIGTERM) -> tuple[int, str]:
        self._process.send_signal(signum)
        return self.failure()

    def make_sure_it_ended(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=20)


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Process] = []

    def run(text: str | None = None, **changes: object) -> Process:
        config = {"key": "k", "secret": "s", "symbols": ["KO"], "seed": 3, "cash": 20_000}
        started.append(Process(text if text is not None else config | changes))
        return started[-1]

    yield run
    for process in started:
        process.make_sure_it_ended()


def submit(url: str, **terms: object) -> requests.Response:
    body = {"symbol": "KO", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    return requests.post(f"{url}/v2/orders", json=body | terms, headers=HEADERS, timeout=5)


def get(url: str, path: str) -> Any:
    return requests.get(url + path, headers=HEADERS, timeout=5).json()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_survives_the_end_of_the_process(
    start: Start, tmp_path: Path, signum: int
) -> None:
    state = str(tmp_path / "exchange.json")
    first = start(state_path=state, speed=60)
    url = first.url()
    filled = submit(url, client_order_id="one", qty=5).json()
    resting = submit(url, client_order_id="two", type="limit", limit_price=20).json()
    status, errors = first.end(signum)
    assert (status, errors) == (0 if signum == signal.SIGTERM else -signum, "")
    url = start(state_path=state, speed=60).url()
    assert get(url, f"/v2/orders/{filled['id']}")["status"] == "filled"
    assert [order["id"] for order in get(url, "/v2/orders")] == [resting["id"]]
    assert get(url, "/v2/positions/KO")["qty"] == "5"
    assert submit(url, client_order_id="one").json()["code"] == 40010001
    assert get(url, "/v2/clock")["timestamp"] > resting["created_at"].replace("Z", "")[:10]


def test_health_and_state_need_no_key(start: Start) -> None:
    url = start(wait_for_client=True, speed=780).url()
    assert requests.get(f"{url}/sim/health", timeout=5).status_code == 200
    state = requests.get(f"{url}/sim/state", timeout=5).json()
    assert (state["speed"], state["seed"], state["symbols"]) == (780, 3, ["KO"])
    assert state["waiting_for_client"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"symbols": ["KO", "TSLA"]}, "no prices for TSLA; known: AAPL, AMD"),
        ({"start_date": "2031-01-01"}, "must be from 1990-02-01 to 2022-12-28"),
        ({"start_date": "never"}, "start_date"),
        ({"speed": 0}, "speed"),
        ({"speeed": 1}, "speeed"),
        ({"cash": "NaN"}, "cash"),
        ({"options_level": 9}, "options_level"),
        ({"stocks": {"KO": -5}}, "stocks"),
        ({"state_path": "/proc/nowhere/state.json"}, "state"),
    ],
)
async def test_a_wrong_configuration_is_refused_in_one_line(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ExchangeError) as refused:
        await serve(read_config(json.dumps({"key": "k", "secret": "s"} | changes)))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_taken_port_ends_it_with_one_line(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, errors = start(port=taken.getsockname()[1]).failure()
    assert status == 1
    assert "cannot listen on 127.0.0.1:" in errors
    assert errors.count("\n") == 1


def test_a_state_of_another_seed_or_a_broken_one_is_refused(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "exchange.json"
    process = start(state_path=str(state))
    process.url()
    process.end()
    status, errors = start(state_path=str(state), seed=4).failure()
    assert (status, "seed 3" in errors) == (1, True)
    state.write_text(state.read_text()[:-40])
    status, errors = start(state_path=str(state)).failure()
    assert (status, "cannot be read" in errors) == (1, True)


def test_two_exchanges_do_not_share_a_state(start: Start, tmp_path: Path) -> None:
    state = str(tmp_path / "exchange.json")
    first = start(state_path=state, paused=True)
    url = first.url()
    assert submit(url).ok
    status, errors = start(state_path=state, paused=True).failure()
    assert (status, errors.count("\n")) == (1, 1)
    assert f"{state} is in use by another exchange (process {first.pid})" in errors
    assert submit(url).ok
    first.end(signal.SIGKILL)  # the lock goes with its process, whatever ends it
    url = start(state_path=state, paused=True).url()
    assert len(get(url, "/v2/orders?status=all")) == 2


class Broken(RuntimeError):  # noqa: N818  # what is broken, not what is raised by the exchange
    pass


def breaks(*_anything: object) -> None:
    raise Broken("the market cannot go on")


async def test_a_market_that_breaks_ends_the_exchange_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "exchange.json"
    settings = {"key": "k", "secret": "s", "speed": 10_000, "state_path": str(state)}
    running = Running(read_config(json.dumps(settings)))
    running.venue.tell_time = breaks
    kept: list[bytes] = []
    with pytest.raises(ExchangeError, match=r"the market stopped.*cannot go on"):
        await serve_running(running, on_ready=lambda _port: kept.append(state.read_bytes()))
    assert "the market stopped" in caplog.text
    assert [state.read_bytes()] == kept


async def test_a_server_that_breaks_ends_the_exchange_with_an_error() -> None:
    running = Running(read_config(json.dumps({"key": "k", "secret": "s", "paused": True})))
    with pytest.raises(ExchangeError, match="the server stopped"):
        await serve_running(running, on_ready=breaks)


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_without_a_configuration_it_says_where_it_comes_from(text: str | None) -> None:
    with pytest.raises(ExchangeError, match="EXCHANGE_CONFIG"):
        read_config(text)
