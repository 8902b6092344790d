"""No chain can be traded for a certain gain: on the model's values, and so at bids and asks.

Values are compared within `ROUNDING` of the stock's price: they are differences of numbers of that
size, each good to some 1e-15 of it. Puts are European ones floored at intrinsic, so with time they
may lose the interest on the strike; nothing else may fall with time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.prices import volatility
from services.exchange.prices.actions import CashDividend, Split
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.chains import RATE, Chain
from services.exchange.prices.greeks import price
from services.exchange.prices.history import Floats, History
from services.exchange.prices.market import Market, Moment
from services.exchange.prices.sources.config import Walk
from services.exchange.prices.sources.walk import walk_history

ROUNDING = 1e-12
# Small prices; the two crashes; the quietest days; a jump of the VIX; early closes; the last month.
DATES = [
    dt.date(1995, 6, 1),
    dt.date(2000, 3, 15),
    dt.date(2008, 10, 10),
    dt.date(2014, 1, 3),
    dt.date(2017, 10, 6),
    dt.date(2018, 2, 6),
    dt.date(2019, 11, 29),
    dt.date(2020, 3, 20),
    dt.date(2022, 6, 15),
    dt.date(2022, 12, 9),
]
MINUTES = [0, 100, 389]  # of a Friday's expiration the last is a minute before the end


class Slice(NamedTuple):
    """The contracts of one root, expiration and right, by strike; in dollars a share."""

    call: bool
    years: float
    spot: float  # of what 100 shares' worth of the contract delivers
    strike: Floats
    bid: Floats
    ask: Floats
    value: Floats


def slices(market: Market, chain: Chain, moment: Moment) -> Iterator[Slice]:
    listing = chain.listing
    spot = market.last(listing.underlying, moment)
    roots = np.array([contract.parts.root for contract in listing.contracts])
    for root in np.unique(roots):
        for expiration in np.unique(listing.expiration[roots == root]):
            days = int(expiration) - moment.session.date.toordinal()
            seconds = days * 86_400 + (moment.session.minutes - moment.minute) * 60
            for call in (True, False):
                rows = (roots == root) & (listing.expiration == expiration) & (listing.call == call)
                yield Slice(
                    call,
                    seconds / (365 * 86_400),
                    spot * float(listing.deliverable[rows][0]) / 100,
                    listing.strike[rows],
                    *(column[rows] for column in chain.quotes),
                )


def check(market: Market, symbol: str, moment: Moment) -> int:
    """Every slice alone, calls against puts, and each expiration against the next."""
    chain = market.chain(symbol, moment)
    found = list(slices(market, chain, moment))
    for one in found:
        check_bounds(one)
        check_strikes(one)
    for calls, puts in zip(found[::2], found[1::2], strict=True):
        assert (calls.call, puts.call) == (True, False)
        check_parity(calls, puts)
    for near, far in zip(found, found[2:], strict=False):
        if near.spot == far.spot and near.years < far.years:
            check_time(near, far)
    return len(found)


def check_bounds(one: Slice) -> None:
    spot, strike, slack = one.spot, one.strike, ROUNDING * one.spot
    intrinsic = np.maximum(spot - strike if one.call else strike - spot, 0)
    limit = spot if one.call else strike
    assert np.all((one.bid >= 0) & (one.bid < one.ask))
    assert np.all(one.bid <= one.value + slack)
    assert np.all(one.value <= one.ask + slack)
    assert np.all(one.value >= intrinsic - slack)
    assert np.all(one.value <= limit + slack)


def check_strikes(one: Slice) -> None:
    """A higher strike is worth less (a put: more), by no more than the difference, and convexly."""
    strike, value, slack = one.strike, one.value, ROUNDING * one.spot
    step, change = np.diff(strike), np.diff(value)
    fall = -change if one.call else change
    assert np.all(fall >= -slack)
    assert np.all(fall <= step + slack)
    if len(strike) > 2:
        left, right = step[:-1], step[1:]
        butterfly = value[:-2] * right + value[2:] * left - value[1:-1] * (left + right)
        assert np.all(butterfly / (left + right) >= -slack)
        # The same with what is paid and got for it.
        executed = one.ask[:-2] * right + one.ask[2:] * left - one.bid[1:-1] * (left + right)
        assert np.all(executed >= -slack)


def check_parity(calls: Slice, puts: Slice) -> None:
    """S − K ≤ C − P ≤ S − K e^(−rT): American options, no dividend known."""
    assert np.array_equal(calls.strike, puts.strike)
    spot, strike, slack = calls.spot, calls.strike, ROUNDING * (calls.spot + calls.strike)
    discounted = strike * np.exp(-RATE * calls.years)
    difference = calls.value - puts.value
    assert np.all(difference >= spot - strike - slack)
    assert np.all(difference <= spot - discounted + slack)
    # Conversions and reversals at the quotes.
    assert np.all(calls.bid - puts.ask <= spot - discounted + slack)
    assert np.all(calls.ask - puts.bid >= spot - strike - slack)


def check_time(near: Slice, far: Slice) -> None:
    assert near.call == far.call
    _, in_near, in_far = np.intersect1d(near.strike, far.strike, return_indices=True)
    fall = near.value[in_near] - far.value[in_far]
    interest = near.strike[in_near] * (np.exp(-RATE * near.years) - np.exp(-RATE * far.years))
    slack = ROUNDING * near.spot
    assert np.all(fall <= (0 if near.call else interest) + slack)
    assert np.all(near.bid[in_near] <= far.ask[in_far] + slack)


def moment(market: Market, date: dt.date, minute: int) -> Moment:
    session = market.calendar.session(market.calendar.first_from(date))
    return market.moment(session.open + dt.timedelta(minutes=min(minute, session.minutes - 1)))


@pytest.fixture(scope="module")
def everything(calendar: Calendar, history: History) -> Market:
    return Market(calendar, history, seed=11)


@pytest.mark.parametrize("date", DATES, ids=str)
def test_no_chain_of_history_can_be_arbitraged(everything: Market, date: dt.date) -> None:
    for symbol in everything.history.symbols:
        for minute in MINUTES:
            assert check(everything, symbol, moment(everything, date, minute)) > 20


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nor_one_of_a_random_walk(calendar: Calendar, seed: int) -> None:
    source = Walk(symbols=["AAA", "BBB"], volatility=0.08 if seed == 1 else None)
    history = walk_history(source, calendar, start_day=5000, seed=seed)
    market = Market(calendar, history, seed=seed)
    for day in (market.first_day, market.first_day + 400, market.last_day - 200):
        date = calendar.session(day).date
        for symbol in market.history.symbols:
            for minute in MINUTES:
                check(market, symbol, moment(market, date, minute))


def test_nor_one_after_dividends_and_splits(calendar: Calendar, history: History) -> None:
    market = Market(calendar, history.only(["AAPL", "KO", "RRC"]), seed=7)
    now = moment(market, dt.date(2020, 2, 3), 5).now
    for symbol, rates in (("AAPL", (3, 2)), ("KO", (2, 1)), ("RRC", (1, 3))):
        terms = {"id": symbol, "symbol": symbol, "ex_date": dt.date(2020, 2, 10)}
        new, old = (Decimal(rate) for rate in rates)
        market.inject(Split(new_rate=new, old_rate=old, **terms), now)
        ex_date = dt.date(2020, 2, 18)
        dividend = {"rate": Decimal("0.41"), "record_date": ex_date, "payable_date": ex_date}
        market.inject(
            CashDividend(id=f"{symbol}d", symbol=symbol, ex_date=ex_date, **dividend), now
        )
    for date in (dt.date(2020, 2, 10), dt.date(2020, 2, 18), dt.date(2020, 3, 20)):
        for symbol in market.history.symbols:
            at = moment(market, date, 100)
            check(market, symbol, at)
            odd = market.listing(symbol, at).deliverable != 100
            assert odd.any() == (symbol != "KO")


LEVEL = st.floats(volatility.LEVEL_MIN, volatility.LEVEL_MAX)


@given(near=LEVEL, far=LEVEL, years=st.floats(1 / 525_600, 0.5), longer=st.floats(1.0, 200.0))
@settings(max_examples=300)
def test_the_surface_itself_admits_none(
    near: float, far: float, years: float, longer: float
) -> None:
    """At every pair of levels and times, and at finer strikes than are listed."""
    strike = np.exp(np.linspace(-2.0, 2.0, 401)) * 100.0
    slack = 1e-10

    def calls(t: float) -> Floats:
        money = volatility.surface(
            near=near, far=far, spot=100.0, strike=strike, years=t, rate=RATE
        )
        return price(spot=100.0, strike=strike, years=t, volatility=money, call=True, rate=RATE)

    value, later = calls(years), calls(years * longer)
    slope = np.diff(value) / np.diff(strike)
    assert np.all(slope <= slack)
    assert np.all(slope >= -1 - slack)
    step = np.diff(strike)
    convex = np.diff(slope) * step[:-1] * step[1:] / (step[:-1] + step[1:])
    assert np.all(convex >= -slack)
    assert np.all(later >= value - slack)
