"""The account's books: cash, positions, orders, activities. All of it survives a restart.

Money is Decimal. Cash and shares move in `trade` and nowhere else, so they are conserved.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import (
    SHARES_PER_CONTRACT,
    OptionSymbol,
    Right,
    parse_option_symbol,
    underlying_of,
)
from services.exchange.engine.order_states import OrderEvent
from services.exchange.engine.orders import Intent, Order, Side

_NAMESPACE = uuid.UUID("6f1b8a52-8d4e-5a57-9f0e-0d1f6c1f3a11")


class Position(msgspec.Struct, kw_only=True):
    """A holding; `qty` is negative when short, in shares or contracts."""

    symbol: str
    qty: Decimal
    avg_entry_price: Decimal
    opened_on: dt.date

    @property
    def option(self) -> OptionSymbol | None:
        return parse_option_symbol(self.symbol)

    @property
    def multiplier(self) -> int:
        return SHARES_PER_CONTRACT if self.option else 1

    @property
    def is_short_put(self) -> bool:
        option = self.option
        return self.qty < 0 and option is not None and option.right is Right.PUT

    @property
    def is_short_call(self) -> bool:
        option = self.option
        return self.qty < 0 and option is not None and option.right is Right.CALL


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the account's activities. `known_at` is when clients may see it (UTC)."""

    id: str
    activity_type: str
    date: dt.date
    known_at: dt.datetime
    symbol: str
    qty: Decimal
    price: Decimal | None = None
    net_amount: Decimal | None = None
    # of fills only
    side: Side | None = None
    order_id: str | None = None
    cum_qty: Decimal | None = None
    leaves_qty: Decimal | None = None


class Books(msgspec.Struct, kw_only=True):
    account_id: str
    seed: int
    created_at: dt.datetime
    cash: Decimal
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
    ids_drawn: int = 0
    revision: int = 0  # grows with every change; tells the shell to save

    def touch(self) -> None:
        self.revision += 1

    def new_id(self, kind: str) -> str:
        """The next identifier: a pure function of the seed and how many were drawn before."""
        self.ids_drawn += 1
        return str(uuid.uuid5(_NAMESPACE, f"{self.seed}:{kind}:{self.ids_drawn}"))

    def add(self, order: Order) -> None:
        self.touch()
        self.open_orders[order.id] = order
        self.client_ids[order.client_order_id] = order.id

    def order(self, order_id: str) -> Order | None:
        return self.open_orders.get(order_id) or self.final_orders.get(order_id)

    def apply(self, order: Order, event: OrderEvent, at: dt.datetime) -> None:
        """Move an order along its table; a final one leaves the open orders."""
        order.apply(event, at)
        self.touch()
        if not order.working:
            self.final_orders[order.id] = self.open_orders.pop(order.id)

    def open_on(self, symbol: str) -> list[Order]:
        return [order for order in self.open_orders.values() if order.symbol == symbol]

    def positions_on(self) -> list[str]:
        """The stocks that positions are in or on."""
        return [underlying_of(symbol) for symbol in self.positions]

    def held(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return position.qty if position else ZERO

    def trade(self, symbol: str, qty: Decimal, price: Decimal, on: dt.date) -> None:
        """Book `qty` (negative: sold) at `price` dollars a share against cash."""
        multiplier = SHARES_PER_CONTRACT if parse_option_symbol(symbol) else 1
        self.cash -= qty * price * multiplier
        self.move(symbol, qty, price, on)

    def move(self, symbol: str, qty: Decimal, price: Decimal, on: dt.date) -> None:
        """Change a position without cash; the average entry price is kept as Alpaca keeps it."""
        self.touch()
        position = self.positions.get(symbol)
        if position is None:
            self.positions[symbol] = Position(
                symbol=symbol, qty=qty, avg_entry_price=price, opened_on=on
            )
            return
        after = position.qty + qty
        if after == 0:
            del self.positions[symbol]
        elif position.qty * qty > 0:
            cost = position.qty * position.avg_entry_price + qty * price
            position.avg_entry_price = cost / after
            position.qty = after
        elif after * position.qty > 0:
            position.qty = after
        else:
            position.qty, position.avg_entry_price, position.opened_on = after, price, on

    # --- what is held back -----------------------------------------------------------------

    def put_collateral(self) -> Decimal:
        """Cash held for short puts: strike × 100 per contract."""
        return sum(
            (_collateral(p.option, -p.qty) for p in self.positions.values() if p.is_short_put), ZERO
        )

    def reserved(self) -> Decimal:
        """Cash held for working orders: collateral of puts to be sold, cost of what is bought."""
        return sum(map(self.reservation, self.open_orders.values()), ZERO)

    def reservation(self, order: Order) -> Decimal:
        if order.opens_short_put:
            return _collateral(order.option, order.remaining)
        if order.side is Side.SELL:
            return ZERO
        price = order.limit_price or order.stop_price or order.reference_price
        cost = price * order.remaining * order.multiplier
        option = order.option
        closes_put = option is not None and option.right is Right.PUT
        if closes_put and order.position_intent is Intent.BUY_TO_CLOSE:
            return max(ZERO, cost - _collateral(option, order.remaining))
        return cost

    def buying_power(self) -> Decimal:
        """Cash that is free: less collateral of short puts and what working orders may need."""
        return max(ZERO, self.cash - self.put_collateral() - self.reserved())

    def shares_free(self, stock: str) -> Decimal:
        """Shares neither held by a sell order nor covering a short call or an order to sell one."""
        return max(ZERO, self.held(stock)) - self.shares_locked(stock)

    def shares_locked(self, stock: str) -> Decimal:
        in_orders = ZERO
        for order in self.open_orders.values():
            if order.symbol == stock and order.side is Side.SELL:
                in_orders += order.remaining
            elif order.opens_short_call and _is_on(order.option, stock):
                in_orders += order.remaining * SHARES_PER_CONTRACT
        covering = sum(
            (
                -p.qty * SHARES_PER_CONTRACT
                for p in self.positions.values()
                if p.is_short_call and _is_on(p.option, stock)
            ),
            ZERO,
        )
        return in_orders + covering

    def contracts_free(self, symbol: str) -> Decimal:
        """Contracts, long or short, that no working order is about to close (never negative)."""
        held = self.held(symbol)
        closing = Side.SELL if held > 0 else Side.BUY
        in_orders = sum((o.remaining for o in self.open_on(symbol) if o.side is closing), ZERO)
        return max(ZERO, abs(held) - in_orders)

    def qty_available(self, position: Position) -> Decimal:
        """As Alpaca's field: signed like the position, less what orders and calls hold."""
        if position.option is None:
            return max(ZERO, self.shares_free(position.symbol))
        free = self.contracts_free(position.symbol)
        return free if position.qty > 0 else -free


def _collateral(option: OptionSymbol | None, contracts: Decimal) -> Decimal:
    return option.strike * SHARES_PER_CONTRACT * contracts if option else ZERO


def _is_on(option: OptionSymbol | None, stock: str) -> bool:
    return option is not None and option.root == stock
