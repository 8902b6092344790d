"""Parts of risk's stories: intents, portfolios, what the executor says."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from libs.common.contracts import (
    AccountFigures,
    AlpacaEnv,
    AssetClass,
    IntentApproved,
    IntentBlocked,
    OrderChanged,
    OrderIntended,
    OrderType,
    OrderView,
    PortfolioObserved,
    PositionIntent,
    PositionView,
    Side,
    Strategy,
    TimeInForce,
    TradingState,
)
from libs.common.order_ids import client_order_id
from libs.common.settings import RiskSettings
from libs.common.signing import generate_keypair
from libs.common.symbols import OptionSymbol, Right, option_root
from libs.common.trading_state import Standing
from services.risk.approvals import decision_message
from services.risk.gates.case import Sight
from services.risk.state import Decision, RiskState, decide

SESSION = dt.date(2024, 3, 4)
NOON = dt.datetime(2024, 3, 4, 17, 0, tzinfo=dt.UTC)  # the broker's clock
WALL = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
EXPIRATION = dt.date(2024, 3, 15)
ACCOUNT = "PA1"
KEYS = generate_keypair()

SETTINGS = RiskSettings(
    cash_buffer=Decimal(1000),
    max_position_pct=50.0,
    max_short_puts=5,
    max_orders_per_minute=100_000,
    max_repeats_per_day=100_000,
    max_orders_per_day=100_000,
    max_order_shares=1_000_000,
    max_order_contracts=1000,
    signing_key=KEYS.private,
)


def broker_time(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def occ(
    strike: str | int,
    right: Right = Right.PUT,
    *,
    stock: str = "KO",
    expiration: dt.date = EXPIRATION,
) -> str:
    return str(
        OptionSymbol(
            root=option_root(stock), expiration=expiration, right=right, strike=Decimal(strike)
        )
    )


def csp(
    name: str = "p1", strike: str | int = 50, *, stock: str = "KO", **changes: Any
) -> OrderIntended:
    return _option(name, Strategy.CASH_SECURED_PUT, occ(strike, stock=stock), stock, changes)


def covered_call(
    name: str = "c1", strike: str | int = 60, *, stock: str = "KO", **changes: Any
) -> OrderIntended:
    symbol = occ(strike, Right.CALL, stock=stock)
    return _option(name, Strategy.COVERED_CALL, symbol, stock, changes)


def _option(
    name: str, strategy: Strategy, symbol: str, stock: str, changes: dict[str, Any]
) -> OrderIntended:
    fields: dict[str, Any] = {
        "message_id": name,
        "at": WALL,
        "tick_id": "tick-1",
        "strategy": strategy.value,
        "underlying": stock,
        "symbol": symbol,
        "side": Side.SELL,
        "qty": 1,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "as_of": NOON,
        "position_intent": PositionIntent.SELL_TO_OPEN,
        "limit_price": Decimal("0.55"),
    }
    return OrderIntended(**(fields | changes))


def stop(name: str = "s1", qty: int = 50, *, stock: str = "KO", **changes: Any) -> OrderIntended:
    fields: dict[str, Any] = {
        "message_id": name,
        "at": WALL,
        "tick_id": "tick-1",
        "strategy": Strategy.TRAILING_STOP.value,
        "underlying": stock,
        "symbol": stock,
        "side": Side.SELL,
        "qty": qty,
        "order_type": OrderType.TRAILING_STOP,
        "time_in_force": TimeInForce.GTC,
        "as_of": NOON,
        "trail_percent": Decimal(8),
    }
    return OrderIntended(**(fields | changes))


def account(**changes: Any) -> AccountFigures:
    fields: dict[str, Any] = {
        "account_number": ACCOUNT,
        "status": "ACTIVE",
        "equity": Decimal(20_000),
        "last_equity": Decimal(20_000),
        "cash": Decimal(20_000),
        "buying_power": Decimal(20_000),
        "options_level": 1,
    }
    return AccountFigures(**(fields | changes))


def portfolio(
    *held: PositionView,
    orders: tuple[OrderView, ...] = (),
    as_of: float = 0,
    wall: float = 0,
    **figures: Any,
) -> PortfolioObserved:
    """The account `as_of` seconds after noon by the broker, told `wall` seconds after WALL."""
    return PortfolioObserved(
        message_id=f"portfolio-{as_of}",
        at=WALL + dt.timedelta(seconds=wall),
        as_of=broker_time(as_of),
        session=SESSION,
        account=account(**figures),
        positions=list(held),
        open_orders=list(orders),
    )


def held(symbol: str, qty: str | int, *, entry: str = "55", **changes: Any) -> PositionView:
    is_stock = len(symbol) < 10
    fields: dict[str, Any] = {
        "symbol": symbol,
        "asset_class": AssetClass.STOCK if is_stock else AssetClass.OPTION,
        "qty": Decimal(qty),
        "qty_available": Decimal(qty),
        "avg_entry_price": Decimal(entry),
    }
    return PositionView(**(fields | changes))


def resting(
    intent: OrderIntended | str, qty: int = 1, *, side: Side = Side.SELL, **changes: Any
) -> OrderView:
    """An open order: of an intent of ours, or (by symbol) somebody else's."""
    ours = isinstance(intent, OrderIntended)
    fields: dict[str, Any] = {
        "order_id": f"order-{intent.message_id if ours else intent}",
        "client_order_id": (
            client_order_id(ACCOUNT, intent.message_id) if ours else f"other-{intent}"
        ),
        "symbol": intent.symbol if ours else intent,
        "side": side,
        "order_type": "limit",
        "qty": Decimal(intent.qty if ours else qty),
        "filled_qty": Decimal(0),
        "status": "new",
        "limit_price": Decimal("0.55"),
    }
    return OrderView(**(fields | changes))


