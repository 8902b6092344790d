"""The trading state as the executor's own door sees it: both logs, read anew each time."""

from __future__ import annotations

import asyncio
import logging

from libs.common.bus import Bus, BusError
from libs.common.contracts import TradingStateSet
from libs.common.database import DatabaseError, Engine
from libs.common.trading_log import BusTradingLog
from libs.common.trading_state import Standing, missing_from, standing_of
from libs.common.trading_store import TradingStore

log = logging.getLogger(__name__)


class TradingDoor:
    def __init__(self, bus: Bus, engine: Engine) -> None:
        self._bus = bus
        self._log = BusTradingLog(bus)
        self._store = TradingStore(engine)

    async def standing(self) -> Standing:
        standing, _, _ = await self._read()
        return standing

    async def on_bus(self) -> list[TradingStateSet] | None:
        """The bus's log alone, for who reads the table's himself; None when it cannot be read."""
        return await self._log.read()

    async def mirror(self) -> Standing:
        """Copies restricting records that only one of the logs has to the other, and nothing that
        lifts: a resume that reached one log only stays without effect.
        """
        standing, on_bus, in_table = await self._read()
        try:
            for record in missing_from(on_bus, standing) if on_bus is not None else ():
                await self._bus.publish(record, patience_seconds=1.0)
            for record in missing_from(in_table, standing) if in_table is not None else ():
                await asyncio.to_thread(self._store.add, record)
        except (BusError, DatabaseError) as error:
            log.debug("mirroring the trading state: %s", error)
        return standing

    async def _read(
        self,
    ) -> tuple[Standing, list[TradingStateSet] | None, list[TradingStateSet] | None]:
        on_bus, in_table = await asyncio.gather(self._log.read(), self._read_table())
        return standing_of({"bus": on_bus, "database": in_table}), on_bus, in_table

    async def _read_table(self) -> list[TradingStateSet] | None:
        try:
            return await asyncio.to_thread(self._store.read)
        except DatabaseError:
            return None
