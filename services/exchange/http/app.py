"""The HTTP face: authentication, rate limits, dispatch, and errors in Alpaca's shape.

Endpoints are plain functions of a Call. A bare ASGI application: the request is read from the
scope as it stands, because an order must be answered in little more time than the server itself
takes (see docs/decisions, "The exchange's face").
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from services.exchange.engine.refusals import (
    RATE_LIMITED,
    Refusal,
    malformed,
    not_found,
    not_offered,
)
from services.exchange.http.call import Call, Encoded, MultiStatus
from services.exchange.http.origin import check_origin
from services.exchange.http.rate_limit import Headers, RateLimit
from services.exchange.http.routes import Found, Routes
from services.exchange.prices.market import Moment
from services.exchange.venue import Tenant, Venue

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Journal = Callable[[Call, str, str, str], None]

BODY_BYTES_MAX = 1_000_000
INTERNAL_ERROR = 50010000
SIM = "sim"  # the family of what is not Alpaca's: needs no keys, is not counted, meets no faults
_JSON = b"application/json"
_UNAUTHORIZED = msgspec.json.encode({"message": "unauthorized"})
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    media_type: bytes = _JSON
    headers: Headers = []


class _GoneError(Exception):
    """The client left before its request had arrived."""


class Face:
    """The ASGI application for HTTP. `journal` is called with each request that changed something,
    before it is answered; it may raise OSError, and the request is then answered with an error."""

    def __init__(
        self, venue: Venue, routes: Routes, *, rate_limit_per_minute: int, journal: Journal
    ) -> None:
        self._venue = venue
        self._routes = routes
        self._rate_limit_per_minute = rate_limit_per_minute
        self._limits: dict[tuple[str, str], RateLimit] = {}
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(receive)
        except _GoneError:
            return
        except Refusal as refusal:
            answer = _refused(refusal, [])
        else:
            answer = self.answer(scope, body)
        await _send(send, answer)

    def answer(self, scope: Scope, body: bytes) -> _Answer:
        method, path = scope["method"], scope["path"]
        found = self._routes.find(method, path)
        if found is None:
            return _refused(self._no_such(method, path), [])
        if found.route.family == SIM:
            return self._perform(found, scope, body, None, [])
        tenant = self._who(scope["headers"])
        if tenant is None:
            return _Answer(401, _UNAUTHORIZED)
        self._venue.begin()
        limit = self._limit(tenant, found)
        allowed = self._venue.ended or limit.allow(self._venue.pace_seconds)
        headers = limit.headers()
        if not allowed:
            return _Answer(
                429,
                _encode({"code": RATE_LIMITED, "message": "rate limit exceeded"}),
                headers=headers,
            )
        return self._perform(found, scope, body, tenant, headers)

    def _perform(
        self, found: Found, scope: Scope, body: bytes, tenant: Tenant | None, headers: Headers
    ) -> _Answer:
        query = scope["query_string"].decode("latin-1")
        try:
            if tenant is None:  # what needs no keys must not be driven from other sites
                check_origin(scope["method"], scope["headers"])
            call = self.call(found, query, body, tenant)
            revision = self._venue.revision_of(tenant)
            result = found.route.endpoint(call)
            if self._venue.revision_of(tenant) != revision:
                self._journal(call, scope["method"], scope["path"], query)
            if tenant is not None:
                self._venue.tell(tenant)
        except Refusal as refusal:
            return _refused(refusal, headers)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            error = {"code": INTERNAL_ERROR, "message": "internal error of the simulation"}
            return _Answer(500, _encode(error), headers=headers)
        return _success(result, headers)

    def call(self, found: Found, query: str, body: bytes, tenant: Tenant | None) -> Call:
        """The request at the present moment."""
        venue = self._venue
        moment = venue.advance() if tenant is None else venue.play(tenant)
        return self.call_at(found, query, body, tenant, moment)

    def call_at(
        self, found: Found, query: str, body: bytes, tenant: Tenant | None, moment: Moment
    ) -> Call:
        return Call(
            venue=self._venue,
            moment=moment,
            query=dict(parse_qsl(query, keep_blank_values=True)) if query else {},
            path=found.parameters,
            body=body,
            holder=tenant,
        )

    def _who(self, headers: Headers) -> Tenant | None:
        key = secret = b""
        for name, value in headers:
            if name == b"apca-api-key-id":
                key = value
            elif name == b"apca-api-secret-key":
                secret = value
        tenant = self._venue.tenants.get(key.decode("latin-1"))
        if tenant is None or not hmac.compare_digest(secret, tenant.secret.encode()):
            return None
        return tenant

    def _limit(self, tenant: Tenant, found: Found) -> RateLimit:
        """Trading and market data are counted apart, as Alpaca does."""
        which = (tenant.key, found.route.family)
        limit = self._limits.get(which)
        if limit is None:
            limit = self._limits[which] = RateLimit(self._rate_limit_per_minute)
        return limit

    def _no_such(self, method: str, path: str) -> Refusal:
        what = f"{method} {path[:200]}"
        if self._routes.knows_path(path):
            return not_offered(what)
        return not_found(f"{what} is not offered by the simulated exchange")


async def _body(receive: Receive) -> bytes:
    """Raises Refusal for a body that is too long, _GoneError when the client leaves."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _GoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= BODY_BYTES_MAX:
        return body
    parts = bytearray(body)
    while message.get("more_body", False):
        if len(parts) > BODY_BYTES_MAX:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        parts += message.get("body", b"")
    if len(parts) > BODY_BYTES_MAX:
        raise malformed(f"request body is longer than {BODY_BYTES_MAX} bytes")
    return bytes(parts)


async def _send(send: Send, answer: _Answer) -> None:
    headers = [*answer.headers]
    if answer.status != 204:
        headers.append((b"content-type", answer.media_type))
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _success(result: Any, headers: Headers) -> _Answer:
    if result is None:
        return _Answer(204, headers=headers)
    if isinstance(result, MultiStatus):
        return _Answer(207, _encode(result.parts), headers=headers)
    if isinstance(result, Encoded):
        return _Answer(200, result.body, result.media_type.encode(), headers)
    return _Answer(200, _encode(result), headers=headers)


def _refused(refusal: Refusal, headers: Headers) -> _Answer:
    content = {"code": refusal.code, "message": refusal.message, **refusal.details}
    return _Answer(refusal.status, _encode(content), headers=headers)
