"""Prices, listings and chains: determinism, bounds, and what stays when time passes."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.prices import volatility
from services.exchange.prices.calendar import Calendar, load_calendar
from services.exchange.prices.chains import RATE, open_interest
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.history import History, load_history
from services.exchange.prices.listing import NOT_PENNY
from services.exchange.prices.market import DAYS_BEFORE, Market, Moment

CALENDAR = load_calendar()
HISTORY = load_history()
MARKET = Market(CALENDAR, HISTORY, seed=11)
DAYS = st.integers(DAYS_BEFORE + 2500, len(HISTORY) - 1)  # from 2000 on: prices of ordinary size
MINUTES = st.integers(0, 209)
STOCKS = st.sampled_from(HISTORY.symbols)


def moment(day: int, minute: int) -> Moment:
    session = CALENDAR.session(day)
    return MARKET.moment(session.open + dt.timedelta(minutes=minute))


@given(STOCKS, st.integers(DAYS_BEFORE, len(HISTORY) - 1))
@settings(deadline=None)
def test_every_session_ends_at_the_real_close(symbol: str, day: int) -> None:
    session = CALENDAR.session(day)
    path = MARKET.path(symbol, session)
    assert len(path) == session.minutes + 1
    assert path[-1] == HISTORY.close(symbol, day)
    assert np.all(path > 0)
    assert np.all(np.isfinite(path))


def test_the_seed_alone_makes_the_path(calendar: Calendar, history: History) -> None:
    session = calendar.session(7580)
    again, other = Market(calendar, history, seed=11), Market(calendar, history, seed=12)
    again.path("KO", calendar.session(7000))  # what was asked before does not matter
    assert np.array_equal(again.path("KO", session), MARKET.path("KO", session))
    assert not np.array_equal(other.path("KO", session), MARKET.path("KO", session))


@given(STOCKS, DAYS, MINUTES)
@settings(deadline=None, max_examples=60)
def test_a_chain_admits_no_arbitrage(symbol: str, day: int, minute: int) -> None:
    now = moment(day, minute)
    chain = MARKET.chain(symbol, now)
    spot = MARKET.last(symbol, now)
    bid, ask, value = chain.quotes
    strike, call = chain.listing.strike, chain.listing.call
    intrinsic = np.maximum(np.where(call, spot - strike, strike - spot), 0)
    assert np.all((bid >= 0) & (bid <= value + 1e-9) & (value <= ask + 1e-9) & (ask > bid))
    assert np.all(value >= intrinsic - 1e-9)
    assert np.all(value <= np.where(call, spot, strike) + 1e-9)
    assert np.all(chain.volatility > 0)
    assert np.all(np.abs(chain.greeks.delta) <= 1)
    for expiration in np.unique(chain.listing.expiration):
        for right in (True, False):
            of_one = (chain.listing.expiration == expiration) & (call == right)
            of_one &= ~chain.listing.adjusted
            rising = value[of_one] if not right else -value[of_one]
            assert np.all(np.diff(rising) >= -1e-6), (
                "a put's value rises with strike, a call's falls"
            )


@given(STOCKS, DAYS, MINUTES)
@settings(deadline=None, max_examples=30)
def test_put_call_parity_holds_in_the_model(symbol: str, day: int, minute: int) -> None:
    chain = MARKET.chain(symbol, moment(day, minute))
    listing, price = chain.listing, chain.greeks.price
    spot = MARKET.last(symbol, moment(day, minute))
    plain = ~listing.adjusted
    calls, puts = np.flatnonzero(listing.call & plain), np.flatnonzero(~listing.call & plain)
    pairs = {(listing.expiration[i], listing.strike[i]): i for i in puts}
    for row in calls:
        other = pairs[listing.expiration[row], listing.strike[row]]
        rho = chain.greeks.rho[row] - chain.greeks.rho[other]  # K·t·e^(-rt) / 100
        days = listing.expiration[row] - moment(day, minute).session.date.toordinal()
        years = (days * 86400 + (moment(day, minute).session.minutes - minute) * 60) / (365 * 86400)
        cash = listing.strike[row] * np.exp(-RATE * years)
        assert price[row] - price[other] == pytest.approx(spot - cash, abs=1e-8)
        assert rho == pytest.approx(cash * years / 100, abs=1e-8)


@given(STOCKS, DAYS)
@settings(deadline=None, max_examples=40)
def test_a_listed_contract_stays_until_it_expires(symbol: str, day: int) -> None:
    today, tomorrow = moment(day, 0), moment(min(day + 1, len(HISTORY) - 1), 0)
    before, after = MARKET.listing(symbol, today), MARKET.listing(symbol, tomorrow)
    gone = [
        contract.symbol
        for contract in before.contracts
        if contract.symbol not in after.row_of
        and not contract.parts.adjusted
        and contract.parts.expiration >= tomorrow.session.date
    ]
    assert gone == []
    assert all(c.parts.expiration >= today.session.date for c in before.contracts)


@given(STOCKS, DAYS, MINUTES)
@settings(deadline=None, max_examples=30)
def test_quotes_lie_on_the_contracts_grid(symbol: str, day: int, minute: int) -> None:
    quotes = MARKET.chain(symbol, moment(day, minute)).quotes
    penny = symbol not in NOT_PENNY
    for prices in (quotes.bid, quotes.ask):
        cents = np.rint(prices * 100).astype(int)
        assert np.allclose(cents, prices * 100)
        assert np.all(cents[prices >= 3] % (5 if penny else 10) == 0)
        assert np.all(cents[prices < 3] % (1 if penny else 5) == 0)


def test_a_contract_alone_is_quoted_as_in_its_chain() -> None:
    now = moment(7580, 90)
    chain = MARKET.chain("AAPL", now)
    for contract in chain.listing.contracts[::97]:
        alone = MARKET.option_quotes(contract, now.session, 90, 90)
        assert alone.bid[0] == chain.quotes.bid[chain.listing.row_of[contract.symbol]]
        assert alone.ask[0] == chain.quotes.ask[chain.listing.row_of[contract.symbol]]


def test_chains_have_gaps_as_real_ones_do() -> None:
    now = moment(7580, 90)
    chain = MARKET.chain("AAPL", now)
    assert 0 < np.count_nonzero(~chain.has_greeks) < len(chain.listing) / 10
    assert np.count_nonzero(~chain.has_quote) > 0
    assert np.count_nonzero(chain.quotes.bid == 0) > 0
    assert open_interest(chain.listing, 11, 7580).min() >= 0
    adjusted = [s for s in HISTORY.symbols if MARKET.listing(s, now).adjusted.any()]
    assert 0 < len(adjusted) < len(HISTORY.symbols)


def test_expirations_are_eight_weeklies_and_monthlies_further() -> None:
    expirations = MARKET.listings.expirations(7580)
    assert expirations[0] == dt.date(2020, 2, 7)
    assert len([e for e in expirations if e <= dt.date(2020, 3, 30)]) == 8
    assert expirations[-2:] == [dt.date(2020, 5, 15), dt.date(2020, 6, 19)]


def test_volatility_comes_from_the_vix_where_it_is_known() -> None:
    covered = CALENDAR.first_from(dt.date(2018, 2, 6))  # the VIX closed at 37 the day before
    assert HISTORY.vix(covered - 1) == pytest.approx(0.3732)
    quiet = CALENDAR.first_from(dt.date(2017, 10, 6))
    assert volatility.level(HISTORY, "JPM", covered) > 2 * volatility.level(HISTORY, "JPM", quiet)
    march_2020 = CALENDAR.first_from(dt.date(2020, 3, 20))
    assert HISTORY.vix(march_2020) is None
    assert volatility.level(HISTORY, "JPM", march_2020) > 0.5


def test_puts_out_of_the_money_carry_the_higher_volatility() -> None:
    near, far = (
        volatility.surface(near=0.3, far=0.3, spot=100, strike=k, years=0.1, rate=0.0)
        for k in (90, 110)
    )
    assert near > 0.3 > far * 0.99


def test_draws_are_uniform_and_keyed() -> None:
    numbers = uniform(key_of(1, "x"), np.arange(10_000))
    assert abs(numbers.mean() - 0.5) < 0.02
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert not np.array_equal(numbers, uniform(key_of(2, "x"), np.arange(10_000)))
