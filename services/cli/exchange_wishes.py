"""What `alpaclaudia exchange serve` was asked for, as the exchange's configuration. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from services.cli import options
from services.cli.options import OptionError
from services.exchange.config import (
    CASH_MAX,
    LEVEL_MAX,
    AccountConfig,
    ExchangeConfig,
    ExchangeError,
    account_trouble,
)
from services.exchange.state_file import KeptWorld
from services.exchange.terms import Terms

PORT_DEFAULT = 8700
SPEED_MAX = 1_000_000
SEED_MAX = 2**63 - 1
LOOPBACK = ("127.0.0.1", "localhost")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were typed; None: not given."""

    host: str = "127.0.0.1"
    port: str = str(PORT_DEFAULT)
    seed: str | None = None
    start: str | None = None
    symbols: str | None = None
    cash: str | None = None
    stocks: str | None = None
    options_level: str | None = None
    key: str | None = None
    secret: str | None = None
    speed: str | None = None
    paused: bool = False
    skip_closed: bool = True
    wait_for_client: bool = False
    state: str | None = None
    rate_limit: str | None = None
    partial_fill_rate: str | None = None
    slippage_bps: str | None = None
    fee_per_contract: str | None = None
    early_assignment_rate: str | None = None
    bars: str | None = None
    walk: bool = False
    alpaca_bars: str | None = None


class AlpacaAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What Alpaca's historical bars are fetched with, and where they are kept."""

    key: str
    secret: str
    folder: Path


def config_of(
    wishes: Wishes, *, kept: KeptWorld | None, access: AlpacaAccess, drawn: tuple[str, str]
) -> ExchangeConfig:
    """Raises OptionError. `kept` is what the state at `--state` began with: it goes on, so what
    the options leave open comes from there. `drawn`: key and secret when none are given."""
    source = _source(wishes, access)
    world = kept.world if kept else {}
    # An account that is kept has its keys already; these are for a new one.
    key, secret = wishes.key or drawn[0], wishes.secret or drawn[1]
    fields: dict[str, Any] = {
        "host": wishes.host,
        "port": options.whole("--port", wishes.port, 0, 65_535, "0 takes any free port"),
        "seed": world.get("seed", 1),
        "symbols": world.get("symbols", []) if wishes.symbols is None else [],
        "source": source or world.get("source", {}),
        "key": key,
        "secret": secret,
        "paused": wishes.paused,
        "skip_closed": wishes.skip_closed,
        "wait_for_client": wishes.wait_for_client,
        "state_path": str(_state_path(wishes.state)) if wishes.state is not None else None,
        "terms": _terms(wishes),
    }
    config = ExchangeConfig(**(fields | _given(wishes)))
    _check_keys(config, wishes)
    return config


def _given(wishes: Wishes) -> dict[str, Any]:
    """The fields whose options were given."""
    readers: dict[str, Callable[[str], Any]] = {
        "seed": lambda text: options.whole("--seed", text, 0, SEED_MAX),
        "start": lambda text: options.date("--from", text),
        "symbols": lambda text: options.symbols("--symbols", text),
        "cash": lambda text: options.amount("--cash", text, CASH_MAX),
        "stocks": lambda text: options.holdings("--stocks", text),
        "options_level": lambda text: options.whole(
            "--options-level", text, 0, LEVEL_MAX, "1 covered, 2 long, 3 the most"
        ),
        "speed": lambda text: options.number("--speed", text, 0, SPEED_MAX, above=True),
        "rate_limit": lambda text: options.whole("--rate-limit", text, 1, 10**9),
    }
    names = {"start": "start_date", "rate_limit": "rate_limit_per_minute"}
    return {
        names.get(field, field): read(text)
        for field, read in readers.items()
        if (text := getattr(wishes, field)) is not None
    }


def _terms(wishes: Wishes) -> Terms:
    given: dict[str, Any] = {}
    for field, most in (("partial_fill_rate", 1), ("early_assignment_rate", 1)):
        if (text := getattr(wishes, field)) is not None:
            given[field] = options.number(f"--{field.replace('_', '-')}", text, 0, most)
    if wishes.slippage_bps is not None:
        given["slippage_bps"] = options.number("--slippage-bps", wishes.slippage_bps, 0, 1000)
    if wishes.fee_per_contract is not None:
        fee = options.amount("--fee-per-contract", wishes.fee_per_contract, Decimal(100))
        given["fee_per_contract"] = fee
    return Terms(**given)


# --- where prices come from --------------------------------------------------------------------


