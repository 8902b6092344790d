"""Connections that can be cut: uvicorn's, with a handle on it in each request's scope."""

from __future__ import annotations

import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.exchange.http.answers import RESET

_NO_LINGER = struct.pack("ii", 1, 0)


class CuttableProtocol(HttpToolsProtocol):
    """`scope["extensions"][RESET](hard)` ends the connection without an answer: as a client that
    is told nothing sees it, or (`hard`) by a TCP reset."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {RESET: self.cut}

    def cut(self, hard: bool) -> None:
        """Nothing lingering, a closed socket answers with a reset instead of an end."""
        handle = self.transport.get_extra_info("socket")
        if hard and handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
