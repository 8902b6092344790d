"""The server's side of the WebSocket protocol: uvicorn's over `websockets`, and a way to cut."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from services.exchange.streams.gate import ABORT


class StreamProtocol(WebSocketsSansIOProtocol):
    """ASGI can close a WebSocket only in order, which a client that does not read can prevent:
    so the application is given the transport's `abort` in the scope's state."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["state"][ABORT] = self.transport.abort
