"""The limit a contract is sold at: on its grid, from bid to mid, never through the bid."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import decimal_of, on_grid, option_tick
from services.planner.pricing import (
    WALK_STEPS,
    annual_yield_pct,
    sell_limit_price,
    spread_pct,
    walked_limit_price,
)


@pytest.mark.parametrize(
    ("bid", "ask", "penny", "limit"),
    [
        (1.20, 1.30, True, "1.25"),
        (1.20, 1.23, True, "1.21"),  # the mid 1.215 is rounded down
        (1.20, 1.23, False, "1.20"),  # nickels
        (2.90, 3.20, True, "3.05"),  # nickels from three dollars, in the penny programme too
        (3.00, 3.40, False, "3.20"),  # dimes
        (2.95, 3.15, False, "3.00"),  # the grid of the price itself, not of the bid
        (0.01, 0.02, True, "0.01"),
        (1.20, 1.20, True, "1.20"),
        (1.22, 1.23, False, "1.25"),  # no grid point between: the first above the bid
        (0.001, 0.002, True, "0.01"),
    ],
)
def test_a_limit_is_the_highest_grid_point_up_to_the_mid(
    bid: float, ask: float, penny: bool, limit: str
) -> None:
    assert sell_limit_price(bid, ask, penny=penny) == Decimal(limit)


@given(
    bid=st.floats(0.001, 5000),
    width=st.floats(0, 50),
    penny=st.booleans(),
)
def test_a_limit_is_on_the_grid_and_never_through_the_bid(
    bid: float, width: float, penny: bool
) -> None:
    ask = bid + width
    limit = sell_limit_price(bid, ask, penny=penny)
    low, mid = decimal_of(bid), (decimal_of(bid) + decimal_of(ask)) / 2
    tick = option_tick(limit, penny=penny)
    assert on_grid(limit, tick)
    assert limit >= low
    assert limit <= mid or limit - low < option_tick(low, penny=penny)


@pytest.mark.parametrize(
    ("bid", "ask"), [(0.0, 1.0), (-1.0, 1.0), (1.3, 1.2), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_what_is_no_market_has_no_price(bid: float, ask: float) -> None:
    with pytest.raises(ValueError, match="price"):
        sell_limit_price(bid, ask, penny=True)


def test_yield_is_limit_over_strike_scaled_to_a_year() -> None:
    assert annual_yield_pct(Decimal(1), Decimal(100), 73) == pytest.approx(5.0)
    assert annual_yield_pct(Decimal(1), Decimal(100), 0) == pytest.approx(365.0)


def test_spread_is_in_percent_of_the_mid() -> None:
    assert spread_pct(0.95, 1.05) == pytest.approx(10.0)


# --- walking from mid to bid ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "bid", "ask", "penny", "next_limit"),
    [
        ("1.25", 1.20, 1.30, True, "1.23"),  # a third of five cents, and on to the grid
        ("1.23", 1.20, 1.30, True, "1.21"),
        ("1.21", 1.20, 1.30, True, "1.20"),
        ("1.20", 1.20, 1.30, True, None),  # at the bid there is nothing more to give
        ("1.25", 1.00, 1.10, True, "1.05"),  # the market fell: to its mid at once
        ("1.25", 1.30, 1.40, True, None),  # it rose: the bid takes the order as it is
        ("1.25", 1.20, 1.30, False, "1.20"),  # nickels
        ("1.25", 1.22, 1.24, False, None),  # no nickel between bid and mid
        ("3.05", 2.90, 3.20, True, "3.00"),
        ("3.00", 2.90, 3.20, True, "2.95"),  # cents again below three dollars
        ("1.206", 1.20, 1.30, True, None),  # less than a grid point is no step
        ("1.20", 1.10, 1.10, True, "1.10"),  # no way from mid to bid at all
    ],
)
def test_a_step_leads_towards_the_bid(
    limit: str, bid: float, ask: float, penny: bool, next_limit: str | None
) -> None:
    wanted = None if next_limit is None else Decimal(next_limit)
    assert walked_limit_price(Decimal(limit), bid, ask, penny=penny) == wanted


QUOTES = st.tuples(st.floats(0.01, 500), st.floats(0, 50)).map(lambda q: (q[0], q[0] + q[1]))


@given(start=QUOTES, quotes=st.lists(QUOTES, max_size=12), penny=st.booleans())
def test_a_walk_only_goes_down_and_never_through_the_bid(
    start: tuple[float, float], quotes: list[tuple[float, float]], penny: bool
) -> None:
    """Whatever the market does between the steps."""
    limit = sell_limit_price(*start, penny=penny)
    for bid, ask in quotes:
        price = walked_limit_price(limit, bid, ask, penny=penny)
        if price is None:
            continue
        tick = option_tick(price, penny=penny)
        assert on_grid(price, tick)
        assert limit - price >= tick
        assert decimal_of(bid) <= price <= (decimal_of(bid) + decimal_of(ask)) / 2
        limit = price


@given(quote=QUOTES, dearer=st.decimals(0, 20, places=1), penny=st.booleans())
def test_a_walk_ends_at_the_bid_in_few_steps(
    quote: tuple[float, float], dearer: Decimal, penny: bool
) -> None:
    """While the quote stands still; one step more where it began above the mid."""
    bid, ask = quote
    limit: Decimal | None = sell_limit_price(bid, ask, penny=penny) + dearer
    walked = []
    while (limit := walked_limit_price(limit, bid, ask, penny=penny)) is not None:
        walked.append(limit)
    assert len(walked) <= WALK_STEPS + (1 if dearer else 0)
    if walked:
        assert walked[-1] - decimal_of(bid) < option_tick(decimal_of(bid), penny=penny)
