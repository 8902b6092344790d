"""One open WebSocket: a bounded queue of frames, and the task that sends them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from services.exchange.streams.codec import Codec, Frame, UnreadableError
from services.exchange.streams.session import Answer, Event, Tap, untouched

POLICY_VIOLATION = 1008  # the close code of streams that an error ended
CUT_SECONDS = 1.0  # so long the last frames of a client that does not read may wait
GONE_SECONDS = 15.0  # so long the closing handshake may take
FRAMES_AT_ONCE = 64  # then others get their turn
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_log = logging.getLogger(__name__)


class Session(Protocol):
    """What a connection needs of a session; there are two, of data and of orders."""

    @property
    def authenticated(self) -> bool: ...

    def receive(self, message: object) -> Answer: ...

    def unreadable(self) -> Answer: ...

    def time_out(self) -> Answer: ...

    def too_slow(self) -> Answer: ...

    def failed(self) -> Answer: ...

    def frames(self, events: list[Event]) -> list[Any]: ...


class Connection:
    """`abort` cuts the line at once, whatever is still to be sent."""

    def __init__(
        self,
        session: Session,
        codec: Codec,
        *,
        send: Send,
        abort: Callable[[], None],
        queue_frames_max: int,
    ) -> None:
        self.session = session
        self.tap: Tap = untouched
        self._codec = codec
        self._send = send
        self._abort = abort
        self._queue_frames_max = queue_frames_max
        self._frames: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._ending = False

    @property
    def backlog(self) -> int:
        return len(self._frames)

    def receive(self, message: Message) -> None:
        """A frame from the client, as the server hands it on."""
        frame: Frame | None = message.get("text")
        if frame is None:
            frame = message.get("bytes") or b""
        try:
            self.answer(self.session.receive(self._codec.read(frame)))
        except UnreadableError:
            self.answer(self.session.unreadable())
        except Exception:
            _log.exception("a stream failed")
            self.answer(self.session.failed())

    def time_out(self) -> None:
        self.answer(self.session.time_out())

    def answer(self, answer: Answer) -> None:
        self._put(answer.messages)
        if answer.ends:
            self.end()

    def deliver(self, events: list[Event]) -> None:
        """Events for the client: the one way out of the exchange, so faults belong in `tap`."""
        passed = self.tap(events)
        if passed is None:
            self.drop()
        elif passed:
            self._put(self.session.frames(passed))

    def drop(self) -> None:
        """Cut the line without a word."""
        self._ending = True
        self._frames.clear()
        self._abort()

    def _put(self, messages: list[Any]) -> None:
        """What was queued before counts, not what comes now: a burst makes no client slow."""
        if self._ending or not messages:
            return
        if len(self._frames) > self._queue_frames_max:
            self._frames.clear()
            self._frames.extend(map(self._codec.write, self.session.too_slow().messages))
            self.end()
            return
        self._frames.extend(map(self._codec.write, messages))
        self._wake.set()

    def end(self) -> None:
        """Close the line, after what is queued."""
        if not self._ending:
            self._ending = True
            self._wake.set()
            loop = asyncio.get_running_loop()
            loop.call_later(CUT_SECONDS, self._cut)
            loop.call_later(GONE_SECONDS, self._abort)  # nothing happens to a line that is closed

    def _cut(self) -> None:
        """The client does not read: it is not waited for."""
        if self._frames:
            self._abort()

    async def pump(self) -> None:
        """Send what is queued until the stream ends; the client may go at any time."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send_queued()
                if self._ending:
                    await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
                    return
        except (OSError, RuntimeError):  # RuntimeError: the server closed it meanwhile
            self.drop()

    async def _send_queued(self) -> None:
        sent = 0
        while self._frames:
            frame = self._frames[0]
            kind = "text" if isinstance(frame, str) else "bytes"
            await self._send({"type": "websocket.send", kind: frame})
            if self._frames and self._frames[0] is frame:  # unless the queue was cleared meanwhile
                self._frames.popleft()
            sent += 1
            if sent % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
