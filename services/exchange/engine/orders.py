"""Orders: what a client asks for, and what the books keep of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right, parse_option_symbol
from services.exchange.engine.order_states import (
    FINAL,
    TRANSITIONS,
    OrderEvent,
    OrderStatus,
    next_status,
)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"


class Intent(StrEnum):
    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


NEEDS_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
NEEDS_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as asked for, well formed but not yet held against market and books."""

    symbol: str
    qty: Decimal
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    client_order_id: str | None = None
    position_intent: Intent | None = None

    @property
    def option(self) -> OptionSymbol | None:
        return parse_option_symbol(self.symbol)


class Order(msgspec.Struct, kw_only=True):
    """An order in the books. Times are UTC, prices dollars per share."""

    number: int  # counts the account's orders; the order of arrival
    id: str
    client_order_id: str
    symbol: str
    qty: Decimal
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    position_intent: Intent
    created_at: dt.datetime
    updated_at: dt.datetime
    expires_at: dt.datetime
    reference_price: Decimal  # the quote it met on arrival; what a market order reserves
    status: OrderStatus = OrderStatus.ACCEPTED
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None  # the best price seen by a trailing stop
    elected: bool = False  # its stop was reached
    filled_qty: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    filled_at: dt.datetime | None = None
    canceled_at: dt.datetime | None = None
    expired_at: dt.datetime | None = None
    failed_at: dt.datetime | None = None

    @property
    def working(self) -> bool:
        return self.status not in FINAL

    @property
    def possible(self) -> frozenset[OrderEvent]:
        """The events that the order's state allows."""
        return frozenset(TRANSITIONS[self.status])

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def option(self) -> OptionSymbol | None:
        return parse_option_symbol(self.symbol)

    @property
    def multiplier(self) -> int:
        return SHARES_PER_CONTRACT if self.option else 1

    @property
    def opens_short_put(self) -> bool:
        option = self.option
        return (
            option is not None
            and option.right is Right.PUT
            and self.position_intent is Intent.SELL_TO_OPEN
        )

    @property
    def opens_short_call(self) -> bool:
        option = self.option
        return (
            option is not None
            and option.right is Right.CALL
            and self.position_intent is Intent.SELL_TO_OPEN
        )

    def apply(self, event: OrderEvent, at: dt.datetime) -> None:
        """Move to the next state; raises IllegalTransitionError and changes nothing else."""
        self.status = next_status(self.status, event)
        self.updated_at = at
        match event:
            case OrderEvent.CANCEL:
                self.canceled_at = at
            case OrderEvent.EXPIRE:
                self.expired_at = at
            case OrderEvent.REJECT:
                self.failed_at = at
            case OrderEvent.FILL:
                self.filled_at = at
            case OrderEvent.OPEN | OrderEvent.FILL_PART:
                pass

    def trailing_stop(self, hwm: Decimal) -> Decimal:
        """The stop that belongs to a high-water mark (low-water for a buy), to the cent.

        stop = hwm − trail_price or hwm × (1 − trail_percent / 100), upwards for a buy [Alpaca].
        """
        distance = self.trail_price
        if distance is None:
            distance = hwm * (self.trail_percent or ZERO) / 100
        stop = hwm - distance if self.side is Side.SELL else hwm + distance
        return max(stop, ZERO).quantize(Decimal("0.0001") if hwm < 1 else Decimal("0.01"))
