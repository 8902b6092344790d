"""Alpaca's JSON as Structs, and from them the views our messages carry.

Decoding is by msgspec from the bytes of the answer: alpaca-py's own models fail a whole chain on
one partial greek and an order list on one unknown word. Here what is missing is None and what is
new is ignored. Money arrives as strings; so does a number now and then.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import msgspec

from libs.common.contracts import (
    AccountFigures,
    AssetClass,
    ContractQuote,
    OrderView,
    PositionView,
    Side,
    StockQuote,
)
from libs.common.symbols import parse_option_symbol
from libs.common.vocabulary import Moment


class WireError(ValueError):
    """An answer of the broker that is not what its documents promise."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Marker for answers; unknown fields are ignored, as msgspec does by default."""


class WireClock(_Wire, frozen=True, kw_only=True):
    timestamp: Moment
    is_open: bool
    next_open: Moment
    next_close: Moment


class WireCalendarDay(_Wire, frozen=True, kw_only=True):
    date: dt.date
    open: str
    close: str


class WireAccount(_Wire, frozen=True, kw_only=True):
    account_number: str
    status: str
    equity: Decimal | None = None
    last_equity: Decimal | None = None
    cash: Decimal | None = None
    buying_power: Decimal | None = None
    options_buying_power: Decimal | None = None
    options_approved_level: int | None = None
    options_trading_level: int | None = None
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False


class WirePosition(_Wire, frozen=True, kw_only=True):
    symbol: str
    asset_class: str
    qty: Decimal
    qty_available: Decimal | None = None
    avg_entry_price: Decimal
    market_value: Decimal | None = None
    cost_basis: Decimal | None = None
    current_price: Decimal | None = None
    unrealized_pl: Decimal | None = None


class WireOrder(_Wire, frozen=True, kw_only=True):
    id: str
    client_order_id: str
    symbol: str | None = None
    side: str | None = None
    type: str | None = None
    status: str
    qty: Decimal | None = None
    filled_qty: Decimal | None = None
    filled_avg_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_percent: Decimal | None = None
    position_intent: str | None = None
    submitted_at: Moment | None = None
    updated_at: Moment | None = None
    filled_at: Moment | None = None
    canceled_at: Moment | None = None
    expired_at: Moment | None = None
    failed_at: Moment | None = None
    replaced_at: Moment | None = None
    replaced_by: str | None = None
    """The broker's id of the order that took its place."""
    replaces: str | None = None

    @property
    def changed_at(self) -> dt.datetime | None:
        """The broker's time of the last thing that happened to it."""
        return (
            self.replaced_at
            or self.filled_at
            or self.canceled_at
            or self.expired_at
            or self.failed_at
            or self.updated_at
            or self.submitted_at
        )


class WireActivity(_Wire, frozen=True, kw_only=True):
    id: str
    activity_type: str
    date: dt.date | None = None
    transaction_time: Moment | None = None
    symbol: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    per_share_amount: Decimal | None = None
    net_amount: Decimal | None = None


class WireTrade(_Wire, frozen=True, kw_only=True):
    p: float | None = None
    t: Moment | None = None


# The parts of a chain come by the thousand. Their fields stand in the order the broker sends them,
# where msgspec looks first, and none can be part of a cycle for the collector to find.


class WireQuote(_Wire, frozen=True, kw_only=True, gc=False):
    ap: float | None = None
    bp: float | None = None
    t: Moment | None = None


class WireBar(_Wire, frozen=True, kw_only=True):
    c: float | None = None


class WireStockSnapshot(_Wire, frozen=True, kw_only=True, rename="camel"):
    latest_trade: WireTrade | None = None
    latest_quote: WireQuote | None = None
    prev_daily_bar: WireBar | None = None


class WireGreeks(_Wire, frozen=True, kw_only=True, gc=False):
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None


class WireOptionQuote(_Wire, frozen=True, kw_only=True, gc=False):
    ap: float | None = None
    bp: float | None = None


