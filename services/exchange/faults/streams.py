"""Faults as one connection of a stream meets them."""

from __future__ import annotations

from typing import Generic, TypeVar

from services.exchange.faults.board import Faults

EventT = TypeVar("EventT")


class StreamFaults(Generic[EventT]):
    """Every event on its way to the connection passes through here, in a call of its own or with
    others; each is counted by itself."""

    def __init__(self, faults: Faults, stream: str, key: str) -> None:
        self._faults = faults
        self._stream = stream
        self._key = key
        self._held: list[EventT] = []

    def __call__(self, events: list[EventT]) -> list[EventT] | None:
        """What leaves, in which order; None when the connection is to be cut instead.

        An event that is reordered is held back until the one after it, if need be until the next
        call. The events themselves are left as they are: others are sent the same ones.
        """
        if not self._faults and not self._held:
            return events
        leaving: list[EventT] = []
        for event in events:
            strike = self._faults.strike_event(self._stream, self._key)
            kind = None if strike is None else strike.fault.kind
            if kind == "drop":
                return None
            if kind == "mute":
                continue
            if kind == "reorder" and not self._held:
                self._held = [event]
                continue
            leaving += [event, event] if kind == "duplicate" else [event]
            leaving += self._held
            self._held = []
        return leaving
