"""What a contract is sold for, and what that earns a year."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from libs.common.money import ceil_to, decimal_of, floor_to, option_tick

DAYS_A_YEAR = 365
WALK_STEPS = 3
"""From mid to bid: with ticks of 15 minutes it is at the bid when its hour of rest ends."""


def sell_limit_price(bid: float, ask: float, *, penny: bool) -> Decimal:
    """The limit to sell at, in dollars per share: the highest grid point not above the mid.

    Never below the bid: where the grid has no point between bid and mid (a quote narrower than
    the grid, or off it), the first point at or above the bid. Expects 0 < bid <= ask, finite;
    raises ValueError otherwise.
    """
    low, high = _market(bid, ask)
    mid = (low + high) / 2
    price = floor_to(mid, option_tick(mid, penny=penny))
    if price >= low:
        return price
    return ceil_to(low, option_tick(low, penny=penny))


def walked_limit_price(limit: Decimal, bid: float, ask: float, *, penny: bool) -> Decimal | None:
    """The next limit of an order to sell that rests at `limit`: a step nearer to the bid.

    A step is the WALK_STEPS-th part of the way from mid to bid, and one grid point at the least.
    What comes out lies on the grid, below `limit`, not above the mid and not below the bid; None
    where there is no such price. So while the quote stands still an order reaches the bid in
    WALK_STEPS steps (and one to the mid, if it rested above), and it never turns back. Expects
    0 < bid <= ask, finite; raises ValueError otherwise.
    """
    low, high = _market(bid, ask)
    mid = (low + high) / 2
    lowest = ceil_to(low, option_tick(low, penny=penny))
    aim = min(limit - (mid - low) / WALK_STEPS, mid)
    price = max(floor_to(aim, option_tick(aim, penny=penny)), lowest)
    if price > mid or limit - price < option_tick(price, penny=penny):
        return None
    return price


def _market(bid: float, ask: float) -> tuple[Decimal, Decimal]:
    low, high = decimal_of(bid), decimal_of(ask)
    if not 0 < low <= high:
        raise ValueError(f"no price between a bid of {bid} and an ask of {ask}")
    return low, high


def annual_yield_pct(limit_price: Decimal, strike: Decimal, days: int) -> float:
    """Percent a year on the collateral: limit price / strike x 365 / max(days, 1) x 100.

    The price is the limit that would be sent, not the mid or the ask: what is asked for is the
    most that can be earned. Simple interest over calendar days to expiration.
    """
    return float(limit_price) / as_float(strike) * DAYS_A_YEAR / max(days, 1) * 100


@lru_cache(maxsize=16_384)
def as_float(strike: Decimal) -> float:
    """A finite strike as a float; kept, since a chain repeats few strikes and `float` is slow."""
    return float(strike)


def spread_pct(bid: float, ask: float) -> float:
    """The width of a quote in percent of its middle."""
    return (ask - bid) / ((ask + bid) / 2) * 100
