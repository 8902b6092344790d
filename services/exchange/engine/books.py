"""One account's books: cash, positions, orders, activities. All of it survives a restart.

Money is Decimal. Cash moves in `pay`, holdings in `move`, and nowhere else, so both are
conserved. What orders and short options hold back is kept beside them (holds.py).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol, underlying_of
from services.exchange.engine.holds import Holds, cash_of
from services.exchange.engine.order_states import OrderEvent, OrderStatus
from services.exchange.engine.orders import Order, Side
from services.exchange.engine.positions import (
    STANDARD_DELIVERABLE,
    Activity,
    Move,
    Position,
    Receivable,
)
from services.exchange.engine.updates import OrderUpdate
from services.exchange.prices.calendar import NEW_YORK

_EVENT_NAMES = {
    OrderStatus.NEW: "new",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "expired",
    OrderStatus.REPLACED: "replaced",
    OrderStatus.REJECTED: "rejected",
    OrderStatus.PARTIALLY_FILLED: "partial_fill",
    OrderStatus.FILLED: "fill",
}


_TWO_128 = 1 << 128
_GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2^128 over the golden ratio, and odd


def new_york_date(at: dt.datetime) -> dt.date:
    return at.astimezone(NEW_YORK).date()


class Configurations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account's owner may set (`/v2/account/configurations`)."""

    suspend_trade: bool = False
    fractional_trading: bool = True
    no_shorting: bool = False
    ptp_no_exception_entry: bool = False
    disable_overnight_trading: bool = False
    trade_confirm_email: str = "all"
    max_margin_multiplier: str = "1"
    max_options_trading_level: int | None = None


class Watchlist(msgspec.Struct, kw_only=True):
    id: str
    name: str
    created_at: dt.datetime
    updated_at: dt.datetime
    symbols: list[str] = []


