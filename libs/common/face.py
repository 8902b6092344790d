"""A service's small HTTP face: /live, /ready and /metrics on a port of its own.

It is served from the service's own event loop on purpose: a loop that hangs answers nothing, and
that is what a liveness probe is there to find. Only GET and HEAD, one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import msgspec

from libs.common.promises import RestartNeededError
from libs.common.settings import MetricsSettings

REQUEST_SECONDS_MAX = 5.0
REQUEST_BYTES_MAX = 8 * 1024
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says of itself; `why` it is not ready, else empty."""

    service: str
    instance: str
    state: str
    ready: bool
    why: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: HTTPStatus
    content_type: str
    body: bytes


class Face:
    """What is asked for, and the answers. `metrics` gives the page and its content type."""

    def __init__(self, health: Callable[[], Health], metrics: Callable[[], bytes], kind: str):
        self._health = health
        self._metrics = metrics
        self._metrics_type = kind

    def answer(self, path: str) -> Answer:
        match path.partition("?")[0]:
            case "/live":
                return Answer(status=HTTPStatus.OK, content_type=PLAIN, body=b"alive\n")
            case "/ready":
                health = self._health()
                status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
                body = msgspec.json.encode(health) + b"\n"
                return Answer(status=status, content_type=JSON, body=body)
            case "/metrics":
                return Answer(
                    status=HTTPStatus.OK, content_type=self._metrics_type, body=self._metrics()
                )
        return _plain(HTTPStatus.NOT_FOUND, "there are /live, /ready and /metrics")


def _plain(status: HTTPStatus, text: str) -> Answer:
    return Answer(status=status, content_type=PLAIN, body=f"{text}\n".encode())


@contextlib.asynccontextmanager
async def serving(face: Face, settings: MetricsSettings) -> AsyncIterator[int]:
    """Serves while the block runs, and gives the port. Raises RestartNeededError when the port
    cannot be had: a process that is ending may still hold it.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(face, reader, writer)

    try:
        server = await asyncio.start_server(
            on_connection, settings.host, settings.port, limit=REQUEST_BYTES_MAX
        )
    except OSError as error:
        raise RestartNeededError(
            f"METRICS_HOST and METRICS_PORT: {settings.host}:{settings.port} cannot be listened"
            f" on ({error.strerror or error}); free the port or choose another"
        ) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _converse(face: Face, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                writer.write(await _answer_to(face, reader))
                await writer.drain()
        finally:
            writer.close()


async def _answer_to(face: Face, reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        too_large = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large")
        return _as_http(too_large, with_body=True)
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _as_http(_plain(HTTPStatus.BAD_REQUEST, "this is no HTTP request"), with_body=True)
    method, path, _ = words
    if method not in ("GET", "HEAD"):
        refused = _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
        return _as_http(refused, with_body=True)
    return _as_http(face.answer(path), with_body=method == "GET")


def _as_http(answer: Answer, *, with_body: bool) -> bytes:
    head = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (answer.body if with_body else b"")
