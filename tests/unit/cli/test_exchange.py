"""`alpaclaudia exchange`: what its options mean, and one clear line for what cannot be."""

from __future__ import annotations

import datetime as dt
import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.commands import app
from services.cli.exchange_serve import Manner, Ready, announcement
from services.cli.exchange_show import accounts_text, clock_text, faults_text
from services.cli.exchange_wishes import AlpacaAccess, Wishes, config_of, told
from services.cli.options import OptionError
from services.exchange.config import ExchangeConfig, ExchangeError
from services.exchange.state_file import KeptAccount, KeptWorld

RUNNER = CliRunner()
ACCESS = AlpacaAccess(key="their-key", secret="their-secret", folder=Path("/kept"))
COMMANDS = (
    "serve", "state", "accounts", "open", "reset", "close", "pause", "resume", "speed", "step",
    "dividend", "split", "faults", "fault", "heal",
)  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests, and an exchange's address where nothing listens."""
    monkeypatch.chdir(tmp_path)
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACLAUDIA_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALPACLAUDIA_EXCHANGE_URL", "http://127.0.0.1:1")


def config(*, kept: KeptWorld | None = None, **wishes: Any) -> ExchangeConfig:
    return config_of(
        Wishes(**wishes), kept=kept, access=ACCESS, drawn=("drawn-key", "drawn-secret")
    )


