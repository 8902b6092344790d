"""Black-Scholes-Merton prices and greeks, vectorised: a whole chain in one call.

Formulas: Hull, Options, Futures, and Other Derivatives, chapters 15 and 19, with a continuous
dividend yield q. Units as Alpaca's and vollib's: theta per calendar day, vega per volatility
point (0.01), rho per percentage point of interest (0.01).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
DAYS_PER_YEAR = 365.0
_POINT = 0.01
_SQRT_TWO_PI = np.sqrt(2.0 * np.pi)


class Greeks(NamedTuple):
    price: Floats
    delta: Floats
    gamma: Floats
    theta: Floats
    vega: Floats
    rho: Floats


def greeks(
    *,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    call: ArrayLike,
    rate: float,
    dividend_yield: float = 0.0,
) -> Greeks:
    """European prices and greeks; the arguments broadcast, `years` and `volatility` are positive.

    `call` is true for calls, false for puts.
    """
    s, k, t = np.asarray(spot, float), np.asarray(strike, float), np.asarray(years, float)
    sigma = np.asarray(volatility, float)
    sign = np.where(call, 1.0, -1.0)
    root = sigma * np.sqrt(t)
    d1 = (np.log(s / k) + (rate - dividend_yield) * t) / root + 0.5 * root
    d2 = d1 - root
    share = s * np.exp(-dividend_yield * t)
    cash = k * np.exp(-rate * t)
    n1, n2 = ndtr(sign * d1), ndtr(sign * d2)
    density = np.exp(-0.5 * d1 * d1) / _SQRT_TWO_PI
    decay = -share * density * sigma / (2.0 * np.sqrt(t))
    carry = sign * (dividend_yield * share * n1 - rate * cash * n2)
    return Greeks(
        price=sign * (share * n1 - cash * n2),
        delta=sign * np.exp(-dividend_yield * t) * n1,
        gamma=share * density / (s * s * root),
        theta=(decay + carry) / DAYS_PER_YEAR,
        vega=share * density * np.sqrt(t) * _POINT,
        rho=sign * cash * t * n2 * _POINT,
    )


def price(
    *,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    call: ArrayLike,
    rate: float,
) -> Floats:
    """European price without a dividend yield; the arguments broadcast."""
    s, k, t = np.asarray(spot, float), np.asarray(strike, float), np.asarray(years, float)
    sign = np.where(call, 1.0, -1.0)
    root = np.asarray(volatility, float) * np.sqrt(t)
    d1 = (np.log(s / k) + rate * t) / root + 0.5 * root
    cash = k * np.exp(-rate * t)
    return np.asarray(sign * (s * ndtr(sign * d1) - cash * ndtr(sign * (d1 - root))))
