"""Never more than so many requests in any minute. Pure: the caller brings the time."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 60.0


class RequestWindow:
    """A sliding log of request times. `now_seconds` is any clock that only goes forward: the
    broker's, so that a simulated exchange that runs faster than life is counted on its own time.
    """

    def __init__(self, limit: int, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self.limit = limit
        self.window_seconds = window_seconds
        self._sent: deque[float] = deque(maxlen=limit)

    def wait_seconds(self, now_seconds: float) -> float:
        """How long until one more request keeps to the limit; 0 when it does now.

        The request `limit` places back decides, by one comparison: rounding cannot let two pass
        in the place of one.
        """
        if len(self._sent) < self.limit:
            return 0.0
        return max(self._sent[0] + self.window_seconds - now_seconds, 0.0)

    def spend(self, now_seconds: float) -> None:
        self._sent.append(now_seconds)
