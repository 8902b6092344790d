"""A broker that answers as told: enough of Alpaca for one account, and faults on request.

It keeps orders with unique client ids as the real one does, counts every request, and its clock
stands still unless a test moves it. Prices are invented: each chain has a put near any delta.
"""

from __future__ import annotations

import datetime as dt
import socket
import struct
import threading
from collections import deque
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from libs.common.symbols import OptionSymbol, Right

KEY, SECRET = "faulty-key", "faulty-secret"
SESSION = dt.date(2020, 2, 12)
OPENS_AT = dt.datetime(2020, 2, 12, 14, 30, tzinfo=dt.UTC)
CLOSES_AT = dt.datetime(2020, 2, 12, 21, 0, tzinfo=dt.UTC)
MIDDAY = dt.datetime(2020, 2, 12, 17, 0, tzinfo=dt.UTC)
HANG_SECONDS_MAX = 60.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What one request gets instead of its answer, or after the broker did what was asked."""

    status: int = 0
    body: bytes = b""
    hang: bool = False
    reset: bool = False
    after_accepting: bool = False


def refusal(
    status: int, code: int = 0, message: str = "no", *, after_accepting: bool = False
) -> Fault:
    body = msgspec.json.encode({"code": code, "message": message})
    return Fault(status=status, body=body, after_accepting=after_accepting)


def malformed(body: bytes = b'{"id": "abc', *, after_accepting: bool = False) -> Fault:
    return Fault(status=200, body=body, after_accepting=after_accepting)


def hang(*, after_accepting: bool = False) -> Fault:
    return Fault(hang=True, after_accepting=after_accepting)


def reset(*, after_accepting: bool = False) -> Fault:
    return Fault(reset=True, after_accepting=after_accepting)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None


class FaultyBroker:
    def __init__(self) -> None:
        self.now = MIDDAY
        self.is_open = True
        self.account: dict[str, Any] = {
            "account_number": "FAULTY1",
            "status": "ACTIVE",
            "equity": "100000",
            "last_equity": "100000",
            "cash": "100000",
            "buying_power": "100000",
            "options_buying_power": "100000",
            "options_approved_level": 3,
            "options_trading_level": 3,
        }
        self.positions: list[dict[str, Any]] = []
        self.activities: list[dict[str, Any]] = []
        self.spots: dict[str, float] = {"KO": 60.0, "PFE": 38.0, "GE": 13.0}
        self.orders: dict[str, dict[str, Any]] = {}
        """By client_order_id, in the order of their acceptance."""
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._once: dict[tuple[str, str], deque[Fault | None]] = {}
        self._always: dict[tuple[str, str], Fault] = {}
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.broker = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self, method: str, path: str, *faults: Fault) -> None:
        """The next requests to a path meet these faults, one each."""
        with self._lock:
            self._once.setdefault((method, path), deque()).extend(faults)

    def after(self, method: str, path: str, good: int, fault: Fault) -> None:
        """So many requests to a path are answered, then one meets this fault."""
        with self._lock:
            waiting = self._once.setdefault((method, path), deque())
            waiting.extend([None] * good)
            waiting.append(fault)

    def always(self, method: str, path: str, fault: Fault) -> None:
        with self._lock:
            self._always[method, path] = fault

    def heal(self) -> None:
        """From now on every request is answered; those that hang are let go without an answer."""
        with self._lock:
            self._once.clear()
            self._always.clear()
            released, self._released = self._released, threading.Event()
        released.set()

    def count(self, method: str, path: str) -> int:
        return len([r for r in self.requests if (r.method, r.path) == (method, path)])

    @property
    def posted(self) -> list[str]:
        """The client_order_id of every POST that arrived, whatever it was answered."""
        return [
            str((r.body or {}).get("client_order_id"))
            for r in self.requests
            if (r.method, r.path) == ("POST", "/v2/orders")
        ]

    def fill(self, client_order_id: str, price: str) -> None:
        self.orders[client_order_id] |= {
            "status": "filled",
            "filled_qty": self.orders[client_order_id]["qty"],
            "filled_avg_price": price,
            "filled_at": self.now.isoformat(),
        }

    def close(self) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    # --- answering -----------------------------------------------------------------------------

    def take(
        self, request: Request, keys: tuple[str | None, str | None]
    ) -> tuple[Fault | None, bytes, int, threading.Event]:
        """The fault this request meets, if any, and the proper answer with its status."""
        with self._lock:
            self.requests.append(request)
            where = (request.method, request.path)
            waiting = self._once.get(where)
            fault = waiting.popleft() if waiting else self._always.get(where)
            released = self._released
            if fault is not None and not fault.after_accepting:
                return fault, b"", 0, released
            if keys != (KEY, SECRET):
                return None, msgspec.json.encode({"message": "unauthorized"}), 401, released
            status, answer = self._respond(request)
            return fault, msgspec.json.encode(answer), status, released

    def _respond(self, request: Request) -> tuple[int, object]:
        path = request.path
        if path == "/v2/orders" and request.method == "POST":
            return self._accept(request.body or {})
        if path.startswith("/v2/orders"):
            return self._orders(request)
        if path.startswith("/v1beta1/options/snapshots/"):
            return 200, {"snapshots": self._chain(path.rpartition("/")[2], request.query)}
        answers = {
            "/v2/clock": self._clock,
            "/v2/calendar": self._calendar,
            "/v2/account": lambda _query: self.account,
            "/v2/positions": lambda _query: self.positions,
            "/v2/account/activities": lambda _query: self.activities,
            "/v2/stocks/snapshots": self._quotes,
            "/v2/options/contracts": self._contracts,
        }
        if path in answers:
            return 200, answers[path](request.query)
        return 404, {"code": 40410000, "message": f"{path} does not exist"}

    def _accept(self, body: dict[str, Any]) -> tuple[int, object]:
        client_id = str(body["client_order_id"])
        if client_id in self.orders:
            return 422, {"code": 40010001, "message": "client_order_id must be unique"}
        prices = ("limit_price", "stop_price", "trail_percent")
        self.orders[client_id] = {
            "id": f"order-{len(self.orders) + 1}",
            "client_order_id": client_id,
            "symbol": body["symbol"],
            "side": body["side"],
            "type": body["type"],
            "status": "new",
            "qty": str(body["qty"]),
            "filled_qty": "0",
            "position_intent": body.get("position_intent"),
            "submitted_at": self.now.isoformat(),
            **{name: str(body[name]) for name in prices if body.get(name) is not None},
        }
        return 200, self.orders[client_id]

    def _orders(self, request: Request) -> tuple[int, object]:
        path, query = request.path, request.query
        if path == "/v2/orders":
            return 200, [order for order in self.orders.values() if order["status"] == "new"]
        if path == "/v2/orders:by_client_order_id":
            found = self.orders.get(query["client_order_id"])
        else:
            wanted = path.rpartition("/")[2]
            found = next((o for o in self.orders.values() if o["id"] == wanted), None)
        if found is None:
            return 404, {"code": 40410000, "message": "order not found"}
        return 200, found

    def _clock(self, _query: dict[str, str]) -> object:
        tomorrow = dt.timedelta(days=1)
        return {
            "timestamp": self.now.isoformat(),
            "is_open": self.is_open,
            "next_open": (OPENS_AT + tomorrow).isoformat(),
            "next_close": (CLOSES_AT if self.is_open else CLOSES_AT + tomorrow).isoformat(),
        }

    def _calendar(self, _query: dict[str, str]) -> object:
        days = (SESSION - dt.timedelta(days=1), SESSION, SESSION + dt.timedelta(days=1))
        return [{"date": str(day), "open": "09:30", "close": "16:00"} for day in days]

    def _quotes(self, query: dict[str, str]) -> object:
        """Symbols nobody knows are absent, as Alpaca leaves them out."""
        at = self.now.isoformat()
        return {
            symbol: {
                "latestTrade": {"p": self.spots[symbol], "t": at},
                "latestQuote": {
                    "bp": self.spots[symbol] - 0.01,
                    "ap": self.spots[symbol] + 0.01,
                    "t": at,
                },
            }
            for symbol in query["symbols"].split(",")
            if symbol in self.spots
        }

    def _strikes(self, symbol: str, right: Right) -> list[tuple[OptionSymbol, float]]:
        """Contracts of one Friday with their deltas: 0.50 at spot, 0.25 five percent away."""
        friday = SESSION + dt.timedelta(days=9)
        spot = Decimal(str(self.spots[symbol]))
        sign = -1 if right is Right.PUT else 1
        return [
            (
                OptionSymbol(
                    root=symbol,
                    expiration=friday,
                    right=right,
                    strike=round(spot * (100 + sign * percent) / 50) / Decimal(2),
                ),
                sign * (0.5 - 0.05 * percent),
            )
            for percent in range(9)
        ]

    def _chain(self, symbol: str, query: dict[str, str]) -> object:
        if symbol not in self.spots:
            return {}
        low, high = Decimal(query["strike_price_gte"]), Decimal(query["strike_price_lte"])
        at = self.now.isoformat()
        return {
            str(option): {
                "latestQuote": {"bp": 1.2, "ap": 1.26, "t": at},
                "greeks": {"delta": delta},
                "impliedVolatility": 0.3,
            }
            for option, delta in self._strikes(symbol, Right(query["type"]))
            if low <= option.strike <= high
        }

    def _contracts(self, query: dict[str, str]) -> object:
        return {
            "option_contracts": [
                {
                    "symbol": str(option),
                    "underlying_symbol": symbol,
                    "open_interest": "500",
                    "tradable": True,
                    "ppind": True,
                }
                for symbol in query["underlying_symbols"].split(",")
                if symbol in self.spots
                for right in Right
                for option, _delta in self._strikes(symbol, right)
            ]
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    broker: FaultyBroker

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            body=msgspec.json.decode(body) if body else None,
        )
        keys = (self.headers.get("APCA-API-KEY-ID"), self.headers.get("APCA-API-SECRET-KEY"))
        fault, payload, status, released = self.server.broker.take(request, keys)
        if fault is None:
            self._send(status, payload)
        elif fault.hang:
            released.wait(HANG_SECONDS_MAX)
            self.close_connection = True
        elif fault.reset:
            self._reset()
        else:
            self._send(fault.status, fault.body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815  # http.server's names

    def _send(self, status: int, payload: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _reset(self) -> None:
        """Closed with nothing lingering, the connection ends in a reset instead of an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        """The requests are kept; the log would only be noise."""
