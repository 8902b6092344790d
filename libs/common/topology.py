"""The streams and consumers, declared once. `alpaclaudia provision` makes them; services bind.

Every stream is stored in files: memory streams and their consumers vanish when the server
restarts. Order-path streams keep messages by limits, not as work queues, because a work queue
forgets the ids it has consumed when the server restarts (measured on nats-server 2.15).
Every stream but the dead letters republishes under `feed.`, for people and screens.
"""

from __future__ import annotations

import msgspec

from libs.common.contracts import (
    AlertRaised,
    EquityMarked,
    Heartbeat,
    IntentApproved,
    IntentBlocked,
    LedgerEntered,
    MarketTicked,
    OrderChanged,
    OrderIntended,
    PlanMade,
    PortfolioObserved,
    SnapshotTaken,
    TradingStateSet,
    subject_filter,
)

FEED_PREFIX = "feed"
DAY_SECONDS = 86_400
DUPLICATE_WINDOW_SECONDS = 300
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""A snapshot of 3,000 contracts is about 700 kB."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    subjects: tuple[str, ...]
    max_age_seconds: int
    max_bytes: int
    max_per_subject: int = -1
    message_bytes_max: int = MAX_PAYLOAD_BYTES
    """Larger messages are refused when they are published. One that is stored and too large to be
    answered for would come again and again, and hold up the others behind it.
    """
    protected: bool = False
    """Deleting or purging single messages is refused by the server."""
    republished: bool = True


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    name: str
    filters: tuple[str, ...] = ()
    ack_wait_seconds: float = 10.0
    max_deliver: int = -1
    """Without end by default: an outage of minutes gives nothing up. What is at fault itself is
    terminated by its reader.
    """
    max_ack_pending: int = 256
    latest_only: bool = False
    """Start from the last message of each subject rather than from the first."""
    acknowledged: bool = True


_KB = 1024
_MB = 1024 * _KB
INTENT_BYTES_MAX = 64 * _KB

STREAMS: tuple[Stream, ...] = (
    Stream(
        name="MARKET",
        subjects=(subject_filter(SnapshotTaken), subject_filter(PortfolioObserved)),
        max_age_seconds=7 * DAY_SECONDS,
        max_bytes=512 * _MB,
        max_per_subject=1,
    ),
    Stream(
        name="EVENTS",
        subjects=(subject_filter(MarketTicked),),
        max_age_seconds=30 * DAY_SECONDS,
        max_bytes=128 * _MB,
    ),
    Stream(
        name="PLANS",
        subjects=(subject_filter(PlanMade),),
        max_age_seconds=7 * DAY_SECONDS,
        max_bytes=256 * _MB,
    ),
    Stream(
        name="INTENTS",
        subjects=(subject_filter(OrderIntended),),
        max_age_seconds=30 * DAY_SECONDS,
        message_bytes_max=INTENT_BYTES_MAX,
        max_bytes=256 * _MB,
        protected=True,
    ),
    Stream(
        name="DECISIONS",
        subjects=(subject_filter(IntentApproved), subject_filter(IntentBlocked)),
        max_age_seconds=30 * DAY_SECONDS,
        message_bytes_max=256 * _KB,
        max_bytes=256 * _MB,
        protected=True,
    ),
    Stream(
        name="ORDERS",
        subjects=(subject_filter(OrderChanged),),
        max_age_seconds=100 * DAY_SECONDS,
        max_bytes=256 * _MB,
        protected=True,
    ),
    Stream(
        name="LEDGER",
        subjects=(subject_filter(LedgerEntered),),
        max_age_seconds=100 * DAY_SECONDS,
        max_bytes=64 * _MB,
        protected=True,
    ),
    Stream(
        name="TRADING",
        subjects=(subject_filter(TradingStateSet),),
        max_age_seconds=3650 * DAY_SECONDS,
        max_bytes=16 * _MB,
        protected=True,
    ),
    Stream(
        name="EQUITY",
        subjects=(subject_filter(EquityMarked),),
        max_age_seconds=3650 * DAY_SECONDS,
        max_bytes=16 * _MB,
        max_per_subject=1,
    ),
    Stream(
        name="OPS",
        subjects=(subject_filter(Heartbeat), subject_filter(AlertRaised)),
        max_age_seconds=3600,
        message_bytes_max=256 * _KB,
        max_bytes=32 * _MB,
        max_per_subject=100,
    ),
    Stream(
        name="DEADLETTERS",
        subjects=(
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
        ),
        max_age_seconds=30 * DAY_SECONDS,
        max_bytes=16 * _MB,
        republished=False,
    ),
)

PLANNER = Consumer(
    stream="MARKET",
    name="planner",
    filters=(subject_filter(SnapshotTaken),),
    ack_wait_seconds=5.0,
    max_deliver=3,
    max_ack_pending=64,
    latest_only=True,
)
GUEST = Consumer(
    stream="MARKET",
    name="guest",
    filters=(subject_filter(SnapshotTaken),),
    ack_wait_seconds=30.0,
    max_deliver=3,
    max_ack_pending=64,
    latest_only=True,
)
"""Of planners that are not ours: what they take or leave never keeps a snapshot from ours."""
RISK_INTENTS = Consumer(stream="INTENTS", name="risk", ack_wait_seconds=5.0, max_ack_pending=1)
RISK_DECISIONS = Consumer(stream="DECISIONS", name="risk", acknowledged=False)
RISK_ORDERS = Consumer(stream="ORDERS", name="risk", acknowledged=False)
EXECUTOR_APPROVALS = Consumer(
    stream="DECISIONS",
    name="executor",
    filters=(subject_filter(IntentApproved),),
    ack_wait_seconds=15.0,
    max_ack_pending=1,
)
RECORDERS: tuple[Consumer, ...] = (
    Consumer(stream="EVENTS", name="recorder"),
    Consumer(stream="PLANS", name="recorder"),
    Consumer(stream="DECISIONS", name="recorder"),
    Consumer(
        stream="MARKET",
        name="recorder",
        filters=(subject_filter(PortfolioObserved),),
        latest_only=True,
    ),
    Consumer(stream="OPS", name="recorder", filters=(subject_filter(AlertRaised),)),
    Consumer(stream="DEADLETTERS", name="recorder"),
)
CONSUMERS: tuple[Consumer, ...] = (
    PLANNER,
    GUEST,
    RISK_INTENTS,
    RISK_DECISIONS,
    RISK_ORDERS,
    EXECUTOR_APPROVALS,
    *RECORDERS,
)
