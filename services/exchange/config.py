"""What the simulated exchange is started with; light enough for a supervisor to import."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from importlib import resources

import msgspec

CONFIG_VARIABLE = "EXCHANGE_CONFIG"
CLOSES_FILE = "stock_closes_1990_2022.csv.gz"


class ExchangeError(Exception):
    """The exchange cannot start; the text is one line for a person."""


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    seed: int = 1
    start_date: dt.date = dt.date(2020, 2, 3)
    symbols: list[str] = []  # empty: every shipped symbol
    cash: Decimal = Decimal(100_000)
    stocks: dict[str, Decimal] = {}  # symbol → shares held at the start
    options_level: int = 3
    key: str
    secret: str
    speed: float = 1.0  # simulated seconds of trading per wall second
    wait_for_client: bool = False
    state_path: str | None = None
    rate_limit_per_minute: int = 200
    partial_fill_rate: float = 0.0


def read_config(text: str | None) -> ExchangeConfig:
    """From the JSON of the environment variable; raises ExchangeError."""
    if not text:
        raise ExchangeError(f"{CONFIG_VARIABLE} is not set: it holds the configuration as JSON")
    try:
        return msgspec.json.decode(text, type=ExchangeConfig)
    except msgspec.DecodeError as error:
        raise ExchangeError(f"{CONFIG_VARIABLE}: {error}") from None


def shipped_symbols() -> tuple[str, ...]:
    """The stocks there are prices for: the header of the shipped closes, without reading them."""
    file = resources.files("services.exchange") / "data" / CLOSES_FILE
    with file.open("rb") as packed, gzip.open(packed, "rt") as lines:
        return tuple(lines.readline().strip().split(",")[1:])
