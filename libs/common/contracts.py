"""Every message on the bus, together with its subject. Nothing else lives here.

Rules: one message is one fact (past tense) or one wish; messages are frozen; new fields get
defaults so that old recordings keep decoding (tests/contracts holds a golden file for each).
Money we send or book is Decimal; market observations (quotes, greeks) are floats; times are
aware UTC. `at` is wall time; `as_of` and other market times are the broker's clock, which in the
simulated exchange runs faster than life.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import ClassVar

import msgspec

from libs.common.vocabulary import (
    AccountFigures,
    AlpacaEnv,
    AssetClass,
    BotMode,
    Candidate,
    ContractQuote,
    GateResult,
    LedgerEvent,
    Moment,
    OrderType,
    OrderView,
    PositionIntent,
    PositionView,
    Severity,
    Side,
    StockQuote,
    Strategy,
    TimeInForce,
    TradingState,
    TradingVerb,
)

__all__ = [
    "MESSAGES",
    "SCHEMA_VERSION",
    "AccountFigures",
    "AlertRaised",
    "AlpacaEnv",
    "AssetClass",
    "BotMode",
    "Candidate",
    "ContractQuote",
    "EquityMarked",
    "GateResult",
    "Heartbeat",
    "IntentApproved",
    "IntentBlocked",
    "LedgerEntered",
    "LedgerEvent",
    "MarketTicked",
    "Message",
    "Moment",
    "OrderChanged",
    "OrderIntended",
    "OrderType",
    "OrderView",
    "PlanMade",
    "PortfolioObserved",
    "PositionIntent",
    "PositionView",
    "Severity",
    "Side",
    "SnapshotTaken",
    "StockQuote",
    "Strategy",
    "TickAnswered",
    "TickRequested",
    "TimeInForce",
    "TradingState",
    "TradingStateSet",
    "TradingVerb",
    "subject_filter",
    "subject_token",
]

SCHEMA_VERSION = 1


def subject_token(text: str) -> str:
    """`text` as one NATS subject token: dots, blanks, wildcards and colons become `_`."""
    return "".join("_" if c in ".*> :\t\r\n" else c for c in text) or "_"


def _schema_version() -> int:
    return SCHEMA_VERSION


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every message carries. `message_id` is unique and, for facts that may be published
    again after a crash, a pure function of the fact, so that the bus and the tables drop repeats.
    """

    SUBJECT: ClassVar[str]
    """The subject, `{}` standing for tokens filled in from the message."""

    message_id: str
    at: Moment
    tick_id: str = ""
    schema: int = msgspec.field(default_factory=_schema_version)  # a factory: never left out

    @property
    def subject(self) -> str:
        return self.SUBJECT.format(*(subject_token(t) for t in self.subject_tokens()))

    def subject_tokens(self) -> tuple[str, ...]:
        return ()


# --- market ----------------------------------------------------------------------------------


