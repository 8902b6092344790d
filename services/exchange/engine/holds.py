"""What open orders and short options hold back: cash, shares, contracts.

Kept as running sums, because an order is checked against them and there may be thousands of
orders; `of` computes the same from nothing, and a property test holds the two together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, Right, parse_option_symbol
from services.exchange.engine.order_states import OrderStatus
from services.exchange.engine.orders import NEEDS_STOP, Intent, Order, Side
from services.exchange.engine.positions import SHARE_STEP, Position


class Holds:
    """Dollars, shares by stock, contracts by symbol; and the open orders by symbol and side."""

    def __init__(self) -> None:
        self.order_cash = ZERO
        self.collateral = ZERO
        self.shares: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.covering: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.selling: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.buying: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.orders: defaultdict[tuple[str, Side], dict[str, Order]] = defaultdict(dict)

    @classmethod
    def of(cls, orders: Iterable[Order], positions: Iterable[Position]) -> Holds:
        holds = cls()
        for order in orders:
            holds.add(order)
        for position in positions:
            holds.move(position.symbol, ZERO, position.qty, position.deliverable)
        return holds

    def add(self, order: Order) -> None:
        self.orders[order.symbol, order.side][order.id] = order
        self._count(order, 1)

    def remove(self, order: Order) -> None:
        """To be called before the order changes, with what it was when it was added."""
        del self.orders[order.symbol, order.side][order.id]
        self._count(order, -1)

    def _count(self, order: Order, sign: int) -> None:
        if order.status is OrderStatus.HELD:
            return  # a leg holds nothing before its entry is filled
        self.order_cash += sign * cash_of(order)
        if order.shares_with_twin:
            return
        qty = sign * outstanding(order)
        if order.side is Side.BUY:
            self.buying[order.symbol] += qty
            return
        self.selling[order.symbol] += qty
        if order.option is None:
            self.shares[order.symbol] += qty
        elif order.opens_short(Right.CALL):
            self.shares[order.option.underlying] += qty * SHARES_PER_CONTRACT

    def move(self, symbol: str, before: Decimal, after: Decimal, deliverable: Decimal) -> None:
        """A position went from one quantity to another (negative: short).

        `deliverable` is shares per contract; it tells how many cover a short call.
        """
        option = parse_option_symbol(symbol)
        if option is None or (before >= 0 and after >= 0):
            return
        contracts = max(-after, ZERO) - max(-before, ZERO)
        if option.right is Right.PUT:
            self.collateral += option.strike * SHARES_PER_CONTRACT * contracts
        else:
            self.covering[option.underlying] += contracts * deliverable

    def locked(self, stock: str) -> Decimal:
        """Shares in orders to sell them or calls on them, and covering short calls."""
        return self.shares.get(stock, ZERO) + self.covering.get(stock, ZERO)


def outstanding(order: Order) -> Decimal:
    """What the order may still trade; of a notional order what it comes to at its quote."""
    if order.notional is not None and order.qty == 0:
        return (order.notional / order.reference_price).quantize(SHARE_STEP, ROUND_FLOOR)
    return order.remaining


def cash_of(order: Order) -> Decimal:
    """Collateral of a put to be sold, or the cost of what is bought, in dollars."""
    if order.side is Side.SELL:
        if order.opens_short(Right.PUT) and order.option is not None:
            return order.option.strike * SHARES_PER_CONTRACT * order.remaining
        return ZERO
    if order.notional is not None:
        return order.notional
    # The stop of a trailing order moves; what it holds must not.
    stop = order.stop_price if order.type in NEEDS_STOP else None
    price = order.limit_price or stop or order.reference_price
    cost = price * order.remaining * order.multiplier
    option = order.option
    if (
        option is not None
        and option.right is Right.PUT
        and order.position_intent is Intent.BUY_TO_CLOSE
    ):
        return max(ZERO, cost - option.strike * SHARES_PER_CONTRACT * order.remaining)
    return cost
