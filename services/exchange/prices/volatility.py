"""The implied-volatility surface that the synthetic chains are priced on.

Level: the VIX of the session before, scaled by the stock's trailing realised volatility over the
index's; where the VIX is not covered, the stock's trailing realised volatility and a premium.
Shape: reverts to the year's level with time to expiration, and a skew in standardised moneyness.
Only closes before the session are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from services.exchange.prices.history import (
    LONG_WINDOW,
    MEDIUM_WINDOW,
    SHORT_WINDOW,
    Floats,
    History,
)

LEVEL_MIN, LEVEL_MAX = 0.08, 2.5
RATIO_MIN, RATIO_MAX = 0.6, 4.0
VARIANCE_PREMIUM = 1.1  # implied volatility is on average about a tenth above realised
SHORT_WEIGHT = 0.6
REVERSION_YEARS = 0.35
SKEW_SLOPE, SKEW_CURVE = -0.08, 0.02
MONEYNESS_LIMIT = 4.0


def level(history: History, symbol: str, day: int) -> float:
    """At-the-money volatility of near expirations during session `day`, as a fraction."""
    vix = history.vix(day - 1)
    if vix is None:
        short = history.volatility(symbol, day, SHORT_WINDOW)
        long = history.volatility(symbol, day, LONG_WINDOW)
        variance = SHORT_WEIGHT * short**2 + (1 - SHORT_WEIGHT) * long**2
        value = VARIANCE_PREMIUM * float(np.sqrt(variance))
    else:
        stock = history.volatility(symbol, day, MEDIUM_WINDOW)
        index = max(history.index_volatility(day, MEDIUM_WINDOW), 1e-4)
        value = vix * min(max(stock / index, RATIO_MIN), RATIO_MAX)
    return min(max(value, LEVEL_MIN), LEVEL_MAX)


def long_run(history: History, symbol: str, day: int) -> float:
    """The level that far expirations revert to."""
    value = VARIANCE_PREMIUM * history.volatility(symbol, day, LONG_WINDOW)
    return min(max(value, LEVEL_MIN), LEVEL_MAX)


def surface(
    *, near: float, far: float, spot: ArrayLike, strike: ArrayLike, years: ArrayLike
) -> Floats:
    """Implied volatility per contract; the arguments broadcast."""
    t = np.asarray(years, float)
    money = far + (near - far) * np.exp(-t / REVERSION_YEARS)
    x = np.log(np.asarray(strike, float) / np.asarray(spot, float)) / (money * np.sqrt(t))
    x = np.clip(x, -MONEYNESS_LIMIT, MONEYNESS_LIMIT)
    return np.asarray(money * (1.0 + SKEW_SLOPE * x + SKEW_CURVE * x * x))
