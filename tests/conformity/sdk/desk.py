"""A fresh account on a served exchange, with alpaca-py's clients on it, and the table's rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from tests.conformity.served import Served

SECRET = "secret"
CALL, PUT = "AAPL200221C00080000", "AAPL200221P00070000"  # out of the money on 2020-02-03
_numbers = itertools.count(1)


class Verdict(StrEnum):
    WORKS = "works"
    REFUSED = "refused, as Alpaca does"
    NOT_OFFERED = "not offered"


class Row(NamedTuple):
    """One line of the table in docs/exchange.md, and what proves it."""

    client: str
    method: str
    what: str
    verdict: Verdict
    note: str
    check: Callable[[Desk], object]


class Desk:
    """AAPL and KO held, 100,000 dollars; the clock stands at 2020-02-03 10:00 New York or later."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.key = f"row-{next(_numbers)}"
        account = {"key": self.key, "secret": SECRET, "cash": 100_000}
        held = {"AAPL": {"qty": "300"}, "KO": {"qty": "300"}}
        answer = served.ask("POST", "/sim/accounts", json=account | {"positions": held})
        assert answer.status_code == 200, answer.text
        keys = {"api_key": self.key, "secret_key": SECRET, "url_override": served.url}
        self.trading = TradingClient(**keys)
        self.stocks = StockHistoricalDataClient(**keys)
        self.options = OptionHistoricalDataClient(**keys)

    def close(self) -> None:
        for client in (self.trading, self.stocks, self.options):
            client._session.close()
        self.served.ask("DELETE", f"/sim/accounts/{self.key}")

    def step(self, **how: Any) -> None:
        answer = self.served.ask("POST", "/sim/step", json=how)
        assert answer.status_code == 200, answer.text

    def refusal(self, code: int, ask: Callable[[], object], status: int | None = None) -> APIError:
        """What the exchange says no with; the status is the code's first three digits."""
        with pytest.raises(APIError) as caught:
            ask()
        assert caught.value.code == code, caught.value
        assert caught.value.status_code == (status or code // 100_000)
        return caught.value


class Rows:
    """Collects the rows of one client as its checks are written down."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.rows: list[Row] = []

    def works(self, method: str, what: str = "", note: str = "") -> Callable[[Any], Any]:
        return self._add(method, what, Verdict.WORKS, note)

    def refused(self, method: str, what: str, note: str) -> Callable[[Any], Any]:
        return self._add(method, what, Verdict.REFUSED, note)

    def not_offered(self, method: str, what: str, note: str) -> Callable[[Any], Any]:
        return self._add(method, what, Verdict.NOT_OFFERED, note)

    def _add(self, method: str, what: str, verdict: Verdict, note: str) -> Callable[[Any], Any]:
        def keep(check: Callable[[Desk], object]) -> Callable[[Desk], object]:
            self.rows.append(Row(self.client, method, what, verdict, note, check))
            return check

        return keep
