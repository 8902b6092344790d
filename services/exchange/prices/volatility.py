"""The implied-volatility surface that the synthetic chains are priced on.

Level: the VIX of the session before, scaled by the stock's trailing realised volatility over the
index's; where the VIX is not covered, the stock's trailing realised volatility and a premium.
Shape: variance reverts to the year's level with time to expiration, so that total variance always
rises; a skew in standardised moneyness, of a form without arbitrage.
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
REVERSION_YEARS = 0.175
# Of the SSVI slice: volatility falls by 8 % a standard deviation at the money, and curves by 2 %.
SKEW_SLOPE, SKEW_CURVE = -0.348, 0.46
MONEYNESS_LIMIT = 40.0  # standard deviations; the time value beyond is zero in floating point


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
    *,
    near: float,
    far: float,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: float,
) -> Floats:
    """Implied volatility per contract; the arguments broadcast.

    SSVI with phi = SKEW_CURVE / sqrt(theta), in log-moneyness to the forward. It admits neither
    butterfly nor calendar arbitrage while SKEW_CURVE² (1 + |SKEW_SLOPE|) <= 4, SKEW_CURVE
    sqrt(theta) (1 + |SKEW_SLOPE|) < 4 and theta rises with time (Gatheral and Jacquier,
    Arbitrage-free SVI volatility surfaces, 2014, theorems 4.1 and 4.2).
    """
    t = np.asarray(years, float)
    reverted = REVERSION_YEARS * -np.expm1(t / -REVERSION_YEARS)
    theta = far * far * t + (near * near - far * far) * reverted
    x = (np.log(np.asarray(strike, float) / np.asarray(spot, float)) - rate * t) / np.sqrt(theta)
    wing = SKEW_CURVE * np.clip(x, -MONEYNESS_LIMIT, MONEYNESS_LIMIT)
    share = 1.0 + SKEW_SLOPE * wing
    share += np.sqrt((wing + SKEW_SLOPE) ** 2 + (1.0 - SKEW_SLOPE**2))
    return np.asarray(np.sqrt(theta / t * (0.5 * share)))
