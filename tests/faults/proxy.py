"""A TCP proxy between a service and what it talks to: passes, delays, swallows or resets.

`blackhole` is a half-open connection: both sides believe in it, no byte arrives. What was
swallowed is delivered when it heals, as after a lost and repeated packet, unless it was cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from enum import StrEnum

CHUNK_BYTES = 65_536

Tap = Callable[[bytes], None]


class Mode(StrEnum):
    PASS = "pass"
    DELAY = "delay"
    BLACKHOLE = "blackhole"
    RESET = "reset"


class Proxy:
    def __init__(self, upstream_port: int, *, tap: Tap | None = None) -> None:
        """`tap` is shown all that clients send, when they send it, whatever the mode is."""
        self.port = 0
        self._upstream_port = upstream_port
        self._tap = tap
        self._mode = Mode.PASS
        self._delay_seconds = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def set(self, mode: Mode, *, delay_seconds: float = 0.0) -> None:
        self._mode = mode
        self._delay_seconds = delay_seconds
        if mode is Mode.BLACKHOLE:
            self._open.clear()
        else:
            self._open.set()
        if mode is Mode.RESET:
            self.cut()

    def cut(self) -> None:
        """Ends every connection by a TCP reset."""
        for writer in list(self._writers):
            _reset(writer)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        try:
            if self._mode is Mode.RESET:
                _reset(writer)
                return
            await self._join(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            _reset(writer)
        except asyncio.CancelledError:  # the proxy ends, and a server's callback may not raise
            _reset(writer)
        finally:
            self._writers.discard(writer)
            self._connections.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, self._tap))
                group.create_task(self._pump(far_reader, writer, None))
        except BaseExceptionGroup:
            _reset(writer)
        finally:
            self._writers.discard(far_writer)
            _reset(far_writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap | None
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if tap is not None:
                tap(data)
            if self._mode is Mode.DELAY:
                await asyncio.sleep(self._delay_seconds)
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
        raise ConnectionResetError  # one side is done, and so is the other


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
