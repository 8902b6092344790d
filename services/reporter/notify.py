"""The only door to `requests` in the reporter: one POST to a webhook, and what is known of it.

A webhook has no idempotency key, so a message that may have arrived is never sent again by
itself: `unknown` is an answer of its own. The address holds the webhook's token and appears in no
log, result or error.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import socket
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

# At DEBUG urllib3 logs the path of every request, which holds the token.
logging.getLogger("urllib3").setLevel(logging.WARNING)

_BODY_BYTES_MAX = 4096
_DETAIL_LENGTH_MAX = 200
_RETRY_AFTER_SECONDS_MAX = 86_400
# A gateway that gave up waiting for the server behind it: the server may have taken the message.
_GATEWAY_GAVE_UP = frozenset({HTTPStatus.GATEWAY_TIMEOUT, 524})


class Outcome(StrEnum):
    SENT = "sent"
    """Answered with 2xx."""
    REFUSED = "refused"
    """Certainly not delivered: answered with another status, or no connection was made."""
    UNKNOWN = "unknown"
    """Perhaps delivered: silence or a lost connection after the request was on its way."""


class PostResult(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    status_code: int | None = None
    retry_after_seconds: float | None = None
    """What a 429 asks for."""
    detail: str = ""
    """One line for a person; never the address."""


def post(
    webhook_url: str,
    payload: Mapping[str, object],
    *,
    timeout: float,
    own_host: str | None = None,
) -> PostResult:
    """Send `payload` as JSON, once, following no redirect. Never raises for what the network does.

    `timeout` in seconds holds for connecting and for each silence while waiting for the answer.
    A host whose name leads into the network we are in is not called, but for `own_host`.
    """
    if leads_inside(webhook_url) and urlsplit(webhook_url).netloc.lower() != own_host:
        return PostResult(
            outcome=Outcome.REFUSED, detail="the webhook's host is an address inside a network"
        )
    try:
        with (
            requests.Session() as session,
            session.post(
                webhook_url,
                json=payload,
                timeout=(timeout, timeout),
                allow_redirects=False,
                stream=True,  # the status alone decides; a body that breaks off changes nothing
            ) as response,
        ):
            return _result_of(response)
    except requests.RequestException as problem:
        outcome = Outcome.REFUSED if _never_sent(problem) else Outcome.UNKNOWN
        return PostResult(outcome=outcome, detail=type(problem).__name__)


def leads_inside(url: str) -> bool:
    """Whether a host's name stands for any address that is not of the public internet: this
    machine, a private network, a cloud's metadata service. A name nobody knows leads nowhere.
    """
    try:
        parts = urlsplit(url)
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return False
    addresses = {ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found}
    return any(not _public(address) for address in addresses)


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_global and not (mapped or address).is_multicast


def _never_sent(problem: requests.RequestException) -> bool:
    """Whether the request certainly never left: a wrong address, or no connection to send it on."""
    if isinstance(problem, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    if isinstance(problem, ValueError):  # InvalidURL, MissingSchema, InvalidJSONError and the like
        return True
    cause = problem.args[0] if problem.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _result_of(response: requests.Response) -> PostResult:
    status = response.status_code
    if 200 <= status < 300:
        return PostResult(outcome=Outcome.SENT, status_code=status)
    body = _body(response)
    retry_after = None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after = _seconds(body.get("retry_after")) or _seconds(
            response.headers.get("Retry-After")
        )
    return PostResult(
        outcome=Outcome.UNKNOWN if status in _GATEWAY_GAVE_UP else Outcome.REFUSED,
        status_code=status,
        retry_after_seconds=retry_after,
        detail=_detail(status, body),
    )


def _body(response: requests.Response) -> dict[str, object]:
    """The beginning of the answer where it is a JSON object, else nothing."""
    try:
        decoded = json.loads(response.raw.read(_BODY_BYTES_MAX, decode_content=True))
    except Exception:  # whatever is wrong with it, the status is known already
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _seconds(value: object) -> float | None:
    """A waiting time that makes sense; Discord gives fractions in the body, whole ones above."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if not (math.isfinite(seconds) and 0 <= seconds <= _RETRY_AFTER_SECONDS_MAX):
        return None
    return seconds


def _detail(status: int, body: Mapping[str, object]) -> str:
    message = body.get("message")
    said = " ".join(message.split())[:_DETAIL_LENGTH_MAX] if isinstance(message, str) else ""
    return f"HTTP {status}: {said}" if said else f"HTTP {status}"
