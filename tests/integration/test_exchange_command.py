"""`alpaclaudia exchange` as a real process, and what a browser and a client meet there."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockLatestQuoteRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from services.exchange.prices.calendar import load_calendar

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "services.cli", "exchange"]
ROOT = Path(__file__).parents[2]
Serve = Callable[..., "Serving"]


class Serving:
    """`exchange serve --json` with some options; `ready` is its line."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"ALPACLAUDIA_ENV_FILE": ""},
        )

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.ended()
        found: dict[str, Any] = json.loads(line)
        self.url = found["trading_url"]
        return found

    def ended(self) -> tuple[int, str, str]:
        """(status, what was left of its output, its errors) once it ended."""
        output, errors = self.process.communicate(timeout=20)
        return self.process.returncode, output, errors

    def end(self, signum: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(signum)
        return self.ended()

    def command(self, *arguments: str) -> Any:
        """The JSON that a command against this exchange prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"ALPACLAUDIA_EXCHANGE_URL": self.url}
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    started: list[Serving] = []

    def run(*options: str) -> Serving:
        started.append(Serving(*options))
        return started[-1]

    yield run
    for serving in started:
        if serving.process.poll() is None:
            serving.process.kill()
        serving.process.communicate(timeout=20)


def quiet(serve: Serve, *options: str) -> tuple[Serving, dict[str, Any]]:
    """One that stands still on a free port."""
    serving = serve("--json", "--port=0", "--paused", "--symbols=AAPL,KO", *options)
    return serving, serving.ready()


@pytest.fixture(scope="module")
def running(serve: Serve) -> tuple[Serving, dict[str, Any]]:
    return quiet(serve, "--stocks=KO=100", "--cash=50000")


def test_the_line_says_all_a_client_needs_and_is_the_only_one(serve: Serve) -> None:
    serving, ready = quiet(serve, "--from=2020-03-02")
    assert ready["pid"] == serving.process.pid
    address = ready["trading_url"].removeprefix("http://")
    assert ready["data_url"] == ready["trading_url"]
    assert ready["stream_url"] == f"ws://{address}/stream"
    assert ready["stock_stream_url"] == f"ws://{address}/v2/iex"
    assert ready["option_stream_url"] == f"ws://{address}/v1beta1/indicative"
    assert ready["simulated_time"] == "2020-03-02T14:30:00Z"
    assert requests.get(ready["openapi_url"], timeout=5).json()["openapi"].startswith("3.1")
    assert requests.get(ready["page_url"], timeout=5).status_code == 200
    status, output, errors = serving.end()
    assert (status, output) == (0, "")
    assert errors == "alpaclaudia: ended; the books were in memory only\n"


def test_without_json_a_person_reads_it(serve: Serve) -> None:
    serving = serve("--port=0", "--symbols=KO", "--key=my-key", "--secret=my-secret")
    assert serving.process.stdout is not None
    lines = iter(serving.process.stdout.readline, "Ctrl-C ends it.\n")
    text = "".join(itertools.islice(lines, 100))
    for words in ("answers", "my-key", "my-secret", "synthetic", "url_override", "openapi.json"):
        assert words in text
    assert serving.end(signal.SIGINT)[0] == 0


def test_alpaca_py_trades_there(running: tuple[Serving, dict[str, Any]]) -> None:
    _, ready = running
    keys = ready["key"], ready["secret"]
    trading = TradingClient(*keys, url_override=ready["trading_url"])
    data = StockHistoricalDataClient(*keys, url_override=ready["data_url"])
    order = trading.submit_order(
        MarketOrderRequest(symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    )
    assert order.symbol == "AAPL"
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))["KO"]
    assert 0 < quote.bid_price < quote.ask_price
    trading._session.close()
    data._session.close()


@pytest.mark.parametrize(
    "host", ["paper-api.alpaca.markets", "data.alpaca.markets", "localhost:1", "exchange", "[::1]"]
)
def test_any_host_header_is_answered_alike(
    running: tuple[Serving, dict[str, Any]], host: str
) -> None:
    _, ready = running
    headers = {
        "Host": host,
        "APCA-API-KEY-ID": ready["key"],
        "APCA-API-SECRET-KEY": ready["secret"],
    }
    answer = requests.get(f"{ready['trading_url']}/v2/clock", headers=headers, timeout=5)
    assert answer.status_code == 200
    assert requests.get(f"{ready['trading_url']}/sim/state", headers=headers, timeout=5).ok


def test_a_port_in_use_is_said_in_one_line(running: tuple[Serving, dict[str, Any]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "serve", f"--port={port}", "--symbols=KO"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"--port {port}: cannot listen on 127.0.0.1:{port}" in line
    assert "choose another --port (0: any free one)" in line


def test_kept_books_go_on_with_their_keys(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "books.json"
    serving, first = quiet(serve, f"--state={path}", "--seed=5", "--cash=1234")
    serving.command("step", "--sessions=2")
    serving.command("open", "second", "--cash=77")
    status, _, errors = serving.end()
    assert (status, errors) == (0, f"alpaclaudia: state saved in {path}\n")
    # Neither seed nor symbols nor keys need be named again.
    serving = serve("--json", "--port=0", "--paused", f"--state={path}", "--cash=9")
    again = serving.ready()
    assert (again["key"], again["secret"]) == (first["key"], first["secret"])
    state = serving.command("state")
    assert state["seed"] == 5
    assert state["simulated_time"] == "2020-02-05T14:30:00Z"
    assert [account["cash"] for account in state["accounts"]] == ["1234", "77"]
    assert "--cash is not used" in serving.end()[2]
    for options, words in (
        (["--key=other"], "--key other: no account there has this key"),
        (["--secret=other"], "--secret (not shown): it is not that of the account"),
        (["--seed=6"], "belongs to seed 5"),
    ):
        status, _, errors = serve("--port=0", f"--state={path}", *options).ended()
        assert status in (1, 2)
        assert words in errors.splitlines()[-1]


def test_accounts_are_opened_reset_and_closed(running: tuple[Serving, dict[str, Any]]) -> None:
    serving, ready = running
    made = serving.command("open", "odd?key%2F", "--cash=1000", "--stocks=KO=3")
    assert made["positions"] == {"KO": "3"}
    headers = {"APCA-API-KEY-ID": "odd?key%2F", "APCA-API-SECRET-KEY": made["secret"]}
    answer = requests.get(f"{ready['trading_url']}/v2/account", headers=headers, timeout=5)
    assert answer.json()["cash"] == "1000"
    assert serving.command("reset", "odd?key%2F", "--cash=5")["cash"] == "5"
    assert [one["key"] for one in serving.command("accounts")] == [ready["key"], "odd?key%2F"]
    serving.command("close", "odd?key%2F")
    refused = serving.run("close", "odd?key%2F")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no account has the key 'odd?key%2F'" in refused.stderr


def test_time_is_driven_by_hand(running: tuple[Serving, dict[str, Any]]) -> None:
    serving, _ = running
    before = serving.command("state")["simulated_time"]
    assert serving.command("step", "--minutes=30")["simulated_time"] > before
    assert serving.command("step", "--to=close")["is_open"] is False
    assert serving.command("step", "--to=open")["is_open"] is True
    assert serving.command("speed", "60")["speed"] == 60
    assert serving.command("resume")["paused"] is False
    assert serving.command("pause")["paused"] is True
    assert "market time" in serving.run("step").stdout
    backwards = serving.run("step", "--to=2020-01-02T15:00:00Z")
    assert backwards.returncode == 1
    assert "time does not go back" in backwards.stderr


def test_dividends_and_splits_are_announced(running: tuple[Serving, dict[str, Any]]) -> None:
    serving, _ = running
    assert serving.command("dividend", "ko", "0.41", "--ex-date=2020-04-01")["rate"] == "0.41"
    made = serving.command("split", "AAPL", "4:1", "--ex-date=2020-04-02")
    assert (made["new_rate"], made["old_rate"]) == ("4", "1")
    refused = serving.run("dividend", "NOPE", "1", "--ex-date=2020-04-01")
    assert refused.returncode == 1
    assert "NOPE" in refused.stderr


# --- other prices ------------------------------------------------------------------------------


def test_bars_of_ones_own_begin_on_the_first_day_they_allow(serve: Serve, tmp_path: Path) -> None:
    sessions = load_calendar().between(dt.date(2023, 1, 1), dt.date(2023, 6, 30))
    rows = [f"{session.date},{100 + n / 10}" for n, session in enumerate(sessions)]
    (tmp_path / "OWN.csv").write_text("\n".join(["date,close", *rows]))
    ready = serve("--json", "--port=0", "--paused", f"--bars={tmp_path}").ready()
    began = dt.datetime.fromisoformat(ready["simulated_time"]).date()
    assert sessions[0].date < began < sessions[40].date
    (quote,) = requests.get(f"{ready['trading_url']}/sim/quotes", timeout=5).json()
    assert quote["symbol"] == "OWN"
    assert quote["bid"] < quote["last"] < quote["ask"]


def test_a_walk_has_any_symbols_on_any_dates(serve: Serve) -> None:
    options = ("--walk", "--symbols=ZZZ", "--from=2025-06-02")
    ready = serve("--json", "--port=0", "--paused", *options).ready()
    assert ready["simulated_time"] == "2025-06-02T13:30:00Z"
    quotes = requests.get(f"{ready['trading_url']}/sim/quotes", timeout=5).json()
    assert [quote["symbol"] for quote in quotes] == ["ZZZ"]


# --- the page ----------------------------------------------------------------------------------


def test_faults_are_set_met_and_healed(running: tuple[Serving, dict[str, Any]]) -> None:
    serving, ready = running
    clock = f"{ready['trading_url']}/v2/clock"
    headers = {"APCA-API-KEY-ID": ready["key"], "APCA-API-SECRET-KEY": ready["secret"]}
    made = serving.command(
        "fault", "error", "--on=GET /v2/clock", "--status=503", "--times=1", "--id=mine"
    )
    assert made["id"] == "mine"
    looks = [requests.get(clock, headers=headers, timeout=5).status_code for _ in range(2)]
    assert looks == [503, 200]
    assert "1 of 2" in serving.run("faults").stdout
    refused = serving.run("fault", "stale_quotes", "--share=0.5")
    assert refused.returncode != 0
    assert "share is not for a fault of kind stale_quotes" in refused.stderr
    assert serving.run("heal", "mine").stdout == "healed mine\n"
    assert serving.command("faults") == []


def test_the_page_needs_nothing_from_elsewhere_and_holds_no_key(
    running: tuple[Serving, dict[str, Any]],
) -> None:
    _, ready = running
    answer = requests.get(ready["page_url"], timeout=5)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert ready["key"] not in answer.text
    assert ready["secret"] not in answer.text
    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text) == []
    # Texts of the books go in as texts.
    assert "innerHTML" not in answer.text
    assert "insertAdjacentHTML" not in answer.text


def test_what_the_page_asks_for_has_no_secret(running: tuple[Serving, dict[str, Any]]) -> None:
    _, ready = running
    page = requests.get(ready["page_url"], timeout=5).text
    asked = set(re.findall(r"[\"'`](/sim/[\w-]+)", page))
    assert asked >= {
        "/sim/state", "/sim/quotes", "/sim/books", "/sim/clock", "/sim/step", "/sim/faults",
    }  # fmt: skip
    for path in [*sorted(asked - {"/sim/books", "/sim/step"}), f"/sim/books/{ready['key']}"]:
        answer = requests.get(ready["trading_url"] + path, timeout=5)
        assert answer.status_code == 200, path
        assert ready["secret"] not in answer.text


def test_the_books_of_an_account_are_those_its_owner_sees(
    running: tuple[Serving, dict[str, Any]],
) -> None:
    serving, ready = running
    url, key = ready["trading_url"], ready["key"]
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": ready["secret"]}
    order = {"symbol": "KO", "qty": 1, "side": "buy", "time_in_force": "gtc"}
    for terms in ({"type": "limit", "limit_price": 1}, {"type": "market"}):
        sent = requests.post(f"{url}/v2/orders", json=order | terms, headers=headers, timeout=5)
        assert sent.status_code == 200, sent.text
    serving.command("step")
    books = requests.get(f"{url}/sim/books/{key}", timeout=5).json()

    def owner(path: str) -> Any:
        return requests.get(url + path, headers=headers, timeout=5).json()

    assert books["account"] == owner("/v2/account")
    assert books["positions"] == owner("/v2/positions")
    assert books["open_orders"] == owner("/v2/orders")
    assert books["latest_orders"][0]["status"] == "filled"
    assert books["activities"][0] == owner("/v2/account/activities")[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/sim/step"), ("PATCH", "/sim/clock"), ("POST", "/sim/accounts"),
     ("DELETE", "/sim/accounts/k"), ("POST", "/sim/corporate-actions")],
)  # fmt: skip
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=lambda headers: " ".join(*headers.items()),
)
def test_another_sites_page_cannot_drive_it(
    running: tuple[Serving, dict[str, Any]], method: str, path: str, headers: dict[str, str]
) -> None:
    _, ready = running
    before = serving_state(ready)
    answer = requests.request(
        method, ready["trading_url"] + path, headers=headers, json={}, timeout=5
    )
    assert answer.status_code == 403
    assert "may not drive the simulation" in answer.json()["message"]
    assert serving_state(ready) == before


def serving_state(ready: dict[str, Any]) -> Any:
    return requests.get(f"{ready['trading_url']}/sim/state", timeout=5).json()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rebound.example.com:8700", 403),
        ("rebound.example.com", 403),
        ("127.0.0.1.example.com:8700", 403),
        ("evil.example.com.:8700", 403),
        ("localhost:8700", 200),
        ("[::1]:8700", 200),
        ("192.168.1.20:8700", 200),
        ("exchange:8700", 200),  # as containers call each other
        ("sim.localhost:8700", 200),
        ("workstation.local:8700", 200),
    ],
)
def test_a_page_may_drive_it_only_under_a_name_that_no_site_can_have(
    running: tuple[Serving, dict[str, Any]], host: str, status: int
) -> None:
    """A site whose name was made to point here has the exchange's own origin."""
    _, ready = running
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    answer = requests.post(f"{ready['trading_url']}/sim/step", headers=headers, timeout=5)
    assert answer.status_code == status


def test_its_own_page_can(running: tuple[Serving, dict[str, Any]]) -> None:
    _, ready = running
    headers = {"Origin": ready["trading_url"], "Sec-Fetch-Site": "same-origin"}
    answer = requests.post(f"{ready['trading_url']}/sim/step", headers=headers, timeout=5)
    assert answer.status_code == 200
