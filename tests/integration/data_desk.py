"""The SDK's clients of one exchange, its clock, and pages put together."""

from __future__ import annotations

import datetime as dt
from typing import Any

from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.models import Bar
from alpaca.data.requests import (
    OptionChainRequest,
    StockBarsRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient

from services.exchange.prices.calendar import NEW_YORK
from tests.conformity.served import KEY, SECRET, Served

SYMBOLS = ["AAPL", "KO", "MSFT"]
STARTED = dt.date(2020, 2, 3)


class Desk:
    """The SDK's clients of one exchange, and its clock."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.trading = TradingClient(KEY, SECRET, url_override=served.url)
        self.stocks = StockHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.options = OptionHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.actions = CorporateActionsClient(KEY, SECRET, url_override=served.url)

    def close(self) -> None:
        for client in (self.trading, self.stocks, self.options, self.actions):
            client._session.close()

    def now(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.served.get("/sim/clock")["simulated_time"])

    def step(self, **how: Any) -> None:
        assert self.served.ask("POST", "/sim/step", json=how).status_code == 200

    def inject(self, **action: Any) -> None:
        answer = self.served.ask("POST", "/sim/corporate-actions", json=action)
        assert answer.status_code == 200, answer.text

    def bars(self, symbol: str, timeframe: TimeFrame, start: dt.date, **more: Any) -> list[Bar]:
        request = StockBarsRequest(
            symbol_or_symbols=symbol,
            timeframe=timeframe,
            start=dt.datetime.combine(start, dt.time(), NEW_YORK),
            end=self.now(),
            **more,
        )
        return list(self.stocks.get_stock_bars(request).data[symbol])

    def contracts(self, **wanted: Any) -> list[str]:
        """Symbols of AAPL's contracts that are quoted and have traded."""
        chain = self.options.get_option_chain(
            OptionChainRequest(underlying_symbol="AAPL", root_symbol="AAPL", **wanted)
        )
        return sorted(s for s, view in chain.items() if view.latest_quote and view.latest_trade)


TOKEN = "next_page_token"


def all_pages(served: Served, path: str, name: str, **query: Any) -> dict[str, list[Any]]:
    """Rows by symbol, from as many pages as it takes; each page but the last is full."""
    found: dict[str, list[Any]] = {}
    token = None
    while True:
        page = served.get(path, page_token=token, **query)
        rows = sum(map(len, page[name].values()))
        for symbol, part in page[name].items():
            found.setdefault(symbol, []).extend(part)
        token = page[TOKEN]
        if token is None:
            return found
        assert rows == query["limit"]


def day_of(bar: Bar) -> dt.date:
    return bar.timestamp.astimezone(NEW_YORK).date()
