"""One account at the exchange: time comes in, requests come in, the books change.

Pure: no clock, no I/O. The same seed, the same requests at the same simulated times: the same
books. Accounts do not trade with each other, so each is played on its own.
"""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_FLOOR, Decimal

from libs.common.money import ZERO, decimal_of
from services.exchange.engine import linked, rules
from services.exchange.engine.bookings import When, book_delivery
from services.exchange.engine.books import Books
from services.exchange.engine.corporate import open_session
from services.exchange.engine.day import TradingDay
from services.exchange.engine.marks import mark_at
from services.exchange.engine.order_requests import parse_order, parse_replacement
from services.exchange.engine.order_states import REPLACEABLE, OrderEvent, OrderStatus
from services.exchange.engine.orders import (
    IMMEDIATE,
    Order,
    OrderClass,
    OrderRequest,
    OrderType,
    Replacement,
    TimeInForce,
)
from services.exchange.engine.positions import Position
from services.exchange.engine.refusals import (
    NO_POSITION,
    SHORT_POSITION,
    forbidden,
    not_found,
    unprocessable,
)
from services.exchange.engine.settlement import can_exercise, close_session
from services.exchange.prices.calendar import NEW_YORK, Session
from services.exchange.prices.market import Market, Moment
from services.exchange.terms import Terms

GTC_LIFE = dt.timedelta(days=90)  # until the last close within it
_ONE_DAY = dt.timedelta(days=1)
DEFAULT_TERMS = Terms()


def open_books(
    market: Market,
    *,
    at: dt.datetime,
    cash: Decimal,
    positions: dict[str, tuple[Decimal, Decimal | None]],
    options_level: int,
    seed: int,
) -> Books:
    """The books of a new account. `positions`: symbol → quantity and average entry price in
    dollars a share; without a price the mark at that moment is taken."""
    moment = market.moment(at)
    upcoming = market.calendar.current_or_next(at) or moment.session
    running = upcoming.open < at
    books = Books(
        account_id="",
        seed=seed,
        created_at=at,
        cash=cash,
        opening_cash=cash,
        options_level=options_level,
        now=at,
        day=upcoming.index,
        minute=moment.minute if running else -1,
    )
    books.account_id = books.new_id()
    day = moment.session.date if running else market.calendar.session(upcoming.index).date
    minute = moment.minute if running else 0
    session = moment.session if running else upcoming
    for symbol, (qty, price) in positions.items():
        paid = mark_at(market, symbol, session, minute) if price is None else price
        books.positions[symbol] = Position(
            symbol=symbol, qty=qty, avg_entry_price=paid, opened_on=day
        )
    held = (p.qty * p.avg_entry_price * p.multiplier for p in books.positions.values())
    books.opening_equity = books.last_equity = cash + sum(held, ZERO)
    return books


