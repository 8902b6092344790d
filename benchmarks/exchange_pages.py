"""Pages of market data from the exchange's face: looked up, made and encoded, without a socket."""

from __future__ import annotations

import datetime as dt
import gc
from statistics import median

import msgspec

from benchmarks.result import Result, milliseconds
from services.exchange.config import ExchangeConfig
from services.exchange.service import Running

KEY = "bench"
HEADERS = [(b"apca-api-key-id", KEY.encode()), (b"apca-api-secret-key", KEY.encode())]
SYMBOLS = ["AAPL", "KO", "MSFT"]
SNAPSHOTS, SNAPSHOTS_TARGET_MS = 1000, 10.0
ROWS = 10_000
ROUNDS = 15
HISTORY = (
    ("bars", "timeframe=1Min&start=2019-06-01"),
    ("bars", "timeframe=1Day&start=1990-01-01"),
    ("quotes", "start=2019-06-01"),
    ("trades", "start=2019-06-01"),
)
MINUTE = dt.timedelta(minutes=1)


def run() -> list[Result]:
    """Raises AssertionError when a page is not full."""
    config = ExchangeConfig(
        key=KEY,
        secret=KEY,
        symbols=SYMBOLS,
        paused=True,
        start_date=dt.date(2020, 2, 3),
        rate_limit_per_minute=10**9,
    )
    exchange = Running(config)
    step(exchange, minutes=120)
    snapshots = [_snapshots(exchange, new_minute=True) for _ in range(ROUNDS)]
    again = [_snapshots(exchange, new_minute=False) for _ in range(ROUNDS)]
    return [
        Result(
            name=f"a page of {SNAPSHOTS:,} option snapshots with greeks and bars",
            figure=median(snapshots),
            unit="ms",
            target=SNAPSHOTS_TARGET_MS,
            notes=f"each in a new minute, its chain priced; in the same minute "
            f"{median(again):.1f} ms; the session's first {snapshots[0]:.0f} ms",
        ),
        *(_rows(exchange, what, query) for what, query in HISTORY),
    ]


def _snapshots(exchange: Running, *, new_minute: bool) -> float:
    if new_minute:
        step(exchange, minutes=1)
    gc.collect()
    path, query = "/v1beta1/options/snapshots/AAPL", f"limit={SNAPSHOTS}"
    bodies: list[bytes] = []
    took = milliseconds(lambda: bodies.append(_answer(exchange, path, query)))
    assert len(msgspec.json.decode(bodies[0])["snapshots"]) == SNAPSHOTS
    return took


def _rows(exchange: Running, what: str, asked: str) -> Result:
    path, query = f"/v2/stocks/{what}", f"symbols={','.join(SYMBOLS)}&limit={ROWS}&{asked}"

    def ask() -> bytes:
        return _answer(exchange, path, query)

    first = milliseconds(ask)
    by_symbol = msgspec.json.decode(ask())[what]
    assert sum(len(rows) for rows in by_symbol.values()) == ROWS
    gc.collect()
    return Result(
        name=f"a page of {ROWS:,} {what} of stocks, {asked}",
        figure=median(milliseconds(ask) for _ in range(ROUNDS)),
        unit="ms",
        notes=f"the first, with its prices drawn, {first:.0f} ms",
    )


def _answer(exchange: Running, path: str, query: str) -> bytes:
    answer = exchange.face.answer(
        {"method": "GET", "path": path, "query_string": query.encode(), "headers": HEADERS}, b""
    )
    assert answer.status == 200, answer.body[:200]
    return answer.body


def step(exchange: Running, *, minutes: int) -> None:
    exchange.venue.step_to(exchange.venue.now() + minutes * MINUTE)
