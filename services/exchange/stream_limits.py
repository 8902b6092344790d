"""What the exchange's streams bear: how many, how long, how much. Light enough for the config."""

from __future__ import annotations

import msgspec


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds are the wall's. Symbols are counted over trades and quotes together, without `*`."""

    auth_timeout_seconds: float = 10.0
    connections_max: int = 1  # market-data connections per account and endpoint
    stock_symbols_max: int = 10_000
    option_symbols_max: int = 1_000
    feeds_refused: list[str] = []  # feeds that are not in the subscription, e.g. sip
    queue_frames_max: int = 1_000  # frames a client may leave unread before it is cut
    minutes_max: int = 10  # played minutes that one step sends; of more, the latest

    def trouble(self) -> str | None:
        """What is wrong with the numbers, in one line."""
        if not 0 < self.auth_timeout_seconds <= 3600:
            return "streams auth_timeout_seconds must be above 0, at most 3600"
        for name in (
            "connections_max",
            "stock_symbols_max",
            "option_symbols_max",
            "queue_frames_max",
            "minutes_max",
        ):
            if not 1 <= getattr(self, name) <= 1_000_000:
                return f"streams {name} must be 1 to 1000000"
        return None
