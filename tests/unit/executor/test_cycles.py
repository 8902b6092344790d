"""Stories of turns of the wheel, told in fills and option events."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import LedgerEvent, Side
from libs.common.symbols import OptionSymbol, parse_option_symbol
from services.executor.cycles import Cycle, Phase, after_event, after_fill, after_stock_sale

DAY = dt.datetime(2020, 2, 12, 15, 0, tzinfo=dt.UTC)


def option(text: str) -> OptionSymbol:
    found = parse_option_symbol(text)
    assert found is not None
    return found


PUT = option("KO200221P00053000")
CALL = option("KO200306C00054000")


def sold(cycle: Cycle | None, contract: OptionSymbol, price: str, qty: int = 1) -> Cycle:
    after = after_fill(cycle, contract, Side.SELL, Decimal(qty), Decimal(price), DAY)
    assert after is not None
    return after


def ended(cycle: Cycle, contract: OptionSymbol, event: LedgerEvent, qty: int = 1) -> Cycle:
    return after_event(cycle, contract, event, Decimal(qty), DAY)


def test_a_whole_turn_put_assigned_call_called_away() -> None:
    cycle = sold(None, PUT, "0.43")
    assert cycle.phase is Phase.SHORT_PUT
    cycle = ended(cycle, PUT, LedgerEvent.ASSIGNED)
    assert cycle.phase is Phase.HOLDING
    cycle = sold(cycle, CALL, "0.20")
    assert cycle.phase is Phase.SHORT_CALL
    cycle = ended(cycle, CALL, LedgerEvent.CALLED_AWAY)
    assert cycle.phase is Phase.CLOSED
    assert cycle.closed_at == DAY
    assert cycle.premium == Decimal("63.00")
    profit = cycle.premium + cycle.called_away_proceeds - cycle.assigned_cost
    assert profit == Decimal("163.00")


def test_a_put_that_expires_ends_its_cycle_with_the_premium() -> None:
    cycle = ended(sold(None, PUT, "0.43"), PUT, LedgerEvent.EXPIRED)
    assert cycle.phase is Phase.CLOSED
    assert cycle.premium == Decimal("43.00")


def test_shares_without_a_call_keep_the_cycle_open() -> None:
    cycle = ended(sold(None, PUT, "0.43"), PUT, LedgerEvent.ASSIGNED)
    cycle = ended(sold(cycle, CALL, "0.20"), CALL, LedgerEvent.EXPIRED)
    assert cycle.phase is Phase.HOLDING
    assert cycle.closed_at is None


def test_a_trailing_stop_that_sells_the_assigned_shares_ends_the_cycle() -> None:
    cycle = ended(sold(None, PUT, "0.43"), PUT, LedgerEvent.ASSIGNED)
    cycle = after_stock_sale(cycle, Decimal(100), Decimal("50.10"), DAY)
    assert cycle.phase is Phase.CLOSED
    assert cycle.called_away_proceeds == Decimal("5010.00")


def test_a_call_on_shares_that_were_there_before_is_a_cycle_of_its_own() -> None:
    cycle = ended(sold(None, CALL, "0.20"), CALL, LedgerEvent.CALLED_AWAY)
    assert cycle.phase is Phase.CLOSED
    assert cycle.called_away_shares == 0


def test_buying_an_option_with_no_cycle_open_begins_none() -> None:
    assert after_fill(None, PUT, Side.BUY, Decimal(1), Decimal("0.10"), DAY) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "call", "assigned", "called", "expired", "stock"]),
            st.integers(1, 5),
            st.integers(1, 500),
        ),
        max_size=40,
    )
)
def test_counts_are_never_negative_and_premium_is_the_sum_of_the_fills(
    story: list[tuple[str, int, int]],
) -> None:
    cycle = sold(None, PUT, "0.01")
    premium = Decimal("1.00")
    for what, qty, price_cents in story:
        price = Decimal(price_cents) / 100
        if what in ("put", "call"):
            cycle = sold(cycle, PUT if what == "put" else CALL, str(price), qty)
            premium += qty * price * 100
        elif what == "stock":
            cycle = after_stock_sale(cycle, Decimal(qty * 100), price, DAY)
        else:
            event = {
                "assigned": LedgerEvent.ASSIGNED,
                "called": LedgerEvent.CALLED_AWAY,
                "expired": LedgerEvent.EXPIRED,
            }[what]
            cycle = ended(cycle, CALL if what == "called" else PUT, event, qty)
        assert min(cycle.open_puts, cycle.open_calls, cycle.shares) >= 0
        assert cycle.called_away_shares <= cycle.assigned_shares
        assert cycle.premium == premium
