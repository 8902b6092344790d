"""Prices from files, from a walk and from Alpaca: what is read is what the market shows."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from services.exchange.config import ExchangeConfig, ExchangeError
from services.exchange.prices.calendar import Calendar, load_calendar
from services.exchange.prices.market import Market
from services.exchange.prices.sources import alpaca
from services.exchange.prices.sources.bars import SESSIONS_MIN
from services.exchange.prices.sources.config import (
    Alpaca,
    Files,
    SourceError,
    Walk,
    read_source,
    without_keys,
)
from services.exchange.prices.sources.opening import open_source
from services.exchange.service import Running
from tests.conformity.served import KEY, SECRET, serving

START = dt.date(2024, 3, 4)
SESSIONS = 40
Line = dict[str, Any]


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return load_calendar()


def days(calendar: Calendar, count: int = SESSIONS) -> list[dt.date]:
    first = calendar.first_from(START)
    return calendar.dates[first : first + count]


def day_lines(calendar: Calendar, **changes: Any) -> list[Line]:
    """A bar a day: opens at 100, rises a dollar a day, high and low two dollars away."""
    lines: list[Line] = []
    for number, date in enumerate(days(calendar)):
        price = 100 + number
        lines.append(
            {
                "date": str(date),
                "open": price,
                "high": price + 2,
                "low": price - 2,
                "close": price + 1,
            }
            | changes
        )
    return lines


def write(path: Path, lines: list[Line]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def market_of(path: Path, calendar: Calendar) -> Market:
    history = open_source(Files(path=str(path)), calendar, start=START, seed=3)
    return Market(calendar, history, 3)


def test_days_of_a_csv_file_open_at_their_open_touch_high_and_low_and_end_at_their_close(
    calendar: Calendar, tmp_path: Path
) -> None:
    market = market_of(write(tmp_path / "acme.csv", day_lines(calendar)), calendar)
    assert market.history.symbols == ["ACME"]
    for number, date in list(enumerate(days(calendar)))[-10:]:
        session = calendar.on(date)
        assert session is not None
        path = market.path("ACME", session)
        price = 100.0 + number
        assert (path[0], path.max(), path.min()) == (price, price + 2, price - 2)
        assert path[-1] == price + 1


def test_a_symbol_column_and_other_names_of_columns_are_read(
    calendar: Calendar, tmp_path: Path
) -> None:
    lines = [
        {"Ticker": symbol, "Timestamp": line["date"], "Adj Close": line["close"]}
        for line in day_lines(calendar)
        for symbol in ("abc", "xyz")
    ]
    market = market_of(write(tmp_path / "bars.csv", lines), calendar)
    assert market.history.symbols == ["ABC", "XYZ"]


def test_minutes_are_played_as_they_stand(calendar: Calendar, tmp_path: Path) -> None:
    lines = []
    for date in days(calendar, SESSIONS_MIN + 2):
        session = calendar.on(date)
        assert session is not None
        for minute in range(session.minutes):
            at = session.open + dt.timedelta(minutes=minute)
            price = 50 + minute / 100
            lines.append({"t": at.isoformat(), "o": price, "h": price, "l": price, "c": price})
    market = market_of(write(tmp_path / "ABC.csv", lines), calendar)
    session = calendar.on(days(calendar, SESSIONS_MIN + 1)[-1])
    assert session is not None
    path = market.path("ABC", session)
    assert np.allclose(path[:-1], 50 + np.arange(session.minutes) / 100)


def test_a_folder_of_parquet_files_is_what_the_same_csv_files_are(
    calendar: Calendar, tmp_path: Path
) -> None:
    text, columns = tmp_path / "csv", tmp_path / "parquet"
    text.mkdir()
    columns.mkdir()
    for symbol in ("ABC", "XYZ"):
        lines = day_lines(calendar)
        write(text / f"{symbol}.csv", lines)
        parquet.write_table(pyarrow.Table.from_pylist(lines), columns / f"{symbol}.parquet")
    one, other = market_of(text, calendar), market_of(columns, calendar)
    session = calendar.on(days(calendar)[-1])
    assert session is not None
    for symbol in ("ABC", "XYZ"):
        assert np.array_equal(one.path(symbol, session), other.path(symbol, session))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"close": "NaN"}, "row 2: close nan is not a price above 0"),
        ({"close": -1}, "row 2: close -1.0 is not a price above 0"),
        ({"close": "many"}, "row 2: close 'many' is not a number"),
        ({"high": 1}, "row 2: high and low do not enclose open and close"),
        ({"date": "2024-03-03"}, "2024-03-03 is no session of the New York Stock Exchange"),
        ({"date": "yesterday"}, "'yesterday' is not a time; write 2024-03-05"),
        ({"date": "2024-03-05"}, "has two bars at one time on 2024-03-05"),
    ],
)
def test_a_bar_that_cannot_be_is_named_with_its_row(
    calendar: Calendar, tmp_path: Path, change: Line, told: str
) -> None:
    lines = day_lines(calendar)
    lines[0] |= change
    with pytest.raises(SourceError, match=re.escape(told)):
        market_of(write(tmp_path / "abc.csv", lines), calendar)


def test_a_gap_a_short_file_and_a_folder_without_bars_say_what_is_missing(
    calendar: Calendar, tmp_path: Path
) -> None:
    lines = day_lines(calendar)
    gap = lines.pop(20)["date"]
    with pytest.raises(SourceError, match=rf"ABC has no bar on {gap}, a trading session"):
        market_of(write(tmp_path / "abc.csv", lines), calendar)
    with pytest.raises(SourceError, match=f"at least {SESSIONS_MIN} are needed"):
        market_of(write(tmp_path / "abc.csv", lines[:10]), calendar)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="holds no file that ends in"):
        market_of(empty, calendar)
    with pytest.raises(SourceError, match="No such file"):
        market_of(tmp_path / "none.csv", calendar)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="is not a Parquet file"):
        market_of(tmp_path / "bad.parquet", calendar)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="is not text"):
        market_of(tmp_path / "bytes.csv", calendar)
    with pytest.raises(SourceError, match="has no column"):
        market_of(write(tmp_path / "abc.csv", [{"date": "2024-03-04", "price": 1}]), calendar)


def test_a_walk_is_a_function_of_its_seed_and_moves_as_it_is_told(calendar: Calendar) -> None:
    walk = Walk(symbols=["ABC", "XYZ"], start_price=100.0, volatility=0.3)
    paths = [open_source(walk, calendar, start=START, seed=seed) for seed in (1, 1, 2)]
    day = calendar.first_from(START)
    first, same, other = (history.closes("ABC", history.first_day, day + 252) for history in paths)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    yearly = float(np.diff(np.log(first)).std() * np.sqrt(252))
    assert yearly == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"type": "walk", "symbols": ["no!"]}, "is not a stock's symbol"),
        ({"type": "walk", "volatility": 9}, "volatility 9.0 must be"),
        ({"type": "walk", "volatility": float("nan")}, "volatility nan must be"),
        ({"type": "dice"}, "types are closes, files, walk, alpaca"),
        ({"type": "files"}, "missing required field `path`"),
    ],
)
def test_a_source_that_cannot_be_ends_the_start_with_one_line(
    source: dict[str, Any], told: str
) -> None:
    config = ExchangeConfig(key="k", secret="s", source=source, start_date=START)
    with pytest.raises(ExchangeError) as error:
        Running(config)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_do_not_reach_what_is_kept() -> None:
    given = {"type": "alpaca", "symbols": ["KO"], "key": "planted-key", "secret": "planted"}
    assert "planted" not in json.dumps(without_keys(given))


def test_alpacas_bars_are_fetched_once_and_played_from_the_folder(
    calendar: Calendar, tmp_path: Path
) -> None:
    """From a simulated Alpaca, which serves the same endpoint."""
    source = {
        "type": "alpaca",
        "symbols": ["KO"],
        "start": "2020-02-03",
        "end": "2020-03-31",
        "folder": str(tmp_path),
    }
    with serving(paused=True, start_date=dt.date(2020, 4, 1)) as served:
        asked = read_source(source | {"key": KEY, "secret": SECRET, "url": served.url})
        fetched = open_source(asked, calendar, start=dt.date(2020, 3, 20), seed=1)
        bars = served.get(
            "/v2/stocks/bars", symbols="KO", timeframe="1Day", start="2020-02-03", end="2020-03-31"
        )["bars"]["KO"]
    assert len(bars) > 30
    again = open_source(read_source(source), calendar, start=dt.date(2020, 3, 20), seed=1)
    day = calendar.first_from(dt.date(2020, 3, 31))
    closes = [fetched.close("KO", day), again.close("KO", day), bars[-1]["c"]]
    assert closes == [closes[0]] * 3


def test_alpacas_bars_without_keys_or_answer_say_so(calendar: Calendar, tmp_path: Path) -> None:
    asked = {"type": "alpaca", "symbols": ["KO"], "folder": str(tmp_path)}
    dates = {"start": "2020-02-03", "end": "2020-03-31"}
    with pytest.raises(SourceError, match="there are no keys to fetch"):
        open_source(read_source(asked | dates), calendar, start=START, seed=1)
    wrong = read_source(asked | {"start": "2020-03-31", "end": "2020-02-03"})
    with pytest.raises(SourceError, match="must be before end"):
        open_source(wrong, calendar, start=START, seed=1)
    nowhere = {"key": "k", "secret": "planted", "url": "http://127.0.0.1:9"}
    with pytest.raises(SourceError, match="bars of KO cannot be had") as error:
        open_source(read_source(asked | dates | nowhere), calendar, start=START, seed=1)
    assert "planted" not in str(error.value)
    assert not list(tmp_path.glob("**/*.csv"))


def test_timeframes_of_alpaca_are_two() -> None:
    source = Alpaca(
        symbols=["KO"], start="2020-01-01", end="2020-02-01", folder=".", timeframe="2H"
    )
    with pytest.raises(SourceError, match="must be 1Day or 1Min"):
        alpaca.fetch(source)