def _source(wishes: Wishes, access: AlpacaAccess) -> dict[str, Any]:
    asked = [
        name
        for name, given in (
            ("--bars", wishes.bars is not None),
            ("--walk", wishes.walk),
            ("--alpaca-bars", wishes.alpaca_bars is not None),
        )
        if given
    ]
    if len(asked) > 1:
        raise OptionError(asked[1], "", f"prices have one source; leave it or {asked[0]} out")
    if wishes.bars is not None:
        path = Path(wishes.bars).expanduser().absolute()
        if not path.exists():
            raise OptionError("--bars", wishes.bars, "no such file or folder of CSV or Parquet")
        return {"type": "files", "path": str(path)}
    wanted = _symbols_of(wishes)
    if wishes.walk:
        return {"type": "walk", "symbols": wanted}
    return {} if wishes.alpaca_bars is None else _alpaca(wishes.alpaca_bars, wanted, access)


def _symbols_of(wishes: Wishes) -> list[str]:
    """Those named by --symbols or held at the start."""
    named = [] if wishes.symbols is None else options.symbols("--symbols", wishes.symbols)
    held = [] if wishes.stocks is None else options.holdings("--stocks", wishes.stocks)
    return list(dict.fromkeys([*named, *(held if named else [])]))


def _alpaca(text: str, symbols: list[str], access: AlpacaAccess) -> dict[str, Any]:
    start, _, rest = text.partition(":")
    end, _, timeframe = rest.partition(":")
    form = "give START:END as dates, or START:END:1Min, such as 2023-01-03:2024-12-31"
    try:
        ordered = dt.date.fromisoformat(start) < dt.date.fromisoformat(end)
    except ValueError:
        ordered = False
    if not ordered or timeframe not in ("", "1Day", "1Min"):
        raise OptionError("--alpaca-bars", text, form)
    if not symbols:
        raise OptionError("--alpaca-bars", text, "name the stocks to fetch with --symbols KO,XOM")
    return {
        "type": "alpaca",
        "symbols": symbols,
        "start": start,
        "end": end,
        "timeframe": timeframe or "1Day",
        "folder": str(access.folder),
        "key": access.key,
        "secret": access.secret,
    }


# --- keys and state ----------------------------------------------------------------------------


def _state_path(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not text or path.is_dir():
        raise OptionError("--state", text, "give a file, such as exchange.json")
    if not path.parent.is_dir():
        raise OptionError("--state", text, f"there is no folder {path.parent}; make it first")
    return path


def _check_keys(config: ExchangeConfig, wishes: Wishes) -> None:
    trouble = account_trouble(AccountConfig(key=config.key, secret=config.secret))
    if trouble:
        option = "--key" if wishes.key is not None else "--secret"
        shown = wishes.key if wishes.key is not None else "(not shown)"
        raise OptionError(option, shown, trouble)
    for option, text in (("--key", wishes.key), ("--secret", wishes.secret)):
        if text == "":
            raise OptionError(option, "''", "give at least one character, or leave the option out")


def unused(wishes: Wishes) -> list[str]:
    """Options that say how books begin, and are of no use when kept ones go on."""
    beginnings = {
        "--from": wishes.start,
        "--cash": wishes.cash,
        "--stocks": wishes.stocks,
        "--options-level": wishes.options_level,
    }
    return [option for option, given in beginnings.items() if given is not None]


def told(error: ExchangeError, wishes: Wishes) -> tuple[str, int]:
    """The line for an exchange that cannot start, naming the option, and the exit status."""
    text = str(error).removeprefix("exchange ")
    option, value, remedy = _about(error.field, wishes)
    line = " ".join(filter(None, (option, value))) + f": {text}" if option else text
    status = 1 if error.field in ("port", "state_path") else 2
    return line + (f"; {remedy}" if remedy else ""), status


def _about(field: str, wishes: Wishes) -> tuple[str, str | None, str]:
    """The option a field of the configuration came from, its value, and what to do."""
    source: tuple[str, str | None, str] = ("", None, "")
    if wishes.bars is not None:
        source = ("--bars", wishes.bars, "see docs/exchange.md for the form of files")
    elif wishes.alpaca_bars is not None:
        keys = "ALPACA_API_KEY and ALPACA_SECRET_KEY are read from the environment and .env"
        source = ("--alpaca-bars", wishes.alpaca_bars, keys)
    elif wishes.walk:
        source = ("--walk", "", "")
    named = ("--symbols", wishes.symbols) if wishes.symbols else ("--stocks", wishes.stocks)
    ending = "end what listens there, or choose another --port (0: any free one)"
    return {
        "port": ("--port", wishes.port, ending),
        "host": ("--host", wishes.host, "give an address of this machine, such as 127.0.0.1"),
        "state_path": ("--state", wishes.state, ""),
        "start_date": ("--from", wishes.start, ""),
        "symbols": (*named, ""),
        "accounts": ("--stocks", wishes.stocks, ""),
        "source": source,
    }.get(field, ("", None, ""))
