"""Requests per minute, in fixed windows, as the X-Ratelimit headers tell it.

The minutes are those of simulated time while it runs, so that a client that paces itself at 200
a minute may do so at any speed; while time stands still they are those of the wall.
"""

from __future__ import annotations

SECONDS_PER_WINDOW = 60
Headers = list[tuple[bytes, bytes]]


class RateLimit:
    def __init__(self, per_minute: int) -> None:
        self._limit = str(per_minute).encode()
        self._per_minute = per_minute
        self._window = -1
        self._used = 0

    def allow(self, seconds: float) -> bool:
        """`seconds` since any fixed instant; they never decrease."""
        window = int(seconds) // SECONDS_PER_WINDOW
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self._per_minute:
            return False
        self._used += 1
        return True

    def headers(self, remaining: int | None = None) -> Headers:
        left = self._per_minute - self._used if remaining is None else remaining
        return [
            (b"x-ratelimit-limit", self._limit),
            (b"x-ratelimit-remaining", b"%d" % left),
            (b"x-ratelimit-reset", b"%d" % ((self._window + 1) * SECONDS_PER_WINDOW)),
        ]
