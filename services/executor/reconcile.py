"""What our books and the broker say about the same account, held against each other. Pure.

Positions our books expect are what there was in the beginning, plus fills, plus what the ledger
has of options that ended. Alpaca shows the end of an option at once and its activity only the
next day. So contracts that are gone without a fill, with the shares that this moves, are no
difference but an end that is not settled yet; it becomes an entry of the ledger when its activity
comes, and nothing is counted before that.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right, parse_option_symbol
from libs.common.wire import WireOrder
from services.executor.lifecycle import OrderState

CASH = ""
"""The subject and the opening balance's symbol that stand for dollars."""


class Kind(StrEnum):
    UNKNOWN_ORDER = "unknown_order"
    MISSING_ORDER = "missing_order"
    FILLED_QTY = "filled_qty"
    POSITION = "position"
    CASH = "cash"
    UNSETTLED = "unsettled"


SETTLING_MAX = dt.timedelta(days=4)
"""After its last day an option's activity comes on the next session's morning (alpaca.md); beyond a
long week-end it does not come any more, and what is gone is a difference.
"""

STOPPING = frozenset({Kind.UNKNOWN_ORDER, Kind.MISSING_ORDER, Kind.FILLED_QTY, Kind.POSITION})
"""Differences that stop new entries. Cash does not: fees, interest and transfers move it without
a fill, and what may be spent is the broker's figure anyway.
"""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the two say differently; `key` is the same as long as it is the same."""

    kind: Kind
    subject: str
    """A symbol, a client_order_id, or empty for cash."""
    ours: str
    theirs: str
    key: str
    delta: Decimal | None = None
    """Theirs less ours, where it is a quantity or dollars."""

    @property
    def stops_entries(self) -> bool:
        return self.kind in STOPPING


class BookOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of ours that is or was at the broker."""

    client_order_id: str
    order_id: str | None
    state: OrderState
    filled_qty: Decimal


class Traded(msgspec.Struct, frozen=True, kw_only=True):
    """The fills of one symbol: bought less sold, and dollars received less paid."""

    symbol: str
    qty: Decimal
    cash: Decimal


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's entries of one type and symbol: their quantities added up, as they are and
    without their signs, and their dollars.
    """

    activity_type: str
    symbol: str
    qty: Decimal
    contracts: Decimal
    cash: Decimal


class Books(msgspec.Struct, frozen=True, kw_only=True):
    open_orders: tuple[BookOrder, ...] = ()
    ended: Mapping[str, OrderState] = {}
    """Those of the broker's open orders, by client_order_id, that have ended in our books."""
    opening: Mapping[str, Decimal] = {}
    """Quantities by symbol and dollars under CASH: of the first read, and of every difference
    that was acknowledged since.
    """
    traded: tuple[Traded, ...] = ()
    entered: tuple[Entered, ...] = ()


class BrokerState(msgspec.Struct, frozen=True, kw_only=True):
    orders: tuple[WireOrder, ...] = ()
    """The open ones, and those of ours that are open in our books."""
    positions: Mapping[str, Decimal] = {}
    cash: Decimal | None = None
    today: dt.date


