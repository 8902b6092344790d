"""Which of several risks is the active one: the eldest that is heard. The others stand by.

This is only for order; that two never spend the same cash is the work of the sequence that each
decision is appended after.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress

from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import Heartbeat
from libs.common.runtime import Context

SILENT_SECONDS = 3.5
"""A risk not heard for so long is gone: it beats every second."""
STANDBY_SECONDS = 0.2

Age = tuple[dt.datetime, str]


class Peers:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._ours: Age = (context.started_at, context.instance)
        self._heard: dict[Age, float] = {}
        """By age, when each was last heard to be active, on the monotonic clock."""

    async def listen(self) -> None:
        await self._context.bus.watch("feed.ops.heartbeat.risk.*", self._on_beat)

    def _on_beat(self, subject: str, payload: bytes) -> None:
        with suppress(UndecodableError):
            beat = decode_message(subject, payload)
            if isinstance(beat, Heartbeat) and beat.started_at is not None:
                age = (beat.started_at, beat.instance)
                if beat.state == "ready":
                    self._heard[age] = asyncio.get_running_loop().time()
                else:
                    self._heard.pop(age, None)

    def elder_is_active(self) -> bool:
        oldest_news = asyncio.get_running_loop().time() - SILENT_SECONDS
        return any(age < self._ours and at > oldest_news for age, at in self._heard.items())

    async def until_first(self) -> None:
        """Stands by while an elder is active."""
        while self.elder_is_active():
            self._context.state = "standby"
            await asyncio.sleep(STANDBY_SECONDS)
