"""Alpaca's historical bars through alpaca-py, kept as CSV files by symbol."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from services.exchange.prices.sources.config import Alpaca, SourceError

TIMEOUT_SECONDS = (3, 30)  # to connect, to answer
TIMEFRAMES = ("1Day", "1Min")


def fetch(source: Alpaca) -> Path:
    """The folder with a file per symbol, fetched when it is not there. Raises SourceError."""
    if source.timeframe not in TIMEFRAMES:
        raise SourceError(f"source alpaca: timeframe {source.timeframe!r} must be 1Day or 1Min")
    start, end = _date("start", source.start), _date("end", source.end)
    if start >= end:
        raise SourceError(f"source alpaca: start {start} must be before end {end}")
    if not source.symbols:
        raise SourceError("source alpaca: symbols is empty")
    folder = Path(source.folder) / f"{source.timeframe}_{start}_{end}_{source.feed}"
    missing = [s for s in source.symbols if not (folder / f"{s}.csv").exists()]
    if missing:
        if not (source.key and source.secret):
            raise SourceError(
                f"{folder} has no bars of {', '.join(missing)}, and there are no keys to fetch "
                "them with: set key and secret, or another source"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for symbol in missing:
            _write(folder / f"{symbol}.csv", _bars(source, symbol, start, end))
    return folder


def _date(name: str, text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise SourceError(f"source alpaca: {name} {text[:20]!r} is not a date") from None


class _Patient(HTTPAdapter):
    """alpaca-py sets no time limit on its requests."""

    def send(self, *args: Any, **options: Any) -> requests.Response:
        return super().send(*args, **(options | {"timeout": TIMEOUT_SECONDS}))


def _bars(source: Alpaca, symbol: str, start: dt.date, end: dt.date) -> list[dict[str, Any]]:
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import Adjustment, DataFeed
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame

    client = StockHistoricalDataClient(
        source.key, source.secret, raw_data=True, url_override=source.url
    )
    for scheme in ("https://", "http://"):
        client._session.mount(scheme, _Patient())
    try:
        answer: Any = client.get_stock_bars(
            StockBarsRequest(
                symbol_or_symbols=symbol,
                timeframe=TimeFrame.Day if source.timeframe == "1Day" else TimeFrame.Minute,
                start=dt.datetime.combine(start, dt.time()),
                end=dt.datetime.combine(end, dt.time(23, 59)),
                adjustment=Adjustment.ALL,
                feed=DataFeed(source.feed),
            )
        )
    except (APIError, requests.RequestException, ValueError) as error:
        raise SourceError(f"source alpaca: bars of {symbol} cannot be had: {error}") from None
    bars: list[dict[str, Any]] = answer.get(symbol) or []
    if not bars:
        raise SourceError(f"source alpaca: no bars of {symbol} from {start} to {end}")
    return bars


def _write(path: Path, bars: list[dict[str, Any]]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(("timestamp", "open", "high", "low", "close", "volume"))
        writer.writerows(
            (bar["t"], bar["o"], bar["h"], bar["l"], bar["c"], bar["v"])
            for bar in bars
            if _in_session(bar["t"])
        )
    temporary.replace(path)


def _in_session(stamp: str) -> bool:
    """Minute bars outside the regular hours are left out; days' bars are stamped at midnight."""
    from services.exchange.prices.calendar import NEW_YORK

    at = dt.datetime.fromisoformat(stamp).astimezone(NEW_YORK).time()
    return at == dt.time() or dt.time(9, 30) <= at < dt.time(16)
