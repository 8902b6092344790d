"""How far our clock is behind the broker's, from the `Date` of its answers.

An approval ends at a moment of wall time. A machine whose clock is behind would take one that has
ended for a valid one; the broker's answers tell it better.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

WORTH_TELLING = dt.timedelta(seconds=2)
"""`Date` has whole seconds, rounded down, and servers draw it up once a second."""


class BrokerClock:
    """Shared by the threads of one process."""

    def __init__(self) -> None:
        self._behind = dt.timedelta(0)
        self._told = False
        self._lock = threading.Lock()

    def hear(self, date: str | None, heard_at: dt.datetime) -> None:
        """Takes the `Date` of an answer that came at `heard_at` by our clock (aware UTC). By then
        it is at least that late; what is missing or no date changes nothing.
        """
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if said.tzinfo is None:  # RFC 5322: "-0000", a time without a zone
            said = said.replace(tzinfo=dt.UTC)
        with self._lock:
            self._behind = max(said - heard_at, dt.timedelta(0))
            if self._behind > WORTH_TELLING and not self._told:
                self._told = True
                log.error("our clock is %s behind the broker's: set it", self._behind)

    def latest(self, now: dt.datetime) -> dt.datetime:
        """The later of our time and the broker's."""
        with self._lock:
            return now + self._behind
