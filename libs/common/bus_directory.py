"""Who writes and who reads each message, from the tables of streams and rights. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from libs.common.bus_accounts import ACCOUNTS, Account, stream_of, write_subject
from libs.common.contracts import MESSAGES, Message, subject_filter
from libs.common.topology import FEED_PREFIX, Consumer


class Way(StrEnum):
    """How a message comes to who reads it."""

    CONSUMER = "consumer"
    """Pulled from a durable consumer of the stream."""
    LAST = "last"
    """The newest of a subject is looked up in the stream."""
    LOG = "log"
    """The stream is read on from where the reader was."""
    FEED = "feed"
    """Heard under `feed.` as it is stored; what is missed stays missed."""
    REQUEST = "request"
    """Sent to whoever answers, over core NATS."""
    REPLY = "reply"
    """Comes back to the inbox of who asked."""


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    way: Way
    subject: str
    """What it listens to or looks up."""
    consumer: Consumer | None = None


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    subject: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message: its place and its people."""

    message_type: type[Message]
    stream: str | None
    """None for a request and its answer, which no stream takes."""
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    answered_with: type[Message] | None = None


def directory() -> list[Entry]:
    """Every message in the order of the contracts."""
    return [_entry(message_type) for message_type in MESSAGES]


def _entry(message_type: type[Message]) -> Entry:
    stream = stream_or_none(message_type)
    return Entry(
        message_type=message_type,
        stream=stream,
        writers=tuple(writer for account in ACCOUNTS for writer in _writes(account, message_type)),
        readers=tuple(
            reader for account in ACCOUNTS for reader in _reads(account, message_type, stream)
        ),
        answered_with=ANSWERS.get(message_type),
    )


def _answer_types() -> dict[type[Message], type[Message]]:
    """`control.market.tick` is answered by `control.market.ticked`: the past tense says it."""
    asked = {request for account in ACCOUNTS for request in account.asks}
    by_subject = {message_type.SUBJECT: message_type for message_type in MESSAGES}
    return {request: by_subject[f"{request.SUBJECT}ed"] for request in asked}


ANSWERS = _answer_types()


def stream_or_none(message_type: type[Message]) -> str | None:
    try:
        return stream_of(message_type)
    except KeyError:
        return None


def _writes(account: Account, message_type: type[Message]) -> list[Writer]:
    found = []
    if message_type in account.writes:
        found.append(Writer(account=account.name, subject=write_subject(account, message_type)))
    if message_type in account.asks:
        found.append(Writer(account=account.name, subject=subject_filter(message_type)))
    if any(ANSWERS.get(request) is message_type for request in account.answers):
        found.append(Writer(account=account.name, subject="the asker's inbox"))
    return found


def _reads(account: Account, message_type: type[Message], stream: str | None) -> list[Reader]:
    subject = subject_filter(message_type)
    found = [
        Reader(account=account.name, way=Way.CONSUMER, subject=subject, consumer=consumer)
        for consumer in account.consumes
        if consumer.stream == stream and (not consumer.filters or subject in consumer.filters)
    ]
    if message_type in account.reads_last:
        found.append(Reader(account=account.name, way=Way.LAST, subject=subject))
    if stream in account.reads_logs:
        found.append(Reader(account=account.name, way=Way.LOG, subject=subject))
    found += [
        Reader(account=account.name, way=Way.FEED, subject=f"{FEED_PREFIX}.{pattern}")
        for pattern in account.watches
        if stream is not None and meet(pattern, subject)
    ]
    if message_type in account.answers:
        found.append(Reader(account=account.name, way=Way.REQUEST, subject=subject))
    if any(ANSWERS.get(request) is message_type for request in account.asks):
        found.append(Reader(account=account.name, way=Way.REPLY, subject="its inbox"))
    return found


def meet(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    ours, theirs = one.split("."), other.split(".")
    for mine, yours in zip(ours, theirs, strict=False):
        if ">" in (mine, yours):
            return True
        if "*" not in (mine, yours) and mine != yours:
            return False
    return len(ours) == len(theirs)
