"""What the exchange answers when it says no: Alpaca's status and code; the text is ours.

The rules behind the codes: docs/exchange.md, "What is refused".
"""

from __future__ import annotations

MALFORMED = 40010000
DUPLICATE_CLIENT_ID = 40010001
FORBIDDEN = 40310000
NO_POSITION = 40310000
SHORT_POSITION = 40310001
NOT_FOUND = 40410000
CONFLICT = 40910000
UNPROCESSABLE = 42210000
RATE_LIMITED = 42910000


class Refusal(Exception):  # noqa: N818  # an answer, not an error
    """An answer other than success; nothing was changed."""

    def __init__(self, status: int, code: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


def malformed(message: str) -> Refusal:
    return Refusal(400, MALFORMED, message)


def duplicate_client_id() -> Refusal:
    return Refusal(422, DUPLICATE_CLIENT_ID, "client_order_id must be unique")


def forbidden(message: str, code: int = FORBIDDEN, **details: str) -> Refusal:
    return Refusal(403, code, message, **details)


def not_found(message: str) -> Refusal:
    return Refusal(404, NOT_FOUND, message)


def conflict(message: str) -> Refusal:
    return Refusal(409, CONFLICT, message)


def unprocessable(message: str, **details: object) -> Refusal:
    return Refusal(422, UNPROCESSABLE, message, **{k: str(v) for k, v in details.items()})


def not_offered(what: str) -> Refusal:
    """A refusal like others, not a 501: after a 5xx a client must take its order to be in doubt."""
    return unprocessable(f"{what} is not offered by the simulated exchange")
