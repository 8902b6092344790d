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
    OPG = "opg"  # at the opening price only
    CLS = "cls"  # at the closing price only
    IOC = "ioc"  # at once, what is left is cancelled
    FOK = "fok"  # at once and whole, or cancelled


class OrderClass(StrEnum):
    SIMPLE = "simple"
    BRACKET = (
        "bracket"  # an entry, then a take-profit and a stop-loss of which one cancels the other
    )
    OTO = "oto"  # an entry, then one of them
    OCO = "oco"  # the two exits alone


class Intent(StrEnum):
    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


NEEDS_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
NEEDS_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
OPPOSITE = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class Exits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The exits of an advanced order class: prices in dollars a share, None when not asked for."""

    take_profit: Decimal | None = None
    stop: Decimal | None = None
    stop_limit: Decimal | None = None


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as asked for, well formed but not yet held against market and books.

    `qty` is zero when `notional` (dollars) is given instead.
    """

    symbol: str
    qty: Decimal
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    client_order_id: str | None = None
    position_intent: Intent | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    exits: Exits = Exits()

    @property
    def option(self) -> OptionSymbol | None:
        return parse_option_symbol(self.symbol)


class Replacement(msgspec.Struct, frozen=True, kw_only=True):
    """What a replacing order has that the replaced one had not; None leaves a term as it was."""

    qty: Decimal | None = None
    time_in_force: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class Order(msgspec.Struct, kw_only=True, gc=False):
    """An order in the books. Times are UTC, prices dollars per share."""

    number: int  # counts the account's orders; the order of arrival
    id: str
    client_order_id: str
    symbol: str
    qty: Decimal  # zero until a notional order fills
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    position_intent: Intent
    created_at: dt.datetime
    updated_at: dt.datetime
    expires_at: dt.datetime
    reference_price: Decimal  # the quote it met on arrival; what a market order reserves
    status: OrderStatus = OrderStatus.ACCEPTED
    notional: Decimal | None = None
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
    replaced_at: dt.datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    # of advanced classes only
    order_class: OrderClass = OrderClass.SIMPLE
    group_id: str | None = None
    parent: str | None = None  # the entry order of a leg
    legs: list[str] = []
    twin: str | None = None  # the order that is cancelled when this one fills
    shares_with_twin: bool = False  # what it would sell is already held by its twin

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

    def opens_short(self, right: Right) -> bool:
        option = self.option
        return (
            option is not None
            and self.position_intent is Intent.SELL_TO_OPEN
            and option.right is right
        )

    def apply(self, event: OrderEvent, at: dt.datetime) -> None:
        """Move to the next state; raises IllegalTransitionError and changes nothing else."""
        self.status = next_status(self.status, event)
        self.updated_at = at
        match self.status:  # not the event: a rejection of what remains ends as cancelled
            case OrderStatus.CANCELED:
                self.canceled_at = at
            case OrderStatus.EXPIRED:
                self.expired_at = at
            case OrderStatus.REJECTED:
                self.failed_at = at
            case OrderStatus.FILLED:
                self.filled_at = at
            case OrderStatus.REPLACED:
                self.replaced_at = at
            case _:
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
