"""One market-data connection, without I/O: messages in, answers and subscriptions out.

Rule: everything that moves a session from state to state is in this file. What each state accepts
is the table DEEDS; an action that is in no row is invalid syntax, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from services.exchange.stream_limits import StreamLimits
from services.exchange.streams import errors
from services.exchange.streams.endpoints import OTHER_CHANNELS, STAR, Endpoint
from services.exchange.streams.errors import ERRORS, error_message
from services.exchange.streams.session import Answer, Event

EVENTS_PER_FRAME_MAX = 500
LIMITED_CHANNELS = ("trades", "quotes")
ENTRIES_MAX = 100_000  # of all channels together, whatever the subscription allows
# From key and secret to None, or to the code of the error that keeps the client out.
Admit = Callable[[str, str], int | None]


class State(StrEnum):
    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    ENDED = "ended"


# (state, action) → what is done, or the code of the error that answers it.
DEEDS: dict[tuple[State, str], str | int] = {
    (State.CONNECTED, "auth"): "authenticate",
    (State.CONNECTED, "subscribe"): errors.NOT_AUTHENTICATED,
    (State.CONNECTED, "unsubscribe"): errors.NOT_AUTHENTICATED,
    (State.AUTHENTICATED, "auth"): errors.ALREADY_AUTHENTICATED,
    (State.AUTHENTICATED, "subscribe"): "subscribe",
    (State.AUTHENTICATED, "unsubscribe"): "unsubscribe",
}


class DataSession:
    def __init__(self, endpoint: Endpoint, limits: StreamLimits, admit: Admit) -> None:
        self.endpoint = endpoint
        self.state = State.CONNECTED
        # Symbols by channel, in the order they were asked for.
        self.subscriptions: dict[str, list[str]] = {name: [] for name in endpoint.channels}
        self._limits = limits
        self._admit = admit
        self._deeds: dict[str, Callable[[dict[Any, Any]], Answer]] = {
            "authenticate": self._authenticate,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }

    @property
    def authenticated(self) -> bool:
        return self.state is State.AUTHENTICATED

    def opened(self, key: str, secret: str, *, msgpack: bool) -> Answer:
        """The greeting; keys that came as headers of the handshake count as an auth message."""
        if self.endpoint.options and not msgpack:
            return self._error(errors.MSGPACK_ONLY)
        greeting = Answer([[{"T": "success", "msg": "connected"}]])
        if not (key or secret):
            return greeting
        answer = self._authenticate({"key": key, "secret": secret})
        return Answer(greeting.messages + answer.messages, answer.ends)

    def receive(self, message: object) -> Answer:
        """The answer to a client's message, as it was decoded."""
        if self.state is State.ENDED:
            return Answer()
        if not isinstance(message, dict) or not isinstance(message.get("action"), str):
            return self.unreadable()
        deed = DEEDS.get((self.state, message["action"]), errors.INVALID_SYNTAX)
        return self._error(deed) if isinstance(deed, int) else self._deeds[deed](message)

    def unreadable(self) -> Answer:
        return self._error(errors.INVALID_SYNTAX)

    def time_out(self) -> Answer:
        """The time to authenticate is over."""
        if self.state is not State.CONNECTED:
            return Answer()
        return self._error(errors.AUTH_TIMEOUT)

    def too_slow(self) -> Answer:
        return self._error(errors.SLOW_CLIENT)

    def failed(self) -> Answer:
        return self._error(errors.INTERNAL)

    def frames(self, events: list[Event]) -> list[Any]:
        """Events as messages: arrays of a bounded length."""
        starts = range(0, len(events), EVENTS_PER_FRAME_MAX)
        return [events[start : start + EVENTS_PER_FRAME_MAX] for start in starts]

    def _authenticate(self, message: dict[Any, Any]) -> Answer:
        key, secret = message.get("key"), message.get("secret")
        if not isinstance(key, str) or not isinstance(secret, str):
            return self.unreadable()
        refused = self._admit(key, secret)
        if refused is not None:
            return self._error(refused)
        self.state = State.AUTHENTICATED
        return Answer([[{"T": "success", "msg": "authenticated"}]])

    def _subscribe(self, message: dict[Any, Any]) -> Answer:
        asked, code = self._asked(message)
        if code is not None:
            return self._error(code)
        if self.endpoint.options and STAR in asked.get("quotes", ()):
            return self._error(errors.NO_STAR_FOR_QUOTES)
        wanted = {
            name: list(dict.fromkeys([*symbols, *asked.get(name, ())]))
            for name, symbols in self.subscriptions.items()
        }
        if self._too_many(wanted):
            return self._error(errors.SYMBOL_LIMIT)
        return self._subscribed(wanted)

    def _too_many(self, wanted: dict[str, list[str]]) -> bool:
        limits = self._limits
        most = limits.option_symbols_max if self.endpoint.options else limits.stock_symbols_max
        counted = sum(len(set(wanted[name]) - {STAR}) for name in LIMITED_CHANNELS)
        return counted > most or sum(map(len, wanted.values())) > ENTRIES_MAX

    def _unsubscribe(self, message: dict[Any, Any]) -> Answer:
        asked, code = self._asked(message)
        if code is not None:
            return self._error(code)
        leaving = {name: set(symbols) for name, symbols in asked.items()}
        return self._subscribed(
            {
                name: [symbol for symbol in symbols if symbol not in leaving.get(name, ())]
                for name, symbols in self.subscriptions.items()
            }
        )

    def _subscribed(self, wanted: dict[str, list[str]]) -> Answer:
        for name, channel in self.endpoint.channels.items():
            if channel.follows is not None:
                wanted[name] = list(wanted[channel.follows])
        self.subscriptions = wanted
        return Answer([[{"T": "subscription", **wanted}]])

    def _asked(self, message: dict[Any, Any]) -> tuple[dict[str, list[str]], int | None]:
        """Symbols by channel, and the code of the error when they cannot be had."""
        asked = {name: symbols for name, symbols in message.items() if name != "action"}
        offered = {n for n, channel in self.endpoint.channels.items() if channel.follows is None}
        for name, symbols in asked.items():
            if name not in offered:
                known = name in OTHER_CHANNELS
                return {}, errors.INVALID_FOR_FEED if known else errors.INVALID_SYNTAX
            if not isinstance(symbols, list) or not all(map(self._is_wanted, symbols)):
                return {}, errors.INVALID_SYNTAX
        return asked, None if asked else errors.INVALID_SYNTAX

    def _is_wanted(self, symbol: object) -> bool:
        return isinstance(symbol, str) and (symbol == STAR or self.endpoint.is_symbol(symbol))

    def _error(self, code: int) -> Answer:
        ends = ERRORS[code].ends
        if ends:
            self.state = State.ENDED
        return Answer([error_message(code)], ends)
