"""What the simulated exchange is started with; light enough for a supervisor to import."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from services.exchange.stream_limits import StreamLimits
from services.exchange.terms import Terms

CONFIG_VARIABLE = "EXCHANGE_CONFIG"
KEYS_VARIABLE = "EXCHANGE_KEYS_FILE"
CLOSES_FILE = "stock_closes_1990_2022.csv.gz"
CASH_MAX = Decimal(10**12)
# Of what an account begins with; beyond, its worth would have more digits than Decimal keeps.
QTY_MAX = Decimal(10**9)
QTY_DECIMALS_MAX = 9
PRICE_MAX = Decimal(10**6)
LEVEL_MAX = 3
KEY_LENGTH_MAX = 128


DEFAULT_START = dt.date(2020, 2, 3)


class ExchangeError(Exception):
    """The exchange cannot start; the text is one line for a person.

    `field` names what of the configuration it is about, where that is known.
    """

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class Holding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account begins with; without a price it was bought at the first one."""

    qty: Decimal
    avg_entry_price: Decimal | None = None


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account and the keys that open it."""

    key: str
    secret: str
    cash: Decimal = Decimal(100_000)
    options_level: int = 3
    positions: dict[str, Holding] = {}  # stocks and option contracts by symbol


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    seed: int = 1
    start_date: dt.date | None = None  # None: 2020-02-03, or the first day there are prices for
    symbols: list[str] = []  # empty: every one the source has
    source: dict[str, Any] = {}  # where prices come from; empty: the shipped closes
    # the first account
    key: str
    secret: str
    cash: Decimal = Decimal(100_000)
    stocks: dict[str, Decimal] = {}  # symbol → shares held at the start
    options_level: int = 3
    accounts: list[AccountConfig] = []  # more of them
    speed: float = 1.0  # simulated seconds of trading per wall second
    paused: bool = False  # time stands still until it is stepped or set going
    skip_closed: bool = True  # nights and weekends take no time
    wait_for_client: bool = False
    state_path: str | None = None
    rate_limit_per_minute: int = 200
    terms: Terms = Terms()
    streams: StreamLimits = StreamLimits()

    @property
    def all_accounts(self) -> list[AccountConfig]:
        first = AccountConfig(
            key=self.key,
            secret=self.secret,
            cash=self.cash,
            options_level=self.options_level,
            positions={symbol: Holding(qty=qty) for symbol, qty in self.stocks.items()},
        )
        return [first, *self.accounts]


def read_config(text: str | None, keys_file: str | None = None) -> ExchangeConfig:
    """From the JSON of the environment variable; `keys_file` holds more of it, which is to be in
    nobody's environment. Raises ExchangeError.
    """
    if not text:
        raise ExchangeError(f"{CONFIG_VARIABLE} is not set: it holds the configuration as JSON")
    try:
        if not keys_file:
            return msgspec.json.decode(text, type=ExchangeConfig)
        kept = msgspec.json.decode(Path(keys_file).read_bytes(), type=dict[str, str])
        return msgspec.convert(
            {**msgspec.json.decode(text, type=dict[str, Any]), **kept},
            type=ExchangeConfig,
        )
    except OSError as error:
        raise ExchangeError(f"{KEYS_VARIABLE}: {keys_file}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ExchangeError(f"{CONFIG_VARIABLE}: {error}") from None


def check_config(config: ExchangeConfig) -> None:
    """Raises ExchangeError for a number that is out of bounds."""
    checks = (
        ("speed", 0 < config.speed <= 10**6, config.speed, "above 0, at most 1000000"),
        ("port", 0 <= config.port <= 65_535, config.port, "0 to 65535"),
        ("rate_limit_per_minute", config.rate_limit_per_minute > 0, "", "above 0"),
        ("stocks", all(q.is_finite() and q > 0 for q in config.stocks.values()), "", "above 0"),
    )
    for name, good, value, allowed in checks:
        if not good:
            raise ExchangeError(f"exchange {name} {value} must be {allowed}".replace("  ", " "))
    trouble = config.terms.trouble() or config.streams.trouble()
    if trouble:
        raise ExchangeError(f"exchange {trouble}")
    keys = [account.key for account in config.all_accounts]
    for account in config.all_accounts:
        trouble = account_trouble(account)
        if trouble:
            raise ExchangeError(f"exchange {trouble}")
        if keys.count(account.key) > 1:
            raise ExchangeError(f"exchange key {account.key} is used by two accounts")


def account_trouble(account: AccountConfig) -> str | None:
    """What is wrong with an account, in one line."""
    for text in (account.key, account.secret):
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            return "key and secret must be printable ASCII without spaces, and not empty"
        if len(text) > KEY_LENGTH_MAX:
            return f"key and secret must be at most {KEY_LENGTH_MAX} long"
    if "/" in account.key:
        return "key must not contain a slash: it is part of paths under /sim/accounts"
    return _figures_trouble(account)


def _figures_trouble(account: AccountConfig) -> str | None:
    if not (account.cash.is_finite() and 0 <= account.cash <= CASH_MAX):
        return f"cash {account.cash} must be 0 to {CASH_MAX}"
    if not 0 <= account.options_level <= LEVEL_MAX:
        return f"options_level {account.options_level} must be 0 to {LEVEL_MAX}"
    for symbol, holding in account.positions.items():
        price = holding.avg_entry_price
        if (
            not holding.qty.is_finite()
            or holding.qty == 0
            or not -QTY_MAX <= holding.qty <= QTY_MAX
        ):
            return f"position {symbol}: qty must be other than 0, at most {QTY_MAX} either way"
        if holding.qty != round(holding.qty, QTY_DECIMALS_MAX):
            return f"position {symbol}: qty has more than {QTY_DECIMALS_MAX} decimals"
        if price is not None and not (price.is_finite() and 0 <= price <= PRICE_MAX):
            return f"position {symbol}: avg_entry_price must be 0 to {PRICE_MAX}"
    return None


def shipped_symbols() -> tuple[str, ...]:
    """The stocks there are prices for: the header of the shipped closes, without reading them."""
    file = resources.files("services.exchange") / "data" / CLOSES_FILE
    with file.open("rb") as packed, gzip.open(packed, "rt") as lines:
        return tuple(lines.readline().strip().split(",")[1:])
