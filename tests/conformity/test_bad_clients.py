"""Clients that break off, lie about lengths, come in hundreds or with ten thousand orders."""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.conformity.served import KEYS, Served, serving

pytestmark = pytest.mark.integration

ORDERS = 10_000
CONNECTIONS = 500
AT_ONCE = 100  # requests on their way in one connection
KEY_LINES = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())


@pytest.fixture
def exchange(caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    """Whatever happens, nothing fails inside it."""
    with serving(paused=True) as served:
        yield served
        assert served.get("/sim/health") == {"status": "ok"}
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert errors == []


def order(number: int = 0, **changes: object) -> bytes:
    terms = {
        "symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1.00",
        "time_in_force": "gtc", "client_order_id": f"order-{number}",
    }  # fmt: skip
    return json.dumps(terms | changes).encode()


def request(method: str, path: str, body: bytes = b"", *, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{KEY_LINES}Content-Length: {length}\r\n"
    return f"{head}\r\n".encode() + body


def connect(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=20)


def answers(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of that many answers; fewer when the server closes."""
    found: list[tuple[int, bytes]] = []
    with sock.makefile("rb") as lines:
        while len(found) < count and (first := lines.readline()):
            length = 0
            while line := lines.readline().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            found.append((int(first.split()[1]), lines.read(length)))
    return found


def reset(sock: socket.socket) -> None:
    """Vanish: no farewell, the other side gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_clients_that_vanish_in_the_middle_of_a_request_leave_nothing(exchange: Served) -> None:
    before = exchange.books()
    whole = request("POST", "/v2/orders", order())
    for cut in range(1, len(whole), 7):
        sock = connect(exchange)
        sock.sendall(whole[:cut])
        if cut % 2:
            reset(sock)
        else:
            sock.close()
    assert exchange.books() == before


def test_a_client_that_vanishes_before_the_answer_has_its_order(exchange: Served) -> None:
    """As with Alpaca: what arrived whole is done, and can be looked up by the client's own id."""
    for number in range(20):
        sock = connect(exchange)
        sock.sendall(request("POST", "/v2/orders", order(number)))
        reset(sock)
    with connect(exchange) as sock:  # behind all of them
        sock.sendall(request("POST", "/v2/orders", order(99)))
        assert [status for status, _ in answers(sock, 1)] == [200]
    names = {row["client_order_id"] for row in exchange.get("/v2/orders")}
    assert "order-99" in names
    for name in names:
        found = exchange.get("/v2/orders:by_client_order_id", client_order_id=name)
        assert found["client_order_id"] == name


def test_a_body_longer_than_it_says_is_not_read_on(exchange: Served) -> None:
    """The rest is taken for a next request, which it is not: the server ends the connection."""
    body = order()
    with connect(exchange) as sock:
        sock.sendall(request("POST", "/v2/orders", body, length=len(body) - 10))
        found = answers(sock, 3)
    assert {status for status, _ in found} == {400}
    assert exchange.get("/v2/orders", status="all") == []


def test_a_body_shorter_than_it_says_is_waited_for_and_forgotten(exchange: Served) -> None:
    sock = connect(exchange)
    sock.sendall(request("POST", "/v2/orders", order(), length=10_000))
    assert exchange.get("/v2/clock")["is_open"]  # others are answered meanwhile
    sock.close()
    assert exchange.get("/v2/orders", status="all") == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # somebody tries TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"FOO /v2/orders HTTP/1.1\r\n\r\n",
        b"GET /v2/orders HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"\x00" * 5000,
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_what_is_not_http_harms_nobody(exchange: Served, sent: bytes) -> None:
    before = exchange.books()
    with connect(exchange) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        for status, _ in answers(sock, 1):
            assert 400 <= status < 600
    assert exchange.books() == before


def test_a_body_in_chunks_is_read(exchange: Served) -> None:
    head = f"POST /v2/orders HTTP/1.1\r\nHost: x\r\n{KEY_LINES}Transfer-Encoding: chunked\r\n\r\n"
    body = order()
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    with connect(exchange) as sock:
        sock.sendall(head.encode() + chunks + b"0\r\n\r\n")
        ((status, answer),) = answers(sock, 1)
    assert status == 200
    assert json.loads(answer)["client_order_id"] == "order-0"


def test_an_answer_comes_to_any_host_name(exchange: Served) -> None:
    for host in ("paper-api.alpaca.markets", "data.alpaca.markets:443", "", "[::1]", "ä"):
        head = f"GET /v2/clock HTTP/1.1\r\nHost: {host}\r\n{KEY_LINES}\r\n"
        with connect(exchange) as sock:
            sock.sendall(head.encode("latin-1"))
            assert [status for status, _ in answers(sock, 1)] == [200], host


def test_five_hundred_connections_at_once_are_all_answered(exchange: Served) -> None:
    idle = [connect(exchange) for _ in range(CONNECTIONS)]
    try:
        for number, sock in enumerate(idle):
            sock.sendall(request("POST", "/v2/orders", order(number)))
        found = [answers(sock, 1) for sock in idle]
    finally:
        for sock in idle:
            sock.close()
    assert [status for ((status, _),) in found] == [200] * CONNECTIONS
    ids = {json.loads(body)["id"] for ((_, body),) in found}
    assert len(ids) == CONNECTIONS
    assert len(exchange.get("/v2/orders", limit=500)) == CONNECTIONS


def test_ten_thousand_open_orders_are_kept_listed_and_cancelled(exchange: Served) -> None:
    before = exchange.get("/v2/account")
    ids: set[str] = set()
    with connect(exchange) as sock:
        for start in range(0, ORDERS, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            sock.sendall(b"".join(request("POST", "/v2/orders", order(n)) for n in numbers))
            for status, body in answers(sock, AT_ONCE):
                assert status == 200, body
                ids.add(json.loads(body)["id"])
    assert len(ids) == ORDERS
    account = exchange.get("/v2/account")
    held = float(before["options_buying_power"]) - float(account["options_buying_power"])
    assert held == pytest.approx(ORDERS * 1.00)
    assert exchange.get("/sim/state")["open_orders"] == ORDERS
    seen: set[str] = set()
    last = None
    while page := exchange.get(
        "/v2/orders", limit=500, direction="asc", **({"after_order_id": last} if last else {})
    ):
        seen |= {row["id"] for row in page}
        last = page[-1]["id"]
    assert seen == ids
    exchange.ask("POST", "/sim/step", json={"minutes": 2})  # a minute of the market with all
    ended = exchange.ask("DELETE", "/v2/orders")
    assert ended.status_code == 207
    assert {part["id"] for part in ended.json()} == ids
    after = exchange.get("/v2/account")
    for name in ("cash", "options_buying_power", "buying_power"):
        assert after[name] == before[name]