def expected_positions(books: Books) -> dict[str, Decimal]:
    """Quantities by symbol that the broker should show, without those that are zero."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for symbol, qty in books.opening.items():
        found[symbol] += qty
    for traded in books.traded:
        found[traded.symbol] += traded.qty
    expired: list[Entered] = []
    for entry in books.entered:
        match entry.activity_type:
            case "OPTRD":
                found[entry.symbol] += entry.qty
            case "OPASN":  # only what is short is assigned
                found[entry.symbol] += entry.contracts
            case "OPEXC":  # only what is long is exercised
                found[entry.symbol] -= entry.contracts
            case "OPEXP":
                expired.append(entry)
    for entry in expired:  # whatever is left at the end, of either sign
        left = found[entry.symbol]
        gone = min(abs(left), entry.contracts)
        found[entry.symbol] -= gone if left > 0 else -gone
    return {symbol: qty for symbol, qty in found.items() if qty and symbol != CASH}


def expected_cash(books: Books) -> Decimal:
    return (
        books.opening.get(CASH, ZERO)
        + sum((traded.cash for traded in books.traded), ZERO)
        + sum((entry.cash for entry in books.entered), ZERO)
    )


def opening_of(books: Books, theirs: BrokerState) -> dict[str, Decimal]:
    """What must have been there before our books began, so that both agree now; always with an
    entry for cash.
    """
    ours = expected_positions(books)
    symbols = ours.keys() | theirs.positions.keys()
    opening = {s: theirs.positions.get(s, ZERO) - ours.get(s, ZERO) for s in sorted(symbols)}
    opening = {symbol: qty for symbol, qty in opening.items() if qty}
    cash = ZERO if theirs.cash is None else theirs.cash - expected_cash(books)
    return opening | {CASH: cash}


def differences(books: Books, theirs: BrokerState, *, cash_tolerance: Decimal) -> list[Difference]:
    """Everything the two say differently. `cash_tolerance` in dollars."""
    return [
        *_order_differences(books, theirs),
        *_position_differences(expected_positions(books), theirs),
        *_cash_difference(books, theirs, cash_tolerance),
    ]


def confirmed(before: Iterable[Difference], now: Iterable[Difference]) -> list[Difference]:
    """Those of `now` that an earlier read had too: what was only under way is gone by then."""
    keys = {difference.key for difference in before}
    return [difference for difference in now if difference.key in keys]


# --- orders --------------------------------------------------------------------------------------


def _order_differences(books: Books, theirs: BrokerState) -> Iterable[Difference]:
    ours = {order.client_order_id: order for order in books.open_orders}
    shown = {order.id: order for order in theirs.orders}
    for order in theirs.orders:
        if order.client_order_id not in ours:
            state = books.ended.get(order.client_order_id)
            yield Difference(
                kind=Kind.UNKNOWN_ORDER,
                subject=order.client_order_id,
                ours="no such order" if state is None else state.value,
                theirs=_words(order),
                key=f"unknown_order:{order.id}",
            )
    for mine in books.open_orders:
        if mine.order_id is None:
            continue  # in doubt: it is being resolved
        found = shown.get(mine.order_id)
        if found is None:
            yield Difference(
                kind=Kind.MISSING_ORDER,
                subject=mine.client_order_id,
                ours=f"{mine.state}, filled {mine.filled_qty:f}",
                theirs="no such order",
                key=f"missing_order:{mine.client_order_id}",
            )
        elif (found.filled_qty or ZERO) != mine.filled_qty:
            delta = (found.filled_qty or ZERO) - mine.filled_qty
            yield Difference(
                kind=Kind.FILLED_QTY,
                subject=mine.client_order_id,
                ours=f"filled {mine.filled_qty:f}",
                theirs=f"filled {found.filled_qty or ZERO:f}",
                key=f"filled_qty:{mine.client_order_id}:{delta:f}",
                delta=delta,
            )


def _words(order: WireOrder) -> str:
    limit = "" if order.limit_price is None else f" at {order.limit_price:f}"
    return f"{order.side} {order.qty} {order.symbol}{limit}, {order.status}"


# --- positions -----------------------------------------------------------------------------------


class End(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts of one symbol that are gone: so many delivered shares, the rest expired."""

    symbol: str
    option: OptionSymbol
    held: Decimal
    """What our books have, negative when short."""
    gone: int
    delivered: int = 0

    @property
    def shares_each(self) -> int:
        """What one delivered contract does to the shares."""
        receives = (self.option.right is Right.CALL) == (self.held > 0)
        return SHARES_PER_CONTRACT if receives else -SHARES_PER_CONTRACT


