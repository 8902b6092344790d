"""Turns of the wheel, folded from fills and option events. Pure.

A cycle of an underlying begins with the first option sold while none is open, and ends when no
option of it is open and every share it was assigned has gone again. Premium is what options
brought less what closing them cost; shares assigned and called away are counted at their strikes,
so that `premium + called_away_proceeds - assigned_cost` is a finished cycle's profit when it
began with a put. Shares that were there before belong to no cycle: calls written on them are.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.contracts import LedgerEvent, Side
from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right


class Phase(StrEnum):
    SHORT_PUT = "short_put"
    HOLDING = "holding"
    SHORT_CALL = "short_call"
    CLOSED = "closed"


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts and shares as counts, money in dollars; `id` None until the books gave one."""

    underlying: str
    opened_at: dt.datetime
    id: int | None = None
    closed_at: dt.datetime | None = None
    puts_sold: Decimal = ZERO
    calls_sold: Decimal = ZERO
    open_puts: Decimal = ZERO
    open_calls: Decimal = ZERO
    premium: Decimal = ZERO
    assigned_shares: Decimal = ZERO
    assigned_cost: Decimal = ZERO
    called_away_shares: Decimal = ZERO
    called_away_proceeds: Decimal = ZERO

    @property
    def shares(self) -> Decimal:
        """What is left of the shares it was assigned."""
        return max(self.assigned_shares - self.called_away_shares, ZERO)

    @property
    def phase(self) -> Phase:
        if self.open_calls > 0:
            return Phase.SHORT_CALL
        if self.shares > 0:
            return Phase.HOLDING
        return Phase.SHORT_PUT if self.open_puts > 0 else Phase.CLOSED


def after_fill(
    cycle: Cycle | None,
    option: OptionSymbol,
    side: Side,
    qty: Decimal,
    price: Decimal,
    at: dt.datetime,
) -> Cycle | None:
    """The cycle after an option's fill; `price` in dollars per share. Buying without a cycle open
    begins none.
    """  # fmt: skip
    if cycle is None:
        if side is Side.BUY:
            return None
        cycle = Cycle(underlying=option.underlying, opened_at=at)
    sold = side is Side.SELL
    premium = cycle.premium + (1 if sold else -1) * qty * price * SHARES_PER_CONTRACT
    change = qty if sold else -qty
    if option.right is Right.PUT:
        cycle = msgspec.structs.replace(
            cycle,
            premium=premium,
            puts_sold=cycle.puts_sold + (qty if sold else ZERO),
            open_puts=max(cycle.open_puts + change, ZERO),
        )
    else:
        cycle = msgspec.structs.replace(
            cycle,
            premium=premium,
            calls_sold=cycle.calls_sold + (qty if sold else ZERO),
            open_calls=max(cycle.open_calls + change, ZERO),
        )
    return _closed_if_done(cycle, at)


def after_stock_sale(cycle: Cycle, qty: Decimal, price: Decimal, at: dt.datetime) -> Cycle:
    """Shares sold by an order (a trailing stop): assigned ones are gone like those called away."""
    gone = min(qty, cycle.shares)
    return _closed_if_done(
        msgspec.structs.replace(
            cycle,
            called_away_shares=cycle.called_away_shares + gone,
            called_away_proceeds=cycle.called_away_proceeds + gone * price,
        ),
        at,
    )


def after_event(
    cycle: Cycle, option: OptionSymbol, event: LedgerEvent, qty: Decimal, at: dt.datetime
) -> Cycle:
    """The cycle after a short option ended; `qty` in contracts, of either sign."""
    contracts = abs(qty)
    shares = contracts * SHARES_PER_CONTRACT
    match event, option.right:
        case LedgerEvent.ASSIGNED, Right.PUT:
            cycle = msgspec.structs.replace(
                cycle,
                open_puts=max(cycle.open_puts - contracts, ZERO),
                assigned_shares=cycle.assigned_shares + shares,
                assigned_cost=cycle.assigned_cost + shares * option.strike,
            )
        case LedgerEvent.CALLED_AWAY, Right.CALL:
            gone = min(shares, cycle.shares)
            cycle = msgspec.structs.replace(
                cycle,
                open_calls=max(cycle.open_calls - contracts, ZERO),
                called_away_shares=cycle.called_away_shares + gone,
                called_away_proceeds=cycle.called_away_proceeds + gone * option.strike,
            )
        case LedgerEvent.EXPIRED, Right.PUT:
            cycle = msgspec.structs.replace(cycle, open_puts=max(cycle.open_puts - contracts, ZERO))
        case LedgerEvent.EXPIRED, Right.CALL:
            cycle = msgspec.structs.replace(
                cycle, open_calls=max(cycle.open_calls - contracts, ZERO)
            )
        case _:
            return cycle
    return _closed_if_done(cycle, at)


def _closed_if_done(cycle: Cycle, at: dt.datetime) -> Cycle:
    if cycle.phase is not Phase.CLOSED:
        return cycle
    return msgspec.structs.replace(cycle, closed_at=at)