class Account:
    def __init__(self, market: Market, books: Books, terms: Terms = DEFAULT_TERMS) -> None:
        self.market = market
        self.books = books
        self.terms = terms
        self._day: TradingDay | None = None
        self._moment: Moment | None = None

    # --- time --------------------------------------------------------------------------------

    def advance(self, now: dt.datetime) -> Moment:
        """Play the market up to `now`; time never goes back."""
        books = self.books
        if self._moment is not None and now <= self._moment.now:
            return self._moment
        now = max(now, books.now)
        while books.day <= self.market.last_day:
            session = self._session()
            if now < session.open:
                break
            day = self._trading_day(session)
            minute = min(int((now - session.open).total_seconds()) // 60, session.minutes)
            if minute > books.minute:
                day.play(minute)
            if now < session.close:
                break
            close_session(books, self.market, self.terms, session)
            self._day = None
        books.now = now
        self._moment = self.market.moment(now)
        return self._moment

    def _session(self) -> Session:
        return self.market.calendar.session(self.books.day)

    def _trading_day(self, session: Session) -> TradingDay:
        if self._day is None:
            if self.books.minute < 0:
                open_session(self.books, self.market, session)
            self._day = TradingDay(self.market, self.books, self.terms, session)
        return self._day

    # --- orders ------------------------------------------------------------------------------

    def submit(self, body: object, now: dt.datetime) -> Order:
        """Admit an order and match it at once; raises Refusal and changes nothing.

        Returns the order as it was admitted: as with Alpaca, a fill shows in the next look.
        """
        moment = self.advance(now)
        request = parse_order(body)
        admitted = rules.check(request, self.books, self.market, moment, self.terms)
        order = self._enter(request, admitted, moment)
        linked.add_exits(self.books, order, request)
        return self._place([order, *linked.resting_with(self.books, order)], moment)

    def replace(self, order_id: str, body: object, now: dt.datetime) -> Order:
        """A new order in the place of one that rests; raises Refusal and changes nothing."""
        moment = self.advance(now)
        old = self.order(order_id)
        if not old.working:
            raise unprocessable(f'order is already in "{old.status}" state')
        if old.status not in REPLACEABLE:
            raise unprocessable("unable to replace order, order isn't sent to exchange yet")
        if old.notional is not None:
            raise unprocessable("notional orders cannot be replaced")
        request = _replaced(old, parse_replacement(body))
        admitted = self._admit_instead(old, request, moment)
        new = self._enter(request, admitted, moment)
        if old.hwm is not None and new.hwm is not None:
            new.hwm = old.hwm
            new.stop_price = new.trailing_stop(new.hwm)
        linked.take_place(self.books, old, new)
        self.books.apply(old, OrderEvent.REPLACE, moment.now)
        return self._place([new], moment)

    def _admit_instead(self, old: Order, request: OrderRequest, moment: Moment) -> rules.Admitted:
        """Check the new order against books in which the old one holds nothing back."""
        holds = self.books.holds
        twin = self.books.open_orders.get(old.twin or "")
        apart = [old] if twin is None else [old, twin]
        for order in apart:
            holds.remove(order)
        try:
            return rules.check(request, self.books, self.market, moment, self.terms)
        finally:
            for order in apart:
                holds.add(order)

    def _enter(self, request: OrderRequest, admitted: rules.Admitted, moment: Moment) -> Order:
        books, now = self.books, moment.now
        order_id = books.new_id()
        order = Order(
            number=books.ids_drawn,
            id=order_id,
            client_order_id=request.client_order_id or books.new_id(),
            symbol=request.symbol,
            qty=request.qty,
            notional=request.notional,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            position_intent=admitted.intent,
            created_at=now,
            updated_at=now,
            expires_at=self._expires_at(request, moment),
            reference_price=admitted.reference_price,
            status=OrderStatus.NEW if moment.is_open else OrderStatus.ACCEPTED,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            trail_price=request.trail_price,
            trail_percent=request.trail_percent,
            order_class=request.order_class,
        )
        if order.type is OrderType.TRAILING_STOP:
            order.hwm = decimal_of(round(self.market.last(order.symbol, moment), 4))
            order.stop_price = order.trailing_stop(order.hwm)
        books.add(order)
        return order

    def _place(self, working: list[Order], moment: Moment) -> Order:
        """Let an order, and what rests with it, rest and match; a copy of it before that."""
        books, order = self.books, working[0]
        for one in working:
            books.tell(one.status.value, one, moment.now)
        answer = books.outbox[-len(working)].order  # the copy that was told; nobody changes it
        if not moment.is_open:
            return answer
        day = self._trading_day(moment.session)
        for one in working:
            day.rest(one, moment.minute)
        day.play(moment.minute)
        if order.working and order.time_in_force in IMMEDIATE:
            books.apply(order, OrderEvent.CANCEL, moment.now)
        return answer

    def _expires_at(self, request: OrderRequest, moment: Moment) -> dt.datetime:
        calendar = self.market.calendar
        if request.time_in_force is TimeInForce.GTC:
            last = moment.now.astimezone(NEW_YORK).date() + GTC_LIFE
            return calendar.session(calendar.first_from(last + _ONE_DAY) - 1).close
        if moment.is_open:
            return moment.session.close
        session = calendar.current_or_next(moment.now) or moment.session
        return session.close

    def order(self, order_id: str) -> Order:
        order = self.books.order(order_id)
        if order is None:
            raise not_found(f"order not found for {order_id[:40]}")
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
        self._cancel(order, moment)

    def cancel_all(self, now: dt.datetime, symbol: str | None = None) -> list[str]:
        """The ids of the orders that were open."""
        moment = self.advance(now)
        open_orders = [
            order
            for order in self.books.open_orders.values()
            if symbol is None or order.symbol == symbol
        ]
        for order in open_orders:
            if order.working:  # it may have ended with the one it is linked to
                self._cancel(order, moment)
        return [order.id for order in open_orders]

    def _cancel(self, order: Order, moment: Moment) -> None:
        self.books.apply(order, OrderEvent.CANCEL, moment.now)
        for leg in linked.after_end(self.books, order, moment.now):
            if moment.is_open:
                self._trading_day(moment.session).rest(leg, moment.minute + 1)

    # --- positions ---------------------------------------------------------------------------

    def position(self, symbol: str) -> Position:
        position = self.books.positions.get(symbol)
        if position is None:
            raise not_found("position does not exist")
        return position

    def close_position(
        self, symbol: str, qty: Decimal | None, percentage: Decimal | None, now: dt.datetime
    ) -> Order:
        """A market order that closes the position or a part of it; raises Refusal."""
        self.advance(now)
        position = self.position(symbol)
        held = abs(position.qty)
        wanted = held if qty is None else qty
        if percentage is not None:
            wanted = held * percentage / 100
            if held % 1 == 0:
                wanted = wanted.to_integral_value(ROUND_FLOOR)
            wanted = round(wanted, 9)
        if not 0 < wanted <= held:
            raise forbidden(
                f"insufficient qty available for order (requested: {wanted}, available: {held})"
            )
        side = "sell" if position.qty > 0 else "buy"
        body = {"symbol": symbol, "qty": f"{wanted:f}", "side": side}
        return self.submit(body | {"type": "market", "time_in_force": "day"}, now)

    def exercise(self, symbol: str, now: dt.datetime) -> None:
        """Exercise the long contracts that no order holds; raises Refusal."""
        moment = self.advance(now)
        position = self._exercisable(symbol)
        at = moment.now.astimezone(NEW_YORK)
        if moment.now >= moment.session.close and at.date() == moment.session.date:
            raise unprocessable("exercise is not accepted between the close and midnight")
        contracts = self.books.contracts_free(symbol)
        if contracts == 0 or not can_exercise(self.books, position, contracts):
            raise forbidden("insufficient buying power or shares to exercise the contracts")
        upcoming = self.market.calendar.session(moment.session.index + 1)
        book_delivery(self.books, position, contracts, When(moment.now, upcoming.open))

    def refuse_exercise(self, symbol: str, now: dt.datetime) -> None:
        """The contracts are to expire even when they are in the money."""
        self.advance(now)
        self._exercisable(symbol)
        if symbol not in self.books.do_not_exercise:
            self.books.do_not_exercise.append(symbol)
            self.books.touch()

    def _exercisable(self, symbol: str) -> Position:
        position = self.books.positions.get(symbol)
        if position is None or position.option is None:
            raise forbidden("no available position for the specified contract", NO_POSITION)
        if position.qty < 0:
            raise forbidden("cannot exercise short position", SHORT_POSITION)
        return position


def _replaced(old: Order, wish: Replacement) -> OrderRequest:
    """The terms of the order that takes the old one's place; `qty` counts what was filled too."""
    if old.order_class is not OrderClass.SIMPLE and (wish.qty or wish.time_in_force):
        raise unprocessable(
            f"qty and time_in_force of {old.order_class} orders cannot be replaced, prices can"
        )
    total = wish.qty or old.qty
    if total <= old.filled_qty:
        raise unprocessable(f"qty must be above the filled quantity {old.filled_qty}")
    for name, wanted in (("limit_price", old.limit_price), ("stop_price", old.stop_price)):
        trailing = old.type is OrderType.TRAILING_STOP
        if getattr(wish, name) is not None and (wanted is None or trailing):
            raise unprocessable(f"{name} does not go with a {old.type} order")
    if wish.trail is not None and old.type is not OrderType.TRAILING_STOP:
        raise unprocessable("trail goes with trailing_stop orders only")
    by_price = old.trail_price is not None
    if wish.trail is not None and not by_price and wish.trail >= 100:
        raise unprocessable("trail must be below 100 percent")
    return OrderRequest(
        symbol=old.symbol,
        qty=total - old.filled_qty,
        side=old.side,
        type=old.type,
        time_in_force=wish.time_in_force or old.time_in_force,
        limit_price=wish.limit_price or old.limit_price,
        stop_price=None
        if old.type is OrderType.TRAILING_STOP
        else wish.stop_price or old.stop_price,
        trail_price=(wish.trail or old.trail_price) if by_price else None,
        trail_percent=None if by_price else (wish.trail or old.trail_percent),
        client_order_id=wish.client_order_id,
        position_intent=old.position_intent if old.option else None,
    )
