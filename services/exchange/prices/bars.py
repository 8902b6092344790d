"""Bars as columns: what was traded in each interval of a session, and intervals put together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.exchange.prices.history import Floats

Ints = NDArray[np.int64]
SHARES_PER_TRADE = 120  # on average: how many trades a volume stands for


class Bars(NamedTuple):
    """One row an interval, oldest first; `minute` counts from the session's open."""

    minute: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    trades: Ints
    vwap: Floats

    def part(self, first: int, end: int) -> Bars:
        """Rows first to end − 1."""
        return Bars._make(column[first:end] for column in self)

    def at(self, rows: Ints) -> Bars:
        return Bars._make(column[rows] for column in self)


_NOTHING, _NONE = np.empty(0), np.empty(0, dtype=np.int64)
NO_BARS = Bars(
    minute=_NONE,
    open=_NOTHING,
    high=_NOTHING,
    low=_NOTHING,
    close=_NOTHING,
    volume=_NOTHING,
    trades=_NONE,
    vwap=_NOTHING,
)


def minute_bars(path: Floats, volume: Floats, minutes: int) -> Bars:
    """The first `minutes` whole minutes of a session.

    `path` has a price at the start of each minute and one at the close, `volume` shares a minute.
    """
    opened, closed, traded = path[:minutes], path[1 : minutes + 1], volume[:minutes]
    return Bars(
        minute=np.arange(minutes),
        open=opened,
        high=np.maximum(opened, closed),
        low=np.minimum(opened, closed),
        close=closed,
        volume=traded,
        trades=np.maximum(1, traded // SHARES_PER_TRADE).astype(np.int64),
        vwap=(opened + closed) / 2,
    )


def merged(bars: Bars, group: Ints) -> Bars:
    """One bar for each run of equal numbers in `group`, with the minute of its first."""
    if not len(bars.minute):
        return bars
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    last = np.append(first[1:], len(group)) - 1
    volume = np.add.reduceat(bars.volume, first)
    return Bars(
        minute=bars.minute[first],
        open=bars.open[first],
        high=np.maximum.reduceat(bars.high, first),
        low=np.minimum.reduceat(bars.low, first),
        close=bars.close[last],
        volume=volume,
        trades=np.add.reduceat(bars.trades, first),
        vwap=np.add.reduceat(bars.vwap * bars.volume, first) / volume,
    )


class DayBar(NamedTuple):
    """A session, or as much of it as has passed, as plain numbers: cheap to keep many of."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    vwap: float


def day_bar(path: Floats, volume: Floats) -> DayBar:
    """What its minute bars come to. `path` has one price more than `volume` has minutes."""
    shares = float(volume.sum())
    return DayBar(
        open=float(path[0]),
        high=float(path.max()),
        low=float(path.min()),
        close=float(path[-1]),
        volume=shares,
        trades=int(np.maximum(1, volume // SHARES_PER_TRADE).sum()),
        vwap=float((path[:-1] + path[1:]) @ volume) / (2 * shares),
    )


def stacked(days: list[DayBar], minute: Ints) -> Bars:
    """Days as rows, each at its minute after some origin."""
    table = np.array(days)
    return Bars(
        minute=minute,
        open=table[:, 0],
        high=table[:, 1],
        low=table[:, 2],
        close=table[:, 3],
        volume=table[:, 4],
        trades=table[:, 5].astype(np.int64),
        vwap=table[:, 6],
    )


def one_bar(bars: Bars) -> Bars:
    """All of them as a single bar."""
    return merged(bars, np.zeros(len(bars.minute), dtype=np.int64))


def joined(parts: list[Bars]) -> Bars:
    """Those of several sessions, one after the other; minutes are each session's own."""
    return Bars._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def scaled(bars: Bars, price: Floats, volume: Floats) -> Bars:
    """Prices and volumes multiplied, by one factor a row or one for all, as adjustments do."""
    return bars._replace(
        open=bars.open * price,
        high=bars.high * price,
        low=bars.low * price,
        close=bars.close * price,
        vwap=bars.vwap * price,
        volume=np.rint(bars.volume * volume),
    )
