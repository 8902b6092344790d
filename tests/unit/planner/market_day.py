"""A market to plan in: one Monday, one stock at 100 dollars, and the parts of its snapshot."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from libs.common.contracts import (
    AccountFigures,
    AssetClass,
    ContractQuote,
    OrderView,
    PositionView,
    Side,
    SnapshotTaken,
    StockQuote,
)
from libs.common.settings import PlannerSettings, TrailingStopSettings, WheelSettings
from libs.common.symbols import OptionSymbol, Right

SESSION = dt.date(2024, 3, 4)
AS_OF = dt.datetime(2024, 3, 4, 15, 0, tzinfo=dt.UTC)
WALL = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
EXPIRATION = dt.date(2024, 3, 15)  # 11 days on


def occ(
    strike: str | Decimal,
    right: Right = Right.PUT,
    *,
    root: str = "AAPL",
    expiration: dt.date = EXPIRATION,
) -> str:
    return str(OptionSymbol(root=root, expiration=expiration, right=right, strike=Decimal(strike)))


def contract(
    strike: str | Decimal,
    right: Right = Right.PUT,
    *,
    root: str = "AAPL",
    expiration: dt.date = EXPIRATION,
    **changes: Any,
) -> ContractQuote:
    """A liquid contract: 1.20 bid, 1.30 asked, 500 open, delta 0.25 in size."""
    fields: dict[str, Any] = {
        "symbol": occ(strike, right, root=root, expiration=expiration),
        "right": right,
        "strike": Decimal(strike),
        "expiration": expiration,
        "bid": 1.20,
        "ask": 1.30,
        "delta": -0.25 if right is Right.PUT else 0.25,
        "open_interest": 500,
    }
    return ContractQuote(**(fields | changes))


def put(strike: str, **changes: Any) -> ContractQuote:
    return contract(strike, Right.PUT, **changes)


def call(strike: str, **changes: Any) -> ContractQuote:
    return contract(strike, Right.CALL, **changes)


def account(**changes: Any) -> AccountFigures:
    fields: dict[str, Any] = {
        "account_number": "PA1",
        "status": "ACTIVE",
        "equity": Decimal(100_000),
        "last_equity": Decimal(100_000),
        "cash": Decimal(100_000),
        "buying_power": Decimal(100_000),
        "options_buying_power": Decimal(100_000),
        "options_level": 1,
    }
    return AccountFigures(**(fields | changes))


def stock(
    qty: str, *, basis: str = "95", available: str | None = None, symbol: str = "AAPL"
) -> PositionView:
    return PositionView(
        symbol=symbol,
        asset_class=AssetClass.STOCK,
        qty=Decimal(qty),
        qty_available=Decimal(available or qty),
        avg_entry_price=Decimal(basis),
    )


def short_option(symbol: str, qty: int = 1) -> PositionView:
    return PositionView(
        symbol=symbol,
        asset_class=AssetClass.OPTION,
        qty=Decimal(-qty),
        qty_available=Decimal(-qty),
        avg_entry_price=Decimal("1.10"),
    )


def open_sell(
    symbol: str, qty: int = 1, *, filled: int = 0, position_intent: str | None = None
) -> OrderView:
    return OrderView(
        order_id=f"order-{symbol}",
        client_order_id=f"client-{symbol}",
        symbol=symbol,
        side=Side.SELL,
        order_type="limit",
        qty=Decimal(qty),
        filled_qty=Decimal(filled),
        status="new",
        limit_price=Decimal("1.25"),
        position_intent=position_intent,
    )


def snapshot(*contracts: ContractQuote, **changes: Any) -> SnapshotTaken:
    fields: dict[str, Any] = {
        "message_id": "snap-1",
        "at": WALL,
        "tick_id": "tick-1",
        "symbol": "AAPL",
        "as_of": AS_OF,
        "session": SESSION,
        "account": account(),
        "quote": StockQuote(bid=99.99, ask=100.01, last=100.0),
        "contracts": list(contracts),
    }
    return SnapshotTaken(**(fields | changes))


def settings(*, trail_symbols: frozenset[str] = frozenset(), **wheel: Any) -> PlannerSettings:
    return PlannerSettings(
        universe=("AAPL",),
        wheel=WheelSettings(**wheel),
        trailing_stop=TrailingStopSettings(symbols=trail_symbols),
    )
