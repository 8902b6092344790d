"""The exchange itself: time comes in, orders come in, the books change. Pure: no clock, no I/O.

The same seed, the same requests at the same simulated times: the same books.
"""

from __future__ import annotations

import datetime as dt
import heapq
from decimal import ROUND_FLOOR, Decimal

import msgspec

from libs.common.money import ZERO, decimal_of
from libs.common.symbols import SHARES_PER_CONTRACT, Right
from services.exchange.engine import rules
from services.exchange.engine.bookings import book_fill, reject_at_fill
from services.exchange.engine.books import Books, Position
from services.exchange.engine.matching import Outcome, walk
from services.exchange.engine.order_requests import parse_order
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import Order, OrderRequest, OrderType, Side, TimeInForce
from services.exchange.engine.refusals import not_found, unprocessable
from services.exchange.engine.settlement import close_session
from services.exchange.prices.calendar import Session
from services.exchange.prices.chains import Quotes
from services.exchange.prices.draws import key_of, uniform
from services.exchange.prices.market import Market, Moment, stock_quotes

GTC_DAYS = 90
Event = tuple[int, int, Order, Decimal]


def open_books(
    market: Market,
    *,
    start: Session,
    cash: Decimal,
    stocks: dict[str, Decimal],
    options_level: int,
) -> Books:
    """The books of a new account at the open of `start`, with stocks bought at its first price."""
    books = Books(
        account_id="",
        seed=market.seed,
        created_at=start.open,
        cash=cash,
        options_level=options_level,
        now=start.open,
        day=start.index,
    )
    books.account_id = books.new_id("account")
    for symbol, qty in stocks.items():
        price = decimal_of(float(market.path(symbol, start)[0]))
        books.positions[symbol] = Position(
            symbol=symbol, qty=qty, avg_entry_price=price, opened_on=start.date
        )
    held = (p.qty * p.avg_entry_price for p in books.positions.values())
    books.last_equity = cash + sum(held, ZERO)
    return books


