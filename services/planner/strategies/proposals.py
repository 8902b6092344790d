"""What a strategy answers with: wishes for orders, what it looked at, and remarks."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.contracts import (
    Candidate,
    OrderType,
    PositionIntent,
    Side,
    TimeInForce,
)
from libs.common.symbols import SHARES_PER_CONTRACT, Right, parse_option_symbol


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One order a strategy wants; planning gives it an id, the tick and the times."""

    strategy: str
    symbol: str
    side: Side
    qty: int
    order_type: OrderType
    time_in_force: TimeInForce
    position_intent: PositionIntent | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_percent: Decimal | None = None
    reason: str = ""
    details: dict[str, str | int | float | None] = {}
    replaces: str | None = None
    """The client_order_id of the working order whose place it takes."""

    @property
    def shares_bound(self) -> int:
        """Shares of the underlying this order would sell or lock behind a short call, beyond those
        that the order whose place it takes binds already.
        """
        if self.side is not Side.SELL or self.replaces is not None:
            return 0
        option = parse_option_symbol(self.symbol)
        if option is None:
            return self.qty
        opens = self.position_intent is not PositionIntent.SELL_TO_CLOSE
        return self.qty * SHARES_PER_CONTRACT if option.right is Right.CALL and opens else 0


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    wishes: tuple[Wish, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    candidates_left_out: int = 0
    notes: tuple[str, ...] = ()
