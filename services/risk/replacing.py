"""An order that takes another's place: which order that is, and the book without it. Pure.

The broker makes one order of the two: either the new one works and the old one is `replaced`, or
nothing happened. So while the new one is judged the old one counts for nothing; afterwards both
are held until the news says which of them lives.
"""

from __future__ import annotations

import msgspec

from libs.common.contracts import OrderIntended, OrderView, PortfolioObserved
from services.risk.reservations import Book, Reservation


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The order whose place is to be taken: as it was approved, and as the portfolio shows it."""

    reservation: Reservation
    order: OrderView


def target_of(intent: OrderIntended, book: Book) -> Target | str:
    """The working order that the intent names, or why none may be replaced by it."""
    wanted = intent.replaces
    held = next((r for r in book.reservations if r.client_order_id == wanted), None)
    shown = next((o for o in book.portfolio.open_orders if o.client_order_id == wanted), None)
    if held is None:
        return f"no order that risk approved and that still works is called {wanted}"
    if held.ending is not None:
        return f"{wanted} has ended"
    rival = next((r for r in book.reservations if r.replaces == wanted), None)
    if rival is not None:
        return f"{wanted} is being replaced already, by {rival.intent_id}"
    if shown is None:
        return f"the portfolio does not show {wanted} working"
    fault = _fault_of(intent, held, shown)
    return f"{wanted} {fault}" if fault else Target(reservation=held, order=shown)


def _fault_of(intent: OrderIntended, held: Reservation, shown: OrderView) -> str:
    approved = (held.strategy, held.underlying, held.symbol, held.side, held.qty)
    if approved != (intent.strategy, intent.underlying, intent.symbol, intent.side, intent.qty):
        return f"is another order: {held.strategy}, {held.side} {held.qty} {held.symbol}"
    if (shown.symbol, shown.side) != (held.symbol, held.side) or shown.qty != held.qty:
        return f"is another order at the broker: {shown.side} {shown.qty:f} {shown.symbol}"
    if shown.filled_qty != 0:
        return "has filled in part"
    return f"is {shown.status}" if shown.status.startswith("pending_") else ""


def without(book: Book, target: Target) -> Book:
    """The book as if the order were not there, nor what the broker holds back for it."""
    portfolio, order = book.portfolio, target.order
    return Book(
        portfolio=msgspec.structs.replace(
            _released(portfolio, target),
            open_orders=[o for o in portfolio.open_orders if o.order_id != order.order_id],
        ),
        reservations=tuple(r for r in book.reservations if r is not target.reservation),
    )


def _released(portfolio: PortfolioObserved, target: Target) -> PortfolioObserved:
    """Buying power and shares that are free once the order is gone. What risk counts for itself
    bounds both, so that a broker that held nothing back gives nothing away here.
    """
    qty, each = target.order.open_qty, target.reservation.each
    account, power = portfolio.account, portfolio.account.options_buying_power
    if power is not None:
        account = msgspec.structs.replace(
            account, options_buying_power=power + qty * each.collateral
        )
    positions = [
        msgspec.structs.replace(
            position,
            qty_available=min(position.qty, position.qty_available + qty * each.shares),
        )
        if position.symbol == target.reservation.underlying and each.shares
        else position
        for position in portfolio.positions
    ]
    return msgspec.structs.replace(portfolio, account=account, positions=positions)
