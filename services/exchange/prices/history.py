"""The shipped price history: daily adjusted closes, the S&P 500 and the VIX (see data/README.md).

Row i of every array is session i of the calendar: the closes have no gaps, and a test holds the
dates against the calendar's.
"""

from __future__ import annotations

import datetime as dt
import gzip
from functools import cached_property
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.exchange.config import CLOSES_FILE

Floats = NDArray[np.float64]

INDEX_FILE = "sp500_index_1990_2022.csv.gz"
VIX_FILE = "vix_2014_2019.csv.gz"
TRADING_DAYS_PER_YEAR = 252
SHORT_WINDOW, MEDIUM_WINDOW, LONG_WINDOW = 21, 63, 252


class Bar(NamedTuple):
    """A day's prices, dollars; high and low bound the path, NaN where they are not known."""

    open: float
    high: float
    low: float


class History:
    """Closes by session and symbol from `first_day` to the last row; before it they are NaN.

    `bars` are days' opens, highs and lows, `paths` whole sessions minute by minute, for the
    (symbol, session) a source has them for; the others are drawn (paths.py). `indexed`: whether
    the S&P 500 and the VIX belong to these dates.
    """

    def __init__(
        self,
        dates: list[dt.date],
        symbols: list[str],
        closes: Floats,
        *,
        first_day: int = 0,
        bars: dict[tuple[str, int], Bar] | None = None,
        paths: dict[tuple[str, int], Floats] | None = None,
        indexed: bool = False,
    ) -> None:
        self.dates = dates
        self.symbols = symbols
        self.first_day = first_day
        self.bars = bars or {}
        self.paths = paths or {}
        self._indexed = indexed
        self._column = {symbol: i for i, symbol in enumerate(symbols)}
        self._closes = closes

    def __len__(self) -> int:
        return len(self.dates)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._column

    def only(self, symbols: list[str]) -> History:
        """The same history with these symbols alone; KeyError names one that is not in it."""
        columns = [self._column[symbol] for symbol in symbols]
        return History(
            self.dates,
            symbols,
            self._closes[:, columns],
            first_day=self.first_day,
            bars=self.bars,
            paths=self.paths,
            indexed=self._indexed,
        )

    def close(self, symbol: str, day: int) -> float:
        return float(self._closes[day, self._column[symbol]])

    def closes(self, symbol: str, first: int, last: int) -> Floats:
        """Closes of sessions first to last, both included."""
        return self._closes[first : last + 1, self._column[symbol]]

    def volatility(self, symbol: str, day: int, window: int) -> float:
        """Annualised standard deviation of the `window` daily log returns before session `day`."""
        return _volatility(self.closes(symbol, max(self.first_day, day - window - 1), day - 1))

    def index_volatility(self, day: int, window: int) -> float:
        return _volatility(self._index[max(0, day - window - 1) : day])

    def vix(self, day: int) -> float | None:
        """The VIX at the close of session `day` as a fraction (0.15), None where not covered."""
        if not self._indexed:
            return None
        value = float(self._vix[day])
        return None if np.isnan(value) else value

    @cached_property
    def _index(self) -> Floats:
        return np.array([float(row[1]) for row in _rows(INDEX_FILE)[1:]])

    @cached_property
    def _vix(self) -> Floats:
        quoted = (row for row in _rows(VIX_FILE)[1:] if row[1] != ".")  # "." on holidays
        by_date = {_us_date(row[0]): float(row[1]) / 100 for row in quoted}
        return np.array([by_date.get(date, np.nan) for date in self.dates])


def load_history() -> History:
    header, *rows = _rows(CLOSES_FILE)
    return History(
        dates=[dt.date.fromisoformat(row[0]) for row in rows],
        symbols=header[1:],
        closes=np.array([row[1:] for row in rows], dtype=np.float64),
        indexed=True,
    )


def _rows(name: str) -> list[list[str]]:
    packed = resources.files("services.exchange").joinpath("data", name).read_bytes()
    return [line.split(",") for line in gzip.decompress(packed).decode().split()]


def _us_date(text: str) -> dt.date:
    month, day, year = map(int, text.split("/"))
    return dt.date(year, month, day)


def _volatility(closes: Floats) -> float:
    returns = np.diff(np.log(closes))
    return float(returns.std() * np.sqrt(TRADING_DAYS_PER_YEAR))
