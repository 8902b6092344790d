"""Our vectorised prices and greeks against vollib's scalar functions and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
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


def test_greeks_are_the_finite_differences_of_the_price() -> None:
    terms = {"spot": 100.0, "strike": 95.0, "years": 0.25, "volatility": 0.3, "call": False}
    found = greeks(rate=0.02, **terms)

    def moved(**changes: float) -> float:
        return float(price(**({"rate": 0.02} | terms | changes)))

    step = 1e-4
    assert float(found.delta) == pytest.approx(
        (moved(spot=100 + step) - moved(spot=100 - step)) / (2 * step), abs=1e-6
    )
    assert float(found.vega) == pytest.approx(
        (moved(volatility=0.3 + step) - moved(volatility=0.3 - step)) / (2 * step) / 100, abs=1e-6
    )
    assert float(found.rho) == pytest.approx(
        (moved(rate=0.02 + step) - moved(rate=0.02 - step)) / (2 * step) / 100, abs=1e-6
    )
    assert float(found.theta) == pytest.approx(
        (moved(years=0.25 - step) - moved(years=0.25 + step)) / (2 * step) / 365, abs=1e-6
    )


def test_a_whole_chain_is_one_call() -> None:
    strikes = np.linspace(50, 150, 101)
    found = greeks(spot=100, strike=strikes, years=0.1, volatility=0.2, call=True, rate=0.0)
    assert all(column.shape == (101,) for column in found)
    assert np.all(np.diff(found.delta) <= 0)
