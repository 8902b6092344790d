"""History: pages and their tokens, timeframes, and trades of options against their quotes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import chain

import msgspec
import numpy as np
import pytest

from services.exchange.engine.refusals import Refusal
from services.exchange.http import history_pages
from services.exchange.http.history_pages import Chunk, HistoryRequest, Window, page
from services.exchange.http.query import page_token
from services.exchange.http.timeframes import Timeframe, timeframe
from services.exchange.http.views import View
from services.exchange.prices import bars
from services.exchange.prices.calendar import Calendar
from services.exchange.prices.market import Market
from services.exchange.prices.trades import PARTS

MONDAY = dt.datetime(2020, 2, 3, 14, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MINUTES_A_DAY, DAYS = 3, 4


def rows_of(symbol: str, window: Window, *, descending: bool = False) -> Iterator[Chunk]:
    """Four days of three rows, those of the window; a row is (symbol, day, minute)."""
    days = range(DAYS - 1, -1, -1) if descending else range(DAYS)
    for day in days:
        if not window.first.date() <= (MONDAY + day * DAY).date() <= window.last.date():
            continue

        def rows(first: int, end: int, day: int = day) -> list[View]:
            return [{"row": (symbol, day, minute)} for minute in range(first, end)]

        yield Chunk(MONDAY + day * DAY, np.arange(MINUTES_A_DAY), rows)


def request(limit: int, token: str | None = None, *, descending: bool = False) -> HistoryRequest:
    text = None if token is None else page_token({"page_token": token})
    symbol, _, at = (text or "|").partition("|")
    return HistoryRequest(
        first=MONDAY,
        last=MONDAY + 10 * DAY,
        limit=limit,
        descending=descending,
        last_symbol=symbol,
        last_at=dt.datetime.fromisoformat(at) if at else None,
    )


def pages(limit: int, *, descending: bool = False) -> list[list[tuple[str, int, int]]]:
    found, token = [], None
    while True:
        rows, token = page(
            request(limit, token, descending=descending),
            ["B", "A"],
            lambda symbol, window: rows_of(symbol, window, descending=descending),
        )
        found.append([row["row"] for part in rows.values() for row in part])
        if token is None:
            return found


def joined(found: list[list[tuple[str, int, int]]]) -> list[tuple[str, int, int]]:
    return list(chain.from_iterable(found))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 12, 23, 24, 25])
def test_pages_of_any_size_give_every_row_once_and_in_order(limit: int) -> None:
    found = pages(limit)
    assert [len(rows) for rows in found[:-1]] == [limit] * (len(found) - 1)
    every = [(s, d, m) for s in "AB" for d in range(DAYS) for m in range(MINUTES_A_DAY)]
    assert joined(found) == every
    assert found[-1], "no page is empty"
    newest_first = joined(pages(limit, descending=True))
    assert newest_first == [(s, d, m) for s in "AB" for d in (3, 2, 1, 0) for m in (2, 1, 0)]


def test_a_page_ends_early_when_it_went_through_many_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the next one goes on from there."""
    whole = joined(pages(100))
    monkeypatch.setattr(history_pages, "SESSIONS_PER_PAGE_MAX", 3)
    found = pages(100)
    assert len(found) > 2
    assert max(map(len, found)) == 3 * MINUTES_A_DAY
    assert joined(found) == whole


def test_rows_before_and_after_the_window_are_left_out() -> None:
    wanted = msgspec.structs.replace(
        request(100), first=MONDAY + dt.timedelta(seconds=1), last=MONDAY + DAY
    )
    rows, token = page(wanted, ["A"], rows_of)
    assert token is None
    assert [row["row"] for row in rows["A"]] == [("A", 0, 1), ("A", 0, 2), ("A", 1, 0)]


