"""`alpaclaudia exchange serve`: the simulated Alpaca in this process, alone."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from services.cli.exchange_wishes import (
    LOOPBACK,
    AlpacaAccess,
    Wishes,
    config_of,
    unused,
)
from services.cli.home import home_folder
from services.cli.options import OptionError
from services.exchange.config import ExchangeError
from services.exchange.service import Running, run
from services.exchange.state_file import StateError, kept_world
from services.exchange.venue import SYNTHETIC_NOTE

NEW_YORK = ZoneInfo("America/New_York")
ANY_ADDRESS = ("0.0.0.0", "")  # noqa: S104  # to be told apart, not to listen on


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to know of an exchange that answers; the line of `--json`."""

    trading_url: str
    data_url: str
    stream_url: str  # trade_updates
    stock_stream_url: str
    option_stream_url: str
    key: str
    secret: str
    page_url: str
    openapi_url: str
    simulated_time: dt.datetime
    pid: int


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How it runs, for the person who started it."""

    paused: bool
    waiting: bool
    speed: float
    state: str | None
    resumed: bool
    accounts: int


def serve_exchange(wishes: Wishes, *, as_json: bool) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises OptionError, ExchangeError, OSError."""
    running, resumed = _running(wishes)
    if wishes.host not in LOOPBACK:
        _say(
            f"listening on {wishes.host}: whoever reaches this machine can drive the simulation; "
            "/sim needs no keys"
        )

    def on_ready(port: int) -> None:
        ready = _ready(running, wishes.host, port)
        if as_json:
            text = msgspec.json.encode(ready).decode()
        else:
            text = announcement(ready, _manner(running, resumed=resumed))
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    run(running, on_ready)
    path = running.config.state_path
    _say(f"state saved in {path}" if path else "ended; the books were in memory only")


def _running(wishes: Wishes) -> tuple[Running, bool]:
    """The exchange, and whether it goes on from kept books."""
    path = Path(wishes.state).expanduser() if wishes.state else None
    try:
        kept = kept_world(path) if path and not path.is_dir() else None
    except StateError as error:
        raise ExchangeError(str(error), field="state_path") from None
    drawn = (f"SIM{secrets.token_hex(8).upper()}", secrets.token_urlsafe(24))
    access = _access(os.environ) if wishes.alpaca_bars else _NO_ACCESS
    running = Running(config_of(wishes, kept=kept, access=access, drawn=drawn))
    if kept:
        _check_kept_keys(running, wishes)
        for option in unused(wishes):
            _say(f"{option} is not used: the books in {wishes.state} go on as they are")
    return running, kept is not None


def _check_kept_keys(running: Running, wishes: Wishes) -> None:
    tenants = running.venue.tenants
    remedy = f"leave --key and --secret out to go on with {wishes.state}, or choose another --state"
    if wishes.key is not None and wishes.key not in tenants:
        raise OptionError("--key", wishes.key, f"no account there has this key; {remedy}")
    tenant = tenants[wishes.key] if wishes.key else next(iter(tenants.values()))
    if wishes.secret is not None and wishes.secret != tenant.secret:
        raise OptionError("--secret", "(not shown)", f"it is not that of the account; {remedy}")


_NO_ACCESS = AlpacaAccess(key="", secret="", folder=Path())


def _access(environ: Mapping[str, str]) -> AlpacaAccess:
    """Raises SettingsError."""
    from libs.common.runtime import settings_from

    found = settings_from(environ).settings.alpaca
    return AlpacaAccess(
        key=found.api_key or "",
        secret=found.secret_key or "",
        folder=home_folder(environ) / "alpaca-bars",
    )


def _ready(running: Running, host: str, port: int) -> Ready:
    shown = "127.0.0.1" if host in ANY_ADDRESS else host
    address = f"{shown}:{port}"
    first = next(iter(running.venue.tenants.values()))
    return Ready(
        trading_url=f"http://{address}",
        data_url=f"http://{address}",
        stream_url=f"ws://{address}/stream",
        stock_stream_url=f"ws://{address}/v2/iex",
        option_stream_url=f"ws://{address}/v1beta1/indicative",
        key=first.key,
        secret=first.secret,
        page_url=f"http://{address}/",
        openapi_url=f"http://{address}/openapi.json",
        simulated_time=running.venue.now(),
        pid=os.getpid(),
    )


def _manner(running: Running, *, resumed: bool) -> Manner:
    venue = running.venue
    return Manner(
        paused=venue.clock.paused,
        waiting=venue.waiting,
        speed=venue.clock.speed,
        state=running.config.state_path,
        resumed=resumed,
        accounts=len(venue.tenants),
    )


def announcement(ready: Ready, manner: Manner) -> str:
    """The block a person reads once the exchange answers."""
    others = f"   (the first of {manner.accounts} accounts)" if manner.accounts > 1 else ""
    kept = "gone on from" if manner.resumed else "kept in"
    rows = {
        "trading and data": ready.trading_url,
        "trade_updates": ready.stream_url,
        "stock stream": ready.stock_stream_url,
        "option stream": ready.option_stream_url,
        "key": ready.key + others,
        "secret": ready.secret,
        "page": f"{ready.page_url}   ← open it in a browser",
        "OpenAPI": ready.openapi_url,
        "market time": f"{in_new_york(ready.simulated_time)}, {_pace(manner)}",
        "books": f"{kept} {manner.state}"
        if manner.state
        else "in memory only (--state keeps them)",
    }
    lines = [f"  {name:<17} {text}" for name, text in rows.items()]
    example = (
        "from alpaca.trading.client import TradingClient",
        f'client = TradingClient("{ready.key}", "{ready.secret}", '
        f'url_override="{ready.trading_url}")',
        "print(client.get_account().equity)",
    )
    return "\n".join(
        [
            "The simulated Alpaca answers.",
            "",
            *lines,
            "",
            *SYNTHETIC_NOTE.replace(". ", ".\n").splitlines(),
            "",
            *(f"    {line}" for line in example),
            "",
            "Ctrl-C ends it.",
        ]
    )


def _pace(manner: Manner) -> str:
    if manner.waiting:
        return "waiting for the first client"
    if manner.paused:
        return "paused: `alpaclaudia exchange step` or the page moves it"
    return f"running at {manner.speed:g}× life"


def in_new_york(at: dt.datetime) -> str:
    return f"{at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York"


def _say(text: str) -> None:
    sys.stderr.write(f"alpaclaudia: {text}\n")
