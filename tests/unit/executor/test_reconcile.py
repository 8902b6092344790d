"""Books and broker held against each other: what is a difference, and what is only not settled."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.common.symbols import OptionSymbol, Right
from libs.common.wire import WireOrder
from services.executor.lifecycle import OrderState
from services.executor.reconcile import (
    CASH,
    BookOrder,
    Books,
    BrokerState,
    Difference,
    Entered,
    Kind,
    Traded,
    confirmed,
    differences,
    expected_cash,
    expected_positions,
    opening_of,
)

FRIDAY = dt.date(2020, 2, 21)
WEDNESDAY = dt.date(2020, 2, 19)
CENT = Decimal("0.01")


def occ(strike: int, right: Right = Right.PUT) -> str:
    return str(OptionSymbol(root="KO", expiration=FRIDAY, right=right, strike=Decimal(strike)))


def state(positions: dict[str, int] | None = None, **fields: Any) -> BrokerState:
    made = {s: Decimal(q) for s, q in (positions or {}).items()}
    return BrokerState(**({"positions": made, "today": FRIDAY} | fields))


def holding(**positions: int) -> Books:
    return Books(opening={symbol: Decimal(qty) for symbol, qty in positions.items()})


def found(books: Books, theirs: BrokerState, tolerance: str = "1") -> list[Difference]:
    return differences(books, theirs, cash_tolerance=Decimal(tolerance))


def kinds(given_: Iterable[Difference]) -> list[Kind]:
    return [difference.kind for difference in given_]


def wire(order_id: str, client_order_id: str, filled: int = 0) -> WireOrder:
    return WireOrder(
        id=order_id,
        client_order_id=client_order_id,
        symbol="KO",
        side="buy",
        status="new",
        qty=Decimal(5),
        filled_qty=Decimal(filled),
    )


def ours(client_order_id: str, order_id: str | None, filled: int = 0) -> BookOrder:
    return BookOrder(
        client_order_id=client_order_id,
        order_id=order_id,
        state=OrderState.ACCEPTED,
        filled_qty=Decimal(filled),
    )


# --- orders --------------------------------------------------------------------------------------


def test_an_order_our_books_do_not_know_is_shown_with_both_sides() -> None:
    (difference,) = found(Books(), state(orders=(wire("o1", "by-hand"),)))
    assert difference.kind is Kind.UNKNOWN_ORDER
    assert (difference.ours, difference.theirs) == ("no such order", "buy 5 KO, new")
    assert difference.stops_entries


def test_an_order_that_ended_in_our_books_and_works_at_the_broker_is_a_difference() -> None:
    books = Books(ended={"acl-1": OrderState.EXPIRED})
    (difference,) = found(books, state(orders=(wire("o1", "acl-1"),)))
    assert (difference.kind, difference.ours) == (Kind.UNKNOWN_ORDER, "expired")


def test_an_open_order_the_broker_lacks_is_a_difference_and_one_in_doubt_is_none() -> None:
    books = Books(open_orders=(ours("acl-1", "o1"), ours("acl-2", None)))
    assert [d.subject for d in found(books, state())] == ["acl-1"]


def test_filled_quantities_are_compared() -> None:
    books = Books(open_orders=(ours("acl-1", "o1", 2), ours("acl-2", "o2", 1)))
    theirs = state(orders=(wire("o1", "acl-1", 3), wire("o2", "acl-2", 1)))
    (difference,) = found(books, theirs)
    assert (difference.kind, difference.delta) == (Kind.FILLED_QTY, 1)


# --- positions -----------------------------------------------------------------------------------


def test_a_position_nobody_traded_is_a_difference() -> None:
    (difference,) = found(holding(KO=100), state({"KO": 300}))
    assert (difference.ours, difference.theirs, difference.delta) == ("100", "300", 200)
    assert difference.stops_entries


def test_the_same_difference_keeps_its_key_while_both_sides_move() -> None:
    (before,) = found(holding(KO=100), state({"KO": 300}))
    (after,) = found(holding(KO=200), state({"KO": 400}))
    (other,) = found(holding(KO=100), state({"KO": 400}))
    assert before.key == after.key != other.key
    assert confirmed([before], [after, other]) == [after]


def test_an_assigned_put_is_not_settled_until_its_activity_comes() -> None:
    put = occ(60)
    books = holding(**{put: -1})
    (difference,) = found(books, state({"KO": 100}, today=WEDNESDAY))
    assert difference.kind is Kind.UNSETTLED
    assert "1 assigned" in difference.theirs
    assert not difference.stops_entries
    entered = (
        entry("OPASN", put, 1),
        entry("OPTRD", "KO", 100, cash=-6000),
    )
    settled = Books(opening=books.opening, entered=entered)
    assert found(settled, state({"KO": 100})) == []
    assert kinds(found(settled, state({"KO": 200}))) == [Kind.POSITION], "it is counted once"


def test_an_activity_that_never_comes_makes_it_a_difference() -> None:
    books = holding(**{occ(50): -1})
    monday, wednesday = FRIDAY + dt.timedelta(days=3), FRIDAY + dt.timedelta(days=5)
    assert kinds(found(books, state(today=monday))) == [Kind.UNSETTLED]
    (difference,) = found(books, state(today=wednesday))
    assert (difference.kind, difference.delta) == (Kind.POSITION, 1)
    assert difference.stops_entries


def test_before_its_last_day_an_option_does_not_just_vanish() -> None:
    books = holding(**{occ(60): -1})
    assert kinds(found(books, state(today=WEDNESDAY))) == [Kind.POSITION]
    assert kinds(found(books, state(today=FRIDAY))) == [Kind.UNSETTLED]


def test_of_several_ways_the_deepest_in_the_money_deliver() -> None:
    books = holding(**{occ(60): -1, occ(58): -1, "KO": 0})
    said = {d.subject: d.theirs for d in found(books, state({"KO": 100}))}
    assert said[occ(60)].startswith("1 assigned")
    assert said[occ(58)].startswith("1 expired")


def test_a_call_away_and_an_assignment_may_cancel_out() -> None:
    books = holding(**{occ(60): -1, occ(50, Right.CALL): -1, "KO": 100})
    assert kinds(found(books, state({"KO": 100}))) == [Kind.UNSETTLED] * 2
    assert kinds(found(books, state({"KO": 150}))) == [Kind.POSITION] * 3


def test_an_option_turned_around_has_not_ended() -> None:
    assert kinds(found(holding(**{occ(60): -1}), state({occ(60): 1}))) == [Kind.POSITION]


# --- cash ----------------------------------------------------------------------------------------


def test_cash_beyond_the_tolerance_is_told_and_stops_nothing() -> None:
    books = Books(opening={CASH: Decimal(1000)})
    assert found(books, state(cash=Decimal("1000.99"))) == []
    (difference,) = found(books, state(cash=Decimal("1005")))
    assert (difference.kind, difference.stops_entries) == (Kind.CASH, False)
    assert (difference.ours, difference.theirs) == ("1000.00", "1005.00")


# --- properties ----------------------------------------------------------------------------------


def entry(activity: str, symbol: str, qty: int, cash: int = 0) -> Entered:
    return Entered(
        activity_type=activity,
        symbol=symbol,
        qty=Decimal(qty),
        contracts=Decimal(abs(qty)),
        cash=Decimal(cash),
    )


SYMBOLS = ["KO", occ(60), occ(58), occ(70, Right.CALL)]
moves = st.lists(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(-3, 3).filter(bool), st.integers(1, 900)),
    max_size=8,
)


def traded(made: list[tuple[str, int, int]]) -> tuple[Traded, ...]:
    return tuple(
        Traded(symbol=symbol, qty=Decimal(qty), cash=-qty * price * CENT)
        for symbol, qty, price in made
    )


@given(before=moves, after=moves, held=moves)
def test_the_first_read_agrees_and_so_does_every_trade_after_it(
    before: list[tuple[str, int, int]],
    after: list[tuple[str, int, int]],
    held: list[tuple[str, int, int]],
) -> None:
    """Whatever was there, and whatever our books had before they were first held against it."""
    positions: defaultdict[str, Decimal] = defaultdict(Decimal)
    for symbol, qty, _ in held:
        positions[symbol] += qty
    first = BrokerState(positions=dict(positions), cash=Decimal(500), today=FRIDAY)
    bare = Books(traded=traded(before))
    opening = opening_of(bare, first)
    cash = Decimal(500)
    for symbol, qty, price in after:
        positions[symbol] += qty
        cash -= qty * price * CENT
    books = Books(opening=opening, traded=traded(before + after))
    shown = {symbol: qty for symbol, qty in positions.items() if qty}
    assert expected_positions(books) == shown
    assert expected_cash(books) == cash
    assert found(books, BrokerState(positions=shown, cash=cash, today=FRIDAY), "0") == []


ends = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=4, max_size=4
)
CONTRACTS = [occ(60), occ(58), occ(50, Right.CALL), occ(55, Right.CALL)]


@given(ends=ends)
def test_an_end_of_an_option_is_counted_once_whenever_its_activity_comes(
    ends: list[tuple[int, int, bool]],
) -> None:
    """For each contract: how many deliver, how many expire, and whether its activities came."""
    held = {s: -(d + e) for s, (d, e, _) in zip(CONTRACTS, ends, strict=True) if d + e}
    stock = 0
    entered: list[Entered] = []
    for symbol, (delivered, expired, came) in zip(CONTRACTS, ends, strict=True):
        shares = delivered * (100 if "P" in symbol[2:] else -100)
        stock += shares
        if came:
            entered += [
                entry("OPASN", symbol, delivered),
                entry("OPTRD", "KO", shares),
                entry("OPEXP", symbol, expired),
            ]
    opening = {symbol: Decimal(qty) for symbol, qty in held.items()} | {"KO": Decimal(1000)}
    books = Books(opening=opening, entered=tuple(entered))
    now = found(books, state({"KO": 1000 + stock}))
    waiting = {
        symbol for symbol, (d, e, came) in zip(CONTRACTS, ends, strict=True) if d + e and not came
    }
    assert {difference.subject for difference in now} == waiting
    assert set(kinds(now)) <= {Kind.UNSETTLED}
    one_share_off = found(books, state({"KO": 1001 + stock}))
    assert any(difference.stops_entries for difference in one_share_off)
