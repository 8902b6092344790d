"""From a subject and its bytes to the message that belongs there. Pure."""

from __future__ import annotations

import msgspec

from libs.common.contracts import MESSAGES, Message
from libs.common.topology import FEED_PREFIX


class UndecodableError(ValueError):
    """A payload that is not the message its subject promises."""


_Decoder = msgspec.json.Decoder[Message]


def _by_place() -> dict[tuple[str, int], list[tuple[list[str], _Decoder]]]:
    """What may belong to a subject, by its first token and the number of its tokens."""
    found: dict[tuple[str, int], list[tuple[list[str], _Decoder]]] = {}
    for message_type in MESSAGES:
        tokens = message_type.SUBJECT.split(".")
        place = (tokens[0], len(tokens))
        found.setdefault(place, []).append((tokens, msgspec.json.Decoder(message_type)))
    return found


_BY_PLACE = _by_place()
_FEED = f"{FEED_PREFIX}."


def _decoder_of(subject: str) -> _Decoder | None:
    theirs = subject.split(".")
    for ours, decoder in _BY_PLACE.get((theirs[0], len(theirs)), ()):
        if all(o in ("{}", t) for o, t in zip(ours, theirs, strict=True)):
            return decoder
    return None


def decode_message(subject: str, payload: bytes) -> Message:
    """The message of a subject (with or without `feed.`).

    Raises UndecodableError, naming the subject, when the subject is unknown or the payload is not
    the message that belongs there: also one that speaks of another symbol, or for another service,
    than its subject, which is what the bus gives rights by.
    """
    subject = subject.removeprefix(_FEED)
    decoder = _decoder_of(subject)
    if decoder is None:
        raise UndecodableError(f"{subject}: no message belongs to this subject")
    try:
        message = decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UndecodableError(f"{subject}: {error}") from error
    if message.subject != subject:
        raise UndecodableError(f"{subject}: the message belongs to {message.subject}")
    return message
