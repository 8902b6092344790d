"""The HTTP face: routes, authentication, rate limits, and errors in Alpaca's shape.

Endpoints are plain functions of a Call; everything of starlette's is here.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.exchange.engine.refusals import (
    RATE_LIMITED,
    Refusal,
    malformed,
    not_found,
    not_offered,
)
from services.exchange.http import market_data, option_contracts, trading
from services.exchange.http.call import Call, MultiStatus
from services.exchange.http.rate_limit import RateLimit
from services.exchange.venue import SYNTHETIC_NOTE, Venue

Endpoint = Callable[[Call], Any]
Handler = Callable[[Request], Awaitable[Response]]
BODY_BYTES_MAX = 1_000_000
INTERNAL_ERROR = 50010000
_log = logging.getLogger(__name__)

TRADING: dict[tuple[str, str], Endpoint] = {
    ("GET", "/v2/account"): trading.account,
    ("GET", "/v2/account/activities"): trading.activities,
    ("GET", "/v2/account/activities/{type}"): trading.activities,
    ("GET", "/v2/clock"): trading.clock,
    ("GET", "/v2/calendar"): trading.calendar,
    ("GET", "/v2/assets"): trading.assets,
    ("GET", "/v2/assets/{symbol}"): trading.asset,
    ("GET", "/v2/positions"): trading.positions,
    ("GET", "/v2/positions/{symbol}"): trading.position,
    ("POST", "/v2/orders"): trading.submit_order,
    ("GET", "/v2/orders"): trading.orders,
    ("DELETE", "/v2/orders"): trading.cancel_orders,
    ("GET", "/v2/orders:by_client_order_id"): trading.order_by_client_id,
    ("GET", "/v2/orders/{order_id}"): trading.order,
    ("DELETE", "/v2/orders/{order_id}"): trading.cancel_order,
    ("GET", "/v2/options/contracts"): option_contracts.contracts,
    ("GET", "/v2/options/contracts/{symbol}"): option_contracts.contract,
}
MARKET_DATA: dict[tuple[str, str], Endpoint] = {
    ("GET", "/v2/stocks/snapshots"): market_data.stock_snapshots,
    ("GET", "/v2/stocks/quotes/latest"): market_data.latest_quotes,
    ("GET", "/v2/stocks/trades/latest"): market_data.latest_trades,
    ("GET", "/v2/stocks/bars/latest"): market_data.latest_bars,
    ("GET", "/v2/stocks/bars"): market_data.bars,
    ("GET", "/v1beta1/options/snapshots"): market_data.symbol_snapshots,
    ("GET", "/v1beta1/options/snapshots/{underlying}"): market_data.chain_snapshots,
    ("GET", "/v1beta1/options/quotes/latest"): market_data.latest_option_quotes,
    ("GET", "/v1beta1/options/trades/latest"): market_data.latest_option_trades,
}


class Face:
    """Turns requests into calls. Trading and market data are limited apart, as Alpaca does."""

    def __init__(
        self, venue: Venue, *, key: str, secret: str, rate_limit_per_minute: int, speed: float
    ) -> None:
        self._venue = venue
        self._key, self._secret = key.encode(), secret.encode()
        self._rate_limit_per_minute = rate_limit_per_minute
        self._speed = speed

    def routes(self) -> list[Route]:
        routes = []
        for endpoints in (TRADING, MARKET_DATA):
            limit = RateLimit(self._rate_limit_per_minute)
            for (method, path), endpoint in endpoints.items():
                handler = self._handler(endpoint, limit)
                routes.append(Route(path, handler, methods=[method]))
        return [
            Route("/sim/health", self._health, methods=["GET"]),
            Route("/sim/state", self._state, methods=["GET"]),
            *routes,
        ]

    def _handler(self, endpoint: Endpoint, limit: RateLimit) -> Handler:
        async def handle(request: Request) -> Response:
            body = await _body(request)  # before time is read: it may take long to arrive
            if not self._authentic(request):
                return _json({"message": "unauthorized"}, 401)
            self._venue.begin()
            moment = self._venue.advance()
            if not self._venue.ended and not limit.allow(moment.now):
                error = {"code": RATE_LIMITED, "message": "rate limit exceeded"}
                return _json(error, 429, limit.headers())
            call = Call(
                venue=self._venue,
                moment=moment,
                query=request.query_params,
                path=request.path_params,
                body=body,
            )
            answer = endpoint(call)
            self._venue.save_changes()
            return _success(answer, limit.headers())

        return handle

    def _authentic(self, request: Request) -> bool:
        headers = request.headers
        key = headers.get("APCA-API-KEY-ID", "").encode()
        secret = headers.get("APCA-API-SECRET-KEY", "").encode()
        return hmac.compare_digest(key, self._key) and hmac.compare_digest(secret, self._secret)

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok"}, 200)

    async def _state(self, _: Request) -> Response:
        venue, books = self._venue, self._venue.exchange.books
        moment = venue.market.moment(venue.now())
        return _json(
            {
                "simulated_time": moment.now,
                "is_open": moment.is_open,
                "waiting_for_client": venue.waiting,
                "ended": venue.ended,
                "speed": self._speed,
                "seed": venue.market.seed,
                "symbols": venue.market.history.symbols,
                "open_orders": len(books.open_orders),
                "positions": len(books.positions),
                "note": SYNTHETIC_NOTE,
            },
            200,
        )


def make_app(face: Face) -> Starlette:
    return Starlette(
        routes=face.routes(),
        exception_handlers={
            Refusal: _refused,
            HTTPException: _no_such_route,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise malformed(f"request body is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _json(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content), status, headers=headers, media_type="application/json"
    )


def _success(answer: Any, headers: dict[str, str]) -> Response:
    if answer is None:
        return Response(status_code=204, headers=headers)
    if isinstance(answer, MultiStatus):
        return _json(answer.parts, 207, headers)
    return _json(answer, 200, headers)


def _answer(refusal: Refusal) -> Response:
    content = {"code": refusal.code, "message": refusal.message, **refusal.details}
    return _json(content, refusal.status)


async def _refused(_: Request, error: Exception) -> Response:
    return _answer(error) if isinstance(error, Refusal) else await _failed(_, error)


async def _no_such_route(request: Request, error: Exception) -> Response:
    what = f"{request.method} {request.url.path[:200]}"
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return _answer(not_offered(what))
    return _answer(not_found(f"{what} is not offered by the simulated exchange"))


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _json({"code": INTERNAL_ERROR, "message": "internal error of the simulation"}, 500)
