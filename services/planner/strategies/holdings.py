"""What one symbol's snapshot says is held and resting, counted once for every strategy.

Positions count whoever opened them. Orders count as opening unless they say `sell_to_close`,
and adjusted contracts count like standard ones: both err on the side of fewer free shares.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.contracts import OrderView, PositionIntent, PositionView, Side, SnapshotTaken
from libs.common.money import ZERO
from libs.common.symbols import (
    SHARES_PER_CONTRACT,
    OptionSymbol,
    Right,
    option_root,
    parse_option_symbol,
)


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (negative when short) and contracts of one underlying."""

    symbol: str
    shares: Decimal = ZERO
    shares_available: Decimal = ZERO
    """What the broker would let us sell: `qty_available`."""
    cost_basis: Decimal | None = None
    """Dollars per share: the position's average entry price."""
    short_calls: int = 0
    short_puts: int = 0
    calls_in_orders: int = 0
    """Contracts in open orders that sell calls to open."""
    puts_in_orders: int = 0
    shares_in_sells: Decimal = ZERO
    """Shares in open orders that sell the stock."""
    shares_promised: int = 0
    """Shares bound by wishes of this very plan."""
    adjusted: tuple[str, ...] = ()
    """Held contracts on adjusted roots; the bot leaves them alone."""

    @property
    def free_shares(self) -> int:
        """Whole shares that neither back a call nor rest in a sell nor are promised already."""
        calls = self.short_calls + self.calls_in_orders
        unbound = self.shares - SHARES_PER_CONTRACT * calls - self.shares_in_sells
        return max(0, int(min(unbound, self.shares_available)) - self.shares_promised)

    @property
    def uncovered_lots(self) -> int:
        return self.free_shares // SHARES_PER_CONTRACT

    def promising(self, shares: int) -> Holdings:
        return msgspec.structs.replace(self, shares_promised=self.shares_promised + shares)


def unreadable(snapshot: SnapshotTaken) -> tuple[str, ...]:
    """The positions and orders whose quantities are no numbers (nothing can be planned then)."""
    positions = (
        f"position {p.symbol}: quantity is not a number"
        for p in snapshot.positions
        if not (p.qty.is_finite() and p.qty_available.is_finite())
    )
    orders = (
        f"order {o.order_id}: quantity is not a number"
        for o in snapshot.open_orders
        if not (o.qty.is_finite() and o.filled_qty.is_finite())
    )
    return (*positions, *orders)


def read_holdings(snapshot: SnapshotTaken) -> Holdings:
    """Count a snapshot whose quantities are all readable (see `unreadable`)."""
    holdings = Holdings(symbol=snapshot.symbol)
    for position in snapshot.positions:
        holdings = _with_position(holdings, position)
    for order in snapshot.open_orders:
        holdings = _with_order(holdings, order)
    return holdings


def _with_position(holdings: Holdings, position: PositionView) -> Holdings:
    if position.symbol == holdings.symbol:
        return msgspec.structs.replace(
            holdings,
            shares=position.qty,
            shares_available=position.qty_available,
            cost_basis=position.avg_entry_price,
        )
    option = _option_on(position.symbol, holdings.symbol)
    if option is None:
        return holdings
    short = max(0, int(-position.qty))
    is_call = option.right is Right.CALL
    return msgspec.structs.replace(
        holdings,
        short_calls=holdings.short_calls + (short if is_call else 0),
        short_puts=holdings.short_puts + (0 if is_call else short),
        adjusted=(*holdings.adjusted, position.symbol) if option.adjusted else holdings.adjusted,
    )


def _with_order(holdings: Holdings, order: OrderView) -> Holdings:
    if order.side is not Side.SELL:
        return holdings
    if order.symbol == holdings.symbol:
        return msgspec.structs.replace(
            holdings, shares_in_sells=holdings.shares_in_sells + order.open_qty
        )
    option = _option_on(order.symbol, holdings.symbol)
    if option is None or order.position_intent == PositionIntent.SELL_TO_CLOSE:
        return holdings
    contracts = int(order.open_qty)
    if option.right is Right.CALL:
        return msgspec.structs.replace(
            holdings, calls_in_orders=holdings.calls_in_orders + contracts
        )
    return msgspec.structs.replace(holdings, puts_in_orders=holdings.puts_in_orders + contracts)


def _option_on(symbol: str, stock: str) -> OptionSymbol | None:
    option = parse_option_symbol(symbol)
    if option is None or option_root(option.underlying) != option_root(stock):
        return None
    return option
