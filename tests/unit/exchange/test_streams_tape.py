"""What is due to whom, minute by minute, and the queue it waits in."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from services.exchange.http.market_views import (
    daily_bar,
    last_minute_bar,
    quote_view,
    trade_view,
)
from services.exchange.http.option_views import option_snapshots
from services.exchange.prices.market import Market, Moment
from services.exchange.stream_limits import StreamLimits
from services.exchange.streams.codec import JSON_TEXT
from services.exchange.streams.connection import Connection
from services.exchange.streams.data_session import DataSession
from services.exchange.streams.endpoints import Endpoint, data_endpoint
from services.exchange.streams.session import Event
from services.exchange.streams.tape import (
    CHAINS_MAX,
    Tape,
    latest_minutes,
    option_minutes_max,
    underlyings_of,
)

NEVER_SENT = {"updatedBars": ["*"], "statuses": ["*"], "lulds": ["*"]}


def endpoint(path: str) -> Endpoint:
    found = data_endpoint(path)
    assert found is not None
    return found


def moment(market: Market, minute: int, day: int = 0) -> Moment:
    calendar = market.calendar
    session = calendar.session(calendar.first_from(dt.date(2020, 2, 3)) + day)
    now = session.open + dt.timedelta(minutes=minute)
    return Moment(now=now, session=session, minute=minute)


def times(minutes: list[Moment]) -> list[tuple[int, int]]:
    return [(m.session.index, m.minute) for m in minutes]


# --- which minutes -----------------------------------------------------------------------------


def test_each_minute_since_is_due_once(market: Market) -> None:
    before, after = moment(market, 3), moment(market, 6)
    due = latest_minutes(market.calendar, before, after, 100)
    assert [m.minute for m in due] == [4, 5, 6]
    assert due[-1] == after


def test_a_night_lies_between_the_close_and_the_open(market: Market) -> None:
    first, second = moment(market, 388), moment(market, 1, day=1)
    day = first.session.index
    due = latest_minutes(market.calendar, first, second, 100)
    assert times(due) == [(day, 389), (day, 390), (day + 1, 0), (day + 1, 1)]


def test_of_many_minutes_the_latest_are_due(market: Market) -> None:
    before, after = moment(market, 5), moment(market, 2, day=3)
    due = latest_minutes(market.calendar, before, after, 5)
    assert times(due)[-1] == (after.session.index, 2)
    assert [m.minute for m in due] == [389, 390, 0, 1, 2]


def test_nothing_is_due_when_no_minute_passed(market: Market) -> None:
    assert latest_minutes(market.calendar, moment(market, 5), moment(market, 5), 10) == []


def test_few_enough_chains_are_priced_in_a_step(market: Market) -> None:
    assert option_minutes_max(1, 10) == 10
    assert option_minutes_max(20, 10) == 1
    assert option_minutes_max(1_000, 10) == 1
    assert option_minutes_max(20, 10) * 20 <= CHAINS_MAX
    assert underlyings_of(market, {"trades": ["*"], "quotes": []}) == set(market.history.symbols)
    asked = ["AAPL200221P00070000", "ZZZ200221P00070000"]
    assert underlyings_of(market, {"trades": [], "quotes": asked}) == {"AAPL"}


# --- what is due -------------------------------------------------------------------------------


def test_stocks_are_what_rest_shows(market: Market) -> None:
    stocks, now = endpoint("/v2/iex"), moment(market, 30)
    subscriptions = {
        "trades": ["AAPL", "UNKNOWN"],
        "quotes": ["KO"],
        "bars": ["*"],
        "dailyBars": ["AAPL"],
        **NEVER_SENT,
    }
    assert Tape(market, now).events(stocks, subscriptions) == [
        {"T": "t", "S": "AAPL", **trade_view(market, "AAPL", now)},
        {"T": "q", "S": "KO", **quote_view(market, "KO", now)},
        *(
            {"T": "b", "S": symbol, **(last_minute_bar(market, symbol, now) or {})}
            for symbol in market.history.symbols
        ),
        {"T": "d", "S": "AAPL", **daily_bar(market, "AAPL", now.session, 30)},
    ]


def test_at_an_open_there_is_no_bar_yet(market: Market) -> None:
    events = Tape(market, moment(market, 0)).events(
        endpoint("/v2/iex"), {"trades": ["KO"], "bars": ["KO"]}
    )
    assert [event["T"] for event in events] == ["t"]


def test_options_are_what_rest_shows(market: Market) -> None:
    options, now = endpoint("/v1beta1/indicative"), moment(market, 30)
    chain = market.chain("AAPL", now)
    rows = [row for row, quoted in enumerate(chain.has_quote) if quoted][:3]
    shown = option_snapshots(market, chain, rows, now)
    symbols = [*shown, "AAPL200221P99999000", "ZZZ200221P00070000"]
    events = Tape(market, now).events(options, {"trades": [], "quotes": symbols})
    assert events == [
        {"T": "q", "S": symbol, **view["latestQuote"]} for symbol, view in shown.items()
    ]


def test_option_trades_are_told_once_in_the_minute_they_happen(market: Market) -> None:
    """Together they are what history has of those minutes."""
    options, told = endpoint("/v1beta1/indicative"), []
    session = moment(market, 0).session
    for minute in range(30, 60):
        tape = Tape(market, moment(market, minute))
        few = tape.events(options, {"trades": [], "quotes": ["AAPL200221P00070000"]})
        assert len(few) <= 1
        told += tape.events(options, {"trades": ["*"], "quotes": []})
    expected = []
    for underlying in market.history.symbols:
        contracts = market.listings.listing(underlying, session).contracts
        trades = market.option_trades(underlying, session)
        for row, contract in enumerate(contracts):
            made = trades.along(row, 59)
            expected += [
                (contract.symbol, float(price), int(size))
                for minute, price, size in zip(made.minute, made.close, made.volume, strict=True)
                if minute >= 30
            ]
    assert sorted((event["S"], event["p"], event["s"]) for event in told) == sorted(expected)
    assert len(told) > 100


# --- the queue ---------------------------------------------------------------------------------


class Line:
    """The server's side of a socket whose client may stop reading."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.aborted = False
        self.reading = asyncio.Event()
        self.reading.set()

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        self.sent.append(message)

    def abort(self) -> None:
        self.aborted = True

    @property
    def frames(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]


