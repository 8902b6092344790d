"""One running exchange: engine, clock and what the HTTP face needs to answer. No I/O of its own.

Wall time comes in as a function, saving goes out as a function; the shell supplies both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from services.exchange.clock import SimulatedClock
from services.exchange.engine.account import Exchange
from services.exchange.prices.market import Market, Moment

SYNTHETIC_NOTE = (
    "Option prices are synthetic: modelled from real daily stock closes, not market data. "
    "Stock prices within a day are simulated; each day ends at its real adjusted close."
)


class Venue:
    def __init__(
        self,
        *,
        exchange: Exchange,
        clock: SimulatedClock,
        elapsed_seconds: Callable[[], float],
        save: Callable[[], None],
        waiting: bool,
    ) -> None:
        self.exchange = exchange
        self._clock = clock
        self._elapsed = elapsed_seconds
        self._save = save
        self._started_at: float | None = None if waiting else elapsed_seconds()
        self._saved_revision = -1

    @property
    def market(self) -> Market:
        return self.exchange.market

    @property
    def waiting(self) -> bool:
        return self._started_at is None

    def begin(self) -> None:
        """The first client came: simulated time starts to run."""
        if self._started_at is None:
            self._started_at = self._elapsed()

    def now(self) -> dt.datetime:
        started = self._started_at
        elapsed = 0.0 if started is None else self._elapsed() - started
        return max(self._clock.at(elapsed), self.exchange.books.now)

    @property
    def ended(self) -> bool:
        return self._clock.ended(self.now())

    def advance(self) -> Moment:
        return self.exchange.advance(self.now())

    def save_changes(self) -> None:
        """Write the books when they changed since the last time."""
        revision = self.exchange.books.revision
        if revision != self._saved_revision:
            self._save()
            self._saved_revision = revision

    def save(self) -> None:
        """Write the books whatever changed, simulated time included."""
        self._save()
        self._saved_revision = self.exchange.books.revision