@pytest.mark.parametrize(
    ("text", "length", "unit"),
    [
        ("1Min", 1, "T"), ("59T", 59, "T"), ("1Hour", 1, "H"), ("23H", 23, "H"), ("1Day", 1, "D"),
        ("1D", 1, "D"), ("1Week", 1, "W"), ("1W", 1, "W"), ("12Month", 12, "M"), ("6M", 6, "M"),
    ],
)  # fmt: skip
def test_timeframes_that_there_are(text: str, length: int, unit: str) -> None:
    assert timeframe({"timeframe": text}) == Timeframe(length=length, unit=unit)


@pytest.mark.parametrize(
    "text", ["", "0Min", "60Min", "24Hour", "2Day", "2Week", "5Month", "1min", "١Min", "-1Min", "1"]
)
def test_timeframes_that_there_are_not(text: str) -> None:
    with pytest.raises(Refusal, match="invalid timeframe"):
        timeframe({"timeframe": text})


@pytest.mark.parametrize(
    ("frame", "date", "first", "after"),
    [
        (Timeframe(length=1, unit="W"), (2020, 1, 1), (2019, 12, 30), (2020, 1, 6)),
        (Timeframe(length=1, unit="M"), (2020, 12, 31), (2020, 12, 1), (2021, 1, 1)),
        (Timeframe(length=4, unit="M"), (2020, 10, 5), (2020, 9, 1), (2021, 1, 1)),
        (Timeframe(length=12, unit="M"), (2020, 2, 29), (2020, 1, 1), (2021, 1, 1)),
        (Timeframe(length=1, unit="D"), (2020, 2, 29), (2020, 2, 29), (2020, 3, 1)),
    ],
)
def test_periods_begin_on_mondays_and_firsts(
    frame: Timeframe, date: tuple[int, ...], first: tuple[int, ...], after: tuple[int, ...]
) -> None:
    assert frame.period(dt.date(*date)) == dt.date(*first)
    assert frame.after(dt.date(*first)) == dt.date(*after)


def test_a_days_bar_is_what_its_minutes_come_to(market: Market, calendar: Calendar) -> None:
    session = calendar.session(calendar.first_from(dt.date(2020, 11, 27)))  # a half day
    for minutes in (1, 2, session.minutes):
        merged = bars.one_bar(market.stock_bars("KO", session, minutes))
        day = market.day_bar("KO", session, minutes)
        assert [float(column[0]) for column in merged[1:]] == pytest.approx(list(day))
    opening = market.day_bar("KO", session, 0)
    price = market.path("KO", session)[0]
    assert opening[:4] == (price, price, price, price)


@pytest.mark.parametrize("date", [dt.date(2020, 2, 3), dt.date(2020, 11, 27)])
def test_options_trade_at_their_value_inside_the_session(
    market: Market, calendar: Calendar, date: dt.date
) -> None:
    session = calendar.session(calendar.first_from(date))
    listing = market.listings.listing("AAPL", session)
    whole = market.option_trades("AAPL", session)
    assert whole.price.shape == (PARTS, len(listing))
    assert 0.2 < whole.happened.mean() < 0.7
    assert (whole.minute >= 0).all()
    assert (whole.minute < session.minutes).all()
    for row in range(0, len(listing), 97):
        symbol = listing.contracts[row].symbol
        quotes = market.session_quotes(symbol, session)
        alone = market.contract_trades(symbol, session)
        assert alone is not None
        made = alone.along(0, session.minutes)
        np.testing.assert_array_equal(made.close, whole.along(row, session.minutes).close)
        np.testing.assert_allclose(made.close, quotes.value[made.minute], atol=0.0101)
        assert (quotes.bid[made.minute] <= made.close).all()
        assert (made.close <= quotes.ask[made.minute]).all()


def test_a_contract_that_was_not_listed_did_not_trade(market: Market, calendar: Calendar) -> None:
    session = calendar.session(calendar.first_from(dt.date(2020, 2, 3)))
    assert market.contract_trades("KO210917P00050000", session) is None
