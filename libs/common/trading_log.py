"""The bus's log of trading states, read anew at each question and never believed to be complete.

Only what is newer than the last read crosses the wire, so that asking costs one round trip.
"""

from __future__ import annotations

from libs.common.bus import Bus, BusError
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import TradingStateSet

STREAM = "TRADING"


class BusTradingLog:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._records: list[TradingStateSet] = []
        self._seen = 0

    async def read(self) -> list[TradingStateSet] | None:
        """Every record there is, oldest first; None when the bus cannot be read, or holds a
        record that does not decode: what it restricts is not known then.
        """
        try:
            found = await self._bus.read_after(STREAM, TradingStateSet.SUBJECT, self._seen)
            for stored in found:
                record = decode_message(TradingStateSet.SUBJECT, stored.payload)
                if isinstance(record, TradingStateSet):
                    self._records.append(record)
                self._seen = stored.sequence
        except (BusError, UndecodableError):
            return None
        return list(self._records)
