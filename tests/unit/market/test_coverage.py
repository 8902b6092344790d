"""Which symbols are read, and that no filter hides the contract a planner would choose."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts import ContractQuote, PositionView
from libs.common.money import decimal_of
from libs.common.settings import PlannerSettings, WheelSettings
from libs.common.symbols import OptionSymbol, Right, option_root
from services.market.coverage import (
    ChainFilter,
    chain_filters,
    concerns,
    expirations,
    positions_of,
    symbols_to_read,
)
from services.planner.selection import Search, choose
from tests.unit.planner.market_day import short_option, stock

SESSION = dt.date(2024, 3, 4)
SETTINGS = PlannerSettings(universe=("KO", "BRK.B"))
BERKSHIRE_PUT = "BRKB240315P00400000"


# --- symbols -----------------------------------------------------------------------------------


def test_the_universe_is_read_first_then_what_else_is_held_each_once() -> None:
    positions = [
        stock("10", symbol="XOM"),
        short_option("KO240315P00057500"),
        short_option("GE240315C00150000"),
        stock("5", symbol="GE"),
        stock("1", symbol="HD"),
    ]
    assert symbols_to_read(["PFE", "KO", "PFE"], positions) == ["PFE", "KO", "GE", "HD", "XOM"]
    assert symbols_to_read(["KO"], reversed(positions)) == ["KO", "GE", "HD", "XOM"]
    assert symbols_to_read([], []) == []


def test_an_option_on_a_share_class_belongs_to_its_stock() -> None:
    """Options on BRK.B are listed under BRKB; nobody quotes a stock of that name."""
    put = short_option(BERKSHIRE_PUT)
    assert symbols_to_read(["BRK.B"], [put]) == ["BRK.B"]
    assert symbols_to_read([], [put, stock("100", symbol="BRK.B")]) == ["BRK.B"]
    assert positions_of("BRK.B", [put]) == [put]


def test_an_adjusted_contract_is_its_stocks_own() -> None:
    assert concerns("AAPL", "AAPL1240315C00100000")
    assert not concerns("AAPL", "AAP240315C00100000")
    assert not concerns("A", "AAPL")


@settings(deadline=None)
@given(st.sampled_from(["KO", "BRK.B", "F", "GOOGL"]), st.sampled_from(["KO", "BRK.B", "F"]))
def test_an_option_concerns_the_stock_it_is_on_and_no_other(stock_: str, other: str) -> None:
    option = OptionSymbol(
        root=option_root(stock_), expiration=SESSION, right=Right.PUT, strike=Decimal(10)
    )
    assert concerns(other, str(option)) is (stock_ == other)


# --- filters -----------------------------------------------------------------------------------


def rights(*positions: PositionView, symbol: str = "KO") -> list[str]:
    return [f.right.value for f in chain_filters(symbol, 58.9, positions, SESSION, SETTINGS)]


def test_calls_are_asked_for_only_where_a_lot_is_held() -> None:
    assert rights() == ["put"]
    assert rights(stock("99", symbol="KO")) == ["put"]
    assert rights(stock("99.999", symbol="KO")) == ["put"]
    assert rights(stock("-100", symbol="KO")) == ["put"]
    assert rights(stock("500", symbol="XOM")) == ["put"]
    assert rights(short_option("KO240315C00060000", qty=3)) == ["put"]
    assert rights(stock("100", symbol="KO")) == ["put", "call"]
    assert rights(short_option("KO240315P00057500"), stock("250", symbol="KO")) == ["put", "call"]


def test_nothing_is_asked_for_outside_the_universe_or_with_the_wheel_off() -> None:
    assert chain_filters("XOM", 100.0, [stock("100", symbol="XOM")], SESSION, SETTINGS) == []
    off = PlannerSettings(universe=("KO",), per_symbol={"KO": WheelSettings(enabled=False)})
    assert chain_filters("KO", 58.9, [stock("100", symbol="KO")], SESSION, off) == []


def test_the_window_of_days_is_the_symbols_own() -> None:
    mine = PlannerSettings(universe=("KO",), per_symbol={"KO": WheelSettings(dte_min=1, dte_max=9)})
    (puts,) = chain_filters("KO", 58.9, [], SESSION, mine)
    assert (puts.expiration_first, puts.expiration_last) == (
        dt.date(2024, 3, 5),
        dt.date(2024, 3, 13),
    )
    assert expirations(SESSION, WheelSettings()) == (dt.date(2024, 3, 9), dt.date(2024, 3, 18))


@pytest.mark.parametrize("otm_pct", [0.0, 5.0, 20.0, 40.0, 80.0])
def test_a_filter_is_never_empty_and_holds_the_aim(otm_pct: float) -> None:
    far = PlannerSettings(universe=("KO",), wheel=WheelSettings(otm_pct=otm_pct))
    (puts,) = chain_filters("KO", 58.9, [], SESSION, far)
    assert 0 < puts.strike_low < puts.strike_high
    assert puts.strike_low <= max(58.9 * (1 - otm_pct / 100), 58.9 * 0.05) <= puts.strike_high


def test_calls_start_at_the_basis_even_far_above_the_market() -> None:
    holding = stock("100", symbol="KO", basis="90")
    _, calls = chain_filters("KO", 58.9, [holding], SESSION, SETTINGS)
    assert (calls.strike_low, calls.strike_high) == (90, pytest.approx(117))


def phi(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def quoted(
    right: Right, strike: Decimal, days: int, spot: float, volatility: float, *, greeks: bool
) -> ContractQuote:
    """Black-Scholes without rates, a cent wide."""
    spread = volatility * math.sqrt(days / 365)
    d1 = math.log(spot / float(strike)) / spread + spread / 2
    call = spot * phi(d1) - float(strike) * phi(d1 - spread)
    price = call if right is Right.CALL else call - spot + float(strike)
    expiration = SESSION + dt.timedelta(days=days)
    bid = round(max(price, 0.01), 2)
    return ContractQuote(
        symbol=str(OptionSymbol(root="KO", expiration=expiration, right=right, strike=strike)),
        right=right,
        strike=strike,
        expiration=expiration,
        bid=bid,
        ask=round(bid + 0.01, 2),
        delta=(phi(d1) - (right is Right.PUT)) if greeks else None,
        open_interest=500,
    )


def passes(contract: ContractQuote, part: ChainFilter) -> bool:
    return (
        contract.right is part.right
        and part.expiration_first <= contract.expiration <= part.expiration_last
        and part.strike_low <= float(contract.strike) <= part.strike_high
    )


@settings(max_examples=40, deadline=None)
@given(
    spot=st.floats(4, 900).map(lambda price: round(price, 2)),
    volatility=st.floats(0.08, 1.2),
    basis=st.floats(0.5, 1.5),
    greeks=st.booleans(),
)
def test_no_filter_hides_the_contract_that_would_be_chosen(
    *, spot: float, volatility: float, basis: float, greeks: bool
) -> None:
    """With the defaults, for stocks up to three times as wild as the wildest of the demo's."""
    wheel = WheelSettings()
    step = Decimal("0.5") if spot < 25 else Decimal(1) if spot < 200 else Decimal(5)
    ladder = [step * n for n in range(1, int(2.5 * spot / float(step)) + 2)]
    entry = Decimal(str(round(spot * basis, 4)))
    filters = chain_filters(
        "KO", spot, [stock("100", symbol="KO", basis=str(entry))], SESSION, SETTINGS
    )
    for right, strike_min in ((Right.PUT, None), (Right.CALL, entry)):
        chain = [
            quoted(right, strike, days, spot, volatility, greeks=greeks)
            for strike in ladder
            if 0.3 * spot < strike < 2.2 * spot
            for days in (4, 11, 14, 18)
        ]
        seen = [contract for contract in chain if any(passes(contract, f) for f in filters)]
        search = Search(
            underlying="KO",
            root="KO",
            right=right,
            session=SESSION,
            spot=decimal_of(spot),
            settings=wheel,
            strike_min=strike_min,
            yield_min_pct=wheel.min_annual_yield if right is Right.PUT else None,
        )
        assert choose(seen, search).taken == choose(chain, search).taken
