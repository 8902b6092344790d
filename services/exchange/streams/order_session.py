"""One connection to `/stream`, without I/O: who it is, and whether it listens to `trade_updates`.

Rule: everything that moves a session from state to state is in this file. What each state accepts
is the table DEEDS; what is in no row is answered with an error, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from services.exchange.streams.session import Answer, Event

TRADE_UPDATES = "trade_updates"
# Whether those keys open an account, and no error of another kind.
Admit = Callable[[str, str], bool]


class State(StrEnum):
    CONNECTED = "connected"
    AUTHORIZED = "authorized"
    ENDED = "ended"


# (state, action) → what is done. `auth` and `authenticate` are the two forms Alpaca documents.
DEEDS: dict[tuple[State, str], str] = {
    (State.CONNECTED, "auth"): "authenticate",
    (State.CONNECTED, "authenticate"): "authenticate",
    (State.CONNECTED, "listen"): "refuse",
    (State.AUTHORIZED, "auth"): "confirm",
    (State.AUTHORIZED, "authenticate"): "confirm",
    (State.AUTHORIZED, "listen"): "listen",
}


class OrderSession:
    def __init__(self, admit: Admit) -> None:
        self.state = State.CONNECTED
        self.listening = False
        self._admit = admit
        self._deeds: dict[str, Callable[[dict[Any, Any]], Answer]] = {
            "authenticate": self._authenticate,
            "refuse": lambda _message: _authorization("unauthorized", "listen"),
            "confirm": lambda _message: _authorization("authorized", "authenticate"),
            "listen": self._listen,
        }

    @property
    def authenticated(self) -> bool:
        return self.state is State.AUTHORIZED

    def receive(self, message: object) -> Answer:
        """The answer to a client's message, as it was decoded."""
        if self.state is State.ENDED:
            return Answer()
        if not isinstance(message, dict) or not isinstance(message.get("action"), str):
            return self.unreadable()
        deed = DEEDS.get((self.state, message["action"]))
        if deed is None:
            return _error(f"unknown action {message['action'][:40]!r}")
        return self._deeds[deed](message)

    def unreadable(self) -> Answer:
        return _error("invalid syntax: a message is an object with an action")

    def time_out(self) -> Answer:
        """The time to authenticate is over: the stream ends without a word."""
        return self._end() if self.state is State.CONNECTED else Answer()

    def too_slow(self) -> Answer:
        return self._end("slow client")

    def failed(self) -> Answer:
        return self._end("internal error")

    def frames(self, events: list[Event]) -> list[Any]:
        return [{"stream": TRADE_UPDATES, "data": event} for event in events]

    def _authenticate(self, message: dict[Any, Any]) -> Answer:
        data = message.get("data")
        old = data if isinstance(data, dict) else {}
        key = message.get("key", old.get("key_id"))
        secret = message.get("secret", old.get("secret_key"))
        if not isinstance(key, str) or not isinstance(secret, str):
            return _authorization("unauthorized", "authenticate")
        if not self._admit(key, secret):
            return _authorization("unauthorized", "authenticate")
        self.state = State.AUTHORIZED
        return _authorization("authorized", "authenticate")

    def _listen(self, message: dict[Any, Any]) -> Answer:
        """The streams named are all that is listened to from now on; unknown ones are left out."""
        data = message.get("data")
        streams = data.get("streams") if isinstance(data, dict) else None
        if not isinstance(streams, list):
            return _error("invalid syntax: listen needs data.streams, a list of names")
        self.listening = TRADE_UPDATES in streams
        heard = [TRADE_UPDATES] if self.listening else []
        return Answer([{"stream": "listening", "data": {"streams": heard}}])

    def _end(self, why: str | None = None) -> Answer:
        self.state = State.ENDED
        self.listening = False
        return Answer(_error(why).messages if why else [], ends=True)


def _authorization(status: str, action: str) -> Answer:
    data = {"status": status, "action": action}
    return Answer([{"stream": "authorization", "data": data}])


def _error(text: str) -> Answer:
    return Answer([{"stream": "error", "data": {"error": text}}])
