"""`alpaclaudia flatten`: says that positions are to be closed, then wishes for it until they are.

The word itself holds on: new entries stay blocked and the executor calls back every working order
of ours, until somebody resumes.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import msgspec

from libs.common.bus import Bus, BusError
from libs.common.bus_accounts import OPERATOR
from libs.common.codec import UndecodableError
from libs.common.contracts import (
    ContractQuote,
    PortfolioObserved,
    PositionView,
    SnapshotTaken,
    TickAnswered,
    TickRequested,
    TradingVerb,
    subject_token,
)
from libs.common.runtime import encode_line, utc_now
from libs.common.settings import Settings
from libs.common.symbols import underlying_of
from services.cli.closing import closing_intents
from services.cli.trading import CONNECT_SECONDS, Word, operator_name, say

ROUND_SECONDS = 3.0
TICK_SECONDS = 30.0
STATUS_NOT_FLAT = 4


class Flattened(msgspec.Struct, frozen=True, kw_only=True):
    word: Word
    rounds: int
    wished: int
    left: list[PositionView]


async def flatten(settings: Settings, why: str, wait_seconds: float) -> Flattened:
    """Raises TradingError or BusError."""
    word = await say(settings, TradingVerb.FLATTEN, why)
    label = f"flatten-{int(utc_now().timestamp() * 1000)}"
    bus = await Bus.connect(settings.bus, account=OPERATOR, patience_seconds=CONNECT_SECONDS)
    deadline = asyncio.get_running_loop().time() + wait_seconds
    rounds = wished = 0
    try:
        while True:
            portfolio = await _look(bus)
            left = [] if portfolio is None else [p for p in portfolio.positions if p.qty]
            if portfolio is not None and not left:
                break
            if rounds and asyncio.get_running_loop().time() > deadline:
                break
            rounds += 1
            if portfolio is not None:
                intents = closing_intents(
                    portfolio,
                    await _quotes(bus, left),
                    settings.risk,
                    at=utc_now(),
                    label=f"{label}-{rounds}",
                    why=why,
                )
                for intent in intents:
                    await bus.publish(intent)
                wished += len(intents)
            await asyncio.sleep(ROUND_SECONDS)
    finally:
        await bus.close()
    return Flattened(word=word, rounds=rounds, wished=wished, left=left)


async def _look(bus: Bus) -> PortfolioObserved | None:
    """The account as a tick asked for now finds it, or as it was last found."""
    now = utc_now()
    request = TickRequested(
        message_id=f"tick-request-flatten-{now.timestamp()}", at=now, requested_by=operator_name()
    )
    with suppress(BusError):
        await bus.request(request, TickAnswered, timeout_seconds=TICK_SECONDS)
    with suppress(UndecodableError):
        return await bus.last("MARKET", PortfolioObserved.SUBJECT, PortfolioObserved)
    return None


async def _quotes(bus: Bus, positions: list[PositionView]) -> dict[str, ContractQuote]:
    found: dict[str, ContractQuote] = {}
    for name in {underlying_of(position.symbol) for position in positions}:
        subject = SnapshotTaken.SUBJECT.format(subject_token(name))
        with suppress(UndecodableError):
            snapshot = await bus.last("MARKET", subject, SnapshotTaken)
            if snapshot is not None:
                found |= {contract.symbol: contract for contract in snapshot.contracts}
    return found


def show(done: Flattened, *, as_json: bool) -> int:
    """Status 0 when nothing is held any more."""
    if as_json:
        sys.stdout.write(encode_line(done) + "\n")
    else:
        sys.stdout.write(f"trading is {done.word.standing.words}\n")
        sys.stdout.write(f"{done.wished} closing orders wished for in {done.rounds} rounds\n")
        for position in done.left:
            sys.stdout.write(f"  still held: {position.qty:f} {position.symbol}\n")
        if done.left:
            sys.stdout.write("`alpaclaudia watch 'decisions.>'` tells why; run it again to go on\n")
    return STATUS_NOT_FLAT if done.left else 0