class PortfolioObserved(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The account as read in one pass: orders first, then positions, then figures.

    In that order an order that fills meanwhile can be seen twice but never missed. `as_of` is the
    broker's clock when the pass began, so anything that happened before it is in here.
    """

    SUBJECT: ClassVar[str] = "market.portfolio"

    as_of: Moment
    session: dt.date
    account: AccountFigures
    positions: list[PositionView] = []
    open_orders: list[OrderView] = []


class SnapshotTaken(Message, frozen=True, kw_only=True, omit_defaults=True):
    """All that is needed to plan one symbol, so that any planner can take any symbol."""

    SUBJECT: ClassVar[str] = "market.snapshot.{}"

    symbol: str
    as_of: Moment
    session: dt.date
    session_closes_at: Moment | None = None
    in_universe: bool = True
    account: AccountFigures
    quote: StockQuote
    contracts: list[ContractQuote] = []
    positions: list[PositionView] = []
    open_orders: list[OrderView] = []
    problems: list[str] = []
    synthetic: bool = False

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.symbol,)


class MarketTicked(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A pass over the market ended. Carries the account's figures for the table of ticks."""

    SUBJECT: ClassVar[str] = "market.ticked"

    as_of: Moment
    session: dt.date
    cause: str
    duration_ms: float
    requests: int
    symbols: int
    snapshots: int
    contracts: int
    account: AccountFigures | None = None
    errors: list[str] = []
    bot_mode: BotMode = BotMode.DRY
    alpaca_env: AlpacaEnv = AlpacaEnv.PAPER


# --- planner ---------------------------------------------------------------------------------


class PlanMade(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a planner considered for one symbol, and the intents that came of it."""

    SUBJECT: ClassVar[str] = "plans.{}"

    symbol: str
    as_of: Moment
    spot: float | None = None
    candidates: list[Candidate] = []
    candidates_left_out: int = 0
    notes: list[str] = []
    intent_ids: list[str] = []

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.symbol,)


class OrderIntended(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An order that a strategy wants. `message_id` is the intent's id: a pure function of the
    snapshot and the order, so planning the same snapshot twice wishes for the same thing once.
    """

    SUBJECT: ClassVar[str] = "intents.{}.{}"

    strategy: str
    underlying: str
    symbol: str
    side: Side
    qty: int
    order_type: OrderType
    time_in_force: TimeInForce
    as_of: Moment
    position_intent: PositionIntent | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_percent: Decimal | None = None
    reason: str = ""
    details: dict[str, str | int | float | None] = {}
    replaces: str | None = None
    """The client_order_id of the working order whose place it takes: of the two only one lives."""

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.strategy, self.underlying)


# --- risk ------------------------------------------------------------------------------------


class IntentApproved(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Risk's yes: signed over what will be sent, and void after `expires_at` (wall time)."""

    SUBJECT: ClassVar[str] = "decisions.approved.{}"

    intent: OrderIntended
    checks: list[GateResult]
    account_number: str
    alpaca_env: AlpacaEnv
    collateral: Decimal
    expires_at: Moment
    signature: str
    session: dt.date | None = None
    """The trading day it counts for."""
    risk_config_version: str = ""
    """The hash of the limits it was judged by."""
    nonce: str = ""
    """Drawn anew for each approval, so that no two have the same signature."""
    seen_price: Decimal | None = None
    """The market price (dollars a share) the order was held against, where one was known."""

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.intent.underlying,)


class IntentBlocked(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Risk's no, with every gate's result."""

    SUBJECT: ClassVar[str] = "decisions.blocked.{}"

    intent: OrderIntended
    checks: list[GateResult]
    reason: str

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.intent.underlying,)


class TradingStateSet(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A word on what may leave, by an operator or by a trip. One that restricts holds until a
    later one lists its id in `lifts`; see libs/common/trading_state.py.
    """

    SUBJECT: ClassVar[str] = "trading.state"

    state: TradingState
    verb: TradingVerb
    who: str
    why: str
    lifts: list[str] = []


class EquityMarked(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What losses are counted from: the day's base and the peak, in dollars of equity."""

    SUBJECT: ClassVar[str] = "risk.equity"

    as_of: Moment
    session: dt.date
    day_base: Decimal
    peak: Decimal
    reset_by: str = ""
    """The id of the resume that last began the count anew."""


# --- executor --------------------------------------------------------------------------------


class OrderChanged(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an order. `status` is `dry_run`, `error`, ours while in doubt (`submitting`,
    `unknown`), or the broker's own word.
    """

    SUBJECT: ClassVar[str] = "orders.{}.{}"

    intent_id: str
    client_order_id: str
    strategy: str
    underlying: str
    symbol: str
    side: Side
    qty: Decimal
    order_type: OrderType
    status: str
    final: bool
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_percent: Decimal | None = None
    order_id: str | None = None
    changed_at: Moment | None = None
    """The broker's time of the change, where it gives one."""
    note: str = ""

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.status, self.underlying)


class LedgerEntered(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An account activity that is no fill: assignment, exercise, expiration, dividend."""

    SUBJECT: ClassVar[str] = "ledger.{}.{}"

    activity_id: str
    event: LedgerEvent
    activity_type: str
    underlying: str
    symbol: str
    qty: Decimal
    price: Decimal | None = None
    net_amount: Decimal | None = None
    date: dt.date | None = None

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.event.value, self.underlying)


# --- operations ------------------------------------------------------------------------------


class Heartbeat(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A service is alive and ready. Market's also tells the broker's time and sessions, which is
    how services without keys know the time.
    """

    SUBJECT: ClassVar[str] = "ops.heartbeat.{}.{}"

    service: str
    instance: str
    state: str = "ready"
    pid: int = 0
    started_at: Moment | None = None
    market_now: Moment | None = None
    market_open: bool | None = None
    recent_sessions: list[dt.date] = []
    counters: dict[str, int] = {}

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.service, self.instance)


class AlertRaised(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Something a person should know."""

    SUBJECT: ClassVar[str] = "ops.alert.{}"

    severity: Severity
    service: str
    kind: str
    text: str
    symbol: str | None = None

    def subject_tokens(self) -> tuple[str, ...]:
        return (self.severity.value,)


class TickRequested(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An operator wants a tick now (request-reply)."""

    SUBJECT: ClassVar[str] = "control.market.tick"

    requested_by: str


class TickAnswered(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to TickRequested: the id of the tick that was made, or why none was."""

    SUBJECT: ClassVar[str] = "control.market.ticked"

    ok: bool
    reason: str = ""


MESSAGES: tuple[type[Message], ...] = (
    PortfolioObserved,
    SnapshotTaken,
    MarketTicked,
    PlanMade,
    OrderIntended,
    IntentApproved,
    IntentBlocked,
    TradingStateSet,
    EquityMarked,
    OrderChanged,
    LedgerEntered,
    Heartbeat,
    AlertRaised,
    TickRequested,
    TickAnswered,
)


def subject_filter(message_type: type[Message]) -> str:
    """The NATS filter that matches every subject of a message type."""
    return message_type.SUBJECT.replace("{}", "*")
