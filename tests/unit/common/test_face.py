"""A service's HTTP face: what it answers, and what bad clients get."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from libs.common import face as face_module
from libs.common.face import REQUEST_BYTES_MAX, Face, Health, serving
from libs.common.promises import RestartNeededError
from libs.common.settings import MetricsSettings
from libs.embedded.processes import free_port


class Service:
    """One whose health a test decides."""

    def __init__(self) -> None:
        self.health = Health(service="risk", instance="7", state="ready", ready=True)
        self.face = Face(lambda: self.health, lambda: b"ticks 1\n", "text/plain; version=0.0.4")
        self.port = 0

    async def say(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body

    async def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        return await self.say(f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())


@asynccontextmanager
async def served() -> AsyncIterator[Service]:
    service = Service()
    async with serving(service.face, MetricsSettings(port=free_port())) as service.port:
        yield service


async def test_live_ready_and_metrics() -> None:
    async with served() as service:
        assert (await service.get("/live"))[::2] == (200, b"alive\n")
        status, head, body = await service.get("/ready?verbose")
        assert (status, msgspec.json.decode(body, type=Health)) == (200, service.health)
        assert head["Content-Type"] == "application/json"
        status, head, body = await service.get("/metrics")
        assert (status, head["Content-Type"]) == (200, "text/plain; version=0.0.4")
        assert body == b"ticks 1\n"
        assert head["Content-Length"] == str(len(body))


async def test_who_is_not_ready_lives_and_says_why() -> None:
    async with served() as service:
        service.health = Health(
            service="risk", instance="7", state="starting", ready=False, why="it is starting"
        )
        assert (await service.get("/live"))[0] == 200
        status, _, body = await service.get("/ready")
        assert (status, msgspec.json.decode(body)["why"]) == (503, "it is starting")


async def test_a_head_has_no_body() -> None:
    async with served() as service:
        status, head, body = await service.get("/metrics", method="HEAD")
        assert (status, head["Content-Length"], body) == (200, "8", b"")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"POST /ready HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET /live SPDY/3\r\n\r\n", 400),
        (b"\xff\xfe\x00\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nX: " + b"x" * REQUEST_BYTES_MAX * 2 + b"\r\n\r\n", 431),
    ],
    ids=["root", "slash", "post", "no http", "other protocol", "bytes", "too large"],
)
async def test_what_is_no_good_request_is_refused(request_bytes: bytes, status: int) -> None:
    async with served() as service:
        assert (await service.say(request_bytes))[0] == status
        assert (await service.get("/live"))[0] == 200, "it goes on"


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_module, "REQUEST_SECONDS_MAX", 0.05)
    async with served() as service:
        assert await _hears_nothing(service.port, b"")
        assert await _hears_nothing(service.port, b"GET /live HT")
        assert (await service.get("/live"))[0] == 200


async def _hears_nothing(port: int, said: bytes) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    answer = await reader.read()
    writer.close()
    return answer == b""


async def test_who_leaves_in_the_middle_does_no_harm() -> None:
    async with served() as service:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET /metr")
        writer.transport.abort()
        assert (await service.get("/live"))[0] == 200


async def test_a_port_that_is_taken_ends_the_start_with_the_settings_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RestartNeededError, match=f"METRICS_PORT: 127.0.0.1:{port} cannot"):
            async with serving(Service().face, MetricsSettings(port=port)):
                pass


async def test_it_is_gone_with_its_service() -> None:
    async with served() as service:
        pass
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await service.get("/live")
