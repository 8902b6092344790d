"""A little broker to test risk against: it holds the truth, and tells it late and in pieces.

A pass over the account reads orders, then positions, then figures, with anything happening in
between, as market's does over HTTP.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.contracts import (
    IntentApproved,
    OrderChanged,
    OrderIntended,
    OrderView,
    PortfolioObserved,
    PositionView,
)
from libs.common.order_ids import client_order_id
from libs.common.symbols import Right, parse_option_symbol
from tests.unit.risk.books import ACCOUNT, held, portfolio, resting, told

STOCK_PRICE = 10  # every stock, always: strikes are at or above it


class Working(msgspec.Struct):
    """An order at the broker."""

    intent: OrderIntended
    filled: int = 0

    @property
    def open_qty(self) -> int:
        return self.intent.qty - self.filled


class Pass(msgspec.Struct):
    """A pass under way: what was read so far."""

    as_of: float
    orders: tuple[OrderView, ...]
    positions: list[PositionView] | None = None


class ModelBroker:
    def __init__(self, cash: int, equity: int, shares: dict[str, int]) -> None:
        self.now = 0
        self.cash = Decimal(cash)
        self.equity = Decimal(equity)
        self.shares = dict(shares)
        self.short: dict[str, int] = {}
        self.orders: list[Working] = []
        self.approved: list[IntentApproved] = []
        """Approved, on their way: nobody knows yet whether they will arrive."""

    # --- what happens, each with the executor's news of it ---

    def receive(self, approval: IntentApproved) -> list[OrderChanged]:
        """One that takes another's place is refused when that one has ended; otherwise it has what
        that one had not filled.
        """
        self.approved.remove(approval)
        intent = approval.intent
        if intent.replaces is None:
            self.orders.append(Working(intent=intent))
            return [self._news(intent, "accepted", final=False)]
        old = self._target_of(intent)
        if old is None:
            return [self._news(intent, "rejected")]
        self.orders.remove(old)
        self.orders.append(Working(intent=intent, filled=old.filled))
        replaced = self._news(old.intent, "replaced", filled=old.filled)
        return [self._news(intent, "accepted", final=False), replaced]

    def _target_of(self, intent: OrderIntended) -> Working | None:
        return next(
            (
                order
                for order in self.orders
                if client_order_id(ACCOUNT, order.intent.message_id) == intent.replaces
            ),
            None,
        )

    def refuse(self, approval: IntentApproved, status: str) -> OrderChanged:
        self.approved.remove(approval)
        return self._news(approval.intent, status)

    def fill(self, order: Working, qty: int) -> OrderChanged:
        order.filled += qty
        option = parse_option_symbol(order.intent.symbol)
        if option is None:
            self.shares[order.intent.symbol] -= qty
            self.cash += qty * STOCK_PRICE
        else:
            self.short[order.intent.symbol] = self.short.get(order.intent.symbol, 0) + qty
            self.cash += qty
        if order.open_qty:
            return self._news(order.intent, "partially_filled", final=False, filled=order.filled)
        self.orders.remove(order)
        return self._news(order.intent, "filled", filled=order.filled)

    def cancel(self, order: Working) -> OrderChanged:
        self.orders.remove(order)
        return self._news(order.intent, "canceled", filled=order.filled)

    def assign(self, symbol: str) -> None:
        option = parse_option_symbol(symbol)
        assert option is not None
        sign = 1 if option.right is Right.PUT else -1
        self.short[symbol] -= 1
        self.shares[option.root] += 100 * sign
        self.cash -= option.strike * 100 * sign

    # --- what market reads ---

    def begin_pass(self) -> Pass:
        orders = tuple(
            resting(order.intent, filled_qty=Decimal(order.filled)) for order in self.orders
        )
        return Pass(as_of=self.now, orders=orders)

    def read_positions(self, reading: Pass) -> None:
        stocks = [
            held(
                name,
                qty,
                entry="10",
                qty_available=Decimal(qty - self.shares_bound(name, approved=False)),
                market_value=Decimal(qty * STOCK_PRICE),
            )
            for name, qty in self.shares.items()
            if qty
        ]
        options = [held(symbol, -qty, entry="1") for symbol, qty in self.short.items() if qty]
        reading.positions = stocks + options

    def end_pass(self, reading: Pass, *, tells_buying_power: bool) -> PortfolioObserved:
        power = self.cash - self.put_collateral(approved=False) if tells_buying_power else None
        return portfolio(
            *(reading.positions or []),
            orders=reading.orders,
            as_of=reading.as_of,
            equity=self.equity,
            cash=self.cash,
            options_buying_power=power,
        )

    # --- the truth ---

    def sold(self, *, approved: bool) -> list[tuple[str, int]]:
        """Every symbol and quantity sold and not settled: held, resting and (if asked) approved."""
        orders = [(order.intent.symbol, order.open_qty) for order in self.orders]
        coming = [
            (a.intent.symbol, a.intent.qty)
            for a in self.approved
            if approved and a.intent.replaces is None
        ]  # what takes another's place adds nothing to that other
        return [*self.short.items(), *orders, *coming]

    def put_collateral(self, name: str | None = None, *, approved: bool) -> Decimal:
        total = Decimal(0)
        for symbol, qty in self.sold(approved=approved):
            option = parse_option_symbol(symbol)
            if option and option.right is Right.PUT and name in (None, option.root):
                total += option.strike * 100 * qty
        return total

    def puts(self) -> int:
        parts = [(parse_option_symbol(symbol), qty) for symbol, qty in self.sold(approved=True)]
        return sum(qty for option, qty in parts if option and option.right is Right.PUT)

    def shares_bound(self, name: str, *, approved: bool) -> int:
        total = 0
        for symbol, qty in self.sold(approved=approved):
            option = parse_option_symbol(symbol)
            if symbol == name:
                total += qty
            elif option and option.right is Right.CALL and option.root == name:
                total += 100 * qty
        return total

    def _news(
        self, intent: OrderIntended, status: str, *, final: bool = True, filled: int = 0
    ) -> OrderChanged:
        changed = told(intent, status, final=final, filled=filled, changed=self.now)
        return msgspec.structs.replace(changed, message_id=f"{intent.message_id}-{status}-{filled}")