def complaint(*arguments: str, status: int) -> str:
    result = RUNNER.invoke(app, ["exchange", *arguments])
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    *warnings, line = result.stderr.splitlines()
    rest = [one for one in warnings if "whoever reaches this machine" not in one]
    assert rest == []
    return line.removeprefix("alpaclaudia: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = RUNNER.invoke(app, ["exchange", command, "--help"])
    assert result.exit_code == 0
    assert f"exchange {command}" in result.stdout


def test_without_a_command_the_help_names_them_all() -> None:
    output = RUNNER.invoke(app, ["exchange"]).output
    assert all(command in output for command in COMMANDS)


# --- from options to a configuration -----------------------------------------------------------


def test_without_options_keys_are_drawn_and_books_are_in_memory() -> None:
    made = config()
    assert (made.host, made.port) == ("127.0.0.1", 8700)
    assert (made.key, made.secret) == ("drawn-key", "drawn-secret")
    assert made.state_path is None
    assert made == ExchangeConfig(key="drawn-key", secret="drawn-secret", port=8700)


def test_every_option_reaches_the_configuration(tmp_path: Path) -> None:
    made = config(
        port="0",
        seed="7",
        start="2008-09-02",
        symbols="ko, xom,KO",
        cash="2500.50",
        stocks="AAPL=100,ko=50",
        options_level="1",
        key="k",
        secret="s",
        speed="60",
        paused=True,
        skip_closed=False,
        wait_for_client=True,
        state=str(tmp_path / "books.json"),
        rate_limit="1000",
        partial_fill_rate="0.1",
        slippage_bps="2",
        fee_per_contract="0.65",
        early_assignment_rate="0",
    )
    assert (made.port, made.seed, made.start_date) == (0, 7, dt.date(2008, 9, 2))
    assert made.symbols == ["KO", "XOM"]
    assert (made.cash, made.options_level) == (Decimal("2500.50"), 1)
    assert made.stocks == {"AAPL": Decimal(100), "KO": Decimal(50)}
    assert (made.key, made.secret) == ("k", "s")
    assert (made.speed, made.paused, made.skip_closed, made.wait_for_client) == (
        60.0,
        True,
        False,
        True,
    )
    assert made.state_path == str(tmp_path / "books.json")
    assert made.rate_limit_per_minute == 1000
    terms = made.terms
    assert (terms.partial_fill_rate, terms.slippage_bps) == (0.1, 2.0)
    assert (terms.fee_per_contract, terms.early_assignment_rate) == (Decimal("0.65"), 0.0)


def test_prices_come_from_where_the_option_says(tmp_path: Path) -> None:
    assert config().source == {}
    assert config(walk=True, symbols="ZZZ", stocks="YYY=5").source == {
        "type": "walk",
        "symbols": ["ZZZ", "YYY"],
    }
    assert config(bars=str(tmp_path)).source == {"type": "files", "path": str(tmp_path)}
    fetched = config(alpaca_bars="2023-01-03:2024-12-31:1Min", symbols="KO").source
    assert fetched["timeframe"] == "1Min"
    assert (fetched["key"], fetched["secret"], fetched["folder"]) == (
        "their-key",
        "their-secret",
        "/kept",
    )


def test_kept_books_go_on_with_their_own_seed_symbols_and_prices(tmp_path: Path) -> None:
    kept = KeptWorld(
        world={"seed": 9, "symbols": ["KO"], "source": {"type": "walk", "symbols": ["KO"]}},
        accounts=[KeptAccount(key="k", secret="s")],
    )
    made = config(kept=kept, state=str(tmp_path / "books.json"))
    assert (made.seed, made.symbols) == (9, ["KO"])
    assert made.source == {"type": "walk", "symbols": ["KO"]}
    assert config(kept=kept, seed="4").seed == 4  # which the exchange then refuses


# --- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--port", "70000", "give a whole number from 0 to 65535; 0 takes any free port"),
        ("--port", "http", "give a whole number"),
        ("--host", "192.0.2.7", "give an address of this machine, such as 127.0.0.1"),
        ("--host", "::1", "give an address of this machine, such as 127.0.0.1"),
        ("--seed", "one", "give a whole number"),
        ("--seed", "-1", "give a whole number"),
        ("--from", "2020-02-30", "give a date as YYYY-MM-DD"),
        ("--from", "2031-01-01", "must be from 1990-02-01 to 2022-12-28"),
        ("--symbols", " , ", "name at least one symbol"),
        ("--symbols", "NOPE", "no prices for NOPE; known: AAPL"),
        ("--cash", "NaN", "give an amount of dollars from 0 to"),
        ("--cash", "-5", "give an amount of dollars"),
        ("--cash", "1e30", "give an amount of dollars"),
        ("--stocks", "AAPL", "give shares by symbol, such as AAPL=100,KO=50"),
        ("--stocks", "AAPL=0", "give shares by symbol"),
        ("--stocks", "AAPL=x", "give shares by symbol"),
        ("--stocks", "NOPE=5", "no prices for NOPE"),
        ("--options-level", "4", "give a whole number from 0 to 3"),
        ("--key", "two words", "printable ASCII without spaces"),
        ("--key", "a/b", "key must not contain a slash"),
        ("--speed", "0", "give a number above 0, at most 1000000"),
        ("--speed", "inf", "give a number above 0"),
        ("--speed", "nan", "give a number above 0"),
        ("--state", "no/such/folder/x.json", "there is no folder"),
        ("--state", ".", "give a file"),
        ("--rate-limit", "0", "give a whole number from 1"),
        ("--partial-fill-rate", "1.5", "give a number from 0 to 1"),
        ("--slippage-bps", "-1", "give a number from 0 to 1000"),
        ("--fee-per-contract", "101", "give an amount of dollars from 0 to 100"),
        ("--early-assignment-rate", "often", "give a number from 0 to 1"),
        ("--bars", "nowhere", "no such file or folder"),
        ("--alpaca-bars", "2023-01-03", "give START:END as dates"),
        ("--alpaca-bars", "2024-01-03:2023-01-03", "give START:END as dates"),
        ("--alpaca-bars", "2023-01-03:2024-01-03", "name the stocks to fetch with --symbols"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(option: str, value: str, words: str) -> None:
    line = complaint("serve", "--port=0", f"{option}={value}", status=2)
    assert line.startswith(f"{option} {value}:")
    assert words in line


def test_a_secret_is_not_repeated() -> None:
    line = complaint("serve", "--secret", "hunter2 hunter2", status=2)
    assert line.startswith("--secret (not shown):")
    assert "hunter2" not in line


def test_prices_have_one_source() -> None:
    assert "leave it or --bars out" in complaint("serve", "--bars=.", "--walk", status=2)


def test_files_without_bars_are_told_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text("nothing\n")
    assert complaint("serve", "--bars=bars.csv", status=2).startswith("--bars bars.csv: ")


def test_bars_of_alpaca_without_keys_name_both_settings() -> None:
    line = complaint("serve", "--alpaca-bars=2023-01-03:2023-02-03", "--symbols=KO", status=2)
    assert "ALPACA_API_KEY and ALPACA_SECRET_KEY" in line


def test_a_port_that_is_taken_is_no_fault_of_the_value() -> None:
    error = ExchangeError("cannot listen on 127.0.0.1:8700: in use", field="port")
    line, status = told(error, Wishes())
    assert status == 1
    assert line.startswith("--port 8700: cannot listen")
    assert "0: any free one" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["speed", "0"], "speed 0: give a number above 0"),
        (["step", "--minutes=-1"], "--minutes -1: give a number above 0"),
        (["step", "--sessions=1.5"], "--sessions 1.5: give a whole number from 1"),
        (["step", "--minutes=1", "--to=open"], "--to open: give this or --minutes, not both"),
        (["open", "k", "--cash=much"], "--cash much: give an amount"),
        (["reset", "k", "--options-level=9"], "--options-level 9: give a whole number"),
        (["dividend", "KO", "0.4", "--ex-date=soon"], "--ex-date soon: give a date"),
        (["split", "KO", "4", "--ex-date=2020-03-03"], "NEW:OLD 4: give two numbers, such as 4:1"),
        (["fault", "delay", "--rate=2"], "--rate 2: give a number from 0 to 1"),
        (["fault", "error", "--status=x"], "--status x: give a whole number"),
        (["fault", "hang", "--on=POST GET"], "--on POST GET: give a method and a path"),
    ],
)
def test_a_wish_that_cannot_be_is_not_even_sent(arguments: list[str], words: str) -> None:
    assert words in complaint(*arguments, status=2)


