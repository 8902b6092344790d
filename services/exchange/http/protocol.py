"""Connections that can be cut: uvicorn's, with a handle on it in each request's scope."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.exchange.http.answers import RESET

_NO_LINGER = struct.pack("ii", 1, 0)


class CuttableProtocol(HttpToolsProtocol):
    """`scope["state"][RESET](hard)` ends the connection without an answer: closed, or (`hard`)
    by a TCP reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {RESET: self.cut}  # copied into each request's scope

    def cut(self, hard: bool) -> None:
        """Nothing lingering, a closed socket answers with a reset instead of an end."""
        if self.transport.is_closing():
            return
        handle = self.transport.get_extra_info("socket")
        if hard and handle is not None:
            with contextlib.suppress(OSError):  # the client was quicker
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
