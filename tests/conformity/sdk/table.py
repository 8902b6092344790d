"""The table of alpaca-py's methods in docs/exchange.md: `python -m tests.conformity.sdk.table`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.live import OptionDataStream, StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from tests.conformity.sdk.data import OPTIONS, STOCKS
from tests.conformity.sdk.desk import Row
from tests.conformity.sdk.streams import STREAMS
from tests.conformity.sdk.trading_account import TRADING_ACCOUNT
from tests.conformity.sdk.trading_orders import TRADING_ORDERS

PAGE = Path(__file__).parents[3] / "docs" / "exchange.md"
CLIENTS: tuple[type[Any], ...] = (
    TradingClient,
    StockHistoricalDataClient,
    OptionHistoricalDataClient,
    TradingStream,
    StockDataStream,
    OptionDataStream,
)
ROWS: list[Row] = [
    row
    for rows in (TRADING_ORDERS, TRADING_ACCOUNT, STOCKS, OPTIONS, *STREAMS)
    for row in rows.rows
]
# The bare verbs that every client has; the typed methods are made of them.
VERBS = frozenset({"get", "post", "put", "patch", "delete", "response_wrapper"})
BEGIN, END = "<!-- methods: generated -->", "<!-- methods: end -->"


def methods() -> set[tuple[str, str]]:
    """Every public method of the SDK's clients and streams, but for the bare verbs."""
    return {
        (client.__name__, name)
        for client in CLIENTS
        for name, _ in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") and name not in VERBS
    }


def render() -> str:
    """Clients in the order of the SDK's documents, methods in the order of their checks."""
    lines = ["| Client | Method | What | |", "|---|---|---|---|"]
    names = [client.__name__ for client in CLIENTS]
    for row in sorted(ROWS, key=lambda row: names.index(row.client)):
        note = f"{row.verdict}: {row.note}" if row.note else row.verdict
        lines.append(f"| {row.client} | `{row.method}` | {row.what} | {note} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the table as it is now between its marks."""
    made = f"{BEGIN}\n{render()}\n{END}"
    return re.sub(f"{BEGIN}.*?{END}", lambda _: made, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
