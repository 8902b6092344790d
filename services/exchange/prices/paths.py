"""Intraday prices between the real daily closes: one price a minute, seeded, ending at the close.

A session opens at yesterday's close plus an overnight gap (part of the day's return, and noise)
and walks a Brownian bridge to today's real close. Volatility is the trailing realised one, so
the path knows no more of the future than the close it must reach.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from services.exchange.prices.actions import Actions
from services.exchange.prices.draws import generator
from services.exchange.prices.history import (
    SHORT_WINDOW,
    TRADING_DAYS_PER_YEAR,
    Bar,
    Floats,
    History,
)

GAP_SHARE_OF_RETURN = 0.35
GAP_NOISE = 0.30
BRIDGE_VOLATILITY = 0.85
VOLATILITY_MIN = 0.05
PATHS_KEPT = 4096


class Paths:
    def __init__(self, history: History, seed: int, actions: Actions) -> None:
        self._history = history
        self._seed = seed
        self._actions = actions
        self._kept: OrderedDict[tuple[str, int], Floats] = OrderedDict()

    def forget(self, symbol: str) -> None:
        """An action was injected: the stock's paths are multiplied anew."""
        for key in [key for key in self._kept if key[0] == symbol]:
            del self._kept[key]

    def path(self, symbol: str, day: int, minutes: int) -> Floats:
        """Prices at minute 0 (the open) to `minutes` (the close), on the stock's price grid.

        The last one is the close as the source has it, which may have a third decimal.
        """
        key = (symbol, day)
        if key not in self._kept:
            path = self._history.paths.get(key)
            if path is None:
                path = self._draw(symbol, day, minutes)
            path = _multiplied(path, self._actions.factor(symbol, day))
            path.setflags(write=False)
            self._kept[key] = path
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
        bridge = walk - time * walk[-1]
        bar = self._history.bars.get((symbol, day))
        if bar is not None:
            return _on_grid(_through(bar, close, bridge, rng), close)
        first = before + gap
        return _on_grid(np.exp(first + time * (np.log(close) - first) + bridge), close)


def _through(bar: Bar, close: float, bridge: Floats, rng: np.random.Generator) -> Floats:
    """A path from the day's open to its close that touches its high and its low, and stays
    between them; at which minutes is drawn."""
    last = len(bridge) - 1
    path = np.exp(np.linspace(np.log(bar.open), np.log(close), last + 1) + bridge)
    if not (np.isfinite(bar.high) and np.isfinite(bar.low)):
        return np.asarray(path)
    path = np.clip(path, bar.low, bar.high)
    at = rng.choice(np.arange(1, last), size=2, replace=False)
    path[at[0]], path[at[1]] = bar.high, bar.low
    path[0] = bar.open
    return np.asarray(path)


def _on_grid(path: Floats, close: float) -> Floats:
    path = np.where(path >= 1.0, np.round(path, 2), np.maximum(np.round(path, 4), 0.0001))
    path[-1] = close
    return np.asarray(path)


def _multiplied(path: Floats, factor: float) -> Floats:
    if factor == 1.0:
        return np.array(path)
    path = path * factor
    return np.where(path >= 1.0, np.round(path, 2), np.maximum(np.round(path, 4), 0.0001))
