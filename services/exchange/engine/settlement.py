"""What the end of a session does: orders end, contracts expire, are assigned or exercised.

An option in the money by a cent or more at the close of its expiration day is exercised (OCC
rule 805, exercise by exception). Positions and cash change at once; the rows that tell of it are
known from the next session's open [Alpaca: paper accounts see them the next day].
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.money import CENT, ZERO, decimal_of
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine import linked
from services.exchange.engine.assignment import assign_early
from services.exchange.engine.bookings import (
    When,
    book_delivery,
    book_expiration,
    book_liquidation,
    option_of,
)
from services.exchange.engine.books import Books
from services.exchange.engine.marks import closing_price, equity
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import TimeInForce
from services.exchange.engine.positions import Position
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market
from services.exchange.terms import Terms

MOVES_KEPT = dt.timedelta(days=45)


def close_session(books: Books, market: Market, terms: Terms, session: Session) -> None:
    """Settle the session that ended; the books then wait for the next one."""
    _end_orders(books, session)
    when = When(session.close, market.calendar.session(session.index + 1).open)
    for position, option in _expiring(books, session):
        _settle(books, market, session, position, option, when, terms)
    books.do_not_exercise = [s for s in books.do_not_exercise if books.held(s) > 0]
    assign_early(books, market, terms, session, when)
    books.last_equity = equity(market, books, market.moment(session.close))
    books.equity_closes.append((session.date, books.last_equity))
    oldest = session.close - MOVES_KEPT
    if books.moves and books.moves[0].at < oldest:
        books.moves = [move for move in books.moves if move.at >= oldest]
    books.day, books.minute, books.now = session.index + 1, -1, session.close
    books.touch()


def _end_orders(books: Books, session: Session) -> None:
    for order in list(books.open_orders.values()):
        if not order.working:
            continue  # ended with the one it is linked to
        option = order.option
        if option is not None and option.expiration <= session.date:
            books.apply(order, OrderEvent.EXPIRE, session.close)
        elif order.expires_at <= session.close:
            of_day = order.time_in_force is TimeInForce.DAY
            event = OrderEvent.EXPIRE if of_day else OrderEvent.CANCEL
            books.apply(order, event, session.close)
            linked.after_end(books, order, session.close)


def _expiring(books: Books, session: Session) -> list[tuple[Position, OptionSymbol]]:
    """Positions that expire today: short ones first, for they bring the shares and the cash
    that long ones may be exercised with; then by symbol, so that the order is always the same."""
    due = [
        (position, option)
        for position in books.positions.values()
        if (option := position.option) is not None and option.expiration <= session.date
    ]
    return sorted(due, key=lambda pair: (pair[0].qty > 0, pair[0].symbol))


def _settle(
    books: Books,
    market: Market,
    session: Session,
    position: Position,
    option: OptionSymbol,
    when: When,
    terms: Terms,
) -> None:
    close = closing_price(market, option.underlying, session)
    value = intrinsic(position, close)
    refused = position.qty > 0 and position.symbol in books.do_not_exercise
    if value < CENT or refused:
        book_expiration(books, position, when)
    elif position.qty < 0 or can_exercise(books, position, position.qty):
        book_delivery(books, position, abs(position.qty), when)
    else:
        book_liquidation(books, position, value.quantize(CENT), session.close, terms)


def liquidate(books: Books, market: Market, terms: Terms, session: Session, minute: int) -> None:
    """Late on expiration day the broker sells what is in the money and cannot be exercised."""
    at = session.open + dt.timedelta(minutes=minute)
    for position, option in _expiring(books, session):
        price = decimal_of(float(market.session_quotes(option.underlying, session).value[minute]))
        exercised = position.qty < 0 or can_exercise(books, position, position.qty)
        unwanted = position.symbol in books.do_not_exercise
        if exercised or unwanted or intrinsic(position, price) < CENT:
            continue
        bid = float(market.session_quotes(position.symbol, session).bid[minute])
        if bid <= 0:
            continue
        for order in books.open_on(position.symbol):
            books.apply(order, OrderEvent.CANCEL, at)
        book_liquidation(books, position, decimal_of(bid), at, terms)


def can_exercise(books: Books, position: Position, contracts: Decimal) -> bool:
    """Whether the cash for a call's shares, or the shares for a put, are free."""
    option = option_of(position)
    if option.right is Right.CALL:
        return contracts * SHARES_PER_CONTRACT * option.strike <= books.buying_power()
    return contracts * position.deliverable <= books.shares_free(option.underlying)


def intrinsic(position: Position, price: Decimal) -> Decimal:
    """What exercise would bring at that price of the stock, in dollars for each of 100 shares."""
    option = option_of(position)
    delivered = price * position.deliverable / SHARES_PER_CONTRACT
    gain = delivered - option.strike if option.right is Right.CALL else option.strike - delivered
    return max(gain, ZERO)
