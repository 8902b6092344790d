"""What the close of a session does: orders end, contracts expire, are assigned or exercised.

An option in the money by a cent or more at the close of its expiration day is exercised (OCC
rule 805, exercise by exception). Positions and cash change at once; the rows that tell of it are
known from the next session's open [Alpaca: paper accounts see them the next day].
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.money import CENT, ZERO, decimal_of
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine.bookings import book_delivery, book_expiration, book_liquidation
from services.exchange.engine.books import Books, Position
from services.exchange.engine.marks import equity
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import TimeInForce
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Market


def close_session(books: Books, market: Market, session: Session) -> None:
    """Settle the session that ended; the books then wait for the next one."""
    _end_orders(books, session)
    known = market.calendar.session(session.index + 1).open
    for position, option in _expiring(books, session):
        _settle(books, market, session, position, option, known)
    books.last_equity = equity(market, books, market.moment(session.close))
    books.day, books.minute, books.now = session.index + 1, -1, session.close
    books.touch()


def _end_orders(books: Books, session: Session) -> None:
    for order in list(books.open_orders.values()):
        option = order.option
        if option is not None and option.expiration <= session.date:
            books.apply(order, OrderEvent.EXPIRE, session.close)
        elif order.expires_at <= session.close:
            of_day = order.time_in_force is TimeInForce.DAY
            event = OrderEvent.EXPIRE if of_day else OrderEvent.CANCEL
            books.apply(order, event, session.close)


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
    known: dt.datetime,
) -> None:
    close = decimal_of(market.history.close(option.underlying, session.index))
    value = intrinsic(option, close)
    if value < CENT:
        book_expiration(books, position, session, known)
    elif position.qty < 0 or _can_exercise(books, position, option):
        book_delivery(books, position, session, known)
    else:
        book_liquidation(books, position, value, session)


def _can_exercise(books: Books, position: Position, option: OptionSymbol) -> bool:
    shares = position.qty * SHARES_PER_CONTRACT
    if option.right is Right.CALL:
        return shares * option.strike <= books.buying_power()
    return shares <= books.shares_free(option.underlying)


def intrinsic(option: OptionSymbol, price: Decimal) -> Decimal:
    """What exercise would bring, in dollars a share."""
    gain = price - option.strike if option.right is Right.CALL else option.strike - price
    return max(gain, ZERO)
