"""Who may do what on the bus: one table, from which the server's configuration is made. Pure.

Each service sits in a NATS account of its own; the account CORE owns every stream and its only
user is the one-shot provisioner. Permissions to publish do not cover the reply subject of a
request: among users of one account, a request with `reply="decisions.approved.X"` put the server's
own answer into the stream of approvals, and one with the stream-deleting subject as its reply
deleted a stream. Across accounts the server rewrites the reply, and both come to nothing.
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
    Message,
    OrderChanged,
    OrderIntended,
    PlanMade,
    PortfolioObserved,
    SnapshotTaken,
    Strategy,
    TickRequested,
    TradingStateSet,
    subject_filter,
    subject_token,
)
from libs.common.topology import (
    EXECUTOR_APPROVALS,
    FEED_PREFIX,
    GUEST,
    PLANNER,
    RECORDERS,
    RISK_DECISIONS,
    RISK_INTENTS,
    RISK_ORDERS,
    STREAMS,
    Consumer,
)

CORE = "core"
"""The account that owns the streams."""
PROVISION = "provision"
"""CORE's only user, for the one step that makes streams and consumers."""
OPERATOR = "operator"
API_PREFIX = "core.api"
"""Where other accounts find JetStream's API: under `$JS.API` each would hear first from itself
that it has no JetStream.
"""
HEALTH_STREAM = "OPS"
"""The stream everybody writes to, and may ask after to see that the bus was provisioned."""
ANSWER_SECONDS_MAX = 60
PULL_ANSWER_SECONDS_MAX = 10
"""How long the server remembers whom the answer to a pull goes to; pulls end after one second."""

CONNECTIONS_MAX = 64
"""Of one account at a time: planners are many, but a planner that was taken over is not endless."""

SERVICE_WRITES: tuple[type[Message], ...] = (Heartbeat, AlertRaised)
"""What every service says."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One service's rights, in the terms of the contracts and the topology."""

    name: str
    writes: tuple[type[Message], ...] = ()
    consumes: tuple[Consumer, ...] = ()
    reads_last: tuple[type[Message], ...] = ()
    """Messages whose newest it may look up in their stream."""
    reads_logs: tuple[str, ...] = ()
    """Streams it may read on from where it was."""
    watches: tuple[str, ...] = ()
    """Patterns under `feed.`, where the streams repeat what they stored."""
    answers: tuple[type[Message], ...] = ()
    asks: tuple[type[Message], ...] = ()
    wishes_as: Strategy | None = None
    """The one strategy its intents may name; None: any."""
    stream_info: bool = False
    """Whether it may ask after every stream, not just HEALTH_STREAM."""


MARKET_HEARTBEATS = Heartbeat.SUBJECT.format("market", "*")
"""How services without keys learn the broker's time."""

ACCOUNTS: tuple[Account, ...] = (
    Account(
        name="market",
        writes=(SnapshotTaken, PortfolioObserved, MarketTicked, *SERVICE_WRITES),
        watches=("orders.filled.*",),
        answers=(TickRequested,),
    ),
    Account(name="planner", writes=(PlanMade, OrderIntended, *SERVICE_WRITES), consumes=(PLANNER,)),
    Account(
        name="risk",
        writes=(IntentApproved, IntentBlocked, TradingStateSet, EquityMarked, *SERVICE_WRITES),
        consumes=(RISK_INTENTS, RISK_DECISIONS, RISK_ORDERS),
        reads_last=(PortfolioObserved, SnapshotTaken, EquityMarked),
        reads_logs=("DECISIONS", "TRADING"),
        watches=(Heartbeat.SUBJECT.format("risk", "*"),),
    ),
    Account(
        name="executor",
        writes=(OrderChanged, LedgerEntered, TradingStateSet, *SERVICE_WRITES),
        consumes=(EXECUTOR_APPROVALS, *RECORDERS),
        reads_logs=("TRADING",),
        watches=(MARKET_HEARTBEATS,),
    ),
    Account(name="reporter", writes=SERVICE_WRITES, watches=(MARKET_HEARTBEATS,)),
    Account(name="dashboard", watches=(">",), reads_last=(PortfolioObserved,)),
    Account(
        name=OPERATOR,
        writes=(TradingStateSet, OrderIntended),
        watches=(">",),
        reads_last=(PortfolioObserved, SnapshotTaken),
        reads_logs=("TRADING",),
        asks=(TickRequested,),
        stream_info=True,
    ),
    # For a planner that is not ours. It cannot pass for one that is, nor close anything.
    Account(name="guest", writes=(OrderIntended,), consumes=(GUEST,), wishes_as=Strategy.GUEST_PUT),
)
BY_NAME = {account.name: account for account in ACCOUNTS}
USERS: tuple[str, ...] = (PROVISION, *BY_NAME)
"""Every name that has a key."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """A subject of another account that an account may send to.

    `subject` is its name there, `local` its name in the account that imports it.
    """

    owner: str
    subject: str
    local: str
    streamed: bool = False
    """Whether more than one message may come back."""


def inbox_prefix(account: str) -> str:
    """Where answers to an account's requests arrive."""
    return f"_INBOX.{account}"


