"""`alpaclaudia halt | reduce | resume | flatten`: an operator's word on what may leave.

Each reaches for both logs by itself, with no service between. A word that restricts is said
wherever it can be; one that lifts only where both logs were read and both take it.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from contextlib import suppress

import msgspec

from libs.common.bus import Bus, BusError
from libs.common.bus_accounts import OPERATOR
from libs.common.contracts import TradingStateSet, TradingVerb
from libs.common.database import (
    DatabaseError,
    Engine,
    SchemaMismatchError,
    address_for,
    check_schema,
    engine_for,
)
from libs.common.promises import BrokenPromiseError
from libs.common.runtime import encode_line, utc_now
from libs.common.settings import Settings
from libs.common.trading_log import BusTradingLog
from libs.common.trading_state import (
    RESTRICTIVENESS,
    IllegalVerbError,
    Standing,
    move,
    standing_of,
)
from libs.common.trading_store import TradingStore

CONNECT_SECONDS = 3.0
TEXT_MAX = 500


class TradingError(RuntimeError):
    """The word was not said, or not everywhere it has to be; the text tells what holds now."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command."""

    verb: TradingVerb
    standing: Standing
    said_on: list[str]
    troubles: list[str]


class Paths:
    """The two logs, each of which may be out of reach."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self.bus: Bus | None = None
        self._log: BusTradingLog | None = None
        self._store: TradingStore | None = None
        self.troubles: list[str] = []

    async def open(self) -> None:
        """Never raises for a path that is down: `troubles` tells."""
        await asyncio.gather(self._open_bus(), self._open_table())
        if self.bus is None and self._store is None:
            await self.close()
            raise TradingError(
                "neither the bus nor the database can be reached, so nothing was said:\n  "
                + "\n  ".join(self.troubles)
                + "\nStop the executor process itself to be sure that no order leaves."
            )

    async def _open_bus(self) -> None:
        if self._settings.bus.url is None:
            self.troubles.append("bus: NATS_URL is not set and no running system was found")
            return
        try:
            self.bus = await Bus.connect(
                self._settings.bus, account=OPERATOR, patience_seconds=CONNECT_SECONDS
            )
            self._log = BusTradingLog(self.bus)
        except (BusError, BrokenPromiseError) as error:
            self.troubles.append(f"bus: {error}")

    async def _open_table(self) -> None:
        database = self._settings.database
        if database.url is None and database.logins_folder is None:
            self.troubles.append("database: DATABASE_URL is not set")
            return
        self._engine = engine_for(address_for(database, OPERATOR), application="operator")
        try:
            await asyncio.to_thread(check_schema, self._engine)
            self._store = TradingStore(self._engine)
        except (DatabaseError, SchemaMismatchError) as error:
            self.troubles.append(f"database: {error}")

    async def close(self) -> None:
        if self.bus is not None:
            with suppress(BusError):
                await self.bus.close()
        if self._engine is not None:
            self._engine.dispose()

    async def standing(self) -> Standing:
        on_bus = None if self._log is None else await self._log.read()
        in_table = None
        if self._store is not None:
            try:
                in_table = await asyncio.to_thread(self._store.read)
            except DatabaseError as error:
                self.troubles.append(f"database: {error}")
        return standing_of({"bus": on_bus, "database": in_table})

    async def say(self, record: TradingStateSet) -> list[str]:
        """Where the record was taken: the table first, so that a lift that is on the bus, which
        is all that risk reads, is in the table as well.
        """
        said = []
        if self._store is not None:
            try:
                await asyncio.to_thread(self._store.add, record)
                said.append("database")
            except DatabaseError as error:
                self.troubles.append(f"database: {error}")
        lifted_in_vain = bool(record.lifts) and "database" not in said
        if self.bus is not None and not lifted_in_vain:
            try:
                await self.bus.publish(record)
                said.append("bus")
            except BusError as error:
                self.troubles.append(f"bus: {error}")
        return said


def plain_text(text: str) -> str:
    """One line that every log takes, whatever the terminal gave: printable, of bounded length."""
    whole = text.encode("utf-8", "replace").decode()
    printable = "".join(c if c.isprintable() else " " for c in whole)
    return " ".join(printable.split())[:TEXT_MAX]


async def say(settings: Settings, verb: TradingVerb, why: str) -> Word:
    """Raises TradingError when what was asked does not hold afterwards."""
    why = plain_text(why)
    paths = Paths(settings)
    await paths.open()
    try:
        return await _say(paths, verb, why)
    finally:
        await paths.close()


async def _say(paths: Paths, verb: TradingVerb, why: str) -> Word:
    before = await paths.standing()
    restricts = verb in (TradingVerb.HALT, TradingVerb.REDUCE) and before.problem
    if before.problem and not restricts and paths.troubles:
        raise TradingError(
            f"{verb} needs both the bus and the database:\n  "
            + "\n  ".join(paths.troubles)
            + "\nNothing was changed."
        )
    try:
        step = move(before, verb)
    except IllegalVerbError as error:
        raise TradingError(f"{error}. Nothing was changed.") from error
    # With a path down the state is HALTED for want of knowledge: nothing may be lifted by that.
    lifts = () if before.problem and paths.troubles else step.lifts
    now = utc_now()
    who = operator_name()
    record = TradingStateSet(
        message_id=f"trading-{verb}-{os.getpid()}-{int(now.timestamp() * 1_000_000)}",
        at=now,
        state=step.state,
        verb=verb,
        who=who,
        why=why,
        lifts=list(lifts),
    )
    said = await paths.say(record)
    after = await paths.standing()
    if not said:
        raise TradingError(f"{verb} was not said:\n  " + "\n  ".join(paths.troubles))
    if not restricts and RESTRICTIVENESS[after.state] > RESTRICTIVENESS[step.state]:
        raise TradingError(
            f"{verb} was said on the {' and '.join(said)} and is without effect: trading is"
            f" {after.words}\n  "
            + "\n  ".join(paths.troubles)
            + f"\nRun `alpaclaudia {verb}` again when both logs are in reach."
        )
    return Word(verb=verb, standing=after, said_on=said, troubles=paths.troubles)


def operator_name() -> str:
    """Who is at the keyboard, as the system knows them."""
    with suppress(OSError, KeyError):
        return plain_text(os.environ.get("ALPACLAUDIA_OPERATOR") or getpass.getuser())
    return "operator"


def show(word: Word, *, as_json: bool) -> int:
    """Status 0 when it is said everywhere, 3 when one log could not be reached."""
    if as_json:
        sys.stdout.write(encode_line(word) + "\n")
    else:
        sys.stdout.write(f"trading is {word.standing.words}\n")
        for trouble in word.troubles:
            sys.stderr.write(f"alpaclaudia: {trouble}\n")
        if word.troubles:
            where = " and ".join(word.said_on)
            sys.stderr.write(
                f"alpaclaudia: said on the {where} only, which is enough to restrict: the executor"
                " sends nothing while either log says so, or cannot be read\n"
            )
    return 3 if word.troubles else 0
