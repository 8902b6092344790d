"""Synthetic option quotes: model prices, floored at intrinsic, with spreads on the price grid.

Everything broadcasts: one call prices a whole chain at one moment, or one contract along many
minutes of a path (for resting orders). Spread, size, liquidity and open interest are seeded per
contract.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from libs.common.symbols import SHARES_PER_CONTRACT
from services.exchange.prices import volatility
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.greeks import Greeks, greeks, price
from services.exchange.prices.history import Floats
from services.exchange.prices.listing import Contract, Listing

RATE = 0.02  # one flat rate for every year: chains are synthetic anyway
SECONDS_PER_YEAR = 365 * 86_400
YEARS_MIN = 60 / SECONDS_PER_YEAR
SPREAD_SHARE = 0.012  # of the price, on average, on each side of it
NO_GREEKS_RATE_WINGS, NO_QUOTE_RATE_WINGS = 0.08, 0.03
NO_GREEKS_RATE_CENTRE = 0.002
WINGS_DELTA = 0.05
SIZE_MAX = 180
OPEN_INTEREST_MEDIAN = 900.0

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Levels(NamedTuple):
    """The day's at-the-money volatility, near and far."""

    near: float
    far: float


class Quotes(NamedTuple):
    """Bid and ask in dollars on the grid (a bid may be 0), and the model's value between them."""

    bid: Floats
    ask: Floats
    value: Floats


class Chain(NamedTuple):
    """One underlying's quotes and greeks at one moment; rows as in the listing."""

    listing: Listing
    quotes: Quotes
    volatility: Floats
    greeks: Greeks
    bid_size: Ints
    ask_size: Ints
    has_greeks: Bools
    has_quote: Bools


def quotes_of(
    *,
    value: Floats,
    penny: ArrayLike,
    spread_draw: ArrayLike,
) -> Quotes:
    """Bid below and ask above the value by half a tick and a seeded share of the price."""
    half = 0.005 + SPREAD_SHARE * value * (0.5 + np.asarray(spread_draw))
    bid = _to_grid(np.maximum(value - half, 0.0), penny, np.floor)
    ask = _to_grid(value + half, penny, np.ceil)
    return Quotes(bid=bid, ask=ask, value=value)


def chain_at(
    listing: Listing, *, spot: float, years: Floats, levels: Levels, seed: int, minute_key: int
) -> Chain:
    """Price every contract of the listing; `minute_key` seeds the sizes of the moment."""
    delivered = spot * listing.deliverable / SHARES_PER_CONTRACT
    money = volatility.surface(
        near=levels.near,
        far=levels.far,
        spot=delivered,
        strike=listing.strike,
        years=years,
        rate=RATE,
    )
    all_greeks = greeks(
        spot=delivered,
        strike=listing.strike,
        years=years,
        volatility=money,
        call=listing.call,
        rate=RATE,
    )
    value = np.maximum(all_greeks.price, _intrinsic(delivered, listing.strike, listing.call))
    penny = listing.contracts[0].penny if len(listing) else True
    wings = np.abs(all_greeks.delta) < WINGS_DELTA
    deep = np.abs(all_greeks.delta) > 1 - WINGS_DELTA
    illiquid = uniform(key_of(seed, "illiquid"), listing.keys)
    return Chain(
        listing=listing,
        quotes=quotes_of(value=value, penny=penny, spread_draw=_spread_draw(seed, listing.keys)),
        volatility=money,
        greeks=all_greeks,
        bid_size=_sizes(key_of(seed, "bid", minute_key), listing.keys),
        ask_size=_sizes(key_of(seed, "ask", minute_key), listing.keys),
        has_greeks=~listing.adjusted
        & (illiquid >= np.where(wings | deep, NO_GREEKS_RATE_WINGS, NO_GREEKS_RATE_CENTRE)),
        has_quote=~(wings & (illiquid < NO_QUOTE_RATE_WINGS)),
    )


def contract_along(
    contract: Contract, *, spots: Floats, years: Floats, levels: Levels, seed: int
) -> Quotes:
    """Quotes of one contract at each spot and time to expiration of a path."""
    strike = float(contract.parts.strike)
    spots = spots * (float(contract.deliverable) / SHARES_PER_CONTRACT)
    money = volatility.surface(
        near=levels.near, far=levels.far, spot=spots, strike=strike, years=years, rate=RATE
    )
    model = price(
        spot=spots,
        strike=strike,
        years=years,
        volatility=money,
        call=contract.is_call,
        rate=RATE,
    )
    value = np.maximum(model, _intrinsic(spots, strike, contract.is_call))
    draw = _spread_draw(seed, np.array([key_of(contract.symbol)], dtype=np.uint64))
    return quotes_of(value=value, penny=contract.penny, spread_draw=draw)


def values(
    listing: Listing, rows: slice, *, spots: Floats, years: Floats, levels: Levels
) -> Floats:
    """What those contracts of the listing are worth; `spots` and `years` have them as last axis."""
    strike, call = listing.strike[rows], listing.call[rows]
    delivered = spots * listing.deliverable[rows] / SHARES_PER_CONTRACT
    money = volatility.surface(
        near=levels.near, far=levels.far, spot=delivered, strike=strike, years=years, rate=RATE
    )
    model = price(
        spot=delivered, strike=strike, years=years, volatility=money, call=call, rate=RATE
    )
    return np.maximum(model, _intrinsic(delivered, strike, call))


def open_interest(listing: Listing, seed: int, day: int) -> Ints:
    """Contracts open per row: seeded, most at the money and in monthlies, none in a few wings."""
    draw = uniform(key_of(seed, "open interest"), listing.keys)
    distance = np.abs(np.log(listing.strike / listing.level))
    scale = OPEN_INTEREST_MEDIAN * np.exp(-9.0 * distance) * np.where(listing.adjusted, 0.01, 1.0)
    drift = 1.0 + 0.05 * uniform(key_of(seed, "open interest", day), listing.keys)
    return np.asarray((scale * np.exp(2.0 * draw - 0.7) * drift).astype(np.int64))


def _spread_draw(seed: int, keys: NDArray[np.uint64]) -> Floats:
    return uniform(key_of(seed, "spread"), keys)


def _sizes(key: int, keys: NDArray[np.uint64]) -> Ints:
    return np.asarray(1 + (uniform(key, keys) * SIZE_MAX).astype(np.int64))


def _intrinsic(spot: ArrayLike, strike: ArrayLike, call: ArrayLike) -> Floats:
    sign = np.where(call, 1.0, -1.0)
    return np.asarray(np.maximum(sign * (np.asarray(spot) - np.asarray(strike)), 0.0))


def _to_grid(value: Floats, penny: ArrayLike, rounding: np.ufunc) -> Floats:
    """On the grid of libs.common.money.option_tick, vectorised: 1, 5 or 10 cents."""
    below = np.where(penny, 1.0, 5.0)
    above = np.where(penny, 5.0, 10.0)
    ticks_cents = np.where(value < 3.0, below, above)
    slack = 1e-7 if rounding is np.floor else -1e-7
    cents = rounding(value * 100.0 / ticks_cents + slack) * ticks_cents
    return np.asarray(np.rint(cents) / 100.0)
