"""An auditor of an account's books: everything is worked out anew from rows, orders and prices.

Nothing of what is checked is taken from the engine's running sums.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, Right, parse_option_symbol
from services.exchange.engine.books import Books
from services.exchange.engine.holds import Holds
from services.exchange.engine.marks import equity
from services.exchange.engine.order_states import FINAL, STARTS, TRANSITIONS, OrderStatus
from services.exchange.engine.orders import Intent, Order, OrderType, Side
from services.exchange.engine.positions import Activity
from services.exchange.engine.updates import OrderUpdate
from services.exchange.prices.actions import CashDividend
from services.exchange.prices.market import Market, Moment

STATUS_OF_EVENT = {
    "accepted": OrderStatus.ACCEPTED,
    "new": OrderStatus.NEW,
    "partial_fill": OrderStatus.PARTIALLY_FILLED,
    "fill": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "replaced": OrderStatus.REPLACED,
    "rejected": OrderStatus.REJECTED,
}
CENT = Decimal("0.01")
Holdings = dict[str, Decimal]


def lot(symbol: str) -> int:
    return SHARES_PER_CONTRACT if parse_option_symbol(symbol) else 1


def replayed(cash: Decimal, held: Holdings, rows: list[Activity]) -> tuple[Decimal, Holdings]:
    """Cash and holdings after these rows, from what was there before them."""
    now: defaultdict[str, Decimal] = defaultdict(Decimal, held)
    for row in rows:
        match row.activity_type:
            case "FILL":
                assert row.price is not None
                signed = row.qty if row.side is Side.BUY else -row.qty
                cash -= signed * row.price * lot(row.symbol)
                now[row.symbol] += signed
            case "OPASN" | "OPEXC" | "OPEXP":  # contracts that ended: towards zero
                now[row.symbol] += -row.qty if now[row.symbol] > 0 else row.qty
            case "OPTRD" | "SPLIT" | "OPCA":
                now[row.symbol] += row.qty
            case "FEE" | "DIV":
                pass
            case unknown:
                raise AssertionError(f"a row of type {unknown}")
        cash += row.net_amount or ZERO
    return cash, {symbol: qty for symbol, qty in now.items() if qty}


def check_conserved(books: Books, cash: Decimal, held: Holdings) -> None:
    """Cash, shares and contracts are what the account began with and what its rows say."""
    rebuilt = replayed(cash, held, books.activities)
    assert rebuilt == (books.cash, {s: p.qty for s, p in books.positions.items()})
    assert len({row.id for row in books.activities}) == len(books.activities)


def check_equity(market: Market, books: Books, moment: Moment) -> None:
    """Cash and positions at marks: a stock's last price, the middle of a contract's quote."""
    total = books.cash
    for symbol, position in books.positions.items():
        if position.option is None:
            mark = market.last(symbol, moment)
        else:
            quote = market.option_quote(symbol, moment)
            mark = 0.0 if quote is None else float(quote.bid[0] + quote.ask[0]) / 2
        total += position.qty * lot(symbol) * Decimal(repr(round(mark, 4)))
    assert abs(equity(market, books, moment) - total) <= CENT


def check_promises(books: Books) -> None:
    """Nothing is promised twice: strikes of short puts and open buys have their cash, short calls
    and open sells their shares, closing orders their contracts."""
    puts, covering = ZERO, defaultdict[str, Decimal](Decimal)
    for position in books.positions.values():
        option = position.option
        if option is None:
            assert position.qty >= 0, "stocks are never short"
        elif position.is_short(Right.PUT):
            puts -= position.qty * option.strike * SHARES_PER_CONTRACT
        elif position.is_short(Right.CALL):
            covering[option.underlying] -= position.qty * position.deliverable
    assert books.put_collateral() == puts >= 0
    assert books.cash >= 0
    assert books.cash >= puts + books.reserved(), "cash is promised once"
    assert books.reserved() >= 0
    assert books.buying_power() >= 0
    for stock in {*covering, *(s for s in books.positions if parse_option_symbol(s) is None)}:
        assert books.held(stock) >= covering[stock] + shares_selling(books, stock)
        assert books.held(stock) >= books.shares_locked(stock) >= 0
    for position in books.positions.values():
        available = books.qty_available(position)
        assert abs(available) <= abs(position.qty)
        assert available * position.qty >= 0
    check_closing(books)


def shares_selling(books: Books, stock: str) -> Decimal:
    """Shares that working orders would take away, of linked ones once."""
    total = ZERO
    for order in books.open_orders.values():
        if order.side is not Side.SELL or order.status is OrderStatus.HELD:
            continue
        if order.symbol == stock and not order.shares_with_twin and order.notional is None:
            total += order.qty - order.filled_qty
        elif order.opens_short(Right.CALL) and underlying(order) == stock:
            total += (order.qty - order.filled_qty) * SHARES_PER_CONTRACT
    return total


def underlying(order: Order) -> str | None:
    return None if order.option is None else order.option.underlying


def check_closing(books: Books) -> None:
    """Orders that say they close a contract never come to more than is held."""
    closing: defaultdict[str, Decimal] = defaultdict(Decimal)
    closes = {Side.BUY: Intent.BUY_TO_CLOSE, Side.SELL: Intent.SELL_TO_CLOSE}
    for order in books.open_orders.values():
        if order.option is not None and order.position_intent is closes[order.side]:
            closing[order.symbol] += order.remaining
            held = books.held(order.symbol)
            assert held < 0 if order.side is Side.BUY else held > 0
    for symbol, qty in closing.items():
        assert qty <= abs(books.held(symbol)), f"{symbol} is closed more than once"


def check_holds(books: Books) -> None:
    """The running sums are those that are counted from nothing."""
    running, fresh = books.holds, Holds.of(books.open_orders.values(), books.positions.values())
    for name in ("order_cash", "collateral"):
        assert getattr(running, name) == getattr(fresh, name), name
    for name in ("shares", "covering", "selling", "buying"):
        of_running, of_fresh = getattr(running, name), getattr(fresh, name)
        for key in {*of_running, *of_fresh}:
            assert of_running.get(key, ZERO) == of_fresh.get(key, ZERO), (name, key)
    for symbol, side in {*running.orders, *fresh.orders}:
        ours = running.orders.get((symbol, side), {})
        assert set(ours) == set(fresh.orders.get((symbol, side), {}))


def check_orders(books: Books, moment: Moment) -> None:
    fills: defaultdict[str, list[Activity]] = defaultdict(list)
    for row in books.activities:
        if row.activity_type == "FILL":
            fills[str(row.order_id)].append(row)
    for order in (*books.open_orders.values(), *books.final_orders.values()):
        assert (order.status in FINAL) == (order.id in books.final_orders)
        assert 0 <= order.filled_qty <= order.qty
        rows = fills.pop(order.id, [])
        assert sum((row.qty for row in rows), ZERO) == order.filled_qty
        if rows:
            cost = sum(((row.price or ZERO) * row.qty for row in rows), ZERO)
            assert order.filled_avg_price is not None
            assert abs(order.filled_avg_price * order.filled_qty - cost) < Decimal("1e-9")
            check_limit(order, rows)
        check_stamps(order)
    assert not fills, "fills of orders that are not there"
    for order in books.open_orders.values():
        waiting = order.status is OrderStatus.ACCEPTED
        assert not (waiting and moment.is_open), "the session is open, and so are its orders"
        assert order.expires_at > moment.now, "orders end in time"
        option = order.option
        assert option is None or books.day <= 0 or option.expiration >= moment.session.date


def check_limit(order: Order, rows: list[Activity]) -> None:
    """No fill beyond the limit."""
    if order.type not in (OrderType.LIMIT, OrderType.STOP_LIMIT) or order.limit_price is None:
        return
    for row in rows:
        assert row.price is not None
        if order.side is Side.BUY:
            assert row.price <= order.limit_price
        else:
            assert row.price >= order.limit_price


def check_stamps(order: Order) -> None:
    """The time of an order's end stands in the field of that end."""
    stamps = {
        OrderStatus.FILLED: order.filled_at,
        OrderStatus.CANCELED: order.canceled_at,
        OrderStatus.EXPIRED: order.expired_at,
        OrderStatus.REJECTED: order.failed_at,
        OrderStatus.REPLACED: order.replaced_at,
    }
    for status, stamp in stamps.items():
        assert (stamp is not None) == (order.status is status), (order.status, status)


