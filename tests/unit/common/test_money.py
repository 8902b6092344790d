"""Decimal money on the grids that orders must lie on."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import (
    ZERO,
    ceil_to,
    cents,
    decimal_of,
    floor_to,
    on_grid,
    option_tick,
    plain,
    stock_tick,
)

ticks = st.sampled_from([Decimal(t) for t in ("0.01", "0.05", "0.10", "0.0001")])
prices = st.decimals(0, 10_000, places=6)


@pytest.mark.parametrize(
    ("price", "penny", "tick"),
    [
        ("0.01", True, "0.01"),
        ("2.99", True, "0.01"),
        ("3", True, "0.05"),
        ("2.99", False, "0.05"),
        ("3.00", False, "0.10"),
    ],
)
def test_an_options_grid_widens_at_three_dollars(price: str, penny: bool, tick: str) -> None:
    assert option_tick(Decimal(price), penny=penny) == Decimal(tick)


@pytest.mark.parametrize(("price", "tick"), [("0.9999", "0.0001"), ("1", "0.01"), ("5000", "0.01")])
def test_a_stocks_grid_narrows_below_a_dollar(price: str, tick: str) -> None:
    assert stock_tick(Decimal(price)) == Decimal(tick)


@settings(deadline=None)
@given(prices, ticks)
def test_floor_and_ceiling_are_the_nearest_points_of_the_grid(
    price: Decimal, tick: Decimal
) -> None:
    low, high = floor_to(price, tick), ceil_to(price, tick)
    assert low <= price <= high
    assert on_grid(low, tick)
    assert on_grid(high, tick)
    assert high - low == (0 if on_grid(price, tick) else tick)
    assert floor_to(low, tick) == low == ceil_to(low, tick)


@settings(deadline=None)
@given(prices, st.booleans())
def test_an_option_price_put_on_its_grid_stays_on_the_grid_it_lands_on(
    price: Decimal, penny: bool
) -> None:
    for put_on in (floor_to, ceil_to):
        landed = put_on(price, option_tick(price, penny=penny))
        assert on_grid(landed, option_tick(landed, penny=penny))
        assert on_grid(landed, option_tick(landed, penny=True))  # the wide grid lies on both


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_observation_is_the_decimal_it_prints_as(value: float) -> None:
    assert float(decimal_of(value)) == value
    assert decimal_of(value) == Decimal(repr(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_price(value: float) -> None:
    with pytest.raises(ValueError, match="not a price"):
        decimal_of(value)


@settings(deadline=None)
@given(st.decimals(-10_000_000_000, 10_000_000_000, places=6))
def test_a_plain_amount_has_no_trailing_zeros_and_no_exponent(value: Decimal) -> None:
    shown = str(plain(value))
    assert Decimal(shown) == value
    assert "E" not in shown
    assert "." not in shown or not shown.endswith(("0", "."))


@settings(deadline=None)
@given(st.decimals(-10_000_000, 10_000_000, places=4))
def test_cents_are_at_most_half_a_cent_away(value: Decimal) -> None:
    assert abs(cents(value) - value) <= Decimal("0.005")
    assert cents(value).as_tuple().exponent == -2


def test_zero_is_plain() -> None:
    assert str(plain(Decimal("0.000000"))) == "0"
    assert ZERO == 0
