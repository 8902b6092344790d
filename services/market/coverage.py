"""What to ask the broker for: which symbols, which part of which chain. Pure.

The narrowest filter that still holds every contract a planner could choose: puts from far enough
below spot to spot, calls only where shares could be written on, from the cost basis upwards.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from libs.common.contracts import AssetClass, PositionView
from libs.common.settings import PlannerSettings, WheelSettings
from libs.common.symbols import SHARES_PER_CONTRACT, Right, option_root, underlying_of

PUT_WIDTH = 0.30
"""How far below spot puts are asked for, as a share of spot, or three times OTM_PCT if wider."""
CALL_WIDTH = 0.30


class ChainFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a chain that is asked for: strikes in dollars, both bounds included."""

    right: Right
    expiration_first: dt.date
    expiration_last: dt.date
    strike_low: float
    strike_high: float


def symbols_to_read(universe: Iterable[str], positions: Iterable[PositionView]) -> list[str]:
    """The universe, then every other underlying that is held, each once, in a stable order.

    Stocks come before options, since an option on `BRK.B` only says `BRKB`.
    """
    held = sorted(positions, key=lambda p: (p.asset_class is not AssetClass.STOCK, p.symbol))
    symbols: dict[str, str] = {}
    for symbol in (*universe, *(underlying_of(position.symbol) for position in held)):
        symbols.setdefault(option_root(symbol), symbol)
    return list(symbols.values())


def concerns(symbol: str, traded: str) -> bool:
    """Whether `traded`, a stock or an option, is this stock or an option on it."""
    return option_root(underlying_of(traded)) == option_root(symbol)


def positions_of(symbol: str, positions: Iterable[PositionView]) -> list[PositionView]:
    return [position for position in positions if concerns(symbol, position.symbol)]


def chain_filters(
    symbol: str,
    spot: float,
    positions: Iterable[PositionView],
    session: dt.date,
    settings: PlannerSettings,
) -> list[ChainFilter]:
    """Nothing for symbols outside the universe or with the wheel switched off."""
    wheel = settings.wheel_for(symbol)
    if symbol not in settings.universe or not wheel.enabled:
        return []
    first, last = expirations(session, wheel)
    width = max(PUT_WIDTH, 3 * wheel.otm_pct / 100)
    filters = [
        ChainFilter(
            right=Right.PUT,
            expiration_first=first,
            expiration_last=last,
            strike_low=round(spot * (1 - min(width, 0.95)), 2),
            strike_high=round(spot, 2),
        )
    ]
    basis = _lot_basis(symbol, positions)
    if basis is not None:
        low = max(float(basis), spot * 0.9)
        filters.append(
            ChainFilter(
                right=Right.CALL,
                expiration_first=first,
                expiration_last=last,
                strike_low=round(low, 2),
                strike_high=round(max(low, spot) * (1 + CALL_WIDTH), 2),
            )
        )
    return filters


def expirations(session: dt.date, wheel: WheelSettings) -> tuple[dt.date, dt.date]:
    return (
        session + dt.timedelta(days=wheel.dte_min),
        session + dt.timedelta(days=wheel.dte_max),
    )


def _lot_basis(symbol: str, positions: Iterable[PositionView]) -> Decimal | None:
    """Cost basis per share of the stock when at least one lot is held."""
    for position in positions:
        if position.symbol == symbol and position.asset_class is AssetClass.STOCK:
            return position.avg_entry_price if position.qty >= SHARES_PER_CONTRACT else None
    return None