def check_trail(before: Order, after: Order) -> None:
    """A trailing stop's mark and stop only ever tighten, and belong together."""
    assert before.hwm is not None
    assert after.hwm is not None
    assert before.stop_price is not None
    assert after.stop_price is not None
    sign = 1 if after.side is Side.SELL else -1
    assert (after.hwm - before.hwm) * sign >= 0
    assert (after.stop_price - before.stop_price) * sign >= 0
    assert after.stop_price == after.trailing_stop(after.hwm)


def check_dividends(market: Market, books: Books, cash: Decimal, held: Holdings) -> None:
    """Who held shares before the ex-date is owed the rate on each, once, on the payable date."""
    owed: list[tuple[str, Decimal]] = []
    for action in market.actions.all:
        session = market.calendar.on(action.ex_date)
        assert session is not None
        played = books.day > session.index or (books.day == session.index and books.minute >= 0)
        if not (isinstance(action, CashDividend) and played):
            continue
        rows = [
            row
            for row in books.activities
            if row.date < action.ex_date
            # exercised on the morning of the ex-date itself, before the open
            or (row.activity_type in ("OPTRD", "OPEXC") and row.known_at <= session.open)
        ]
        shares = replayed(cash, held, rows)[1].get(action.symbol, ZERO)
        if shares:
            owed.append((action.symbol, round(shares * action.rate, 2)))
    paid = [(r.symbol, r.net_amount) for r in books.activities if r.activity_type == "DIV"]
    due = [(r.symbol, r.amount) for r in books.receivables]
    assert sorted(owed) == sorted([*paid, *due])


