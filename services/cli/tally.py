"""What came of a run, in numbers."""

from __future__ import annotations

import msgspec


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `filled` counts orders filled whole; `trailing_stops` those the broker
    took; `errors` counts alerts of severity error and restarts of services.
    """

    ticks: int = 0
    intents: int = 0
    approved: int = 0
    blocked: int = 0
    submitted: int = 0
    filled: int = 0
    puts_filled: int = 0
    calls_filled: int = 0
    trailing_stops: int = 0
    assigned: int = 0
    expired: int = 0
    called_away: int = 0
    errors: int = 0
    equity: str = ""
    first_tick_seconds: float | None = None
    market_time: str = ""
    synthetic_option_prices: bool = True