def connect(line: Line, queue_frames_max: int) -> Connection:
    session = DataSession(endpoint("/v2/iex"), StreamLimits(), lambda _key, _secret: None)
    return Connection(
        session, JSON_TEXT, send=line.send, abort=line.abort, queue_frames_max=queue_frames_max
    )


def event(number: int) -> Event:
    return {"T": "t", "i": number}


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_client_that_does_not_read_is_cut_with_407() -> None:
    line = Line()
    connection = connect(line, queue_frames_max=2)
    pump = asyncio.create_task(connection.pump())
    line.reading.clear()
    for number in range(4):
        connection.deliver([event(number)])
        await settle()
    assert connection.backlog == 1
    line.reading.set()
    await pump
    assert line.frames[-1] == '[{"T":"error","code":407,"msg":"slow client"}]'
    assert line.sent[-1]["type"] == "websocket.close"
    connection.deliver([event(9)])
    assert connection.backlog == 0


async def test_a_burst_makes_no_client_slow() -> None:
    line = Line()
    connection = connect(line, queue_frames_max=2)
    pump = asyncio.create_task(connection.pump())
    for _ in range(3):
        connection.deliver([event(number) for number in range(10_000)])
        await settle()
    assert len(line.frames) == 3 * 10_000 / 500
    pump.cancel()


async def test_every_event_passes_through_the_tap() -> None:
    line = Line()
    connection = connect(line, queue_frames_max=100)
    pump = asyncio.create_task(connection.pump())

    connection.tap = lambda events: [*reversed(events), *events]
    connection.deliver([event(1), event(2)])
    connection.tap = lambda _events: []
    connection.deliver([event(3)])
    await settle()
    numbers = '[{"T":"t","i":2},{"T":"t","i":1},{"T":"t","i":1},{"T":"t","i":2}]'
    assert line.frames == [numbers]

    connection.tap = lambda _events: None
    connection.deliver([event(4)])
    assert line.aborted
    pump.cancel()


async def test_a_session_that_fails_ends_with_an_error() -> None:
    line = Line()
    connection = connect(line, queue_frames_max=100)
    pump = asyncio.create_task(connection.pump())

    def fail(_message: object) -> Any:
        raise ZeroDivisionError

    connection.session.receive = fail  # type: ignore[method-assign]
    connection.receive({"type": "websocket.receive", "text": "{}"})
    await pump
    assert '"code":500' in line.frames[0]


@pytest.mark.parametrize(
    ("limits", "word"),
    [({"auth_timeout_seconds": 0}, "auth_timeout_seconds"), ({"minutes_max": 0}, "minutes_max")],
)
def test_limits_out_of_bounds_are_named(limits: dict[str, Any], word: str) -> None:
    assert word in (StreamLimits(**limits).trouble() or "")
    assert StreamLimits().trouble() is None
