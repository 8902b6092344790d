"""Intraday prices between the real daily closes: one price a minute, seeded, ending at the close.

A session opens at yesterday's close plus an overnight gap (part of the day's return, and noise)
and walks a Brownian bridge to today's real close. Volatility is the trailing realised one, so
the path knows no more of the future than the close it must reach.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from services.exchange.prices.draws import generator
from services.exchange.prices.history import SHORT_WINDOW, TRADING_DAYS_PER_YEAR, Floats, History

GAP_SHARE_OF_RETURN = 0.35
GAP_NOISE = 0.30
BRIDGE_VOLATILITY = 0.85
VOLATILITY_MIN = 0.05
PATHS_KEPT = 4096


class Paths:
    def __init__(self, history: History, seed: int) -> None:
        self._history = history
        self._seed = seed
        self._kept: OrderedDict[tuple[str, int], Floats] = OrderedDict()

    def path(self, symbol: str, day: int, minutes: int) -> Floats:
        """Prices at minute 0 (the open) to `minutes` (the close), on the stock's price grid.

        The last one is the real close as it is shipped, which may have a third decimal.
        """
        key = (symbol, day)
        if key not in self._kept:
            self._kept[key] = self._draw(symbol, day, minutes)
            if len(self._kept) > PATHS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _draw(self, symbol: str, day: int, minutes: int) -> Floats:
        rng = generator(self._seed, "path", symbol, day)
        close = self._history.close(symbol, day)
        before = np.log(self._history.close(symbol, day - 1))
        yearly = max(self._history.volatility(symbol, day, SHORT_WINDOW), VOLATILITY_MIN)
        daily = yearly / np.sqrt(TRADING_DAYS_PER_YEAR)
        gap = GAP_SHARE_OF_RETURN * (np.log(close) - before)
        gap += GAP_NOISE * daily * rng.standard_normal()
        time = np.linspace(0.0, 1.0, minutes + 1)
        steps = rng.standard_normal(minutes) * daily * BRIDGE_VOLATILITY / np.sqrt(minutes)
        walk = np.concatenate(([0.0], np.cumsum(steps)))
        first = before + gap
        path = np.exp(first + time * (np.log(close) - first) + walk - time * walk[-1])
        path = np.where(path >= 1.0, np.round(path, 2), np.maximum(np.round(path, 4), 0.0001))
        path[-1] = close
        path.setflags(write=False)
        return np.asarray(path)
