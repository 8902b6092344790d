"""POST an order to the simulated exchange, against a bare route that answers the same."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.result import Result
from services.exchange.config import CONFIG_VARIABLE

KEY, SECRET = "bench", "bench"
RESTING = 1_000
ROUNDS = 15
PER_ROUND = 100
CONNECTIONS = 8
FLOOD = 4_000
LATENCY_TARGET = 1.5
RATE_TARGET = 2_000
WAIT_SECONDS = 20


def run() -> list[Result]:
    """Raises AssertionError when an order is not answered, or not kept."""
    with tempfile.TemporaryDirectory() as folder, _exchange(Path(folder)) as (port, process):
        line = _Line(port)
        for number in range(RESTING):
            line.post(_limit(number))
        answer = Path(folder) / "answer.json"
        answer.write_bytes(line.post(_limit(0)))
        with _bare(answer) as bare_port:
            ours, bare = _latency(line, _Line(bare_port))
        rate = _rate(port, process)
        orders = json.loads(line.get("/sim/state"))["open_orders"]
        assert orders >= RESTING, f"{orders} orders rest, not {RESTING}"
    return [
        Result(
            name=f"POST an order, {RESTING:,} resting: median latency over a bare route's",
            figure=ours / bare,
            unit="x",
            target=LATENCY_TARGET,
            notes=f"{ours * 1e6:.0f} us against {bare * 1e6:.0f} us, one keep-alive connection, "
            "the state journal written",
        ),
        Result(
            name="orders a second on one core",
            figure=rate,
            unit="/s",
            notes=f"target at least {RATE_TARGET:,}: {'met' if rate >= RATE_TARGET else 'short'}; "
            f"market orders that fill at once, {CONNECTIONS} connections, "
            "by the server's processor time",
        ),
    ]


def _limit(number: int) -> dict[str, Any]:
    symbols = ("AAPL", "MSFT", "KO", "JPM", "GE", "XOM", "PFE", "WMT", "PG", "MRK")
    return {
        "symbol": symbols[number % len(symbols)],
        "qty": 1,
        "side": "buy",
        "type": "limit",
        "limit_price": 1.5,
        "time_in_force": "gtc",
    }


def _market() -> dict[str, Any]:
    return {"symbol": "KO", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}


class _Line:
    """One keep-alive connection; as little work on this side as can be."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def post(self, terms: dict[str, Any]) -> bytes:
        self.socket.sendall(request(terms))
        return self.answer()

    def get(self, path: str) -> bytes:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return self.answer()

    def answer(self) -> bytes:
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65_536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head + body
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65_536)
        self._rest = body[length:]
        return body[:length]


def request(terms: dict[str, Any]) -> bytes:
    body = json.dumps(terms).encode()
    head = (
        f"POST /v2/orders HTTP/1.1\r\nHost: x\r\nAPCA-API-KEY-ID: {KEY}\r\n"
        f"APCA-API-SECRET-KEY: {SECRET}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _latency(ours: _Line, bare: _Line) -> tuple[float, float]:
    """Seconds, medians of interleaved rounds."""
    times: dict[_Line, list[float]] = {ours: [], bare: []}
    for number in range(ROUNDS):
        for line, taken in times.items():
            for _ in range(PER_ROUND):
                began = time.perf_counter()
                line.post(_limit(number))
                taken.append(time.perf_counter() - began)
    return statistics.median(times[ours]), statistics.median(times[bare])


def _rate(port: int, process: psutil.Process) -> float:
    """Orders per second of the server's processor time, while several clients flood it."""
    payload = request(_market())
    lines = [_Line(port) for _ in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
        before = process.cpu_times()
        for line in lines:
            line.socket.sendall(payload)
        answered = 0
        while answered < FLOOD:  # the last ones are answered and not sent again
            for key, _ in selector.select(WAIT_SECONDS):
                order = json.loads(key.data.answer())
                assert order["symbol"] == "KO"
                answered += 1
                if answered + CONNECTIONS <= FLOOD:
                    key.data.socket.sendall(payload)
        after = process.cpu_times()
    return FLOOD / (after.user + after.system - before.user - before.system)


@contextlib.contextmanager
def _exchange(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    config = {
        "key": KEY,
        "secret": SECRET,
        "cash": "10000000",
        "paused": True,
        "rate_limit_per_minute": 10**9,
        "state_path": str(folder / "exchange.json"),
    }
    environ = os.environ | {CONFIG_VARIABLE: json.dumps(config)}
    with _started([sys.executable, "-m", "services.exchange"], environ) as (process, line):
        yield int(line.rpartition(":")[2]), psutil.Process(process.pid)


@contextlib.contextmanager
def _bare(answer: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.bare_route", str(answer)]
    with _started(command, dict(os.environ)) as (_, line):
        time.sleep(0.5)  # the port is open before uvicorn serves it
        yield int(line)


@contextlib.contextmanager
def _started(
    command: list[str], environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
