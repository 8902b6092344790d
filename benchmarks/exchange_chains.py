"""The exchange's option chains: 3,000 contracts priced with greeks, and a page of 1,000 served."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count

import msgspec
import numpy as np

from benchmarks.result import Result, alone
from libs.common.symbols import Right
from services.exchange.config import ExchangeConfig
from services.exchange.prices.chains import Chain, Levels, chain_at
from services.exchange.prices.listing import Listing, series_of
from services.exchange.service import Running

CONTRACTS = 3_000
PAGE = 1_000
PRICING_TARGET_MS = 2.0
PAGE_TARGET_MS = 10.0
ROUNDS = 60
SPOT = 250.0
TODAY = dt.date(2020, 2, 3)
MINUTE = dt.timedelta(minutes=1)


def run() -> list[Result]:
    """Raises AssertionError when a chain's figures or a page's contracts are not what they were."""
    return [_pricing(), *_page()]


def _pricing() -> Result:
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
    return Result(
        name=f"a chain of {CONTRACTS:,} priced: quotes, sizes, volatility, five greeks",
        figure=alone(price, rounds=ROUNDS),
        unit="ms",
        target=PRICING_TARGET_MS,
    )


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


def _page() -> list[Result]:
    """By the whole way of a request but the socket: keys, limit, filter, views, JSON."""
    exchange = Running(
        ExchangeConfig(
            key="bench", secret="bench", symbols=["AAPL"], paused=True,
            rate_limit_per_minute=10**9,
        )
    )  # fmt: skip
    venue = exchange.venue
    venue.begin()

    def later() -> bytes:
        """The next minute's chain has to be priced first."""
        venue.step_to(venue.now() + MINUTE)
        return _asked(exchange)

    first, again = _asked(exchange), _asked(exchange)
    assert first == again, "the same page differs at the same moment"
    assert len(msgspec.json.decode(first)["snapshots"]) == PAGE
    row = "a page of 1,000 served, {}"
    return [
        _served(row.format("priced first"), later),
        _served(row.format("of a chain that is priced"), lambda: _asked(exchange)),
    ]


def _served(name: str, work: Callable[[], bytes]) -> Result:
    return Result(
        name=name,
        figure=alone(work, rounds=ROUNDS),
        unit="ms",
        target=PAGE_TARGET_MS,
        notes=f"{len(work()) / 1000:.0f} kB",
    )


def _asked(exchange: Running) -> bytes:
    scope = {
        "method": "GET",
        "path": "/v1beta1/options/snapshots/AAPL",
        "query_string": f"limit={PAGE}".encode(),
        "headers": [(b"apca-api-key-id", b"bench"), (b"apca-api-secret-key", b"bench")],
    }
    answer = exchange.face.answer(scope, b"")
    assert answer.status == 200, answer.body
    return answer.body
