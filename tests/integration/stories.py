"""The messages that integration tests tell their stories with, ready to be changed in a field."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from libs.common.contracts import (
    AccountFigures,
    AlpacaEnv,
    AssetClass,
    BotMode,
    ContractQuote,
    IntentApproved,
    MarketTicked,
    OrderIntended,
    OrderType,
    PortfolioObserved,
    PositionIntent,
    PositionView,
    Side,
    SnapshotTaken,
    StockQuote,
    TimeInForce,
)
from libs.common.risk_config import risk_config_version
from libs.common.settings import RiskSettings
from libs.common.signing import KeyPair, sign
from libs.common.symbols import OptionSymbol, Right
from tests.integration.broker import ACCOUNT_NUMBER, MIDDAY, SESSION

FRIDAY = SESSION + dt.timedelta(days=9)
ACCOUNT = AccountFigures(
    account_number=ACCOUNT_NUMBER,
    status="ACTIVE",
    equity=Decimal(100_000),
    last_equity=Decimal(100_000),
    cash=Decimal(100_000),
    buying_power=Decimal(100_000),
    options_buying_power=Decimal(100_000),
    options_level=3,
)


def wall() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def occ(root: str, strike: str, right: Right = Right.PUT) -> str:
    return str(OptionSymbol(root=root, expiration=FRIDAY, right=right, strike=Decimal(strike)))


def portfolio(**changes: Any) -> PortfolioObserved:
    fields: dict[str, Any] = {
        "message_id": "portfolio-1",
        "at": wall(),
        "tick_id": "tick-1",
        "as_of": MIDDAY,
        "session": SESSION,
        "account": ACCOUNT,
    }
    return PortfolioObserved(**(fields | changes))


def stock(symbol: str, qty: str, price: str = "50") -> PositionView:
    return PositionView(
        symbol=symbol,
        asset_class=AssetClass.STOCK,
        qty=Decimal(qty),
        qty_available=Decimal(qty),
        avg_entry_price=Decimal(price),
        market_value=Decimal(qty) * Decimal(price),
    )


def quoted(root: str = "KO", strike: str = "57") -> ContractQuote:
    """The contract of `put_intent`, with the intent's limit between bid and ask."""
    return ContractQuote(
        symbol=occ(root, strike),
        right=Right.PUT,
        strike=Decimal(strike),
        expiration=FRIDAY,
        bid=3.75,
        ask=3.85,
    )


def snapshot(symbol: str = "KO", **changes: Any) -> SnapshotTaken:
    fields: dict[str, Any] = {
        "message_id": f"snapshot-tick-1-{symbol}",
        "at": wall(),
        "tick_id": "tick-1",
        "symbol": symbol,
        "as_of": MIDDAY,
        "session": SESSION,
        "account": ACCOUNT,
        "quote": StockQuote(bid=59.99, ask=60.01, last=60.0, as_of=MIDDAY),
        "contracts": [
            ContractQuote(
                symbol=occ(symbol, str(strike)),
                right=Right.PUT,
                strike=Decimal(strike),
                expiration=FRIDAY,
                bid=1.2,
                ask=1.26,
                delta=-0.05 * (strike - 52),
                open_interest=500,
            )
            for strike in range(53, 61)
        ],
    }
    return SnapshotTaken(**(fields | changes))


def put_intent(
    number: int = 1, root: str = "KO", strike: str = "57", **changes: Any
) -> OrderIntended:
    fields: dict[str, Any] = {
        "message_id": f"intent-{number}",
        "at": wall(),
        "tick_id": "tick-1",
        "strategy": "wheel:cash_secured_put",
        "underlying": root,
        "symbol": occ(root, strike),
        "side": Side.SELL,
        "qty": 1,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "as_of": MIDDAY,
        "position_intent": PositionIntent.SELL_TO_OPEN,
        "limit_price": Decimal("3.80"),
        "reason": "a test wants it",
    }
    return OrderIntended(**(fields | changes))


def approval(intent: OrderIntended, keys: KeyPair, **changes: Any) -> IntentApproved:
    """Signed by `keys` after the changes were made."""
    fields: dict[str, Any] = {
        "message_id": f"ok-{intent.message_id}",
        "at": wall(),
        "tick_id": intent.tick_id,
        "intent": intent,
        "checks": [],
        "account_number": ACCOUNT_NUMBER,
        "alpaca_env": AlpacaEnv.SIM,
        "collateral": Decimal(5_700),
        "expires_at": wall() + dt.timedelta(seconds=60),
        "signature": "",
        "session": SESSION,
        "risk_config_version": risk_config_version(RiskSettings()),
        "nonce": "a-nonce",
        "seen_price": intent.limit_price,
    }
    return sign(keys.private, IntentApproved(**(fields | changes)))


def ticked(**changes: Any) -> MarketTicked:
    fields: dict[str, Any] = {
        "message_id": "tick-1",
        "at": wall(),
        "tick_id": "tick-1",
        "as_of": MIDDAY,
        "session": SESSION,
        "cause": "schedule",
        "duration_ms": 12.5,
        "requests": 5,
        "symbols": 1,
        "snapshots": 1,
        "contracts": 8,
        "account": ACCOUNT,
        "bot_mode": BotMode.LIVE,
        "alpaca_env": AlpacaEnv.SIM,
    }
    return MarketTicked(**(fields | changes))


def with_account(**changes: Any) -> AccountFigures:
    return msgspec.structs.replace(ACCOUNT, **changes)
