"""Our vectorised prices and greeks against vollib's scalar functions and against themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vollib.black_scholes_merton import black_scholes_merton
from vollib.black_scholes_merton.greeks import analytical

from services.exchange.prices.greeks import greeks, price

TERMS = {
    "spot": st.floats(1, 1000),
    "moneyness": st.floats(0.5, 2),
    "years": st.floats(1 / 365, 3),
    "volatility": st.floats(0.05, 2),
    "rate": st.floats(0, 0.1),
    "dividend_yield": st.floats(0, 0.05),
    "call": st.booleans(),
}


@given(**TERMS)
def test_price_and_greeks_are_vollibs(
    spot: float,
    moneyness: float,
    years: float,
    volatility: float,
    rate: float,
    dividend_yield: float,
    call: bool,
) -> None:
    strike = spot * moneyness
    ours = greeks(
        spot=spot,
        strike=strike,
        years=years,
        volatility=volatility,
        call=call,
        rate=rate,
        dividend_yield=dividend_yield,
    )
    terms = ("c" if call else "p", spot, strike, years, rate, volatility, dividend_yield)
    assert float(ours.price) == pytest.approx(black_scholes_merton(*terms), abs=1e-9)
    for name in ("delta", "gamma", "theta", "vega", "rho"):
        theirs = getattr(analytical, name)(*terms)
        assert float(getattr(ours, name)) == pytest.approx(theirs, rel=1e-10, abs=1e-10), name


FD_TERMS = {
    "moneyness": st.floats(0.5, 2),
    "years": st.floats(1 / 365, 2),
    "volatility": st.floats(0.05, 2.5),
    "rate": st.floats(0, 0.1),
    "call": st.booleans(),
}


@given(**FD_TERMS)
@settings(max_examples=400)
def test_greeks_are_the_finite_differences_of_the_price(
    moneyness: float, years: float, volatility: float, rate: float, call: bool
) -> None:
    """Within 1e-6, of a stock at $1: greeks of dearer ones are multiples (gamma: parts) of these.

    Central differences of the fourth order: their error is the step's fourth power times the fifth
    derivative, and rounding's 1e-16 over the step. The step of each argument is a small part of
    the scale on which the price bends: a standard deviation of the stock, the time left, the
    volatility.
    """
    deviation = volatility * math.sqrt(years)
    at = {"spot": 1.0, "strike": moneyness, "years": years, "volatility": volatility, "rate": rate}
    found = greeks(call=call, **at)

    def slope(name: str, step: float, of: Callable[..., float]) -> float:
        near, far = (
            of(call=call, **at | {name: at[name] + n * step})
            - of(call=call, **at | {name: at[name] - n * step})
            for n in (1, 2)
        )
        return (8 * near - far) / (12 * step)

    def value(**terms: Any) -> float:
        return float(price(**terms))

    def delta(**terms: Any) -> float:
        return float(greeks(**terms).delta)

    within = {"abs": 1e-6}
    in_spot = 0.01 * min(deviation, 1.0)
    assert float(found.delta) == pytest.approx(slope("spot", in_spot, value), **within)
    # Gamma is as large as one over a deviation: within 1e-6 of that.
    assert float(found.gamma) * deviation == pytest.approx(
        slope("spot", in_spot, delta) * deviation, **within
    )
    in_volatility = 0.003 * volatility
    assert float(found.vega) == pytest.approx(
        slope("volatility", in_volatility, value) / 100, **within
    )
    in_rate = 0.01 * min(volatility / math.sqrt(years), 1.0)
    assert float(found.rho) == pytest.approx(slope("rate", in_rate, value) / 100, **within)
    in_years = 0.003 * years
    assert float(found.theta) == pytest.approx(-slope("years", in_years, value) / 365, **within)


def test_a_whole_chain_is_one_call() -> None:
    strikes = np.linspace(50, 150, 101)
    found = greeks(spot=100, strike=strikes, years=0.1, volatility=0.2, call=True, rate=0.0)
    assert all(column.shape == (101,) for column in found)
    assert np.all(np.diff(found.delta) <= 0)
