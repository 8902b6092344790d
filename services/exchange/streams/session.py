"""What both kinds of session have in common: answers, and the events that pass through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

Event = dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """Messages to send, each in a frame of its own; then the end of the stream, if `ends`."""

    messages: list[Any] = []
    ends: bool = False


# Every event on its way to one connection passes through one of these: what it returns is sent
# instead. An empty list is silence, None drops the connection. It may keep events back for a later
# call; it must not change an event, for others are sent the same one.
Tap = Callable[[list[Event]], list[Event] | None]


def untouched(events: list[Event]) -> list[Event] | None:
    return events
