"""Trades of option contracts: a few a session, seeded, at the model's value of their minute.

A session is cut into eight parts; in each a contract trades once or not at all, the more often the
more liquid it is. So bars, trades and the latest trade of a whole chain cost one pricing of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.exchange.prices.bars import Bars, Ints
from services.exchange.prices.chains import Bools
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.history import Floats

Keys = NDArray[np.uint64]

PARTS = 8
CHANCE_MAX = 0.9  # of a trade in one part of the session, for the most liquid contract
SIZE_MAX = 10
PRICE_MIN = 0.01


class OptionTrades(NamedTuple):
    """By part of the session and contract; `happened` says where there is a trade at all."""

    minute: Ints
    happened: Bools
    price: Floats
    size: Ints

    def columns(self, rows: list[int]) -> OptionTrades:
        """Those contracts alone."""
        return OptionTrades._make(column[:, rows] for column in self)

    def until(self, minute: int) -> Bools:
        """Those that happened up to this minute, itself included."""
        return np.asarray(self.happened & (self.minute <= minute))

    def latest(self, minute: int) -> Bars:
        """Each contract's last trade up to the minute, as a bar; it has 0 trades without one."""
        there = self.until(minute)
        part = PARTS - 1 - there[::-1].argmax(axis=0)
        column = np.arange(there.shape[1])
        return _as_bars(
            self.minute[part, column],
            self.price[part, column],
            self.size[part, column],
            np.asarray(there.any(axis=0), dtype=np.int64),
        )

    def day_bars(self, minute: int) -> Bars:
        """Each contract's bar of the session up to the minute; it has 0 trades without one."""
        there = self.until(minute)
        first, last = there.argmax(axis=0), PARTS - 1 - there[::-1].argmax(axis=0)
        column = np.arange(there.shape[1])
        size = np.where(there, self.size, 0)
        volume = size.sum(axis=0)
        return Bars(
            minute=np.zeros_like(volume),
            open=self.price[first, column],
            high=np.where(there, self.price, -np.inf).max(axis=0),
            low=np.where(there, self.price, np.inf).min(axis=0),
            close=self.price[last, column],
            volume=volume.astype(np.float64),
            trades=there.sum(axis=0),
            vwap=(self.price * size).sum(axis=0) / np.maximum(volume, 1),
        )

    def along(self, column: int, minute: int) -> Bars:
        """One contract's trades up to this minute, each as a bar of its minute."""
        there = self.until(minute)[:, column]
        size = self.size[there, column]
        return _as_bars(
            self.minute[there, column], self.price[there, column], size, np.ones_like(size)
        )


def _as_bars(minute: Ints, price: Floats, size: Ints, trades: Ints) -> Bars:
    return Bars(
        minute=minute,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=size.astype(np.float64),
        trades=trades,
        vwap=price,
    )


class Drawn(NamedTuple):
    """When and how much each contract trades, before it is priced."""

    minute: Ints
    happened: Bools
    size: Ints


def draw(keys: Keys, seed: int, day: int, minutes: int) -> Drawn:
    """`keys` are the contracts' own, `minutes` those of the session."""
    length = minutes // PARTS
    chance = CHANCE_MAX * uniform(key_of(seed, "illiquid"), keys)

    def each(what: str) -> Floats:
        return np.array([uniform(key_of(seed, what, day, part), keys) for part in range(PARTS)])

    start = np.arange(PARTS)[:, None] * length
    return Drawn(
        minute=start + (each("trade minute") * length).astype(np.int64),
        happened=each("trade") < chance,
        size=1 + (each("trade size") * SIZE_MAX).astype(np.int64),
    )


def priced(drawn: Drawn, value: Floats) -> OptionTrades:
    """`value` is the model's at each trade's minute; trades are in whole cents."""
    return OptionTrades(
        minute=drawn.minute,
        happened=drawn.happened,
        price=np.maximum(np.round(value, 2), PRICE_MIN),
        size=drawn.size,
    )