def write_subject(account: Account, message_type: type[Message]) -> str:
    """The subjects an account writes a message to: heartbeats only under its own name, wishes
    only under the strategy it is bound to.
    """
    if message_type is Heartbeat:
        return Heartbeat.SUBJECT.format(account.name, "*")
    if message_type is OrderIntended and account.wishes_as is not None:
        return OrderIntended.SUBJECT.format(subject_token(account.wishes_as.value), "*")
    return subject_filter(message_type)


def stream_of(message_type: type[Message]) -> str:
    """The stream that takes a message. Raises KeyError for a message none takes."""
    wanted = subject_filter(message_type)
    for stream in STREAMS:
        if wanted in stream.subjects:
            return stream.name
    raise KeyError(message_type.__name__)


def reaches(account: Account) -> list[Reach]:
    """Everything an account may send to, each once."""
    found = [_stored(write_subject(account, written)) for written in account.writes]
    for consumer in account.consumes:
        found += _consumer_reaches(consumer)
    found += [
        _api(f"DIRECT.GET.{stream_of(read)}.{subject_filter(read)}") for read in account.reads_last
    ]
    found += [_api(f"DIRECT.GET.{stream}") for stream in account.reads_logs]
    if account.stream_info:
        found.append(_api("STREAM.INFO.*"))
    elif Heartbeat in account.writes:
        found.append(_api(f"STREAM.INFO.{HEALTH_STREAM}"))
    for asked in account.asks:
        subject = subject_filter(asked)
        found += [
            Reach(owner=answerer.name, subject=subject, local=subject)
            for answerer in ACCOUNTS
            if asked in answerer.answers
        ]
    return found


def _consumer_reaches(consumer: Consumer) -> list[Reach]:
    at = f"{consumer.stream}.{consumer.name}"
    found = [
        _api(f"CONSUMER.MSG.NEXT.{at}", streamed=True),
        _api(f"CONSUMER.INFO.{at}"),
    ]
    if consumer.acknowledged:
        found.append(_stored(f"$JS.ACK.{at}.>"))
    else:  # it is read from the beginning at every start
        found.append(_api(f"CONSUMER.RESET.{at}"))
    return found


def _stored(subject: str) -> Reach:
    return Reach(owner=CORE, subject=subject, local=subject)


def _api(call: str, *, streamed: bool = False) -> Reach:
    return Reach(
        owner=CORE, subject=f"$JS.API.{call}", local=f"{API_PREFIX}.{call}", streamed=streamed
    )


def feeds(account: Account) -> list[str]:
    """The repeated subjects an account hears."""
    return [f"{FEED_PREFIX}.{pattern}" for pattern in account.watches]


def publishes(account: Account) -> list[str]:
    """All an account's user may publish to, but for answers to requests it was sent."""
    return [reach.local for reach in reaches(account)]


def subscribes(account: Account) -> list[str]:
    """All an account's user may listen to."""
    asked = [subject_filter(answered) for answered in account.answers]
    return [f"{inbox_prefix(account.name)}.>", *feeds(account), *asked]
