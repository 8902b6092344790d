"""Simulated time as a pure function of wall seconds elapsed: it runs inside sessions only.

At a close it jumps to the next open, so that no wall time is spent on nights and holidays. After
the last session with prices it stands still at that close.
"""

from __future__ import annotations

import bisect
import datetime as dt
from itertools import accumulate

from services.exchange.prices.calendar import Calendar, Session


class SimulatedClock:
    """`speed` simulated seconds of trading pass per wall second, from `start` on."""

    def __init__(
        self, calendar: Calendar, *, start: dt.datetime, last_day: int, speed: float
    ) -> None:
        first = calendar.current_or_next(start)
        last = calendar.session(last_day)
        if first is None or first.index > last_day:
            self._sessions: list[Session] = []
        else:
            self._sessions = [calendar.session(i) for i in range(first.index, last_day + 1)]
        self._speed = speed
        self._end = last.close
        self._starts = [max(start, session.open) for session in self._sessions]
        lengths = (
            (session.close - begin).total_seconds()
            for session, begin in zip(self._sessions, self._starts, strict=True)
        )
        # Seconds of trading from the start to the end of each session.
        self._cumulative = list(accumulate(lengths))

    def at(self, elapsed_seconds: float) -> dt.datetime:
        """Simulated time after that many wall seconds; negative counts as zero."""
        traded = max(0.0, elapsed_seconds) * self._speed
        index = bisect.bisect_right(self._cumulative, traded)
        if index == len(self._cumulative):
            return self._end
        into = traded - (self._cumulative[index - 1] if index else 0.0)
        return self._starts[index] + dt.timedelta(seconds=into)

    def ended(self, now: dt.datetime) -> bool:
        return now >= self._end
