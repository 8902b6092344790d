"""The HTTP face: authentication, rate limits, dispatch, and errors in Alpaca's shape.

Endpoints are plain functions of a Call. A bare ASGI application: the request is read from the
scope as it stands, because an order must be answered in little more time than the server itself
takes (see docs/decisions, "The exchange's face").
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from services.exchange.engine.refusals import (
    RATE_LIMITED,
    Refusal,
    malformed,
    not_found,
)
from services.exchange.faults.asked import BODY_BYTES_MAX as KEPT_BYTES_MAX
from services.exchange.faults.asked import Asked
from services.exchange.faults.board import Strike
from services.exchange.http.answers import Answer, Receive, Scope, Send, send_answer
from services.exchange.http.call import Call, Encoded, MultiStatus
from services.exchange.http.faulty import Faulty
from services.exchange.http.openapi import OPENAPI_PATH
from services.exchange.http.origin import check_origin
from services.exchange.http.page import PAGE_PATH
from services.exchange.http.rate_limit import Headers, RateLimit
from services.exchange.http.routes import Found, Routes, path_of
from services.exchange.prices.market import Moment
from services.exchange.venue import Tenant, Venue

Journal = Callable[[Call, str, str, str], None]

BODY_BYTES_MAX = 1_000_000
INTERNAL_ERROR = 50010000
DATA = "data"
SIM = "sim"  # the family of what is not Alpaca's: needs no keys, is not counted, meets no faults
OWN_PATHS = ("/sim/", OPENAPI_PATH)  # with these and the page not noted among what is asked
_UNAUTHORIZED = msgspec.json.encode({"message": "unauthorized"})
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


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
        self._faulty = Faulty(venue.faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(receive)
        except _GoneError:
            return
        except Refusal as refusal:
            answer = _refused(refusal, [])
        else:
            if self._venue.faults:
                struck = self._struck(scope)
                if struck is not None:
                    await self._suffer(*struck, scope, body, receive, send)
                    return
            answer = self.answer(scope, body)
            path = scope["path"]
            if not path.startswith(OWN_PATHS) and path != PAGE_PATH:
                self._note(scope, body, answer.status)
        await send_answer(send, answer)

    def answer(self, scope: Scope, body: bytes, stale_seconds: float = 0.0) -> Answer:
        """Market data are those of `stale_seconds` ago."""
        method, path = scope["method"], path_of(scope)
        found = self._routes.find(method, path)
        if found is None:
            return _refused(_no_such(method, path), [])
        if found.route.family == SIM:
            return self._perform(found, scope, body, None, [])
        tenant = self._who(scope["headers"])
        if tenant is None:
            return Answer(401, _UNAUTHORIZED)
        self._venue.begin()
        limit = self._limit(tenant, found)
        allowed = self._venue.ended or limit.allow(self._venue.pace_seconds)
        headers = limit.headers()
        if not allowed:
            return _too_many(headers)
        stale = stale_seconds if found.route.family == DATA else 0.0
        return self._perform(found, scope, body, tenant, headers, stale)

    def _perform(
        self,
        found: Found,
        scope: Scope,
        body: bytes,
        tenant: Tenant | None,
        headers: Headers,
        stale_seconds: float = 0.0,
    ) -> Answer:
        query = scope["query_string"].decode("latin-1")
        try:
            if tenant is None:  # what needs no keys must not be driven from other sites
                check_origin(scope["method"], scope["headers"])
            call = self.call(found, query, body, tenant)
            if stale_seconds:
                call = msgspec.structs.replace(call, moment=self._venue.earlier(stale_seconds))
            revision = self._venue.revision_of(tenant)
            result = found.route.endpoint(call)
            if self._venue.revision_of(tenant) != revision:
                self._journal(call, scope["method"], path_of(scope), query)
            if tenant is not None:
                self._venue.tell(tenant)
        except Refusal as refusal:
            return _refused(refusal, headers)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            error = {"code": INTERNAL_ERROR, "message": "internal error of the simulation"}
            return Answer(500, _encode(error), headers=headers)
        return _success(result, headers)

    # --- faults ----------------------------------------------------------------------------------

    def _struck(self, scope: Scope) -> tuple[Strike, RateLimit] | None:
        """Only requests that would be answered meet faults: the path exists, the keys are right."""
        found = self._routes.find(scope["method"], path_of(scope))
        if found is None or found.route.family == SIM:
            return None
        tenant = self._who(scope["headers"])
        if tenant is None:
            return None
        self._venue.begin()
        strike = self._venue.faults.strike(
            scope["method"], scope["path"], found.route.path, tenant.key
        )
        return None if strike is None else (strike, self._limit(tenant, found))

    async def _suffer(
        self,
        strike: Strike,
        limit: RateLimit,
        scope: Scope,
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        def too_many() -> Answer:
            limit.allow(self._venue.pace_seconds)
            return _too_many(limit.headers(remaining=0))

        await self._faulty.serve(
            strike,
            self._note(scope, body, None, strike.fault.id),
            scope=scope,
            receive=receive,
            send=send,
            act=lambda stale_seconds: self.answer(scope, body, stale_seconds),
            too_many=too_many,
        )

    def _note(
        self, scope: Scope, body: bytes, status: int | None, fault: str | None = None
    ) -> Asked:
        asked = Asked(
            scope["method"],
            scope["path"],
            scope["query_string"],
            scope["headers"],
            body[:KEPT_BYTES_MAX],
            len(body),
            status,
            fault,
        )
        self._venue.asked.note(asked)
        return asked

    # --- the parts of a request ------------------------------------------------------------------

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


def _no_such(method: str, path: str) -> Refusal:
    return not_found(f"{method} {path[:200]} is not offered by the simulated exchange")


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


def _success(result: Any, headers: Headers) -> Answer:
    if result is None:
        return Answer(204, headers=headers)
    if isinstance(result, MultiStatus):
        return Answer(207, _encode(result.parts), headers=headers)
    if isinstance(result, Encoded):
        return Answer(200, result.body, result.media_type.encode(), headers)
    return Answer(200, _encode(result), headers=headers)


def _too_many(headers: Headers) -> Answer:
    content = {"code": RATE_LIMITED, "message": "rate limit exceeded"}
    return Answer(429, _encode(content), headers=headers)


def _refused(refusal: Refusal, headers: Headers) -> Answer:
    content = {"code": refusal.code, "message": refusal.message, **refusal.details}
    return Answer(refusal.status, _encode(content), headers=headers)
