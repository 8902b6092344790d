from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from services.exchange.prices.calendar import Calendar, load_calendar
from services.exchange.prices.history import History, load_history
from services.exchange.prices.market import Market
from tests.unit.exchange.desk import Desk

START = dt.date(2020, 2, 3)
SYMBOLS = ["AAPL", "KO", "RRC"]


@pytest.fixture(scope="session")
def calendar() -> Calendar:
    return load_calendar()


@pytest.fixture(scope="session")
def history() -> History:
    return load_history()


@pytest.fixture(scope="session")
def market(calendar: Calendar, history: History) -> Market:
    return Market(calendar, history.only(SYMBOLS), seed=7)


@pytest.fixture
def desk(market: Market) -> Callable[..., Desk]:
    def open_desk(start: dt.date = START, **account: Any) -> Desk:
        return Desk(market, start, **account)

    return open_desk
