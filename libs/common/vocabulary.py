"""The words and parts messages are made of: enumerations, and Structs that are no message."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from libs.common.symbols import Right

Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A time that names its zone: one that does not cannot be compared with any other."""


class AssetClass(StrEnum):
    STOCK = "us_equity"
    OPTION = "us_option"


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


class PositionIntent(StrEnum):
    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


class Strategy(StrEnum):
    """The strategy names an intent may carry; anything else risk blocks as unknown."""

    CASH_SECURED_PUT = "wheel:cash_secured_put"
    COVERED_CALL = "wheel:covered_call"
    TRAILING_STOP = "trailing_stop"
    GUEST_PUT = "guest:cash_secured_put"
    """A planner that is not ours sells puts; the only strategy its account may name."""
    FLATTEN = "flatten"
    """An operator closes what is held; `alpaclaudia flatten` wishes for it."""


class TradingState(StrEnum):
    """What may leave: everything risk approves, only what lowers risk, or nothing."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class TradingVerb(StrEnum):
    """What moves the trading state: an operator's command, or a trip of risk's own."""

    BEGIN = "begin"
    HALT = "halt"
    REDUCE = "reduce"
    RESUME = "resume"
    FLATTEN = "flatten"
    TRIP_REDUCE = "trip_reduce"
    TRIP_HALT = "trip_halt"


class BotMode(StrEnum):
    DRY = "dry"
    LIVE = "live"


class AlpacaEnv(StrEnum):
    PAPER = "paper"
    LIVE = "live"
    SIM = "sim"


class LedgerEvent(StrEnum):
    ASSIGNED = "assigned"
    EXERCISED = "exercised"
    EXPIRED = "expired"
    CALLED_AWAY = "called_away"
    DIVIDEND = "dividend"
    OTHER = "other"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AccountFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    account_number: str
    status: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    options_buying_power: Decimal | None = None
    options_level: int = 0
    trading_blocked: bool = False
    account_blocked: bool = False

    @property
    def can_trade(self) -> bool:
        return self.status == "ACTIVE" and not (self.trading_blocked or self.account_blocked)


class PositionView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One position as the broker shows it; `qty` is negative when short."""

    symbol: str
    asset_class: AssetClass
    qty: Decimal
    qty_available: Decimal
    avg_entry_price: Decimal
    market_value: Decimal | None = None
    cost_basis: Decimal | None = None
    current_price: float | None = None
    unrealized_pl: Decimal | None = None


class OrderView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order as the broker shows it; `status` is the broker's own word."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: str
    qty: Decimal
    filled_qty: Decimal
    status: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_percent: Decimal | None = None
    filled_avg_price: Decimal | None = None
    position_intent: str | None = None
    submitted_at: Moment | None = None
    filled_at: Moment | None = None

    @property
    def open_qty(self) -> Decimal:
        return self.qty - self.filled_qty


class StockQuote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Dollars per share; a side that is missing or zero is None."""

    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    previous_close: float | None = None
    as_of: Moment | None = None

    @property
    def spot(self) -> float | None:
        """The last trade, else the middle of the quote, else the previous close."""
        if self.last is not None:
            return self.last
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) / 2
        return self.previous_close


class ContractQuote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One option contract: quote in dollars per share; greeks per share; what is absent is None."""

    symbol: str
    right: Right
    strike: Decimal
    expiration: dt.date
    bid: float | None = None
    ask: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    implied_volatility: float | None = None
    open_interest: int | None = None
    penny: bool = True


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing a strategy looked at, and why it was taken or left."""

    symbol: str
    taken: bool
    reason: str
    limit_price: Decimal | None = None
    delta: float | None = None
    annual_yield: float | None = None


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    gate: str
    ok: bool
    reason: str
