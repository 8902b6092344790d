"""Simulated time as a function of wall seconds elapsed, the speed, pauses and steps by hand.

Usually time runs inside sessions only: at a close it jumps to the next open, so that no wall
time is spent on nights and holidays. With `skip_closed` off, nights last as they do in life.
After the last session with prices it stands still at that close.
"""

from __future__ import annotations

import datetime as dt

from services.exchange.prices.calendar import Calendar


class SimulatedClock:
    """`speed` simulated seconds pass per wall second, from `start` on. No I/O: wall time comes in
    as `elapsed` seconds, which never decrease from call to call."""

    def __init__(
        self,
        calendar: Calendar,
        *,
        start: dt.datetime,
        last_day: int,
        speed: float,
        skip_closed: bool = True,
        paused: bool = False,
    ) -> None:
        self._calendar = calendar
        self._end = calendar.session(last_day).close
        self._skip_closed = skip_closed
        self._speed = speed
        self._paused = paused
        # Time was `_from` when `_elapsed` wall seconds had passed; it goes on from there.
        self._from = min(start, self._end)
        self._elapsed = 0.0
        self._until = self._next_stop()
        if not paused:
            self._from = self._into_session(self._from)
            self._until = self._next_stop()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def speed(self) -> float:
        return self._speed

    def ended(self, now: dt.datetime) -> bool:
        return now >= self._end

    def at(self, elapsed_seconds: float) -> dt.datetime:
        """Simulated time after that many wall seconds; negative counts as zero."""
        if self._paused:
            return self._from
        passed = max(0.0, elapsed_seconds - self._elapsed) * self._speed
        now = self._plus(passed)
        while now >= self._until and self._from < self._end:
            used = (self._until - self._from).total_seconds()
            self._elapsed += used / self._speed
            passed -= used
            self._from = self._into_session(self._until)
            self._until = self._next_stop()
            now = self._plus(passed)
        return min(now, self._end)

    def pause(self, elapsed_seconds: float) -> None:
        self._settle(elapsed_seconds)
        self._paused = True

    def resume(self, elapsed_seconds: float) -> None:
        """Run again; from an instant in the night on to the next open."""
        self._settle(elapsed_seconds)
        self._paused = False
        self._from = self._into_session(self._from)
        self._until = self._next_stop()

    def set_speed(self, speed: float, elapsed_seconds: float) -> None:
        self._settle(elapsed_seconds)
        self._speed = speed

    def step_to(self, instant: dt.datetime, elapsed_seconds: float) -> None:
        """Set time ahead, into a night too; never back, and not beyond the end of the data."""
        self._settle(elapsed_seconds)
        self._from = min(max(instant, self._from), self._end)
        self._until = self._next_stop()

    def _settle(self, elapsed_seconds: float) -> None:
        self._from = self.at(elapsed_seconds)
        self._elapsed = max(elapsed_seconds, self._elapsed)
        self._until = self._next_stop()

    def _plus(self, seconds: float) -> dt.datetime:
        """So long after `_from`, and no further than a day after the end."""
        beyond = (self._end - self._from).total_seconds() + 86_400
        return self._from + dt.timedelta(seconds=min(seconds, max(beyond, 0.0)))

    def _next_stop(self) -> dt.datetime:
        """Where running time jumps next: the close of its session, or the end."""
        if not self._skip_closed:
            return self._end
        session = self._calendar.current_or_next(self._from)
        if session is None:
            return self._end
        return min(self._from if self._from < session.open else session.close, self._end)

    def _into_session(self, instant: dt.datetime) -> dt.datetime:
        """The instant itself within a session, else the next open."""
        if not self._skip_closed or instant >= self._end:
            return min(instant, self._end)
        session = self._calendar.current_or_next(instant)
        return self._end if session is None else min(max(instant, session.open), self._end)
