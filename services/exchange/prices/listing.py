"""Which option contracts are listed: a pure function of symbol, session and seed.

Expirations: the Friday of each of the next eight weeks (Thursday when Friday is a holiday), and
monthlies for about five months. Strikes: 35 % around every close since the expiration was
listed, on a grid chosen by the price then. So a contract, once listed, stays until it expires.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.prices.actions import Actions, Split, adjusted_contract, deliverable_after
from services.exchange.prices.calendar import Calendar, Session, friday_of, is_monthly
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.history import Floats, History

WEEKLY_DAYS = 56
MONTHLY_DAYS = 160
STRIKE_RANGE = 0.35
ADJUSTED_STRIKES = 3
ADJUSTED_RATE = 0.35
LISTINGS_KEPT = 256
SERIES_KEPT = 4096
# Options outside the penny programme, so that clients meet the coarser grid.
NOT_PENNY = frozenset({"BBY", "RRC"})
_WEEK = dt.timedelta(days=7)
_GRIDS = ((25.0, Decimal("0.5")), (100.0, Decimal(1)), (250.0, Decimal("2.5")))
_WIDEST_GRID = Decimal(5)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    parts: OptionSymbol
    underlying: str
    penny: bool
    deliverable: Decimal = Decimal(SHARES_PER_CONTRACT)  # shares

    @property
    def is_call(self) -> bool:
        return self.parts.right is Right.CALL


class Series(NamedTuple):
    """The contracts of one root, expiration and right, by strike, with columns for pricing.

    Made once and shared by the listings of many days, for most of them change little.
    """

    contracts: tuple[Contract, ...]
    strike: Floats
    call: NDArray[np.bool_]
    adjusted: NDArray[np.bool_]
    expiration: NDArray[np.int64]
    keys: NDArray[np.uint64]
    deliverable: Floats


class Listing:
    """The contracts of one underlying on one day, ordered by symbol; columns as in Series."""

    def __init__(self, underlying: str, series: list[Series], level: float) -> None:
        ordered = sorted(series, key=lambda one: one.contracts[0].symbol)
        self.underlying = underlying
        self.contracts = [contract for one in ordered for contract in one.contracts]
        self.row_of = {contract.symbol: row for row, contract in enumerate(self.contracts)}
        self.strike = np.concatenate([one.strike for one in ordered])
        self.call = np.concatenate([one.call for one in ordered])
        self.adjusted = np.concatenate([one.adjusted for one in ordered])
        self.expiration = np.concatenate([one.expiration for one in ordered])
        self.keys = np.concatenate([one.keys for one in ordered])
        self.deliverable = np.concatenate([one.deliverable for one in ordered])
        self.level = level  # the close that the day's open interest is centred on

    def __len__(self) -> int:
        return len(self.contracts)

    def find(self, symbol: str) -> Contract | None:
        row = self.row_of.get(symbol)
        return None if row is None else self.contracts[row]


class Listings:
    def __init__(self, calendar: Calendar, history: History, seed: int, actions: Actions) -> None:
        self._calendar = calendar
        self._history = history
        self._seed = seed
        self._actions = actions
        self.listing = lru_cache(maxsize=LISTINGS_KEPT)(self._listing)
        self.expirations = lru_cache(maxsize=LISTINGS_KEPT)(self._expirations)

    def _expirations(self, day: int) -> list[dt.date]:
        """Expirations listed on session `day`, its own included."""
        today = self._calendar.session(day).date
        friday, found = friday_of(today), []
        while (friday - today).days <= MONTHLY_DAYS:
            expiration = self._calendar.expiration_of_week(friday)
            near = (friday - today).days <= WEEKLY_DAYS
            if expiration and expiration >= today and (near or is_monthly(expiration)):
                found.append(expiration)
            friday += _WEEK
        return found

    def forget(self) -> None:
        """An action was injected: what is listed on later days is worked out anew."""
        self.listing.cache_clear()

    def _listing(self, underlying: str, session: Session) -> Listing:
        series = [
            series_of(underlying, expiration, right, strikes)
            for expiration in self.expirations(session.index)
            for strikes in [self._strikes(underlying, session.index, expiration)]
            for right in Right
        ]
        odd = self._odd_splits(underlying, session)
        series += odd or self._adjusted(underlying, session.index)
        before = max(self._history.first_day, session.index - 1)
        level = self._actions.price(underlying, before)
        return Listing(underlying, series, level)

    def _strikes(self, underlying: str, day: int, expiration: dt.date) -> tuple[Decimal, ...]:
        """Strikes around every close since the expiration was listed or the last split; those of
        before a whole split, divided by it, stay."""
        first = self._listed_from(expiration)
        splits = self._actions.splits(underlying, first, day)
        if not splits:
            return self._around(underlying, first, day)
        ex_day, split = splits[-1]
        strikes = set(self._around(underlying, ex_day, day))
        if split.whole:
            for strike in self._strikes(underlying, ex_day - 1, expiration):
                option = OptionSymbol(
                    root=underlying, expiration=expiration, right=Right.PUT, strike=strike
                )
                strikes.add(adjusted_contract(option, split)[0].strike)
        return tuple(sorted(strikes))

    def _listed_from(self, expiration: dt.date) -> int:
        """The session before the one on which an expiration was first listed."""
        days = MONTHLY_DAYS if is_monthly(expiration) else WEEKLY_DAYS
        listed_on = friday_of(expiration) - dt.timedelta(days=days)
        return max(self._history.first_day, self._calendar.first_from(listed_on) - 1)

    def _around(self, underlying: str, first: int, day: int) -> tuple[Decimal, ...]:
        """Strikes around the closes of sessions first to day − 1, in today's shares."""
        first = min(first, day - 1)
        closes = self._history.closes(underlying, first, day - 1)
        closes = closes * self._actions.split_factor(underlying, day)
        if self._actions.all:
            closes = closes * [
                self._actions.dividend_factor(underlying, d) for d in range(first, day)
            ]
        grid = _grid(float(closes[0]))
        lowest = max(1, math.floor(float(closes.min()) * (1 - STRIKE_RANGE) / float(grid)))
        highest = math.ceil(float(closes.max()) * (1 + STRIKE_RANGE) / float(grid))
        return tuple(grid * n for n in range(lowest, highest + 1))

    def _odd_splits(self, underlying: str, session: Session) -> list[Series]:
        """Contracts that splits other than whole ones changed, until they expire."""
        found = []
        splits = self._actions.splits(underlying, -1, session.index)
        for place, (ex_day, odd) in enumerate(splits):
            if odd.whole:
                continue
            since = [split for _, split in splits[place:]]
            shares = Decimal(SHARES_PER_CONTRACT)
            for split in since:
                shares = deliverable_after(shares, split)
            for expiration in self.expirations(ex_day - 1):
                if expiration >= session.date:
                    strikes = self._strikes(underlying, ex_day - 1, expiration)
                    root, strikes = _through(since, underlying, expiration, strikes)
                    found += [
                        series_of(root, expiration, right, strikes, shares) for right in Right
                    ]
        return found

    def _adjusted(self, underlying: str, day: int) -> list[Series]:
        """A few contracts with an adjusted root, as a past split or merger leaves them."""
        chance = uniform(key_of(self._seed, "adjusted", underlying), [0])[0]
        if chance >= ADJUSTED_RATE:
            return []
        expiration = next(e for e in self.expirations(day) if is_monthly(e))
        strikes = self._strikes(underlying, day, expiration)
        middle = len(strikes) // 2
        few = strikes[middle : middle + ADJUSTED_STRIKES]
        return [series_of(f"{underlying}1", expiration, right, few) for right in Right]


