"""What `timeframe` means: minutes and hours of the clock, days, weeks from Monday, months.

Intervals begin where Alpaca's begin: those of minutes and hours at multiples of their length from
New York's midnight (so the first hour of a session is that of 9:00), days at midnight, weeks on
Monday, months on the first.
"""

from __future__ import annotations

import datetime as dt
import re

import msgspec

from services.exchange.engine.refusals import malformed
from services.exchange.http.query import Query
from services.exchange.prices.bars import Bars, merged
from services.exchange.prices.calendar import NEW_YORK, Session

MONTHS = (1, 2, 3, 4, 6, 12)
_TIMEFRAME = re.compile(r"(?P<length>\d{1,2})(?P<unit>Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII)
_LENGTHS: dict[str, tuple[int, ...]] = {
    "T": tuple(range(1, 60)),
    "H": tuple(range(1, 24)),
    "D": (1,),
    "W": (1,),
    "M": MONTHS,
}
_SHORT = {"Min": "T", "Hour": "H", "Day": "D", "Week": "W", "Month": "M"}
_DAY, _WEEK = dt.timedelta(days=1), dt.timedelta(days=7)


class Timeframe(msgspec.Struct, frozen=True, kw_only=True):
    """`unit` is the short name: T minutes, H hours, D, W, M."""

    length: int
    unit: str

    @property
    def intraday(self) -> bool:
        return self.unit in "TH"

    @property
    def minutes(self) -> int:
        """Of an interval within a day."""
        return self.length * (60 if self.unit == "H" else 1)

    def period(self, date: dt.date) -> dt.date:
        """The first day of the interval that the date is in; of one within a day, the date."""
        if self.unit == "W":
            return date - dt.timedelta(days=date.weekday())
        if self.unit == "M":
            month = (date.month - 1) // self.length * self.length + 1
            return date.replace(month=month, day=1)
        return date

    def after(self, period: dt.date) -> dt.date:
        """The first day of the next period."""
        if self.unit == "M":
            months = period.year * 12 + period.month - 1 + self.length
            return dt.date(months // 12, months % 12 + 1, 1)
        return period + (_WEEK if self.unit == "W" else _DAY)

    def batch(self, date: dt.date) -> tuple[int, int]:
        """Of bars of days and more: the run of periods that are made together."""
        first = self.period(date)
        return (first.year, first.month if self.unit == "D" else 0)

    def cut(self, bars: Bars, session: Session) -> Bars:
        """The session's bars put together by the clock; a bar begins where its interval does."""
        if self.minutes == 1 or not len(bars.minute):
            return bars
        opened = session.open.astimezone(NEW_YORK)
        offset = opened.hour * 60 + opened.minute
        number = (bars.minute + offset) // self.minutes
        made = merged(bars, number)
        return made._replace(minute=(made.minute + offset) // self.minutes * self.minutes - offset)


DAYS = Timeframe(length=1, unit="D")


def date_of(date: dt.date) -> dt.date:
    """The key of runs of a single session."""
    return date


def timeframe(query: Query) -> Timeframe:
    """Raises Refusal."""
    match = _TIMEFRAME.fullmatch(query.get("timeframe", ""))
    if match is not None:
        unit = _SHORT.get(match["unit"], match["unit"])
        if int(match["length"]) in _LENGTHS[unit]:
            return Timeframe(length=int(match["length"]), unit=unit)
    raise malformed(
        "invalid timeframe: use 1Min to 59Min, 1Hour to 23Hour, 1Day, 1Week, or 1, 2, 3, 4, 6 or "
        "12Month"
    )
