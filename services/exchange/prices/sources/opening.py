"""Open the source of prices that a configuration asks for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from services.exchange.prices.calendar import Calendar
from services.exchange.prices.history import History, load_history
from services.exchange.prices.sources.bars import history_of
from services.exchange.prices.sources.config import Alpaca, Closes, Files, Source, Walk
from services.exchange.prices.sources.files import read_files
from services.exchange.prices.sources.walk import walk_history


def open_source(source: Source, calendar: Calendar, *, start: dt.date, seed: int) -> History:
    """Raises SourceError."""
    match source:
        case Closes():
            return load_history()
        case Files(path=path):
            return history_of(read_files(Path(path)), calendar)
        case Alpaca():
            from services.exchange.prices.sources import alpaca  # heavy, and rarely wanted

            return history_of(read_files(alpaca.fetch(source)), calendar)
        case Walk():
            day = min(calendar.first_from(start), len(calendar) - 1)
            return walk_history(source, calendar, start_day=day, seed=seed)
