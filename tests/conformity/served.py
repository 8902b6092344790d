"""A real exchange served from a thread on a free port of this machine, and what is asked of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import requests
import uvloop

from services.exchange.config import ExchangeConfig
from services.exchange.service import serve

KEY, SECRET = "conformity-key", "conformity-secret"
KEYS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
TIMEOUT_SECONDS = 20


def config(**changes: Any) -> ExchangeConfig:
    """A monthly's expiration in three weeks, room for requests, two thousand dollars of stock."""
    fields: dict[str, Any] = {
        "key": KEY,
        "secret": SECRET,
        "seed": 11,
        "symbols": ["AAPL", "KO", "MSFT"],
        "cash": Decimal(500_000),
        "stocks": {"AAPL": Decimal(300), "KO": Decimal(300)},
        "start_date": dt.date(2020, 2, 3),
        "rate_limit_per_minute": 1_000_000,
    }
    return ExchangeConfig(**(fields | changes))


class Served:
    def __init__(self, config: ExchangeConfig) -> None:
        self._config = config
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the exchange did not answer")
        if self._failure is not None:
            raise self._failure
        self.session = requests.Session()
        self.session.headers.update(KEYS)

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(self._config, on_ready=self._on_ready, stop=self._stop)

        try:
            uvloop.run(main())  # as the process does
        except Exception as error:  # handed to the thread that waits
            self._failure = error
            self._ready.set()

    def _on_ready(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()

    def close(self) -> None:
        self.session.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the exchange does not end"

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        """`how` is what requests takes: params, json, data, headers."""
        return self.session.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **how)

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a successful answer."""
        answer = self.ask("GET", path, params=params)
        assert answer.status_code == 200, (path, params, answer.status_code, answer.text[:300])
        return answer.json()

    def books(self) -> dict[str, Any]:
        """The account's full state as a client sees it: what no refused request may change.

        Marks move with time, so of the account and the positions only what is booked is taken.
        """
        account = self.get("/v2/account")
        kept = ("cash", "options_buying_power", "buying_power", "options_trading_level", "status")
        held = ("symbol", "qty", "qty_available", "avg_entry_price", "cost_basis")
        return {
            "account": {name: account[name] for name in kept},
            "positions": [
                {name: position[name] for name in held} for position in self.get("/v2/positions")
            ],
            "orders": self.get("/v2/orders", status="all", limit=500),
            "activities": self.get("/v2/account/activities"),
            "watchlists": self.get("/v2/watchlists"),
        }


@contextmanager
def serving(**changes: Any) -> Iterator[Served]:
    served = Served(config(**changes))
    try:
        yield served
    finally:
        served.close()