class Exchange:
    def __init__(self, market: Market, books: Books, partial_fill_rate: float = 0.0) -> None:
        self.market = market
        self.books = books
        self._partial_fill_rate = partial_fill_rate

    # --- time --------------------------------------------------------------------------------

    def advance(self, now: dt.datetime) -> Moment:
        """Play the market up to `now`, minute by minute; time never goes back."""
        now = max(now, self.books.now)
        while self.books.day <= self.market.last_day:
            session = self.market.calendar.session(self.books.day)
            if now < session.open:
                break
            elapsed = int((now - session.open).total_seconds()) // 60
            self._play(session, min(elapsed, session.minutes))
            if now < session.close:
                break
            close_session(self.books, self.market, session)
        self.books.now = now
        return self.market.moment(now)

    def _play(self, session: Session, minute: int) -> None:
        first = self.books.minute + 1
        if minute < first:
            return
        if first == 0:
            for order in self.books.open_orders.values():
                if OrderEvent.OPEN in order.possible:
                    self.books.apply(order, OrderEvent.OPEN, session.open)
        self._match(list(self.books.open_orders.values()), session, first, minute)
        self.books.minute = minute

    def _match(self, orders: list[Order], session: Session, first: int, last: int) -> None:
        """Fill what the stretch makes marketable, in the order of time, then of arrival."""
        events: list[Event] = []
        for order in orders:
            self._look(events, order, session, first, last)
        while events:
            minute, _, order, price = heapq.heappop(events)
            at = max(session.open + dt.timedelta(minutes=minute), order.created_at)
            if not self._affordable(order, price):
                reject_at_fill(self.books, order, at)
                continue
            book_fill(self.books, order, self._fill_qty(order, session, minute), price, at)
            if order.working:
                self._look(events, order, session, minute + 1, last)

    def _look(
        self, events: list[Event], order: Order, session: Session, first: int, last: int
    ) -> None:
        """Put the order's next fill in the stretch, if there is one, among the events."""
        if first > last:
            return
        outcome = walk(order, self._quotes(order.symbol, session, first, last))
        self._note_stop(order, outcome)
        if outcome.fill_offset is not None and outcome.price is not None:
            event = (first + outcome.fill_offset, order.number, order, outcome.price)
            heapq.heappush(events, event)

    def _note_stop(self, order: Order, outcome: Outcome) -> None:
        if outcome.elected and not order.elected:
            order.elected = True
            self.books.touch()
        if outcome.hwm is not None and outcome.hwm != order.hwm:
            order.hwm = outcome.hwm
            order.stop_price = order.trailing_stop(outcome.hwm)
            self.books.touch()

    def _quotes(self, symbol: str, session: Session, first: int, last: int) -> Quotes:
        if symbol in self.market.history:
            return stock_quotes(self.market.path(symbol, session)[first : last + 1])
        contract = self.market.listed(symbol, session)
        return self.market.option_quotes(contract, session, first, last)

    def _affordable(self, order: Order, price: Decimal) -> bool:
        """Whether a buy leaves what other orders and short puts hold untouched."""
        if order.side is Side.SELL:
            return True
        books = self.books
        needed = price * order.remaining * order.multiplier
        option = order.option
        if option is not None and option.right is Right.PUT:
            closing = min(order.remaining, max(ZERO, -books.held(order.symbol)))
            needed -= option.strike * SHARES_PER_CONTRACT * closing
        others = books.reserved() - books.reservation(order)
        return needed <= books.cash - books.put_collateral() - others

    def _fill_qty(self, order: Order, session: Session, minute: int) -> Decimal:
        """All that remains, or at the seeded rate of partial fills about half of it."""
        if self._partial_fill_rate == 0 or order.remaining < 2:
            return order.remaining
        draw = uniform(key_of(self.market.seed, "partial", order.number, session.index), [minute])
        if draw[0] >= self._partial_fill_rate:
            return order.remaining
        return (order.remaining / 2).to_integral_value(ROUND_FLOOR)

    # --- orders ------------------------------------------------------------------------------

    def submit(self, body: object, now: dt.datetime) -> Order:
        """Admit an order and match it at once; raises Refusal and changes nothing.

        Returns the order as it was admitted: as with Alpaca, a fill shows in the next look.
        """
        moment = self.advance(now)
        request = parse_order(body)
        admitted = rules.check(request, self.books, self.market, moment)
        order = self._enter(request, admitted, moment)
        if moment.is_open:
            self.books.apply(order, OrderEvent.OPEN, moment.now)
        answer = msgspec.structs.replace(order)
        if moment.is_open:
            self._match([order], moment.session, moment.minute, moment.minute)
        return answer

    def _enter(self, request: OrderRequest, admitted: rules.Admitted, moment: Moment) -> Order:
        books, now = self.books, moment.now
        order_id = books.new_id("order")
        order = Order(
            number=books.ids_drawn,
            id=order_id,
            client_order_id=request.client_order_id or books.new_id("client order"),
            symbol=request.symbol,
            qty=request.qty,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            position_intent=admitted.intent,
            created_at=now,
            updated_at=now,
            expires_at=self._expires_at(request, moment),
            reference_price=admitted.reference_price,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            trail_price=request.trail_price,
            trail_percent=request.trail_percent,
        )
        if order.type is OrderType.TRAILING_STOP:
            order.hwm = decimal_of(round(self.market.last(order.symbol, moment), 4))
            order.stop_price = order.trailing_stop(order.hwm)
        books.add(order)
        return order

    def _expires_at(self, request: OrderRequest, moment: Moment) -> dt.datetime:
        if request.time_in_force is TimeInForce.GTC:
            return moment.now + dt.timedelta(days=GTC_DAYS)
        session = self.market.calendar.current_or_next(moment.now) or moment.session
        return session.close

    def order(self, order_id: str) -> Order:
        order = self.books.order(order_id)
        if order is None:
            raise not_found(f"order not found for {order_id}")
        return order

    def order_by_client_id(self, client_order_id: str) -> Order:
        order_id = self.books.client_ids.get(client_order_id)
        if order_id is None:
            raise not_found("order not found")
        return self.order(order_id)

    def cancel(self, order_id: str, now: dt.datetime) -> None:
        moment = self.advance(now)
        order = self.order(order_id)
        if not order.working:
            raise unprocessable(f'order is already in "{order.status}" state')
        self.books.apply(order, OrderEvent.CANCEL, moment.now)
