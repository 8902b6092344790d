"""Requests per minute of simulated time, in fixed windows, as the X-Ratelimit headers tell it."""

from __future__ import annotations

import datetime as dt

SECONDS_PER_WINDOW = 60


class RateLimit:
    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._window = -1
        self._used = 0

    def allow(self, now: dt.datetime) -> bool:
        window = int(now.timestamp()) // SECONDS_PER_WINDOW
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self._per_minute:
            return False
        self._used += 1
        return True

    def headers(self) -> dict[str, str]:
        return {
            "X-Ratelimit-Limit": str(self._per_minute),
            "X-Ratelimit-Remaining": str(self._per_minute - self._used),
            "X-Ratelimit-Reset": str((self._window + 1) * SECONDS_PER_WINDOW),
        }
