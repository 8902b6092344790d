"""Events that move cash, shares and contracts, each with the activity rows that tell of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine.books import Activity, Books, Position
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import Intent, Order, OrderType, Side, TimeInForce
from services.exchange.prices.calendar import NEW_YORK, Session


def book_fill(books: Books, order: Order, qty: Decimal, price: Decimal, at: dt.datetime) -> None:
    """`qty` contracts or shares of the order traded at `price` dollars a share."""
    filled = order.filled_qty + qty
    paid = (order.filled_avg_price or ZERO) * order.filled_qty + price * qty
    order.filled_qty, order.filled_avg_price = filled, paid / filled
    date = at.astimezone(NEW_YORK).date()
    books.trade(order.symbol, qty if order.side is Side.BUY else -qty, price, date)
    books.apply(order, OrderEvent.FILL if order.remaining == 0 else OrderEvent.FILL_PART, at)
    books.activities.append(
        Activity(
            id=_activity_id(books, at),
            activity_type="FILL",
            date=date,
            known_at=at,
            symbol=order.symbol,
            qty=qty,
            price=price,
            side=order.side,
            order_id=order.id,
            cum_qty=filled,
            leaves_qty=order.remaining,
        )
    )


def reject_at_fill(books: Books, order: Order, at: dt.datetime) -> None:
    books.apply(order, OrderEvent.REJECT, at)


def book_expiration(books: Books, position: Position, session: Session, known: dt.datetime) -> None:
    """A contract out of the money at the close is gone, without cash."""
    _remove(books, position, session)
    _note(books, "OPEXP", position.symbol, abs(position.qty), session, known, net=ZERO)


def book_delivery(books: Books, position: Position, session: Session, known: dt.datetime) -> None:
    """Assignment of a short contract, exercise of a long one: shares against the strike.

    Two rows as Alpaca writes them: OPASN or OPEXC for the contract, OPTRD for the shares.
    """
    option = _option(position)
    receives = (option.right is Right.CALL) == (position.qty > 0)
    shares = abs(position.qty) * SHARES_PER_CONTRACT * (1 if receives else -1)
    _remove(books, position, session)
    books.trade(option.underlying, shares, option.strike, session.date)
    kind = "OPEXC" if position.qty > 0 else "OPASN"
    _note(books, kind, position.symbol, abs(position.qty), session, known, net=ZERO)
    _note(
        books,
        "OPTRD",
        option.underlying,
        shares,
        session,
        known,
        net=-shares * option.strike,
        price=option.strike,
    )


def book_liquidation(books: Books, position: Position, price: Decimal, session: Session) -> None:
    """A long contract whose exercise the account cannot honour is sold at its intrinsic value."""
    order_id = books.new_id("order")
    order = Order(
        number=books.ids_drawn,
        id=order_id,
        client_order_id=f"liquidation-{order_id}",
        symbol=position.symbol,
        qty=position.qty,
        side=Side.SELL,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        position_intent=Intent.SELL_TO_CLOSE,
        created_at=session.close,
        updated_at=session.close,
        expires_at=session.close,
        reference_price=price,
    )
    books.add(order)
    books.apply(order, OrderEvent.OPEN, session.close)
    book_fill(books, order, position.qty, price, session.close)


def _remove(books: Books, position: Position, session: Session) -> None:
    books.move(position.symbol, -position.qty, ZERO, session.date)


def _option(position: Position) -> OptionSymbol:
    option = position.option
    if option is None:
        raise ValueError(f"{position.symbol} is not an option")
    return option


def _note(
    books: Books,
    kind: str,
    symbol: str,
    qty: Decimal,
    session: Session,
    known: dt.datetime,
    *,
    net: Decimal,
    price: Decimal | None = None,
) -> None:
    books.activities.append(
        Activity(
            id=_activity_id(books, known),
            activity_type=kind,
            date=session.date,
            known_at=known,
            symbol=symbol,
            qty=qty,
            price=price,
            net_amount=net,
        )
    )


def _activity_id(books: Books, at: dt.datetime) -> str:
    """Alpaca's form: the time in milliseconds, then a unique part. Ids sort by time, then arrival.

    Alpaca's second part is a random UUID; ours begins with the count, so that ids of one
    millisecond sort as they were written.
    """
    identifier = books.new_id("activity")
    stamp = f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}"
    return f"{stamp}::{books.ids_drawn:08x}{identifier[8:]}"
