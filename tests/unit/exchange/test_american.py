"""Our values against American ones: what early exercise would be worth, and where it is missing.

The exchange prices European options and floors them at intrinsic. `docs/exchange.md` says how far
that is from the American price; the table there is the one made here
(`python -m tests.unit.exchange.test_american` prints it).
"""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import QuantLib

from services.exchange.prices.chains import RATE, SPREAD_SHARE
from services.exchange.prices.greeks import price

SPOT = 100.0
MONEYNESS = (0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3)  # strike over spot
DAYS = (1, 7, 30, 60, 160)
VOLATILITIES = (0.1, 0.2, 0.4, 0.8)
DOCS = Path(__file__).parents[3] / "docs" / "exchange.md"


class Compared(NamedTuple):
    """Dollars a share; `spread` is the average one of the exchange's quotes."""

    call: bool
    days: int
    volatility: float
    strike: float
    ours: float
    american: float
    spread: float

    @property
    def missing(self) -> float:
        return self.american - self.ours


@cache
def grid() -> list[Compared]:
    return [
        Compared(call, days, sigma, SPOT * ratio, value, american, 2 * half)
        for call, days, sigma, ratio in product((True, False), DAYS, VOLATILITIES, MONEYNESS)
        for value in [ours(SPOT * ratio, days, sigma, call=call)]
        for half in [0.005 + SPREAD_SHARE * value]
        for american in [quantlibs(SPOT * ratio, days, sigma, call=call)]
    ]


def ours(strike: float, days: int, sigma: float, *, call: bool) -> float:
    european = price(
        spot=SPOT, strike=strike, years=days / 365, volatility=sigma, call=call, rate=RATE
    )
    return max(float(european), SPOT - strike if call else strike - SPOT, 0.0)


def quantlibs(strike: float, days: int, sigma: float, *, call: bool) -> float:
    """Andersen, Lake and Offengenden's method, far more exact than a cent."""
    today, year = QuantLib.Date(3, 2, 2020), QuantLib.Actual365Fixed()
    QuantLib.Settings.instance().evaluationDate = today
    rate, dividends = (
        QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, r, year)) for r in (RATE, 0.0)
    )
    money = QuantLib.BlackConstantVol(today, QuantLib.NullCalendar(), sigma, year)
    process = QuantLib.BlackScholesMertonProcess(
        QuantLib.QuoteHandle(QuantLib.SimpleQuote(SPOT)),
        dividends,
        rate,
        QuantLib.BlackVolTermStructureHandle(money),
    )
    payoff = QuantLib.PlainVanillaPayoff(
        QuantLib.Option.Call if call else QuantLib.Option.Put, strike
    )
    option = QuantLib.VanillaOption(payoff, QuantLib.AmericanExercise(today, today + days))
    option.setPricingEngine(
        QuantLib.QdFpAmericanEngine(process, QuantLib.QdFpAmericanEngine.accurateScheme())
    )
    return float(option.NPV())


GROUPS = {
    "calls": lambda one: one.call,
    "puts out of the money and at it": lambda one: not one.call and one.strike <= SPOT,
    "puts in the money, 1 and 7 days": lambda one: (
        not one.call and one.strike > SPOT and one.days <= 7
    ),
    "puts in the money, 30 and 60 days": lambda one: (
        not one.call and one.strike > SPOT and 30 <= one.days <= 60
    ),
    "puts in the money, 160 days": lambda one: (
        not one.call and one.strike > SPOT and one.days == 160
    ),
}


def table() -> str:
    """Markdown: what is missing to the American price, in cents a share and of the spread."""
    lines = [
        "| Options on a stock at $100 | Mean | Worst | Mean of the spread | Worst of the spread |",
        "|---|---|---|---|---|",
    ]
    for name, belongs in GROUPS.items():
        group = [one for one in grid() if belongs(one)]
        missing = np.array([one.missing for one in group])
        share = missing / np.array([one.spread for one in group])
        lines.append(
            f"| {name} | {missing.mean() * 100:.2f} ¢ | {missing.max() * 100:.1f} ¢ "
            f"| {share.mean() * 100:.0f} % | {share.max() * 100:.0f} % |".replace("-0", "0")
        )
    return "\n".join(lines)


def test_calls_are_american_ones() -> None:
    """Without dividends a call is never exercised early."""
    for one in grid():
        if one.call:
            assert one.ours == pytest.approx(one.american, abs=1e-9)


def test_puts_are_never_dearer_and_lack_at_most_the_interest_on_the_strike() -> None:
    for one in grid():
        interest = one.strike * -np.expm1(-RATE * one.days / 365)
        assert -1e-9 <= one.missing <= interest


def test_the_puts_that_are_written_lack_little() -> None:
    """At the money or out of it, up to two months away: at most 3 cents on a stock at $100."""
    short = [one for one in grid() if not one.call and one.strike <= SPOT and one.days <= 60]
    assert max(one.missing for one in short) < 0.03


def test_the_table_in_the_docs_is_current() -> None:
    assert table() in DOCS.read_text()


if __name__ == "__main__":
    print(table())
