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
from operator import itemgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.symbols import OptionSymbol, Right
from services.exchange.calendar import Calendar, Session, friday_of, is_monthly
from services.exchange.draws import key_of, uniform
from services.exchange.history import Floats, History

WEEKLY_DAYS = 56
MONTHLY_DAYS = 160
STRIKE_RANGE = 0.35
ADJUSTED_STRIKES = 3
ADJUSTED_RATE = 0.35
LISTINGS_KEPT = 256
# Options outside the penny programme, so that clients meet the coarser grid.
NOT_PENNY = frozenset({"BBY", "RRC"})
_WEEK = dt.timedelta(days=7)
_GRIDS = ((25.0, Decimal("0.5")), (100.0, Decimal(1)), (250.0, Decimal("2.5")))
_WIDEST_GRID = Decimal(5)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a listing; `row` is its place in the listing's arrays."""

    symbol: str
    parts: OptionSymbol
    underlying: str
    penny: bool
    row: int

    @property
    def is_call(self) -> bool:
        return self.parts.right is Right.CALL


class Listing:
    """The contracts of one underlying on one day, ordered by symbol, with columns for pricing."""

    def __init__(self, underlying: str, contracts: list[Contract], level: float) -> None:
        self.underlying = underlying
        self.contracts = contracts
        self.by_symbol = {contract.symbol: contract for contract in contracts}
        self.strike: Floats = np.array([float(c.parts.strike) for c in contracts])
        self.call: NDArray[np.bool_] = np.array([c.is_call for c in contracts])
        self.adjusted: NDArray[np.bool_] = np.array([c.parts.adjusted for c in contracts])
        self.expiration: NDArray[np.int64] = np.array(
            [c.parts.expiration.toordinal() for c in contracts], dtype=np.int64
        )
        self.keys: NDArray[np.uint64] = np.array(
            [key_of(c.symbol) for c in contracts], dtype=np.uint64
        )
        self.level = level  # the close that the day's open interest is centred on

    def __len__(self) -> int:
        return len(self.contracts)


class Listings:
    def __init__(self, calendar: Calendar, history: History, seed: int) -> None:
        self._calendar = calendar
        self._history = history
        self._seed = seed
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

    def _listing(self, underlying: str, session: Session) -> Listing:
        symbols: list[OptionSymbol] = []
        for expiration in self.expirations(session.index):
            strikes = self._strikes(underlying, session.index, expiration)
            symbols += [
                OptionSymbol(root=underlying, expiration=expiration, right=right, strike=strike)
                for right in Right
                for strike in strikes
            ]
        symbols += self._adjusted(underlying, session.index)
        named = sorted(((str(symbol), symbol) for symbol in symbols), key=itemgetter(0))
        penny = underlying not in NOT_PENNY
        contracts = [
            Contract(symbol=name, parts=parts, underlying=underlying, penny=penny, row=row)
            for row, (name, parts) in enumerate(named)
        ]
        return Listing(
            underlying, contracts, self._history.close(underlying, max(0, session.index - 1))
        )

    def _strikes(self, underlying: str, day: int, expiration: dt.date) -> list[Decimal]:
        days = MONTHLY_DAYS if is_monthly(expiration) else WEEKLY_DAYS
        listed_on = friday_of(expiration) - dt.timedelta(days=days)
        first = max(0, self._calendar.first_from(listed_on) - 1)
        closes = self._history.closes(underlying, min(first, day - 1), day - 1)
        grid = _grid(float(closes[0]))
        lowest = max(1, math.floor(float(closes.min()) * (1 - STRIKE_RANGE) / float(grid)))
        highest = math.ceil(float(closes.max()) * (1 + STRIKE_RANGE) / float(grid))
        return [grid * n for n in range(lowest, highest + 1)]

    def _adjusted(self, underlying: str, day: int) -> list[OptionSymbol]:
        """A few contracts with an adjusted root, as a past split or merger leaves them."""
        chance = uniform(key_of(self._seed, "adjusted", underlying), [0])[0]
        if chance >= ADJUSTED_RATE:
            return []
        expiration = next(e for e in self.expirations(day) if is_monthly(e))
        strikes = self._strikes(underlying, day, expiration)
        middle = len(strikes) // 2
        return [
            OptionSymbol(root=f"{underlying}1", expiration=expiration, right=right, strike=strike)
            for right in Right
            for strike in strikes[middle : middle + ADJUSTED_STRIKES]
        ]


def _grid(price: float) -> Decimal:
    return next((grid for below, grid in _GRIDS if price < below), _WIDEST_GRID)
