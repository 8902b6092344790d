"""The proxy passes, delays, swallows and resets, on connections that are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Mode, Proxy

PATIENCE_SECONDS = 10.0
SHORT_SECONDS = 0.2


class Echo:
    """A server that says everything again."""

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    def close(self) -> None:
        self._server.close()


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, words: bytes) -> bytes:
        self.writer.write(words)
        return await asyncio.wait_for(self.reader.read(100), PATIENCE_SECONDS)


class Line:
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._echo = Echo()
        self._callers: list[Caller] = []

    async def open(self) -> None:
        self.proxy = Proxy(await self._echo.start(), tap=self.heard.append)
        await self.proxy.start()

    async def call(self) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.proxy.port))
        self._callers.append(caller)
        return caller

    async def close(self) -> None:
        for caller in self._callers:
            caller.writer.close()
        await self.proxy.close()
        self._echo.close()
        await asyncio.sleep(0.02)  # transports close at the loop's next turns


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    await made.open()
    yield made
    await made.close()


async def test_it_passes_both_ways_and_shows_what_was_sent(line: Line) -> None:
    caller = await line.call()
    assert await caller.say(b"one") == b"one"
    line.proxy.set(Mode.DELAY, delay_seconds=0.01)
    assert await caller.say(b"two") == b"two"
    assert line.heard == [b"one", b"two"]


async def test_half_open_nothing_arrives_until_it_heals(line: Line) -> None:
    caller = await line.call()
    assert await caller.say(b"one") == b"one"
    line.proxy.set(Mode.BLACKHOLE)
    caller.writer.write(b"two")
    answer = asyncio.ensure_future(caller.reader.read(100))
    done, _ = await asyncio.wait({answer}, timeout=SHORT_SECONDS)
    assert not done
    assert not caller.writer.is_closing()
    late = await line.call()  # the kernel accepts, as on a path that loses everything after it
    line.proxy.set(Mode.PASS)
    assert await asyncio.wait_for(answer, PATIENCE_SECONDS) == b"two"
    assert await late.say(b"three") == b"three"


async def test_a_reset_ends_old_connections_and_new_ones(line: Line) -> None:
    old = await line.call()
    assert await old.say(b"one") == b"one"
    line.proxy.set(Mode.RESET)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(old.reader.read(100), PATIENCE_SECONDS)
    new = await line.call()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(new.reader.read(100), PATIENCE_SECONDS)
    line.proxy.set(Mode.PASS)
    assert await (await line.call()).say(b"two") == b"two"


async def test_what_was_swallowed_and_then_cut_never_arrives(line: Line) -> None:
    caller = await line.call()
    assert await caller.say(b"one") == b"one"
    line.proxy.set(Mode.BLACKHOLE)
    caller.writer.write(b"two")
    await asyncio.sleep(0.05)
    line.proxy.cut()
    line.proxy.set(Mode.PASS)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(caller.reader.read(100), PATIENCE_SECONDS)


async def test_a_side_that_ends_ends_the_connection(line: Line) -> None:
    caller = await line.call()
    caller.writer.write_eof()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(caller.reader.read(), PATIENCE_SECONDS)
