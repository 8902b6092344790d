"""Dividends and splits in an account's books.

Shares held at the close before the ex-date are paid on the payable date. A split changes
holdings before the open of its ex-date; orders in the stock and its options are cancelled, for
their prices are those of yesterday's shares. Fractions of shares and contracts that a split
leaves are paid out in cash at the first price.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from libs.common.money import ZERO, decimal_of
from libs.common.symbols import underlying_of
from services.exchange.engine.bookings import When, book_dividend, note
from services.exchange.engine.books import Books
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.positions import Position, Receivable
from services.exchange.prices.actions import CashDividend, Split, adjusted_contract
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market

_ONE_SHARE = Decimal(1)


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
    for position in list(books.positions.values()):
        if underlying_of(position.symbol) != split.symbol:
            continue
        if position.option is None:
            _split_shares(books, market, session, position, split, when)
        else:
            _split_contracts(books, position, split, when)


def _split_shares(
    books: Books,
    market: Market,
    session: Session,
    position: Position,
    split: Split,
    when: When,
) -> None:
    factor = split.factor
    before, price = position.qty, position.avg_entry_price
    exact = before * factor
    whole = exact if before % 1 else (exact / _ONE_SHARE).to_integral_value(ROUND_FLOOR)
    books.move(position.symbol, -before, ZERO, when.at)
    if whole:
        books.move(position.symbol, whole, price / factor, when.at)
    note(books, "SPLIT", position.symbol, whole - before, when, net=ZERO)
    if exact != whole:
        opening = decimal_of(float(market.session_quotes(position.symbol, session).value[0]))
        cash = round((exact - whole) * opening, 2)
        books.pay(cash, when.at)
        note(books, "SPLIT", position.symbol, exact - whole, when, net=cash)


def _split_contracts(books: Books, position: Position, split: Split, when: When) -> None:
    option = position.option
    if option is None:
        return
    adjusted, factor, deliverable = adjusted_contract(option, split)
    deliverable = deliverable * position.deliverable / 100
    qty, price = position.qty, position.avg_entry_price
    books.move(position.symbol, -qty, ZERO, when.at)
    books.move(str(adjusted), qty * factor, price / factor, when.at, deliverable)
    note(books, "OPCA", str(adjusted), abs(qty * factor), when, net=ZERO)
