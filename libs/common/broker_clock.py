"""How far our clock and the broker's are apart, from the `Date` of its answers.

An approval ends at a moment of wall time. A machine whose clock is off would take one that has
ended for a valid one, or the other way round; the broker's answers tell it better.

One answer leaves room: `Date` has whole seconds, rounded down, many servers draw it up once a
second, and the answer was under way. Each gives two bounds of the difference, and several together
narrow them.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import deque
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

ZERO = dt.timedelta(0)
DATE_STEP = dt.timedelta(seconds=2)
"""The broker's time is later than its `Date` by less than this."""
APART_MAX = dt.timedelta(seconds=1)
ANSWERS = 16


class BrokerClock:
    """Shared by the threads of one process."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[dt.timedelta, dt.timedelta]] = deque(maxlen=ANSWERS)
        """Of our time less the broker's: surely at least, surely at most."""
        self._lock = threading.Lock()
        self._told = ""

    def hear(self, date: str | None, heard_at: dt.datetime, took: dt.timedelta = ZERO) -> None:
        """Takes the `Date` of an answer that came at `heard_at` by our clock (aware UTC), `took`
        after it was asked for. What is missing or no date changes nothing.
        """
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if said.tzinfo is None:  # RFC 5322: "-0000", a time without a zone
            said = said.replace(tzinfo=dt.UTC)
        with self._lock:
            self._bounds.append((heard_at - took - said - DATE_STEP, heard_at - said))
            least, most = self._least_and_most()
            if least > most:  # a clock was set meanwhile: what was heard before counts no more
                newest = self._bounds[-1]
                self._bounds.clear()
                self._bounds.append(newest)
            self._tell()

    def latest(self, now: dt.datetime) -> dt.datetime:
        """The later of our time and the broker's."""
        with self._lock:
            return now + max(-self._least_and_most()[1], ZERO)

    def problem(self) -> str:
        """Says so when the two are surely more than a second apart, else nothing. Then no end of
        an approval can be trusted.
        """
        with self._lock:
            return self._problem()

    def _least_and_most(self) -> tuple[dt.timedelta, dt.timedelta]:
        if not self._bounds:
            return ZERO, ZERO
        return max(least for least, _ in self._bounds), min(most for _, most in self._bounds)

    def _problem(self) -> str:
        least, most = self._least_and_most()
        if most < -APART_MAX:
            return f"our clock is {_seconds(-most)} behind the broker's; set it"
        if least > APART_MAX:
            return f"our clock is {_seconds(least)} ahead of the broker's; set it"
        return ""

    def _tell(self) -> None:
        """Once, until they agree again."""
        problem = self._problem()
        if problem and not self._told:
            log.error("%s: no order leaves until then", problem)
        elif self._told and not problem:
            log.warning("our clock and the broker's agree again")
        self._told = problem


def _seconds(difference: dt.timedelta) -> str:
    return f"at least {difference.total_seconds():.1f} s"
