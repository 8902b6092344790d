"""Events that move cash, shares and contracts, each with the activity rows that tell of it."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_UP, Decimal
from typing import NamedTuple

from libs.common.money import CENT, ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine.books import Books, new_york_date
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import Intent, Order, OrderType, Side, TimeInForce
from services.exchange.engine.positions import Activity, Position, Receivable
from services.exchange.terms import Terms


class When(NamedTuple):
    """When an event happens, and when its activity row becomes known (both UTC)."""

    at: dt.datetime
    known: dt.datetime


def book_fill(
    books: Books, order: Order, qty: Decimal, price: Decimal, at: dt.datetime, terms: Terms
) -> None:
    """`qty` contracts or shares of the order traded at `price` dollars a share."""
    execution_id = books.fill(order, qty, price, at)
    books.activities.append(
        Activity(
            id=_stamped(books, at, execution_id),
            activity_type="FILL",
            date=new_york_date(at),
            known_at=at,
            symbol=order.symbol,
            qty=qty,
            price=price,
            side=order.side,
            order_id=order.id,
            cum_qty=order.filled_qty,
            leaves_qty=order.remaining,
        )
    )
    fee = fee_of(order, qty, price, terms)
    if fee:
        books.pay(-fee, at)
        note(books, "FEE", order.symbol, qty, When(at, at), net=-fee)


def fee_of(order: Order, qty: Decimal, price: Decimal, terms: Terms) -> Decimal:
    """Dollars, rounded up to the cent as regulatory fees are; of a sale never more than it brings,
    for nothing is held back to pay it from."""
    if order.option is None and order.side is Side.BUY:
        return ZERO
    rate = terms.fee_per_share_sold if order.option is None else terms.fee_per_contract
    fee = (rate * qty).quantize(CENT, ROUND_UP)
    return fee if order.side is Side.BUY else min(fee, price * qty * order.multiplier)


def cancel_needless_closing(books: Books, symbol: str, at: dt.datetime) -> None:
    """Short contracts were assigned: orders to buy back more than is left are cancelled, the
    youngest first."""
    orders = books.open_on(symbol)
    closing = [order for order in orders if order.position_intent is Intent.BUY_TO_CLOSE]
    excess = sum((order.remaining for order in closing), books.held(symbol))
    while excess > 0 and closing:
        order = closing.pop()
        excess -= order.remaining
        books.apply(order, OrderEvent.CANCEL, at)


def reject_at_fill(books: Books, order: Order, at: dt.datetime) -> None:
    books.apply(order, OrderEvent.REJECT, at)


def book_expiration(books: Books, position: Position, when: When) -> None:
    """A contract out of the money at the close is gone, without cash."""
    qty = abs(position.qty)
    books.move(position.symbol, -position.qty, ZERO, when.at)
    note(books, "OPEXP", position.symbol, qty, when, net=ZERO)


def book_delivery(books: Books, position: Position, contracts: Decimal, when: When) -> None:
    """Assignment of short contracts, exercise of long ones: shares against the strike.

    Two rows as Alpaca writes them: OPASN or OPEXC for the contract, OPTRD for the shares. An
    adjusted contract delivers its own number of shares for 100 times the strike.
    """
    option = option_of(position)
    long = position.qty > 0
    receives = (option.right is Right.CALL) == long
    sign = 1 if receives else -1
    shares = contracts * position.deliverable * sign
    paid = contracts * option.strike * SHARES_PER_CONTRACT * sign
    symbol = position.symbol
    books.move(symbol, -contracts if long else contracts, ZERO, when.at)
    books.pay(-paid, when.at)
    books.move(option.underlying, shares, paid / shares, when.at)
    note(books, "OPEXC" if long else "OPASN", symbol, contracts, when, net=ZERO)
    note(books, "OPTRD", option.underlying, shares, when, net=-paid, price=option.strike)


def book_liquidation(
    books: Books, position: Position, price: Decimal, at: dt.datetime, terms: Terms
) -> None:
    """A long contract whose exercise the account cannot honour is sold by the broker."""
    order_id = books.new_id()
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
        created_at=at,
        updated_at=at,
        expires_at=at,
        reference_price=price,
    )
    books.add(order)
    books.apply(order, OrderEvent.OPEN, at)
    book_fill(books, order, position.qty, price, at, terms)


def book_dividend(books: Books, receivable: Receivable, at: dt.datetime) -> None:
    """Cash for shares held before the ex-date, on the payable date."""
    books.pay(receivable.amount, at)
    note(
        books,
        "DIV",
        receivable.symbol,
        receivable.qty,
        When(at, at),
        net=receivable.amount,
        per_share=receivable.rate,
    )


def note(
    books: Books,
    kind: str,
    symbol: str,
    qty: Decimal,
    when: When,
    *,
    net: Decimal,
    price: Decimal | None = None,
    per_share: Decimal | None = None,
) -> None:
    books.activities.append(
        Activity(
            id=_stamped(books, when.known, books.new_id()),
            activity_type=kind,
            date=new_york_date(when.at),
            known_at=when.known,
            symbol=symbol,
            qty=qty,
            price=price,
            net_amount=net,
            per_share_amount=per_share,
        )
    )


def option_of(position: Position) -> OptionSymbol:
    option = position.option
    if option is None:
        raise ValueError(f"{position.symbol} is not an option")
    return option


def _stamped(books: Books, at: dt.datetime, identifier: str) -> str:
    """Alpaca's form: the time in milliseconds, then a unique part. Ids sort by time, then arrival.

    Alpaca's second part is a random UUID; ours begins with the count, so that ids of one
    millisecond sort as they were written.
    """
    stamp = f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}"
    return f"{stamp}::{books.ids_drawn:08x}{identifier[8:]}"
