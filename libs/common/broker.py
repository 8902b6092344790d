"""What both doors to alpaca-py share: how its transport is tamed, and what its refusals become.

alpaca-py sets no timeout, sleeps and sends any request again on 429 and 504 (POST included), and
parses answers with pydantic. `tame` gives one client's session timeouts, empties its retry list
and keeps the answers as bytes. It touches no alpaca module, so it lives outside the doors.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.pacing import RequestWindow
from libs.common.promises import BrokenPromiseError
from libs.common.settings import AlpacaSettings, Settings


class BrokerError(Exception):
    """The broker did not do what was asked."""


class BrokerRefusedError(BrokerError):
    """The broker answered with a refusal; `code` is Alpaca's own when it gave one."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"{status} {code or ''} {message}".replace("  ", " "))
        self.status = status
        self.code = code
        self.message = message

    @property
    def certain(self) -> bool:
        """Whether the refusal proves that nothing was done. A 5xx proves nothing."""
        return 400 <= self.status < 500


class BrokerUnreachableError(BrokerError):
    """No whole answer came: whether the request arrived is unknown."""


class _Refusal(msgspec.Struct):
    code: int | None = None
    message: str = ""


class PacedClock:
    """The broker's time as far as the request limit is concerned: life times `speed`, shared by
    the threads of one process.
    """

    def __init__(self, limit: int, speed: float) -> None:
        self._window = RequestWindow(limit)
        self._speed = speed
        self._lock = threading.Lock()
        self.requests = 0

    def wait_for_room(self) -> None:
        while (wait := self._take()) > 0:
            time.sleep(wait / self._speed)

    def takes_room_now(self) -> bool:
        """Whether a request may be made without waiting; it is counted then."""
        return self._take() <= 0

    def _take(self) -> float:
        """Counts one request if there is room; else the broker's seconds until there is."""
        with self._lock:
            now = time.monotonic() * self._speed
            wait = self._window.wait_seconds(now)
            if wait <= 0:
                self._window.spend(now)
                self.requests += 1
            return wait


def refusal_of(status: int, body: bytes) -> BrokerRefusedError:
    """From Alpaca's `{"code": …, "message": …}`, or from whatever else came."""
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        refusal = _Refusal(message=body[:200].decode("utf-8", "replace"))
    return BrokerRefusedError(status, refusal.code, refusal.message or "no reason given")


def tame(
    client: Any,
    settings: AlpacaSettings,
    pace: PacedClock | None,
    on_date: Callable[[str | None, dt.timedelta], None] | None = None,
) -> None:
    """Makes a client of alpaca-py try once, with timeouts, and give bytes (see `one_request`)."""
    client._retry = 0
    client._retry_codes = []
    client._one_request = one_request(client._session, settings, pace, on_date)


def one_request(
    session: Any,
    settings: AlpacaSettings,
    pace: PacedClock | None,
    on_date: Callable[[str | None, dt.timedelta], None] | None = None,
) -> Callable[[str, str, dict[str, Any], int], bytes]:
    """A stand-in for alpaca-py's `RESTClient._one_request`: one try, timeouts, bytes. Without a
    pace the caller has waited for room itself. `on_date` is given the `Date` of every answer and
    how long it took.

    Raises BrokerRefusedError for an answer of 400 or more, BrokerUnreachableError for none.
    """
    timeout = (settings.connect_timeout_seconds, settings.read_timeout_seconds)

    def request(method: str, url: str, options: dict[str, Any], _retry: int) -> bytes:
        if pace is not None:
            pace.wait_for_room()
        begun = time.monotonic()
        try:
            response = session.request(method, url, timeout=timeout, **options)
        except OSError as error:  # requests' own errors are OSErrors
            raise BrokerUnreachableError(_without_secrets(error)) from None
        if on_date is not None:
            took = dt.timedelta(seconds=time.monotonic() - begun)
            on_date(response.headers.get("Date"), took)
        if response.status_code >= 300:
            raise refusal_of(response.status_code, response.content)
        return bytes(response.content)

    return request


def _without_secrets(error: OSError) -> str:
    text = str(error)
    for word, meaning in (
        ("Read timed out", "no answer in time"),
        ("timed out", "no connection in time"),
        ("refused", "connection refused"),
    ):
        if word in text:
            return meaning
    return type(error).__name__


def check_account(settings: Settings, account_number: str) -> None:
    """Raises BrokenPromiseError when real money would go to an account that was not named."""
    if settings.bot.mode is not BotMode.LIVE or settings.alpaca.env is not AlpacaEnv.LIVE:
        return
    if settings.alpaca.live_account != account_number:
        raise BrokenPromiseError(
            f"the keys belong to account {account_number}, but ALPACA_LIVE_ACCOUNT names"
            f" {settings.alpaca.live_account}; no order leaves until they agree"
        )
