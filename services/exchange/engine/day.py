"""One account's orders in one session: what happens next, and what it does to the books."""

from __future__ import annotations

import datetime as dt
import heapq
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

from libs.common.money import ZERO, ceil_to, decimal_of, floor_to, option_tick, stock_tick
from libs.common.symbols import SHARES_PER_CONTRACT, Right
from services.exchange.engine import linked
from services.exchange.engine.bookings import book_fill, fee_of, reject_at_fill
from services.exchange.engine.books import Books
from services.exchange.engine.holds import outstanding
from services.exchange.engine.matching import Happening, Next, hwm_after, next_event
from services.exchange.engine.order_states import OrderEvent, OrderStatus
from services.exchange.engine.orders import (
    IMMEDIATE,
    NEEDS_LIMIT,
    Order,
    OrderType,
    Side,
    TimeInForce,
)
from services.exchange.engine.positions import SHARE_STEP
from services.exchange.engine.settlement import liquidate
from services.exchange.prices.calendar import Session
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.market import Market
from services.exchange.terms import Terms

_BPS = 10_000
_LIQUIDATION = ""  # in the place of an order's id


class _Due(NamedTuple):
    """Ordered by minute, then by arrival; `turn` tells an order's entries apart, of which only the
    last is meant, so that nothing behind it is ever compared."""

    minute: int
    number: int
    turn: int
    order_id: str
    event: Next | None


