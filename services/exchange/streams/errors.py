"""The errors of the market-data streams, as a table: code, text, and whether the stream ends.

Codes and texts are Alpaca's (docs.alpaca.markets, "WebSocket Stream", "Real-time Option Data").
Its documents do not say which of them end the connection; those after which nothing is left to
talk about do.
"""

from __future__ import annotations

from typing import Any

import msgspec

INVALID_SYNTAX = 400
NOT_AUTHENTICATED = 401
AUTH_FAILED = 402
ALREADY_AUTHENTICATED = 403
AUTH_TIMEOUT = 404
SYMBOL_LIMIT = 405
CONNECTION_LIMIT = 406
SLOW_CLIENT = 407
INSUFFICIENT_SUBSCRIPTION = 409
INVALID_FOR_FEED = 410
MSGPACK_ONLY = 412
NO_STAR_FOR_QUOTES = 413
INTERNAL = 500


class StreamError(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    ends: bool = False
    when: str


ERRORS: dict[int, StreamError] = {
    INVALID_SYNTAX: StreamError(
        text="invalid syntax",
        when="a frame that cannot be read, an unknown action or channel, a malformed symbol",
    ),
    NOT_AUTHENTICATED: StreamError(
        text="not authenticated", when="subscribe or unsubscribe before auth"
    ),
    AUTH_FAILED: StreamError(text="auth failed", ends=True, when="wrong keys"),
    ALREADY_AUTHENTICATED: StreamError(text="already authenticated", when="a second auth"),
    AUTH_TIMEOUT: StreamError(
        text="auth timeout", ends=True, when="no successful auth in `auth_timeout_seconds`"
    ),
    SYMBOL_LIMIT: StreamError(
        text="symbol limit exceeded",
        when="more symbols than the limit; the subscriptions stay as they were",
    ),
    CONNECTION_LIMIT: StreamError(
        text="connection limit exceeded",
        ends=True,
        when="the account has `connections_max` connections to this endpoint",
    ),
    SLOW_CLIENT: StreamError(
        text="slow client",
        ends=True,
        when="more than `queue_frames_max` frames unread; may not arrive before the cut",
    ),
    INSUFFICIENT_SUBSCRIPTION: StreamError(
        text="insufficient subscription", ends=True, when="a feed listed in `feeds_refused`"
    ),
    INVALID_FOR_FEED: StreamError(
        text="invalid subscribe action for this feed",
        when="a channel of another kind of stream, such as bars of options",
    ),
    MSGPACK_ONLY: StreamError(
        text="option messages are only available in MsgPack format",
        ends=True,
        when="an option stream opened without `Content-Type: application/msgpack`",
    ),
    NO_STAR_FOR_QUOTES: StreamError(
        text="star subscription is not allowed for option quotes", when="`*` for option quotes"
    ),
    INTERNAL: StreamError(text="internal error", ends=True, when="a fault of the simulation"),
}


def error_message(code: int) -> list[dict[str, Any]]:
    return [{"T": "error", "code": code, "msg": ERRORS[code].text}]
