"""What clients asked lately: the last requests in their order, for tests and for the curious."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

REQUESTS_MAX = 5000
BODY_BYTES_MAX = 4096  # of each that are kept


class Asked(msgspec.Struct):
    """`status` is None while a request waits, and stays so when it is never answered."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes  # its beginning
    body_bytes: int
    status: int | None = None
    fault: str | None = None

    @property
    def key(self) -> str | None:
        """The key id it came with, known or not."""
        found = [value for name, value in self.headers if name == b"apca-api-key-id"]
        return found[-1].decode("latin-1") if found else None


class RequestLog:
    """Bounded: the oldest goes first. Numbers go on when it is cleared."""

    def __init__(self) -> None:
        self._kept: deque[Asked] = deque(maxlen=REQUESTS_MAX)
        self._count = 0

    def numbered(self) -> Iterator[tuple[int, Asked]]:
        return enumerate(self._kept, self._count - len(self._kept) + 1)

    def note(self, asked: Asked) -> None:
        self._count += 1
        self._kept.append(asked)

    def clear(self) -> None:
        self._kept.clear()
