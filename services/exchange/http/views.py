"""The books as Alpaca's trading API shows them: money as strings, times in RFC 3339."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from functools import lru_cache
from typing import Any

from libs.common.money import ZERO
from services.exchange.engine.books import Books
from services.exchange.engine.marks import mark, market_value
from services.exchange.engine.orders import Order, OrderClass, OrderType
from services.exchange.engine.positions import Activity, Position
from services.exchange.engine.updates import OrderUpdate
from services.exchange.prices.calendar import NEW_YORK, Calendar, Session
from services.exchange.prices.listing import Contract
from services.exchange.prices.market import Market, Moment

View = dict[str, Any]

_EVENTS = uuid.UUID("a8a0c9de-3f2b-5a07-94a9-0f1d6b6a2b10")
_ASSETS = uuid.UUID("0c1f0f5e-6f0b-5c56-8b7f-5f8a3a1a7c55")
NASDAQ = frozenset({"AAPL", "AMD", "MSFT", "PEP"})
_CENT = Decimal("0.01")


@lru_cache(maxsize=65_536)
def asset_id(symbol: str) -> str:
    return str(uuid.uuid5(_ASSETS, symbol))


@lru_cache(maxsize=8192)
def rfc3339(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain(value: Decimal) -> str:
    """A number as a string without exponent or trailing zeros: 100, 162.5, 0."""
    text = str(value)
    if text.isdigit():
        return text
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def money(value: Decimal) -> str:
    return plain(round(value, 6))


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else plain(round(value, 9))


def _time(value: dt.datetime | None) -> str | None:
    return None if value is None else rfc3339(value)


def order_view(order: Order, legs: list[Order] | None = None) -> View:
    view = {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
        "submitted_at": rfc3339(order.created_at),
        "filled_at": _time(order.filled_at),
        "expired_at": _time(order.expired_at),
        "expires_at": rfc3339(order.expires_at),
        "canceled_at": _time(order.canceled_at),
        "failed_at": _time(order.failed_at),
        "replaced_at": _time(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_option" if order.option else "us_equity",
        "notional": _optional(order.notional),
        "qty": None if order.notional is not None else plain(order.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": _optional(order.filled_avg_price),
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": order.position_intent,
        "time_in_force": order.time_in_force,
        "limit_price": _optional(order.limit_price),
        "stop_price": _optional(order.stop_price),
        "status": order.status,
        "extended_hours": False,
        "legs": None if legs is None else [order_view(leg) for leg in legs],
        "trail_percent": _optional(order.trail_percent),
        "trail_price": _optional(order.trail_price),
        "hwm": _optional(order.hwm),
        "source": None,
        "subtag": None,
    }
    if order.group_id is not None:
        view["group_id"] = order.group_id
        view["group_role"] = _group_role(order)
    return view


def _group_role(order: Order) -> str:
    """What an order of an advanced class is there for; an OCO's take-profit is its top."""
    if order.parent is None and order.order_class is not OrderClass.OCO:
        return "entry"
    return "take_profit" if order.type is OrderType.LIMIT else "stop_loss"


def _event_id(update: OrderUpdate) -> str:
    name = f"{update.order.id}:{update.event}:{update.order.filled_qty}:{update.at.isoformat()}"
    return str(uuid.uuid5(_EVENTS, name))


def update_view(update: OrderUpdate) -> View:
    """The `data` of a `trade_updates` message."""
    view: View = {
        "event": update.event,
        "timestamp": rfc3339(update.at),
        "at": rfc3339(update.at),
        "event_id": _event_id(update),
        "execution_id": update.execution_id or _event_id(update),
        "order": order_view(update.order),
    }
    if update.price is not None:
        view["price"] = _optional(update.price)
        view["qty"] = _optional(update.qty)
        view["position_qty"] = _optional(update.position_qty)
    return view


def position_view(books: Books, market: Market, position: Position, moment: Moment) -> View:
    price = mark(market, position.symbol, moment)
    value = position.qty * position.multiplier * price
    cost = position.qty * position.multiplier * position.avg_entry_price
    before = last_day_price(market, position, moment)
    intraday = position.qty * position.multiplier * (price - before)
    return {
        "asset_id": asset_id(position.symbol),
        "symbol": position.symbol,
        "exchange": "" if position.option else exchange_of(position.symbol),
        "asset_class": "us_option" if position.option else "us_equity",
        "asset_marginable": False,
        "qty": plain(position.qty),
        "qty_available": plain(books.qty_available(position)),
        "avg_entry_price": money(position.avg_entry_price),
        "side": "long" if position.qty > 0 else "short",
        "market_value": money(value),
        "cost_basis": money(cost),
        "unrealized_pl": money(value - cost),
        "unrealized_plpc": money(_share(value - cost, cost)),
        "unrealized_intraday_pl": money(intraday),
        "unrealized_intraday_plpc": money(
            _share(intraday, position.qty * position.multiplier * before)
        ),
        "current_price": money(price),
        "lastday_price": money(before),
        "change_today": money(_share(price - before, before)),
    }


def last_day_price(market: Market, position: Position, moment: Moment) -> Decimal:
    """The mark at the close before, or the entry price of a position opened today."""
    day = moment.session.index - 1
    if position.opened_on >= moment.session.date:
        return position.avg_entry_price
    return mark(market, position.symbol, market.moment(market.calendar.session(day).close))