class WireOptionSnapshot(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    greeks: WireGreeks | None = None
    implied_volatility: float | None = None
    latest_quote: WireOptionQuote | None = None


class WireChainPage(_Wire, frozen=True, kw_only=True):
    snapshots: dict[str, WireOptionSnapshot] | None = None
    next_page_token: str | None = None


class WireRawChainPage(_Wire, frozen=True, kw_only=True):
    """The same page with each contract's JSON as it came."""

    snapshots: dict[str, msgspec.Raw] | None = None
    next_page_token: str | None = None


class WireContract(_Wire, frozen=True, kw_only=True):
    symbol: str
    underlying_symbol: str | None = None
    open_interest: int | None = None
    tradable: bool = True
    ppind: bool | None = None


class WireContractsPage(_Wire, frozen=True, kw_only=True):
    option_contracts: list[WireContract] | None = None
    next_page_token: str | None = None


_NO_QUOTE, _NO_GREEKS = WireQuote(), WireGreeks()
_INFINITY = math.inf


def decode(payload: bytes, type_: type[msgspec.Struct] | object, what: str) -> object:
    """`payload` as `type_`. Raises WireError, naming `what`, for anything else."""
    try:
        return msgspec.json.decode(payload, type=type_, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the broker's {what} does not decode: {error}") from error


def account_figures(wire: WireAccount) -> AccountFigures:
    """Raises WireError when a figure that decisions rest on is missing or not a number."""
    equity = _required(wire.equity, "equity")
    level = wire.options_trading_level
    return AccountFigures(
        account_number=wire.account_number,
        status=wire.status,
        equity=equity,
        last_equity=_finite(wire.last_equity) or equity,
        cash=_required(wire.cash, "cash"),
        buying_power=_required(wire.buying_power, "buying_power"),
        options_buying_power=_finite(wire.options_buying_power),
        options_level=(level if level is not None else wire.options_approved_level) or 0,
        trading_blocked=wire.trading_blocked or wire.trade_suspended_by_user,
        account_blocked=wire.account_blocked,
    )


def _required(value: Decimal | None, name: str) -> Decimal:
    if value is None or not value.is_finite():
        raise WireError(f"the broker's account has no {name}")
    return value


def position_view(wire: WirePosition) -> PositionView:
    """Raises WireError for an asset class that is neither stock nor option. A quantity or basis
    that is no number stays in: planner and risk stop at what they cannot count, and would count
    wrongly what they cannot see.
    """
    try:
        asset_class = AssetClass(wire.asset_class)
    except ValueError:
        raise WireError(f"the position in {wire.symbol} is of class {wire.asset_class}") from None
    price = _finite(wire.current_price)
    available = wire.qty_available
    return PositionView(
        symbol=wire.symbol,
        asset_class=asset_class,
        qty=wire.qty,
        qty_available=available if available is not None and available.is_finite() else wire.qty,
        avg_entry_price=wire.avg_entry_price,
        market_value=_finite(wire.market_value),
        cost_basis=_finite(wire.cost_basis),
        current_price=None if price is None else float(price),
        unrealized_pl=_finite(wire.unrealized_pl),
    )


def counted(order: WireOrder) -> WireOrder:
    """The order itself. Raises WireError when a figure our books would take over is no number."""
    for name in ("qty", "filled_qty", "filled_avg_price"):
        value: Decimal | None = getattr(order, name)
        if value is not None and not value.is_finite():
            raise WireError(f"the broker's order {order.id} has {value} for its {name}")
    return order


def order_view(wire: WireOrder) -> OrderView:
    """Raises WireError for an order without symbol, side or quantity (multi-leg and notional
    orders are such; this bot never sends them and cannot count them).
    """
    if wire.symbol is None or wire.side is None or wire.qty is None:
        raise WireError(f"the order {wire.id} has no symbol, side or quantity")
    try:
        side = Side(wire.side)
    except ValueError:
        raise WireError(f"the order {wire.id} has the side {wire.side}") from None
    return OrderView(
        order_id=wire.id,
        client_order_id=wire.client_order_id,
        symbol=wire.symbol,
        side=side,
        order_type=wire.type or "",
        qty=wire.qty,
        filled_qty=wire.filled_qty or Decimal(0),
        status=wire.status,
        limit_price=wire.limit_price,
        stop_price=wire.stop_price,
        trail_percent=wire.trail_percent,
        filled_avg_price=wire.filled_avg_price,
        position_intent=wire.position_intent,
        submitted_at=wire.submitted_at,
        filled_at=wire.filled_at,
    )


def stock_quote(wire: WireStockSnapshot) -> StockQuote:
    quote, trade, previous = wire.latest_quote, wire.latest_trade, wire.prev_daily_bar
    return StockQuote(
        bid=_price(quote.bp) if quote else None,
        ask=_price(quote.ap) if quote else None,
        last=_price(trade.p) if trade else None,
        previous_close=_price(previous.c) if previous else None,
        as_of=(quote.t if quote else None) or (trade.t if trade else None),
    )


def contract_quote(
    symbol: str,
    wire: WireOptionSnapshot,
    *,
    open_interest: int | None = None,
    penny: bool = True,
) -> ContractQuote | None:
    """None when the symbol is no option symbol."""
    option = parse_option_symbol(symbol)
    if option is None:
        return None
    quote, greeks = wire.latest_quote or _NO_QUOTE, wire.greeks or _NO_GREEKS
    bid, ask, volatility = quote.bp, quote.ap, wire.implied_volatility
    delta, gamma, theta, vega = greeks.delta, greeks.gamma, greeks.theta, greeks.vega
    # Comparisons in place of _price and _number: this runs for every contract of every tick.
    return ContractQuote(
        symbol=symbol,
        right=option.right,
        strike=option.strike,
        expiration=option.expiration,
        bid=bid if bid is not None and 0 < bid < _INFINITY else None,
        ask=ask if ask is not None and 0 < ask < _INFINITY else None,
        delta=delta if delta is not None and -_INFINITY < delta < _INFINITY else None,
        gamma=gamma if gamma is not None and -_INFINITY < gamma < _INFINITY else None,
        theta=theta if theta is not None and -_INFINITY < theta < _INFINITY else None,
        vega=vega if vega is not None and -_INFINITY < vega < _INFINITY else None,
        implied_volatility=(
            volatility if volatility is not None and 0 < volatility < _INFINITY else None
        ),
        open_interest=open_interest,
        penny=penny,
    )


def _finite(value: Decimal | None) -> Decimal | None:
    return value if value is not None and value.is_finite() else None


def _price(value: float | None) -> float | None:
    """A price, or None for what cannot be one: missing, NaN, zero or less."""
    return value if value is not None and math.isfinite(value) and value > 0 else None