def _position_differences(ours: Mapping[str, Decimal], theirs: BrokerState) -> Iterable[Difference]:
    deltas = {
        symbol: theirs.positions.get(symbol, ZERO) - ours.get(symbol, ZERO)
        for symbol in sorted(ours.keys() | theirs.positions.keys())
    }
    deltas = {symbol: delta for symbol, delta in deltas.items() if delta}
    for ends in _ends_by_underlying(ours, deltas, theirs.today).values():
        underlying = ends[0].option.underlying
        explained = explain(ends, deltas.get(underlying, ZERO), theirs.today)
        if explained is None:
            continue
        deltas.pop(underlying, None)
        for end in explained:
            del deltas[end.symbol]
            yield _unsettled(end)
    for symbol, delta in deltas.items():
        yield Difference(
            kind=Kind.POSITION,
            subject=symbol,
            ours=f"{ours.get(symbol, ZERO):f}",
            theirs=f"{theirs.positions.get(symbol, ZERO):f}",
            key=f"position:{symbol}:{delta.normalize():f}",
            delta=delta,
        )


def _ends_by_underlying(
    ours: Mapping[str, Decimal], deltas: Mapping[str, Decimal], today: dt.date
) -> dict[str, list[End]]:
    """Options of which the broker shows fewer than we have, none of them turned around, and whose
    activity may still come.
    """
    found: defaultdict[str, list[End]] = defaultdict(list)
    for symbol, delta in deltas.items():
        option, held = parse_option_symbol(symbol), ours.get(symbol, ZERO)
        shrunk = held * delta < 0 and abs(delta) <= abs(held) and delta == int(delta)
        if option is not None and shrunk and today <= option.expiration + SETTLING_MAX:
            found[option.underlying].append(
                End(symbol=symbol, option=option, held=held, gone=abs(int(delta)))
            )
    return found


def explain(ends: list[End], shares: Decimal, today: dt.date) -> list[End] | None:
    """How many of the contracts that are gone delivered, so that `shares` moved; None when no
    way fits. Before its last day an option only ends by delivery. Where several ways fit, those
    deepest in the money deliver first.
    """
    if shares != int(shares):
        return None
    order = sorted(ends, key=_depth)

    @cache
    def solve(index: int, left: int) -> tuple[int, ...] | None:
        if index == len(order):
            return () if left == 0 else None
        end = order[index]
        fewest = 0 if end.option.expiration <= today else end.gone
        for delivered in range(end.gone, fewest - 1, -1):
            rest = solve(index + 1, left - delivered * end.shares_each)
            if rest is not None:
                return (delivered, *rest)
        return None

    found = solve(0, int(shares))
    if found is None:
        return None
    return [
        msgspec.structs.replace(end, delivered=delivered)
        for end, delivered in zip(order, found, strict=True)
    ]


def _depth(end: End) -> tuple[str, Decimal, str]:
    strike = end.option.strike
    return (end.option.right, -strike if end.option.right is Right.PUT else strike, end.symbol)


def _unsettled(end: End) -> Difference:
    word = "exercised" if end.held > 0 else "assigned"
    parts = [(word, end.delivered), ("expired", end.gone - end.delivered)]
    said = ", ".join(f"{count} {what}" for what, count in parts if count)
    return Difference(
        kind=Kind.UNSETTLED,
        subject=end.symbol,
        ours=f"{end.held:f}",
        theirs=f"{said}; its activity has not come yet",
        key=f"unsettled:{end.symbol}:{end.gone}:{end.delivered}",
    )


def _cash_difference(books: Books, theirs: BrokerState, tolerance: Decimal) -> Iterable[Difference]:
    if theirs.cash is None:
        return
    ours = expected_cash(books)
    delta = theirs.cash - ours
    if abs(delta) > tolerance:
        yield Difference(
            kind=Kind.CASH,
            subject=CASH,
            ours=f"{ours:.2f}",
            theirs=f"{theirs.cash:.2f}",
            key="cash",
            delta=delta,
        )