class Books(msgspec.Struct, kw_only=True, dict=True):
    """`dict=True` gives the running sums a place that is not saved."""

    account_id: str
    seed: int
    created_at: dt.datetime
    cash: Decimal
    opening_cash: Decimal = ZERO
    opening_equity: Decimal = ZERO
    options_level: int
    # How far the market has been played: the session, and its last minute seen (-1: not open yet).
    now: dt.datetime
    day: int
    minute: int = -1
    last_equity: Decimal = ZERO
    positions: dict[str, Position] = {}
    open_orders: dict[str, Order] = {}  # by id, in order of arrival
    final_orders: dict[str, Order] = {}
    client_ids: dict[str, str] = {}  # client_order_id → id, for ever
    activities: list[Activity] = []
    receivables: list[Receivable] = []
    do_not_exercise: list[str] = []  # contracts whose owner does not want them exercised
    equity_closes: list[tuple[dt.date, Decimal]] = []
    moves: list[Move] = []
    configurations: Configurations = Configurations()
    watchlists: dict[str, Watchlist] = {}
    ids_drawn: int = 0
    revision: int = 0  # grows with every change; tells the shell to save

    @cached_property
    def holds(self) -> Holds:
        return Holds.of(self.open_orders.values(), self.positions.values())

    @cached_property
    def outbox(self) -> list[OrderUpdate]:
        """What happened to orders and was not yet told; whoever tells it empties it."""
        return []

    def touch(self) -> None:
        self.revision += 1

    @cached_property
    def _id_space(self) -> int:
        return int.from_bytes(blake2b(b"ids:%d" % self.seed, digest_size=16).digest())

    def new_id(self) -> str:
        """The next identifier: a pure function of the seed and how many were drawn before.

        A UUID of version 8, whose bits are the maker's own (RFC 9562): steps of the golden ratio
        through the account's numbers, so that none comes twice and neighbours look unlike.
        """
        self.ids_drawn += 1
        d = f"{(self._id_space + self.ids_drawn * _GOLDEN) % _TWO_128:032x}"
        return f"{d[:8]}-{d[8:12]}-8{d[13:16]}-a{d[17:20]}-{d[20:]}"

    # --- orders ----------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        self.touch()
        self.open_orders[order.id] = order
        self.client_ids[order.client_order_id] = order.id
        self.holds.add(order)

    def order(self, order_id: str) -> Order | None:
        return self.open_orders.get(order_id) or self.final_orders.get(order_id)

    def apply(self, order: Order, event: OrderEvent, at: dt.datetime) -> None:
        """Move an order along its table; a final one leaves the open orders."""
        self.holds.remove(order)
        try:
            order.apply(event, at)
        finally:
            self.holds.add(order)
        self._settle_state(order)
        self.tell(_EVENT_NAMES[order.status], order, at)

    def fill(self, order: Order, qty: Decimal, price: Decimal, at: dt.datetime) -> str:
        """Book a fill of `qty` at `price` dollars a share; answers the execution's id."""
        self.holds.remove(order)
        if order.notional is not None:
            order.qty = qty  # known only now
        filled = order.filled_qty + qty
        paid = (order.filled_avg_price or ZERO) * order.filled_qty + price * qty
        order.filled_qty, order.filled_avg_price = filled, paid / filled
        order.apply(OrderEvent.FILL if order.remaining == 0 else OrderEvent.FILL_PART, at)
        self.holds.add(order)
        self._settle_state(order)
        self.trade(order.symbol, qty if order.side is Side.BUY else -qty, price, at)
        execution_id = self.new_id()
        self.outbox.append(
            OrderUpdate(
                event=_EVENT_NAMES[order.status],
                at=at,
                order=msgspec.structs.replace(order),
                execution_id=execution_id,
                price=price,
                qty=qty,
                position_qty=self.held(order.symbol),
            )
        )
        return execution_id

    def _settle_state(self, order: Order) -> None:
        self.touch()
        if not order.working:
            self.holds.remove(order)
            self.final_orders[order.id] = self.open_orders.pop(order.id)

    def tell(self, event: str, order: Order, at: dt.datetime) -> None:
        self.outbox.append(OrderUpdate(event=event, at=at, order=msgspec.structs.replace(order)))

    def open_on(self, symbol: str) -> list[Order]:
        """In the order of arrival, also after a restart."""
        orders = (order for side in Side for order in self.resting(symbol, side))
        return sorted(orders, key=lambda order: order.number)

    def resting(self, symbol: str, side: Side) -> list[Order]:
        """In no order that anything may depend on: a restart changes it."""
        return list(self.holds.orders.get((symbol, side), {}).values())

    # --- cash and holdings -----------------------------------------------------------------

    def positions_on(self) -> list[str]:
        """The stocks that positions are in or on."""
        return [underlying_of(symbol) for symbol in self.positions]

    def held(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return position.qty if position else ZERO

    def pay(self, amount: Decimal, at: dt.datetime) -> None:
        """Dollars into the account (negative: out of it)."""
        self.touch()
        self.cash += amount
        self.moves.append(Move(at=at, symbol="", cash=amount))

    def trade(self, symbol: str, qty: Decimal, price: Decimal, at: dt.datetime) -> None:
        """Book `qty` (negative: sold) at `price` dollars a share against cash."""
        multiplier = SHARES_PER_CONTRACT if parse_option_symbol(symbol) else 1
        self.pay(-qty * price * multiplier, at)
        self.move(symbol, qty, price, at)

    def move(
        self,
        symbol: str,
        qty: Decimal,
        price: Decimal,
        at: dt.datetime,
        deliverable: Decimal = STANDARD_DELIVERABLE,
    ) -> None:
        """Change a position without cash; the average entry price is kept as Alpaca keeps it."""
        self.touch()
        self.moves.append(Move(at=at, symbol=symbol, qty=qty))
        position = self.positions.get(symbol)
        if position is None:
            self.holds.move(symbol, ZERO, qty, deliverable)
            self.positions[symbol] = Position(
                symbol=symbol,
                qty=qty,
                avg_entry_price=price,
                opened_on=new_york_date(at),
                deliverable=deliverable,
            )
            return
        after = position.qty + qty
        self.holds.move(symbol, position.qty, after, position.deliverable)
        if after == 0:
            del self.positions[symbol]
        elif position.qty * qty > 0:
            cost = position.qty * position.avg_entry_price + qty * price
            position.avg_entry_price = cost / after
            position.qty = after
        elif after * position.qty > 0:
            position.qty = after
        else:
            position.qty, position.avg_entry_price = after, price
            position.opened_on = new_york_date(at)

    # --- what is held back -----------------------------------------------------------------

    def put_collateral(self) -> Decimal:
        """Cash held for short puts: strike × 100 per contract."""
        return self.holds.collateral

    def reserved(self) -> Decimal:
        """Cash held for working orders: collateral of puts to be sold, cost of what is bought."""
        return self.holds.order_cash

    def reserved_by_others(self, order: Order) -> Decimal:
        return self.holds.order_cash - cash_of(order)

    def buying_power(self) -> Decimal:
        """Cash that is free: less collateral of short puts and what working orders may need."""
        return max(ZERO, self.cash - self.holds.collateral - self.holds.order_cash)

    def shares_free(self, stock: str) -> Decimal:
        """Shares neither held by a sell order nor covering a short call or an order to sell one."""
        return max(ZERO, self.held(stock)) - self.holds.locked(stock)

    def shares_locked(self, stock: str) -> Decimal:
        return self.holds.locked(stock)

    def contracts_free(self, symbol: str) -> Decimal:
        """Contracts, long or short, that no working order is about to close (never negative)."""
        held = self.held(symbol)
        closing = self.holds.selling if held > 0 else self.holds.buying
        return max(ZERO, abs(held) - closing.get(symbol, ZERO))

    def qty_available(self, position: Position) -> Decimal:
        """As Alpaca's field: signed like the position, less what orders and calls hold."""
        if position.option is None:
            return max(ZERO, self.shares_free(position.symbol))
        free = self.contracts_free(position.symbol)
        return free if position.qty > 0 else -free

    @property
    def level(self) -> int:
        """The options level orders are held against: the approved one, or a lower wish."""
        wish = self.configurations.max_options_trading_level
        return self.options_level if wish is None else min(wish, self.options_level)