@pytest.mark.parametrize("command", ["state", "accounts", "pause", "resume", "step", "faults"])
def test_without_a_running_exchange_the_remedy_is_named(command: str) -> None:
    line = complaint(command, status=1)
    assert "no exchange answers at http://127.0.0.1:1" in line
    assert "alpaclaudia exchange serve" in line


@pytest.mark.parametrize("url", ["nowhere", "ftp://x", "http://", "http://x:abc"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    assert complaint("state", "--url", url, status=1).startswith(f"--url {url}: ")


# --- what is asked of an exchange --------------------------------------------------------------


class Listener:
    """Answers every request with the same bytes, and remembers what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, json.loads(body) if body else None))
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + answer)
                self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


A_FAULT = {"kind": "error", "id": "fault-1", "path": "/v2/orders", "method": "POST"}


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["faults"], ("GET", "/sim/faults", None)),
        (["heal"], ("DELETE", "/sim/faults", None)),
        (["heal", "my fault"], ("DELETE", "/sim/faults/my%20fault", None)),
        (
            ["fault", "error", "--on=post /v2/orders", "--rate=0.1", "--seed=7", "--times=3",
             "--skip=2", "--status=503", "--message=busy", "--key=k", "--id=mine"],
            ("POST", "/sim/faults", {
                "kind": "error", "method": "POST", "path": "/v2/orders", "rate": 0.1, "seed": 7,
                "times": 3, "skip": 2, "status": 503, "message": "busy", "key": "k", "id": "mine",
            }),
        ),
        (
            ["fault", "stale_quotes", "--on=/v2/stocks/*", "--seconds=60", "--share=0.5"],
            ("POST", "/sim/faults", {
                "kind": "stale_quotes", "path": "/v2/stocks/*", "seconds": 60.0, "share": 0.5,
            }),
        ),
        (
            ["fault", "drop", "--stream=trade_updates"],
            ("POST", "/sim/faults", {"kind": "drop", "stream": "trade_updates"}),
        ),
    ],
)  # fmt: skip
def test_faults_are_asked_for_as_the_exchange_reads_them(
    arguments: list[str], asked: tuple[str, str, Any]
) -> None:
    answer = [A_FAULT] if arguments == ["faults"] else A_FAULT
    listener = Listener(json.dumps(answer).encode())
    try:
        result = RUNNER.invoke(app, ["exchange", *arguments, "--url", listener.url])
    finally:
        listener.close()
    assert result.exit_code == 0, result.output
    assert listener.asked == [asked]


def test_another_server_is_told_apart_from_an_exchange() -> None:
    listener = Listener(b"<html>hello</html>")
    try:
        line = complaint("state", "--url", listener.url, status=1)
    finally:
        listener.close()
    assert "answers, but not as a simulated exchange does" in line


# --- what is printed ---------------------------------------------------------------------------

READY = Ready(
    trading_url="http://127.0.0.1:8700",
    data_url="http://127.0.0.1:8700",
    stream_url="ws://127.0.0.1:8700/stream",
    stock_stream_url="ws://127.0.0.1:8700/v2/iex",
    option_stream_url="ws://127.0.0.1:8700/v1beta1/indicative",
    key="the-key",
    secret="the-secret",
    page_url="http://127.0.0.1:8700/",
    openapi_url="http://127.0.0.1:8700/openapi.json",
    simulated_time=dt.datetime(2020, 2, 3, 14, 30, tzinfo=dt.UTC),
    pid=1,
)
MANNER = Manner(paused=False, waiting=False, speed=60.0, state=None, resumed=False, accounts=1)


def test_the_announcement_holds_what_a_person_needs() -> None:
    text = announcement(READY, MANNER)
    for word in (READY.trading_url, READY.stream_url, READY.key, READY.secret, READY.page_url):
        assert word in text
    assert "Mon 2020-02-03 09:30 New York, running at 60× life" in text
    assert "Option prices are synthetic" in text
    assert 'url_override="http://127.0.0.1:8700"' in text
    assert "in memory only" in text


def test_what_runs_is_told_in_one_line() -> None:
    clock = {
        "simulated_time": "2020-02-03T15:00:00Z", "is_open": True, "paused": True, "speed": 60.0,
        "ended": False,
    }  # fmt: skip
    assert clock_text(clock) == "market time Mon 2020-02-03 10:00:00 New York, open, paused"
    assert clock_text(clock | {"ended": True}).endswith("at the end of its data")
    assert "waiting for the first client" in clock_text(clock | {"waiting_for_client": True})


def test_tables_are_aligned() -> None:
    account = {
        "account_number": "SIM1", "key": "k", "equity": "1000", "cash": "900.5",
        "options_level": 3, "open_orders": 0, "positions": {"KO": "2"},
    }  # fmt: skip
    title, row = accounts_text([account]).splitlines()
    assert row.split() == ["SIM1", "k", "1,000.00", "900.50", "3", "0", "2", "KO"]
    assert title.index("positions") == row.index("2 KO")


def test_faults_say_what_where_and_how_often() -> None:
    assert faults_text([]) == "no faults are set"
    rule = {
        "kind": "error", "method": "POST", "path": "/v2/orders", "stream": "*", "rate": 0.1,
        "times": 3, "skip": 1, "id": "f1", "matched": 20, "injected": 2,
    }  # fmt: skip
    row = faults_text([rule]).splitlines()[1]
    assert "error  POST /v2/orders  10 %, after 1, at most 3  2 of 20  f1" in row
    drop = rule | {"kind": "drop", "method": "*", "path": "*", "stream": "trade_updates"}
    assert "stream trade_updates" in faults_text([drop])


def test_an_option_error_is_one_line_of_bounded_length() -> None:
    assert len(str(OptionError("--key", "k" * 10_000, "no"))) < 250
