"""An answer before it is sent: its parts as bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from services.exchange.http.rate_limit import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
RESET = "exchange.reset"  # in the scope's state: ends the connection without an answer


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    media_type: bytes = JSON
    headers: Headers = []


async def send_answer(send: Send, answer: Answer) -> None:
    headers = [*answer.headers]
    if answer.status != 204:
        headers.append((b"content-type", answer.media_type))
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
