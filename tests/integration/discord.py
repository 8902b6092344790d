"""A webhook of Discord's, as far as the reporter needs one: it takes posts, or does not."""

from __future__ import annotations

import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOOK = "/api/webhooks/1/the-hidden-token"
TAKEN = 204
HANG_SECONDS_MAX = 60.0


class Discord:
    def __init__(self) -> None:
        self.posts: list[bytes] = []
        self._next: deque[int | None] = deque()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.discord = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{HOOK}"

    def next(self, *statuses: int | None) -> None:
        """What the next posts are answered with; None: never."""
        self._next.extend(statuses)

    def take(self, body: bytes) -> int | None:
        self.posts.append(body)
        status = self._next.popleft() if self._next else TAKEN
        if status is None:
            self._closing.wait(HANG_SECONDS_MAX)
        return status

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    discord: Discord

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:  # http.server's name
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.server.discord.take(body) if self.path == HOOK else 404
        self.close_connection = True
        if status is not None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """What was posted is kept; the log would only be noise."""
