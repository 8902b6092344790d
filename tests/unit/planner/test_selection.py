"""Which contract of a chain is chosen, and what is said of those that are not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import ContractQuote
from libs.common.settings import WheelSettings
from libs.common.symbols import Right
from services.planner.selection import CANDIDATES_MAX, Choice, Offer, Search, choose, rank
from tests.unit.planner.market_day import SESSION, call, contract, occ, put

NAN = float("nan")


def search(right: Right = Right.PUT, **wheel: Any) -> Search:
    return Search(
        underlying="AAPL",
        root="AAPL",
        right=right,
        session=SESSION,
        spot=Decimal(100),
        settings=WheelSettings(**wheel),
        yield_min_pct=5.0 if right is Right.PUT else None,
    )


def chosen(choice: Choice) -> str | None:
    return choice.taken.contract.symbol if choice.taken else None


def reason(choice: Choice, symbol: str) -> str:
    return next(c.reason for c in choice.candidates if c.symbol == symbol)


def test_the_put_nearest_the_target_delta_is_taken_and_the_others_are_ranked() -> None:
    chain = [put("97", delta=-0.40), put("95", delta=-0.26), put("93", delta=-0.20)]
    choice = choose(chain, search())
    assert chosen(choice) == occ("95")
    assert [(c.taken, c.reason) for c in choice.candidates] == [
        (True, "nearest: delta -0.260 (aim 0.25)"),
        (False, "rank 2: delta -0.200 (aim 0.25)"),
        (False, "rank 3: delta -0.400 (aim 0.25)"),
    ]
    assert choice.candidates[0].limit_price == Decimal("1.25")


def test_without_any_greeks_the_strike_nearest_otm_pct_below_spot_is_taken() -> None:
    chain = [put(strike, delta=None) for strike in ("98", "94.5", "90")]
    choice = choose(chain, search(otm_pct=5.0))
    assert chosen(choice) == occ("94.5")
    assert choice.candidates[0].reason == "nearest: no greeks, strike 94.5 (aim 95.00)"


def test_calls_without_greeks_aim_above_spot() -> None:
    chain = [call(strike, delta=None) for strike in ("101", "104", "110")]
    assert chosen(choose(chain, search(Right.CALL))) == occ("104", Right.CALL)


def test_a_contract_with_greeks_is_preferred_to_one_without() -> None:
    chain = [put("95", delta=None), put("85", delta=-0.05)]
    assert chosen(choose(chain, search())) == occ("85")


@pytest.mark.parametrize("delta", [NAN, None, -1.5, float("inf")])
def test_a_delta_that_is_none_counts_as_missing(delta: float | None) -> None:
    choice = choose([put("95", delta=delta)], search())
    assert chosen(choice) == occ("95")
    assert choice.candidates[0].delta is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bid": 0.0}, "no bid"),
        ({"bid": None}, "no bid"),
        ({"bid": NAN}, "no bid"),
        ({"bid": -1.0}, "no bid"),
        ({"ask": None}, "no ask"),
        ({"ask": 0.0}, "no ask"),
        ({"ask": NAN}, "no ask"),
        ({"bid": 1.40}, "crossed market: bid 1.4 above ask 1.3"),
        ({"ask": 2.00}, "spread 50.0 % above 15 %"),
        ({"open_interest": None}, "open interest unknown"),
        ({"open_interest": 49}, "open interest 49 below 50"),
        ({"bid": 0.09, "ask": 0.10}, "yield 3.1 % a year at 0.09 below 5 %"),
        ({"strike": Decimal("NaN")}, "strike is not a price"),
        ({"strike": Decimal(96)}, "symbol and fields disagree"),
        ({"expiration": dt.date(2024, 3, 14)}, "symbol and fields disagree"),
        ({"symbol": occ("95", Right.CALL)}, "symbol and fields disagree"),
        ({"symbol": "AAPL24XX15P00095000"}, "not an option symbol"),
        ({"symbol": occ("95", root="MSFT")}, "not an option on AAPL"),
        ({"symbol": occ("95", root="AAPL1")}, "adjusted root AAPL1"),
        ({"symbol": "AAPL"}, "not an option on AAPL"),
    ],
)
def test_a_contract_that_cannot_be_sold_is_left_with_the_reason(
    changes: dict[str, Any], why: str
) -> None:
    good, bad = put("94"), ContractQuote(**(_fields(put("95")) | changes))
    choice = choose([bad, good], search())
    assert chosen(choice) == occ("94")
    assert [c.reason for c in choice.candidates if not c.taken] == [why]


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (-1, "expired"),
        (0, "expires today"),
        (4, "4 days to expiration, outside 5 to 14"),
        (15, "15 days to expiration, outside 5 to 14"),
    ],
)
def test_expirations_outside_the_window_are_left(days: int, why: str) -> None:
    off = contract("95", expiration=SESSION + dt.timedelta(days=days))
    choice = choose([off], search())
    assert chosen(choice) is None
    assert reason(choice, off.symbol) == why


def test_even_a_window_from_zero_days_never_sells_what_expires_today() -> None:
    today = contract("95", expiration=SESSION)
    assert chosen(choose([today], search(dte_min=0))) is None


def test_in_the_money_contracts_are_left_and_at_the_money_ones_are_not() -> None:
    puts = choose([put("100.5"), put("100")], search())
    assert (chosen(puts), reason(puts, occ("100.5"))) == (occ("100"), "in the money")
    calls = choose([call("99.5"), call("100")], search(Right.CALL))
    assert chosen(calls) == occ("100", Right.CALL)


def test_open_interest_is_not_asked_for_where_none_is_demanded() -> None:
    assert chosen(choose([put("95", open_interest=None)], search(min_open_interest=0)))


def offer(strike: str = "95", right: Right = Right.PUT, **changes: Any) -> Offer:
    known: dict[str, Any] = {
        "days": 11,
        "delta": -0.25,
        "limit_price": Decimal("1.25"),
        "annual_yield_pct": 30.0,
        "spread_pct": 8.0,
    }
    of_contract = {k: changes.pop(k) for k in ("open_interest", "symbol") if k in changes}
    return Offer(contract=contract(strike, right, **of_contract), **(known | changes))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (offer(delta=-0.01, annual_yield_pct=5.0), offer(delta=None)),
        (offer(delta=-0.26, annual_yield_pct=5.0), offer(delta=-0.23)),
        (offer(annual_yield_pct=30.1, spread_pct=9.0), offer()),
        (offer(spread_pct=7.0, open_interest=100), offer()),
        (offer(open_interest=900, days=14), offer()),
        (offer(days=7, strike="96"), offer()),
        (offer("94", symbol="Z"), offer("95", symbol="A")),
        (offer("106", Right.CALL, symbol="Z"), offer("105", Right.CALL, symbol="A")),
        (offer(symbol="A"), offer(symbol="B")),
    ],
)
def test_offers_are_ranked_by_each_rule_of_the_stated_order_in_turn(
    better: Offer, worse: Offer
) -> None:
    """Each pair is decided by one rule, against all the rules after it."""
    looked_for = search(better.contract.right)
    assert rank(better, looked_for) < rank(worse, looked_for)


def test_without_greeks_the_distance_to_the_aim_decides() -> None:
    near, far = offer("94", delta=None, annual_yield_pct=5.0), offer("97", delta=None)
    assert rank(near, search(otm_pct=5.0)) < rank(far, search(otm_pct=5.0))


def test_float_noise_does_not_break_a_tie() -> None:
    """0.4 - 0.3 is not 0.3 - 0.2 to a float; to a trader it is."""
    dearer = offer(delta=-0.4, annual_yield_pct=31.0)
    looked_for = search(target_delta=0.3)
    assert rank(dearer, looked_for) < rank(offer(delta=-0.2), looked_for)


def test_a_locked_market_can_be_sold_into() -> None:
    [candidate] = choose([put("95", bid=1.20, ask=1.20)], search()).candidates
    assert (candidate.taken, candidate.limit_price) == (True, Decimal("1.2"))


def test_of_many_candidates_the_nearest_are_recorded_and_the_rest_counted() -> None:
    chain = [put(str(50 + i / 2), bid=0.0) for i in range(100)]  # 50.0 to 99.5, none sellable
    choice = choose(chain, search(otm_pct=5.0))
    assert len(choice.candidates) == CANDIDATES_MAX
    assert choice.candidates_left_out == 100 - CANDIDATES_MAX
    assert choice.candidates[0].symbol == occ("95")
    assert occ("50") not in {c.symbol for c in choice.candidates}


def test_a_long_chain_records_the_taken_one_even_when_all_qualify() -> None:
    chain = [put(str(50 + i / 2), delta=-i / 200) for i in range(100)]
    choice = choose(chain, search(min_annual_yield=0))
    assert choice.candidates[0].taken
    assert [c.taken for c in choice.candidates].count(True) == 1
    assert len(choice.candidates) + choice.candidates_left_out == 100


quotes = st.one_of(st.none(), st.floats(allow_nan=True), st.floats(0.01, 5))
chains = st.lists(
    st.builds(
        put,
        st.sampled_from(["90", "92.5", "95", "97.5", "101"]),
        bid=quotes,
        ask=quotes,
        delta=st.one_of(st.none(), st.floats(allow_nan=True), st.sampled_from([-0.2, -0.3])),
        open_interest=st.one_of(st.none(), st.integers(0, 200)),
        penny=st.booleans(),
        expiration=st.sampled_from([SESSION, dt.date(2024, 3, 11), dt.date(2024, 3, 15)]),
    ),
    max_size=12,
    unique_by=lambda c: c.symbol,
)


@given(chain=chains, seed=st.randoms(use_true_random=False))
def test_the_order_of_a_chain_never_matters_and_nothing_goes_unsaid(
    chain: list[ContractQuote], seed: Any
) -> None:
    shuffled = list(chain)
    seed.shuffle(shuffled)
    first, second = choose(chain, search()), choose(shuffled, search())
    assert first == second
    assert {c.symbol for c in first.candidates} == {c.symbol for c in chain}
    assert all(c.reason for c in first.candidates)
    if first.taken is not None:
        assert first.taken.limit_price >= Decimal(repr(first.taken.contract.bid))


def _fields(quote: ContractQuote) -> dict[str, Any]:
    return {name: getattr(quote, name) for name in ContractQuote.__struct_fields__}