def told(
    intent: OrderIntended,
    status: str,
    *,
    final: bool = True,
    filled: int = 0,
    changed: float | None = None,
    wall: float = 0,
) -> OrderChanged:
    """The executor's word, the broker's change `changed` seconds after noon."""
    return OrderChanged(
        message_id=f"{intent.message_id}-{status}",
        at=WALL + dt.timedelta(seconds=wall),
        intent_id=intent.message_id,
        client_order_id=client_order_id(ACCOUNT, intent.message_id),
        strategy=intent.strategy,
        underlying=intent.underlying,
        symbol=intent.symbol,
        side=intent.side,
        qty=Decimal(intent.qty),
        order_type=intent.order_type,
        status=status,
        final=final,
        filled_qty=Decimal(filled),
        changed_at=None if changed is None else broker_time(changed),
    )


TRADING = Standing(state=TradingState.ACTIVE)
QUOTE = Sight(
    at=WALL,
    as_of=NOON,
    session=SESSION,
    closes_at=NOON + dt.timedelta(hours=4),
    bid=0.5,
    ask=0.6,
)


def judge(
    state: RiskState, intent: OrderIntended, settings: RiskSettings = SETTINGS, **known: Any
) -> Decision:
    """Risk's word, without acting on it; while trading is on and the option is quoted."""
    known = {"standing": TRADING, "sight": QUOTE} | known
    return decide(state, intent, settings, alpaca_env=AlpacaEnv.PAPER, at=WALL, **known)


def ask(
    state: RiskState, intent: OrderIntended, settings: RiskSettings = SETTINGS, **known: Any
) -> IntentApproved | IntentBlocked:
    """Risk's word, remembered: what the service does with each intent."""
    decision = judge(state, intent, settings, **known)
    message = decision_message(intent, decision, settings, nonce=f"nonce-{intent.message_id}")
    state.observe_decision(message)
    return message


def knowing(*seen: PortfolioObserved) -> RiskState:
    state = RiskState()
    for each in seen:
        state.observe_portfolio(each)
    return state


def with_changes(intent: OrderIntended, **changes: Any) -> OrderIntended:
    return msgspec.structs.replace(intent, **changes)


def approval(intent: OrderIntended) -> IntentApproved:
    """An approval however poor the account: for stories that start from one."""
    rich = RiskSettings(
        max_position_pct=100.0,
        max_short_puts=100,
        max_order_notional=Decimal(10**9),
        signing_key=KEYS.private,
    )
    figures = {"equity": Decimal(10**9), "cash": Decimal(10**9)}
    message = ask(knowing(portfolio(held("KO", 10_000, entry="1"), **figures)), intent, rich)
    assert isinstance(message, IntentApproved), message
    return message
