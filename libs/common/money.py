"""Decimal money and the price grids orders must lie on.

Grids [Alpaca's and the exchanges' rules]: options of the penny programme trade in 0.01 below
3.00 and 0.05 from 3.00, the others in 0.05 and 0.10; stocks in 0.01 from 1.00 and 0.0001 below.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

CENT = Decimal("0.01")
ZERO = Decimal(0)
_THREE_DOLLARS = Decimal(3)
_ONE_DOLLAR = Decimal(1)


def option_tick(price: Decimal, *, penny: bool) -> Decimal:
    """The grid step of an option's price, in dollars."""
    if penny:
        return CENT if price < _THREE_DOLLARS else Decimal("0.05")
    return Decimal("0.05") if price < _THREE_DOLLARS else Decimal("0.10")


def stock_tick(price: Decimal) -> Decimal:
    """The grid step of a stock's price, in dollars."""
    return CENT if price >= _ONE_DOLLAR else Decimal("0.0001")


def floor_to(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value(ROUND_FLOOR) * tick


def ceil_to(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value(ROUND_CEILING) * tick


def on_grid(price: Decimal, tick: Decimal) -> bool:
    return price % tick == 0


def decimal_of(value: float) -> Decimal:
    """A market observation as the decimal it prints as, so 0.1 is 0.1.

    Raises ValueError for NaN and infinities, which are never a price.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a price")
    return Decimal(repr(float(value)))


def plain(value: Decimal) -> Decimal:
    """Without the trailing zeros a database column adds, and never in exponent form."""
    return value.normalize() + ZERO


def micro(value: Decimal) -> Decimal:
    """Rounded half-even to a millionth, as the books keep prices, without trailing zeros."""
    return plain(value.quantize(Decimal("0.000001")))


def cents(value: Decimal) -> Decimal:
    """Rounded half-even to the cent, for books and screens."""
    return value.quantize(CENT)
