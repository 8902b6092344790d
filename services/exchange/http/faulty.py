"""Faults as a client of HTTP meets them: late, wrong, cut off or never answered requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from services.exchange.faults.asked import Asked
from services.exchange.faults.board import Faults, Strike
from services.exchange.faults.spoiling import error_of, malformed_of, spoilt
from services.exchange.http.answers import RESET, Answer, Receive, Scope, Send, send_answer

Act = Callable[[float], Answer]
"""Carries the request out and gives its proper answer; market data as of so many seconds ago."""


class Faulty:
    """Carries out what the rules decide."""

    def __init__(self, faults: Faults) -> None:
        self._let_go: dict[str, asyncio.Event] = {}
        faults.tell_removed = self._removed

    def _removed(self, names: Iterable[str]) -> None:
        for name in names:
            event = self._let_go.pop(name, None)
            if event is not None:
                event.set()

    async def serve(
        self,
        strike: Strike,
        asked: Asked,
        *,
        scope: Scope,
        receive: Receive,
        send: Send,
        act: Act,
        too_many: Callable[[], Answer],
    ) -> None:
        """From the struck request to what its client sees of it."""
        answer = await self._answer(strike, act, too_many)
        if answer is not None:
            asked.status = answer.status
            await send_answer(send, answer)
            return
        try:
            if strike.fault.kind in ("hang", "hang_after"):
                await self._wait(strike, receive)
        finally:  # also when the exchange ends meanwhile
            scope["state"][RESET](strike.fault.kind in ("reset", "reset_after"))
        await _gone(receive)

    async def _answer(
        self, strike: Strike, act: Act, too_many: Callable[[], Answer]
    ) -> Answer | None:
        """What is answered; None when nothing is. What is carried out is so before the return."""
        fault = strike.fault
        if fault.kind in ("reset", "hang"):
            return None
        if fault.kind == "rate_limited":
            return too_many()
        if fault.kind == "error":
            return Answer(*error_of(fault))
        if fault.kind == "malformed":
            return Answer(200, malformed_of(fault, None))
        if fault.kind == "delay":
            await self._wait(strike, None)
        return _after(strike, act(fault.lasting_seconds if fault.kind == "stale_quotes" else 0.0))

    async def _wait(self, strike: Strike, receive: Receive | None) -> None:
        """Until the rule is removed, its time is over, or (with `receive`) the client has left."""
        let_go = self._let_go.setdefault(strike.fault.id, asyncio.Event())
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(let_go.wait())]
        if receive is not None:
            waits.append(asyncio.ensure_future(_gone(receive)))
        try:
            await asyncio.wait(
                waits, timeout=strike.fault.lasting_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
            for wait in waits:
                with contextlib.suppress(asyncio.CancelledError):
                    await wait


def _after(strike: Strike, proper: Answer) -> Answer | None:
    """What is answered to a request that was carried out; None when nothing is."""
    fault = strike.fault
    match fault.kind:
        case "reset_after" | "hang_after":
            return None
        case "error_after":
            status, body = error_of(fault)
            return Answer(status, body, headers=proper.headers)
        case "malformed_after":
            cut = malformed_of(fault, proper.body)
            return msgspec.structs.replace(proper, status=200, body=cut)
        case "altered" | "missing_greeks" | "missing_quotes" if proper.status == 200:
            return msgspec.structs.replace(proper, body=spoilt(fault, strike.number, proper.body))
    return proper


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