def account_view(books: Books, market: Market, moment: Moment) -> View:
    values = [market_value(market, p, moment) for p in books.positions.values()]
    long = sum((v for v in values if v > 0), ZERO)
    short = sum((v for v in values if v < 0), ZERO)
    equity = money(books.cash + long + short)
    buying_power = money(books.buying_power())
    collateral = money(books.put_collateral())
    return {
        "id": books.account_id,
        "account_number": f"SIM{books.account_id[:8].upper()}",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": money(books.cash),
        "equity": equity,
        "last_equity": money(books.last_equity),
        "portfolio_value": equity,
        "buying_power": buying_power,
        "regt_buying_power": buying_power,
        "options_buying_power": buying_power,
        "non_marginable_buying_power": buying_power,
        "multiplier": "1",
        "initial_margin": collateral,
        "maintenance_margin": collateral,
        "last_maintenance_margin": collateral,
        "long_market_value": money(long),
        "short_market_value": money(short),
        "sma": "0",
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "options_approved_level": books.options_level,
        "options_trading_level": books.level,
        "trading_blocked": False,
        "account_blocked": False,
        "transfers_blocked": False,
        "trade_suspended_by_user": books.configurations.suspend_trade,
        "shorting_enabled": False,
        "created_at": rfc3339(books.created_at),
        "balance_asof": str(market.calendar.session(moment.session.index - 1).date),
    }


def activity_view(activity: Activity) -> View:
    if activity.activity_type == "FILL":
        partial = activity.leaves_qty != 0
        return {
            "id": activity.id,
            "activity_type": "FILL",
            "transaction_time": rfc3339(activity.known_at),
            "type": "partial_fill" if partial else "fill",
            "price": _optional(activity.price),
            "qty": plain(activity.qty),
            "side": activity.side.value if activity.side else None,
            "symbol": activity.symbol,
            "leaves_qty": _optional(activity.leaves_qty),
            "order_id": activity.order_id,
            "cum_qty": _optional(activity.cum_qty),
            "order_status": "partially_filled" if partial else "filled",
        }
    row = {
        "id": activity.id,
        "activity_type": activity.activity_type,
        "date": str(activity.date),
        "net_amount": _optional(activity.net_amount),
        "symbol": activity.symbol,
        "qty": plain(activity.qty),
        "status": "executed",
        "created_at": rfc3339(activity.known_at),
    }
    if activity.price is not None:
        row["price"] = plain(activity.price)
    if activity.per_share_amount is not None:
        row["per_share_amount"] = plain(activity.per_share_amount)
    return row


def clock_view(calendar: Calendar, moment: Moment) -> View:
    """next_close is the running session's close, or that of the next one."""
    upcoming = calendar.current_or_next(moment.now) or moment.session
    next_open = calendar.session(upcoming.index + 1) if moment.is_open else upcoming
    return {
        "timestamp": moment.now.astimezone(NEW_YORK).isoformat(),
        "is_open": moment.is_open,
        "next_open": _new_york(next_open.open),
        "next_close": _new_york(upcoming.close),
    }


def _new_york(at: dt.datetime) -> str:
    return at.astimezone(NEW_YORK).isoformat(timespec="seconds")


def calendar_view(calendar: Calendar, session: Session) -> View:
    settles = calendar.session(min(session.index + 1, len(calendar) - 1))
    return {
        "date": str(session.date),
        "open": f"{session.open.astimezone(NEW_YORK):%H:%M}",
        "close": f"{session.close.astimezone(NEW_YORK):%H:%M}",
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": str(settles.date),
    }


def asset_view(symbol: str) -> View:
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": exchange_of(symbol),
        "symbol": symbol,
        "name": f"{symbol} common stock (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "borrow_status": "hard_to_borrow",
        "fractionable": True,
        "attributes": ["has_options"],
    }


def contract_view(
    contract: Contract, *, open_interest: int, close: Decimal, close_date: dt.date
) -> View:
    parts = contract.parts
    return {
        "id": asset_id(contract.symbol),
        "symbol": contract.symbol,
        "name": f"{parts.root} {parts.expiration:%b %d %Y} {plain(parts.strike)} "
        f"{parts.right.value.title()}",
        "status": "active",
        "tradable": not parts.adjusted,
        "expiration_date": str(parts.expiration),
        "root_symbol": parts.root,
        "underlying_symbol": contract.underlying,
        "underlying_asset_id": asset_id(contract.underlying),
        "type": parts.right.value,
        "style": "american",
        "strike_price": plain(parts.strike),
        "multiplier": "100",
        "size": plain(contract.deliverable),
        "ppind": contract.penny,
        "open_interest": str(open_interest),
        "open_interest_date": str(close_date),
        "close_price": plain(close),
        "close_price_date": str(close_date),
    }


def deliverables_view(contract: Contract) -> list[View]:
    """What an exercise delivers: shares of the underlying, whatever became of the contract."""
    return [
        {
            "type": "equity",
            "symbol": contract.underlying,
            "asset_id": asset_id(contract.underlying),
            "amount": plain(contract.deliverable),
            "allocation_percentage": "100",
            "settlement_type": "T+1",
            "settlement_method": "CCC",
            "delayed_settlement": False,
        }
    ]


def exchange_of(symbol: str) -> str:
    return "NASDAQ" if symbol in NASDAQ else "NYSE"


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return part / abs(whole) if whole else ZERO
