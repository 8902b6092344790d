"""Dividends and splits in an account's books.

Shares held at the close before the ex-date are paid on the payable date. A split changes
holdings before the open of its ex-date; orders in the stock and its options are cancelled, for
their prices are those of yesterday's shares. Fractions of shares and contracts that a split
leaves are paid out in cash at the first price.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from libs.common.money import ZERO, decimal_of
from libs.common.symbols import OptionSymbol, Right, underlying_of
from services.exchange.engine.bookings import When, book_dividend, note
from services.exchange.engine.books import Books
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.positions import SHARE_STEP, Position, Receivable
from services.exchange.prices.actions import (
    CashDividend,
    Split,
    adjusted_contract,
    deliverable_after,
)
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market


def open_session(books: Books, market: Market, session: Session) -> None:
    """What the morning brings: dividends go ex, splits change holdings, dividends are paid."""
    for action in market.actions.on(session):
        if isinstance(action, CashDividend):
            _record(books, action)
        else:
            _split(books, market, session, action)
    due = [r for r in books.receivables if r.payable_date <= session.date]
    if due:
        books.receivables = [r for r in books.receivables if r.payable_date > session.date]
        for receivable in due:
            book_dividend(books, receivable, session.open)


def _record(books: Books, dividend: CashDividend) -> None:
    held = books.held(dividend.symbol)
    if held > 0:
        books.receivables.append(
            Receivable(
                symbol=dividend.symbol,
                qty=held,
                rate=dividend.rate,
                payable_date=dividend.payable_date,
            )
        )
        books.touch()


def _split(books: Books, market: Market, session: Session, split: Split) -> None:
    when = When(session.open, session.open)
    for order in list(books.open_orders.values()):
        if underlying_of(order.symbol) == split.symbol and order.working:
            books.apply(order, OrderEvent.CANCEL, session.open)
    contracts = [
        (position, option)
        for position in books.positions.values()
        if (option := position.option) is not None and option.underlying == split.symbol
    ]
    shares = books.positions.get(split.symbol)
    if shares is not None:
        opening = decimal_of(float(market.session_quotes(split.symbol, session).value[0]))
        _split_shares(books, shares, split, opening, when)
    # Those of the highest root first: what becomes AAPL2 must be gone when AAPL becomes AAPL1.
    for position, option in sorted(contracts, key=lambda pair: pair[1].root, reverse=True):
        _split_contracts(books, position, option, split, when)


def _split_shares(
    books: Books, position: Position, split: Split, opening: Decimal, when: When
) -> None:
    before, price = position.qty, position.avg_entry_price
    exact = split.shares(before).quantize(SHARE_STEP, ROUND_FLOOR)
    kept = exact
    if before % 1 == 0:  # who had whole shares has whole ones, and what calls on them need
        whole = exact.to_integral_value(ROUND_FLOOR)
        kept = max(whole, min(exact, _covering_after(books, split)))
    books.move(position.symbol, -before, ZERO, when.at)
    if kept:
        books.move(position.symbol, kept, price / split.factor, when.at)
    note(books, "SPLIT", position.symbol, exact - before, when, net=ZERO)
    if kept != exact:
        cash = round((exact - kept) * opening, 2)
        books.pay(cash, when.at)
        note(books, "SPLIT", position.symbol, kept - exact, when, net=cash)


def _covering_after(books: Books, split: Split) -> Decimal:
    """Shares that short calls on the stock deliver after the split."""
    if split.whole:
        return ZERO  # the split leaves no fraction
    calls = (p for p in books.positions.values() if p.is_short(Right.CALL))
    return sum(
        (
            -call.qty * deliverable_after(call.deliverable, split)
            for call in calls
            if underlying_of(call.symbol) == split.symbol
        ),
        ZERO,
    )


def _split_contracts(
    books: Books, position: Position, option: OptionSymbol, split: Split, when: When
) -> None:
    """Two rows: the contracts that went, and those that came."""
    adjusted, factor = adjusted_contract(option, split)
    deliverable = deliverable_after(position.deliverable, split)
    symbol, qty, price = position.symbol, position.qty, position.avg_entry_price
    books.move(symbol, -qty, ZERO, when.at)
    books.move(str(adjusted), qty * factor, price / factor, when.at, deliverable)
    note(books, "OPCA", symbol, -qty, when, net=ZERO)
    note(books, "OPCA", str(adjusted), qty * factor, when, net=ZERO)
    if symbol in books.do_not_exercise:
        books.do_not_exercise.append(str(adjusted))
