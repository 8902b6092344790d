"""Orders that hang together: an entry with its exits, and exits of which one cancels the other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from services.exchange.engine.books import Books
from services.exchange.engine.order_states import OrderEvent, OrderStatus
from services.exchange.engine.orders import (
    OPPOSITE,
    Intent,
    Order,
    OrderClass,
    OrderRequest,
    OrderType,
)


def add_exits(books: Books, order: Order, request: OrderRequest) -> None:
    """The legs of an order of an advanced class, held back until their entry fills.

    Of an OCO order the order itself is the take-profit, its one leg the stop-loss.
    """
    if request.order_class is OrderClass.SIMPLE:
        return
    order.group_id = order.id
    exits = request.exits
    legs: list[Order] = []
    if exits.take_profit is not None and request.order_class is not OrderClass.OCO:
        legs.append(_exit(books, order, OrderType.LIMIT))
        legs[-1].limit_price = exits.take_profit
    if exits.stop is not None:
        stop_type = OrderType.STOP if exits.stop_limit is None else OrderType.STOP_LIMIT
        legs.append(_exit(books, order, stop_type))
        legs[-1].stop_price, legs[-1].limit_price = exits.stop, exits.stop_limit
    pair = [order, *legs] if request.order_class is OrderClass.OCO else legs
    if len(pair) == 2:
        first, second = pair
        first.twin, second.twin = second.id, first.id
        second.shares_with_twin = True
    order.legs = [leg.id for leg in legs]
    for leg in legs:
        books.add(leg)


def resting_with(books: Books, order: Order) -> list[Order]:
    """The stop-loss that an OCO order brings along; other legs are held back."""
    return [leg for leg in _legs(books, order) if leg.status is not OrderStatus.HELD]


def _exit(books: Books, entry: Order, order_type: OrderType) -> Order:
    order_id = books.new_id()
    oco = entry.order_class is OrderClass.OCO
    return Order(
        number=books.ids_drawn,
        id=order_id,
        client_order_id=books.new_id(),
        symbol=entry.symbol,
        qty=entry.qty,
        side=entry.side if oco else OPPOSITE[entry.side],
        type=order_type,
        time_in_force=entry.time_in_force,
        position_intent=entry.position_intent if oco else Intent.SELL_TO_CLOSE,
        created_at=entry.created_at,
        updated_at=entry.created_at,
        expires_at=entry.expires_at,
        reference_price=entry.reference_price,
        status=entry.status if oco else OrderStatus.HELD,
        order_class=entry.order_class,
        group_id=entry.group_id,
        parent=entry.id,
    )


def after_fill(books: Books, order: Order, at: dt.datetime) -> list[Order]:
    """What a fill does to linked orders; the ones that now come to rest."""
    twin = books.open_orders.get(order.twin or "")
    if twin is not None:
        if order.working:  # what the one sold the other must not sell again
            resize(books, twin, order)
            return [twin]
        _end(books, twin, at)
    if order.working or order.order_class is OrderClass.OCO or order.parent is not None:
        return []
    return _release(books, order, at)


def after_end(books: Books, order: Order, at: dt.datetime) -> list[Order]:
    """What the end of an order without a (whole) fill does to the linked ones."""
    twin = books.open_orders.get(order.twin or "")
    if twin is not None:
        _end(books, twin, at)
    if order.parent is None and order.order_class is not OrderClass.OCO and order.legs:
        if _filled_in_all(books, order):
            return _release(books, order, at)
        for leg in _legs(books, order):
            _end(books, leg, at)
    return []


def resize(books: Books, twin: Order, order: Order) -> None:
    books.holds.remove(twin)
    twin.qty = twin.filled_qty + order.remaining
    books.holds.add(twin)
    books.touch()


def _release(books: Books, entry: Order, at: dt.datetime) -> list[Order]:
    legs = _legs(books, entry)
    qty = min(_filled_in_all(books, entry), books.shares_free(entry.symbol))
    for leg in legs:
        if qty <= 0:  # what the entry bought was sold meanwhile
            _end(books, leg, at)
            continue
        books.holds.remove(leg)
        leg.qty = qty
        books.holds.add(leg)
        books.apply(leg, OrderEvent.OPEN, at)
    return legs


def _filled_in_all(books: Books, order: Order) -> Decimal:
    """Also by the orders whose place it took."""
    filled, before = order.filled_qty, books.order(order.replaces or "")
    while before is not None:
        filled += before.filled_qty
        before = books.order(before.replaces or "")
    return filled


def _legs(books: Books, entry: Order) -> list[Order]:
    return [books.open_orders[leg] for leg in entry.legs if leg in books.open_orders]


def _end(books: Books, order: Order, at: dt.datetime) -> None:
    books.apply(order, OrderEvent.CANCEL, at)


def take_place(books: Books, old: Order, new: Order) -> None:
    """A replacing order takes the replaced one's place among the linked ones."""
    old.replaced_by, new.replaces = new.id, old.id
    new.order_class, new.group_id, new.parent = old.order_class, old.group_id, old.parent
    new.twin, new.legs = old.twin, old.legs
    books.holds.remove(new)
    new.shares_with_twin = old.shares_with_twin
    books.holds.add(new)
    twin = books.open_orders.get(old.twin or "")
    if twin is not None:
        twin.twin = new.id
    parent = books.order(old.parent or "")
    if parent is not None:
        parent.legs = [new.id if leg == old.id else leg for leg in parent.legs]
    for leg in new.legs:
        child = books.order(leg)
        if child is not None:
            child.parent = new.id
