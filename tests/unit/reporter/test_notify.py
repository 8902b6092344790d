"""One POST and what is known of it afterwards, against a real server on this machine."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.reporter import notify
from services.reporter.notify import Outcome, PostResult, leads_inside

TOKEN = "s3cr3t-webhook-t0ken"
PAYLOAD = {"content": "hello", "allowed_mentions": {"parse": []}}


def post(url: str, payload: dict[str, Any], *, timeout: float) -> PostResult:
    """To the one place inside that the operator named."""
    place = url.partition("//")[2].partition("/")[0]
    return notify.post(url, payload, timeout=timeout, own_host=place)


Answer = Callable[[BaseHTTPRequestHandler], None]


class Hook:
    """A webhook that notes what arrives and answers as the test says."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.answer: Answer = answer(204)
        self.let_go = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((self.path, json.loads(body)))
                hook.answer(self)

            def do_GET(self) -> None:
                hook.received.append((self.path, {}))
                answer(200)(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/webhooks/1/{TOKEN}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.stop()


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def test_a_summary_arrives_once_and_counts_as_sent(hook: Hook) -> None:
    result = post(hook.url, PAYLOAD, timeout=5)
    assert result.outcome is Outcome.SENT
    assert result.status_code == 204
    assert hook.received == [(f"/api/webhooks/1/{TOKEN}", PAYLOAD)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502, 503])
def test_an_answer_that_says_no_is_a_refusal(hook: Hook, status: int) -> None:
    hook.answer = answer(status, b'{"message": "Unknown\\nWebhook", "code": 10015}')
    result = post(hook.url, PAYLOAD, timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert result.status_code == status
    assert result.detail == f"HTTP {status}: Unknown Webhook"
    assert result.retry_after_seconds is None
    assert len(hook.received) == 1


@pytest.mark.parametrize("status", [504, 524])
def test_a_gateway_that_gave_up_waiting_leaves_it_unknown(hook: Hook, status: int) -> None:
    hook.answer = answer(status, b"<html>")
    assert post(hook.url, PAYLOAD, timeout=5).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [
        (b'{"retry_after": 0.65, "global": false}', "1", 0.65),
        (b"not json", "7", 7.0),
        (b'{"retry_after": "soon"}', "7", 7.0),
        (b'{"retry_after": NaN}', "7", 7.0),
        (b'{"retry_after": -3}', "1e999", None),
        (b"[1]", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        (b'{"retry_after": ' + b"9" * 4000 + b"}", "2", 2.0),
    ],
)
def test_too_many_requests_says_how_long_to_wait(
    hook: Hook, body: bytes, header: str, seconds: float | None
) -> None:
    hook.answer = answer(429, body, Retry_After=header)
    result = post(hook.url, PAYLOAD, timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert result.retry_after_seconds == seconds


def test_a_redirect_is_not_followed(hook: Hook) -> None:
    hook.answer = answer(307, Location=hook.url + "/elsewhere")
    result = post(hook.url, PAYLOAD, timeout=5)
    assert (result.outcome, result.status_code) == (Outcome.REFUSED, 307)
    assert len(hook.received) == 1


def test_silence_after_sending_is_unknown(hook: Hook) -> None:
    def hang(_: BaseHTTPRequestHandler) -> None:
        hook.let_go.wait(10)

    hook.answer = hang
    result = post(hook.url, PAYLOAD, timeout=0.2)
    assert result.outcome is Outcome.UNKNOWN
    assert result.detail == "ReadTimeout"
    assert len(hook.received) == 1


def test_a_connection_lost_after_sending_is_unknown(hook: Hook) -> None:
    hook.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    result = post(hook.url, PAYLOAD, timeout=5)
    assert result.outcome is Outcome.UNKNOWN
    assert len(hook.received) == 1


def test_a_body_that_breaks_off_does_not_unsay_the_status(hook: Hook) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"{")

    hook.answer = break_off
    assert post(hook.url, PAYLOAD, timeout=5).outcome is Outcome.SENT


def test_no_connection_is_a_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connecting is refused
        result = post(f"http://127.0.0.1:{taken.getsockname()[1]}/{TOKEN}", PAYLOAD, timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert result.status_code is None
    assert result.detail == "ConnectionError"


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://host/x", "http://[::bad/x"])
def test_an_address_that_is_none_is_a_refusal(url: str) -> None:
    assert post(url, PAYLOAD, timeout=5).outcome is Outcome.REFUSED


def test_the_address_is_in_no_log_and_no_result(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        results = [post(hook.url, PAYLOAD, timeout=5)]
        hook.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
        results.append(post(hook.url, PAYLOAD, timeout=5))
        results.append(post(f"nonsense/{TOKEN}", PAYLOAD, timeout=5))
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(results)


# --- where it may not point ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.5",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.5]",
        "2130706433",
        "0x7f.1",
        "224.0.0.1",
    ],
)
def test_an_address_inside_is_not_called(host: str) -> None:
    url = f"https://{host}/api/webhooks/1/{TOKEN}"
    assert leads_inside(url)
    result = notify.post(url, PAYLOAD, timeout=0.2)
    assert result.outcome is Outcome.REFUSED
    assert result.detail == "the webhook's host is an address inside a network"


def test_an_address_of_the_internet_may_be_called() -> None:
    assert not leads_inside("https://8.8.8.8/x")
    assert not leads_inside("https://[2001:4860:4860::8888]/x")
    assert not leads_inside("https://[half an address/x")


def test_a_hook_inside_is_called_only_where_it_was_named(hook: Hook) -> None:
    assert notify.post(hook.url, PAYLOAD, timeout=5).outcome is Outcome.REFUSED
    elsewhere = notify.post(hook.url, PAYLOAD, timeout=5, own_host="127.0.0.1:1")
    assert elsewhere.outcome is Outcome.REFUSED
    assert hook.received == []
    assert post(hook.url, PAYLOAD, timeout=5).outcome is Outcome.SENT
