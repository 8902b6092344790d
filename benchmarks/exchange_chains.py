"""The exchange's option chains: 3,000 contracts priced with greeks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from itertools import count

import numpy as np

from benchmarks.result import Result, alone
from libs.common.symbols import Right
from services.exchange.prices.chains import Chain, Levels, chain_at
from services.exchange.prices.listing import Listing, series_of

CONTRACTS = 3_000
PRICING_TARGET_MS = 2.0
ROUNDS = 60
SPOT = 250.0
TODAY = dt.date(2020, 2, 3)


def run() -> list[Result]:
    """Raises AssertionError when a chain's figures are not what they were."""
    listing = _listing()
    years = np.maximum(listing.expiration - TODAY.toordinal(), 1) / 365
    minutes: Iterator[int] = count(1)

    def price() -> Chain:
        return chain_at(
            listing,
            spot=SPOT,
            years=years,
            levels=Levels(near=0.3, far=0.25),
            seed=1,
            minute_key=next(minutes),
        )

    first, second = price(), price()
    assert len(listing) == CONTRACTS
    assert np.array_equal(first.quotes.bid, second.quotes.bid), "quotes differ at the same moment"
    assert np.isfinite(np.concatenate([np.ravel(column) for column in first.greeks])).all()
    return [
        Result(
            name=f"a chain of {CONTRACTS:,} priced: quotes, sizes, volatility, five greeks",
            figure=alone(price, rounds=ROUNDS),
            unit="ms",
            target=PRICING_TARGET_MS,
        )
    ]


def _listing() -> Listing:
    """Ten expirations, both rights, 150 strikes."""
    strikes = tuple(Decimal(100 + 2 * n) for n in range(150))
    days = (4, 11, 18, 25, 32, 39, 46, 53, 74, 109)
    series = [
        series_of("AAPL", TODAY + dt.timedelta(days=each), right, strikes)
        for each in days
        for right in Right
    ]
    return Listing("AAPL", series, SPOT)