def _through(
    splits: list[Split], root: str, expiration: dt.date, strikes: tuple[Decimal, ...]
) -> tuple[str, tuple[Decimal, ...]]:
    """Root and strikes of contracts after these splits."""
    for split in splits:
        after = [
            adjusted_contract(
                OptionSymbol(root=root, expiration=expiration, right=Right.PUT, strike=strike),
                split,
            )[0]
            for strike in strikes
        ]
        root, strikes = after[0].root, tuple(sorted({option.strike for option in after}))
    return root, strikes


@lru_cache(maxsize=SERIES_KEPT)
def series_of(
    root: str,
    expiration: dt.date,
    right: Right,
    strikes: tuple[Decimal, ...],
    deliverable: Decimal = Decimal(SHARES_PER_CONTRACT),
) -> Series:
    symbols = [
        OptionSymbol(root=root, expiration=expiration, right=right, strike=strike)
        for strike in strikes
    ]
    underlying = symbols[0].underlying
    contracts = tuple(
        Contract(
            symbol=str(parts),
            parts=parts,
            underlying=underlying,
            penny=underlying not in NOT_PENNY,
            deliverable=deliverable,
        )
        for parts in symbols
    )
    count = len(contracts)
    return Series(
        contracts=contracts,
        strike=np.array([float(strike) for strike in strikes]),
        call=np.full(count, right is Right.CALL),
        adjusted=np.full(count, symbols[0].adjusted),
        expiration=np.full(count, expiration.toordinal(), dtype=np.int64),
        keys=np.array([key_of(c.symbol) for c in contracts], dtype=np.uint64),
        deliverable=np.full(count, float(deliverable)),
    )


def _grid(price: float) -> Decimal:
    return next((grid for below, grid in _GRIDS if price < below), _WIDEST_GRID)
