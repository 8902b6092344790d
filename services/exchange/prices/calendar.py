"""Sessions of the New York Stock Exchange, half days included.

Importing exchange_calendars costs a second of processor time, so the sessions it computes are
shipped as `data/sessions_1990_2028.csv.gz` and a test holds the file against the library. To
write the file anew: `python -m services.exchange.prices.calendar`.
"""

from __future__ import annotations

import bisect
import datetime as dt
import gzip
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import msgspec

NEW_YORK = ZoneInfo("America/New_York")
SESSIONS_FILE = "sessions_1990_2028.csv.gz"
_OPEN = dt.time(9, 30)
_FRIDAY = 4


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day; `open` and `close` are UTC, `minutes` the whole minutes between them."""

    index: int
    date: dt.date
    open: dt.datetime
    close: dt.datetime

    @property
    def minutes(self) -> int:
        return int((self.close - self.open).total_seconds()) // 60


class Calendar:
    """Every session of 1990 to 2028 in order; `index` counts them from zero."""

    def __init__(self, rows: list[tuple[dt.date, dt.time]]) -> None:
        self.dates = [date for date, _ in rows]
        self._closes = [close for _, close in rows]

    def __len__(self) -> int:
        return len(self.dates)

    @lru_cache(maxsize=4096)  # noqa: B019  # one calendar lives as long as its process
    def session(self, index: int) -> Session:
        date = self.dates[index]
        return Session(
            index=index,
            date=date,
            open=_utc(date, _OPEN),
            close=_utc(date, self._closes[index]),
        )

    def on(self, date: dt.date) -> Session | None:
        index = self.first_from(date)
        return self.session(index) if index < len(self) and self.dates[index] == date else None

    def first_from(self, date: dt.date) -> int:
        """Index of the first session on or after `date` (len(self) when there is none)."""
        return bisect.bisect_left(self.dates, date)

    def between(self, start: dt.date, end: dt.date) -> list[Session]:
        """Sessions from start to end, both included."""
        stop = bisect.bisect_right(self.dates, end)
        return [self.session(i) for i in range(self.first_from(start), stop)]

    def current_or_next(self, now: dt.datetime) -> Session | None:
        """The session whose close is after `now`: running, or the next to open."""
        index = self.first_from(now.astimezone(NEW_YORK).date())
        while index < len(self):
            session = self.session(index)
            if now < session.close:
                return session
            index += 1
        return None

    @lru_cache(maxsize=4096)  # noqa: B019
    def expiration_of_week(self, friday: dt.date) -> dt.date | None:
        """The week's expiration: its Friday, or the Thursday before when Friday is a holiday."""
        for date in (friday, friday - dt.timedelta(days=1)):
            if self.on(date) is not None:
                return date
        return None


def is_monthly(expiration: dt.date) -> bool:
    """Whether this expiration is of the week of the month's third Friday."""
    friday = friday_of(expiration)
    return 15 <= friday.day <= 21


def friday_of(date: dt.date) -> dt.date:
    """The Friday of the date's week (Saturdays and Sundays belong to the week that begins)."""
    return date + dt.timedelta(days=(_FRIDAY - date.weekday()) % 7)


def load_calendar() -> Calendar:
    packed = resources.files("services.exchange").joinpath("data", SESSIONS_FILE).read_bytes()
    rows = gzip.decompress(packed).decode().split()[1:]
    return Calendar([_row(line) for line in rows])


def compute_rows(first: dt.date, last: dt.date) -> list[tuple[dt.date, dt.time]]:
    """(date, close in New York time) of each session, by exchange_calendars."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start=str(first), end=str(last))
    closes = calendar.closes.dt.tz_convert(str(NEW_YORK))
    return [(close.date(), close.time()) for close in closes]


def _row(line: str) -> tuple[dt.date, dt.time]:
    date, close = line.split(",")
    return dt.date.fromisoformat(date), dt.time.fromisoformat(close)


def _utc(date: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(date, time, NEW_YORK).astimezone(dt.UTC)


def _write_file() -> None:
    rows = compute_rows(dt.date(1990, 1, 1), dt.date(2028, 12, 31))
    lines = ["Date,Close", *(f"{date},{close:%H:%M}" for date, close in rows)]
    target = resources.files("services.exchange").joinpath("data", SESSIONS_FILE)
    with resources.as_file(target) as path:
        path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    _write_file()