class TradingDay:
    """Built from the books alone, so that a restart in the middle of a session goes on alike."""

    def __init__(self, market: Market, books: Books, terms: Terms, session: Session) -> None:
        self.session = session
        self._market = market
        self._books = books
        self._terms = terms
        self._due: list[_Due] = []
        self._put = 0  # how often something was put there
        self._next: dict[str, Next] = {}
        self._trailing: dict[str, int] = {}  # trailing stops, and the minute each is followed from
        if books.minute < 0:
            self._open_orders()
        self._put_liquidation()
        for order in list(books.open_orders.values()):
            self.rest(order, books.minute + 1)

    def _open_orders(self) -> None:
        for order in list(self._books.open_orders.values()):
            if order.status is OrderStatus.ACCEPTED:
                self._books.apply(order, OrderEvent.OPEN, self.session.open)

    def _put_liquidation(self) -> None:
        minute = self.session.minutes - self._terms.expiry_liquidation_minutes
        if minute > self._books.minute:
            heapq.heappush(self._due, _Due(minute, -1, 0, _LIQUIDATION, None))

    def rest(self, order: Order, first: int) -> None:
        """Find what happens to the order from minute `first` on, if anything does today."""
        if order.status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED):
            return
        quotes = self._market.session_quotes(order.symbol, self.session)
        event = next_event(order, quotes, first)
        if order.type is OrderType.TRAILING_STOP and not order.elected:
            self._trailing[order.id] = first
        if event is None:
            self._next.pop(order.id, None)
            self._cancel_missed_auction(order)
            return
        self._next[order.id] = event
        self._put += 1
        heapq.heappush(self._due, _Due(event.minute, order.number, self._put, order.id, event))

    def _cancel_missed_auction(self, order: Order) -> None:
        """What the opening auction did not fill is cancelled, at once [Alpaca]."""
        if order.time_in_force is TimeInForce.OPG:
            self._books.apply(order, OrderEvent.CANCEL, self.session.open)

    def play(self, minute: int) -> None:
        """Everything that happens up to `minute`, in the order of time, then of arrival."""
        due = self._due
        while due and due[0].minute <= minute:
            self._happen(heapq.heappop(due))
        self._books.minute = max(minute, self._books.minute)
        if self._trailing:
            self._follow(minute)

    def _happen(self, due: _Due) -> None:
        if due.event is None:
            liquidate(self._books, self._market, self._terms, self.session, due.minute)
            return
        order = self._books.open_orders.get(due.order_id)
        if order is None or self._next.get(due.order_id) is not due.event:
            return  # it ended, or something else happens first
        if due.event.what is Happening.ELECT:
            self._elect(order, due.event)
        else:
            self._fill(order, due.event)

    def _elect(self, order: Order, event: Next) -> None:
        order.elected = True
        self._trailing.pop(order.id, None)
        if event.hwm is not None:
            self._mark(order, event.hwm)
        self._books.touch()
        self.rest(order, event.minute)

    def _fill(self, order: Order, event: Next) -> None:
        at = self._at(event.minute, order)
        price = self._slipped(order, decimal_of(event.price))
        qty = self._fill_qty(order, price, event.minute)
        if not self._affordable(order, price, qty if order.notional else order.remaining):
            reject_at_fill(self._books, order, at)
            for leg in linked.after_end(self._books, order, at):
                self.rest(leg, event.minute + 1)
            return
        book_fill(self._books, order, qty, price, at, self._terms)
        if order.working and order.time_in_force in IMMEDIATE:
            self._books.apply(order, OrderEvent.CANCEL, at)
        for leg in linked.after_fill(self._books, order, at):
            self.rest(leg, event.minute + 1)
        if order.working:
            self.rest(order, event.minute + 1)

    def _at(self, minute: int, order: Order | None = None) -> dt.datetime:
        at = self.session.open + dt.timedelta(minutes=minute)
        return at if order is None else max(at, order.created_at)

    def _affordable(self, order: Order, price: Decimal, qty: Decimal) -> bool:
        """Whether a buy leaves what other orders and short puts hold untouched."""
        if order.side is Side.SELL:
            return True
        books = self._books
        needed = price * qty * order.multiplier + fee_of(order, qty, price, self._terms)
        option = order.option
        if option is not None and option.right is Right.PUT:
            closing = min(qty, max(ZERO, -books.held(order.symbol)))
            needed -= option.strike * SHARES_PER_CONTRACT * closing
        return needed <= books.cash - books.put_collateral() - books.reserved_by_others(order)

    def _fill_qty(self, order: Order, price: Decimal, minute: int) -> Decimal:
        """All that remains, or at the seeded rate of partial fills about half of it."""
        if order.notional is not None:
            bought = (order.notional / price).quantize(SHARE_STEP, ROUND_FLOOR)
            if order.side is Side.BUY:
                return bought
            # At a lower price than it came at, it must not take what other orders and calls hold.
            return min(bought, self._books.shares_free(order.symbol) + outstanding(order))
        rate = self._terms.partial_fill_rate
        if rate == 0 or order.remaining < 2 or order.time_in_force is TimeInForce.FOK:
            return order.remaining
        draw = uniform(
            key_of(self._books.seed, "partial", order.number, self.session.index), [minute]
        )
        if draw[0] >= rate:
            return order.remaining
        return (order.remaining / 2).to_integral_value(ROUND_FLOOR)

    def _slipped(self, order: Order, price: Decimal) -> Decimal:
        """A worse price by the house's slippage, on the grid and never beyond the limit."""
        if self._terms.slippage_bps == 0:
            return price
        buying = order.side is Side.BUY
        slip = price * Decimal(repr(self._terms.slippage_bps)) / _BPS
        worse = max(price + slip if buying else price - slip, ZERO)
        tick = option_tick(worse, penny=True) if order.option else stock_tick(worse)
        worse = ceil_to(worse, tick) if buying else max(floor_to(worse, tick), tick)
        if order.type in NEEDS_LIMIT and order.limit_price is not None:
            limit = order.limit_price
            worse = min(worse, limit) if buying else max(worse, limit)
        return worse

    # --- trailing stops ----------------------------------------------------------------------

    def _follow(self, minute: int) -> None:
        """Move the marks of trailing stops up to `minute`; their stops move along."""
        for order_id, since in list(self._trailing.items()):
            order = self._books.open_orders.get(order_id)
            if order is None:
                del self._trailing[order_id]
                continue
            if minute < since:
                continue
            value = self._market.session_quotes(order.symbol, self.session).value
            self._mark(order, hwm_after(order, value[since : minute + 1]))
            self._trailing[order_id] = minute + 1

    def _mark(self, order: Order, hwm: Decimal | None) -> None:
        if hwm is not None and hwm != order.hwm:
            order.hwm = hwm
            order.stop_price = order.trailing_stop(hwm)
            self._books.touch()