class Telling:
    """The updates of one account, in the order they were told."""

    def __init__(self) -> None:
        self.status: dict[str, OrderStatus] = {}
        self.executions: list[str] = []
        self.final: dict[str, bytes] = {}
        self.trailing: dict[str, Order] = {}
        self.last: OrderUpdate | None = None

    def hear(self, update: OrderUpdate) -> None:
        order = update.order
        status = STATUS_OF_EVENT[update.event]
        assert order.status is status, "the copy is of the moment after the event"
        before = self.status.get(order.id)
        if before is None:  # a leg is not told of before its entry fills
            held = OrderStatus.HELD in STARTS and order.parent is not None
            assert status in STARTS or (held and status in TRANSITIONS[OrderStatus.HELD].values())
        else:
            assert status in TRANSITIONS[before].values(), f"{before} → {status}"
        self.status[order.id] = status
        if update.execution_id is not None:
            assert update.execution_id not in self.executions
            assert update.qty is not None
            self.executions.append(update.execution_id)
        assert self.last is None or self.last.at <= update.at, "in the order of time"
        self.last = update

    def check(self, books: Books) -> None:
        """What was told is how things stand, and what is final stays."""
        rows = [row for row in books.activities if row.activity_type == "FILL"]
        assert len(self.executions) == len(rows)
        for order in (*books.open_orders.values(), *books.final_orders.values()):
            told = self.status.get(order.id, OrderStatus.HELD)
            assert told is order.status, f"{order.id} was told {told}, is {order.status}"
        for order in books.final_orders.values():
            assert self.final.setdefault(order.id, terms_of(order)) == terms_of(order)
        for order in books.open_orders.values():
            if order.type is OrderType.TRAILING_STOP:
                known = self.trailing.get(order.id, order)
                check_trail(known, order)
                self.trailing[order.id] = msgspec.structs.replace(order)


def terms_of(order: Order) -> bytes:
    """An order without its links, which follow the orders that take a linked one's place."""
    return msgspec.json.encode(
        msgspec.structs.replace(order, legs=[], parent=None, twin=None, replaced_by=None)
    )
