"""From a subject and its bytes to the message that belongs there. Pure."""

from __future__ import annotations

import msgspec

from libs.common.contracts import MESSAGES, Message
from libs.common.topology import FEED_PREFIX


class UndecodableError(ValueError):
    """A payload that is not the message its subject promises."""


def _tokens_match(pattern: str, subject: str) -> bool:
    ours, theirs = pattern.split("."), subject.split(".")
    return len(ours) == len(theirs) and all(
        o in ("{}", t) for o, t in zip(ours, theirs, strict=True)
    )


_DECODERS: dict[type[Message], msgspec.json.Decoder[Message]] = {
    t: msgspec.json.Decoder(t) for t in MESSAGES
}


def decode_message(subject: str, payload: bytes) -> Message:
    """The message of a subject (with or without `feed.`).

    Raises UndecodableError, naming the subject, when the subject is unknown or the payload is not
    the message that belongs there: also one that speaks of another symbol, or for another service,
    than its subject, which is what the bus gives rights by.
    """
    subject = subject.removeprefix(f"{FEED_PREFIX}.")
    for message_type, decoder in _DECODERS.items():
        if _tokens_match(message_type.SUBJECT, subject):
            try:
                message = decoder.decode(payload)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise UndecodableError(f"{subject}: {error}") from error
            if message.subject != subject:
                raise UndecodableError(f"{subject}: the message belongs to {message.subject}")
            return message
    raise UndecodableError(f"{subject}: no message belongs to this subject")
