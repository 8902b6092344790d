"""The operator's commands on a running system: they reach it through the bus and the database.

A command looks for the system in the environment and `.env` first (NATS_URL, DATABASE_URL), then
for a demo or loop that runs from the state folder.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from libs.common.bus import Bus
from libs.common.bus_accounts import OPERATOR
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import (
    Heartbeat,
    PortfolioObserved,
    TickAnswered,
    TickRequested,
    TradingState,
)
from libs.common.database import (
    DatabaseError,
    Engine,
    address_for,
    check_schema,
    engine_for,
)
from libs.common.promises import BrokenPromiseError
from libs.common.provisioning import provision
from libs.common.risk_config import risk_config_version
from libs.common.runtime import ENV_FILE, encode_line, settings_from, utc_now
from libs.common.settings import Settings
from libs.common.settings_sources import LoadedSettings, resolved_rows
from libs.common.topology import FEED_PREFIX, STREAMS
from libs.common.trading_log import BusTradingLog
from libs.common.trading_state import Standing, standing_of
from libs.common.trading_store import TradingStore
from services.cli.home import home_folder, running_stack
from services.cli.store import OperatorStore
from services.cli.supervisor import SERVICES
from services.cli.view import short_symbol

NEW_YORK = ZoneInfo("America/New_York")
REQUEST_SECONDS = 30.0
BEAT_WAIT_SECONDS = 2.5
POLL_SECONDS = 0.1


def loaded_settings(environ: Mapping[str, str]) -> LoadedSettings:
    """From the environment and `.env`; from the running stack when they name no bus."""
    loaded = settings_from(environ)
    if loaded.settings.bus.url is not None:
        return loaded
    running = running_stack(home_folder(environ))
    if running is None:
        return loaded
    return settings_from({**running.environ, **_not_settings(environ), ENV_FILE: ""})


def _not_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in ("PATH", "HOME", "TZ") if name in environ}


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    _require_a_bus(settings)
    bus = await Bus.connect(settings.bus, account=OPERATOR, patience_seconds=5)
    try:
        yield bus
    finally:
        await bus.close()


def _require_a_bus(settings: Settings) -> None:
    if settings.bus.url is None:
        raise BrokenPromiseError(
            "no running system was found: start `alpaclaudia demo` or `alpaclaudia loop` in"
            " another terminal, or set NATS_URL"
        )


@contextmanager
def open_database(settings: Settings) -> Iterator[Engine]:
    """As the operator's role, where there are logins."""
    _require_a_database(settings)
    engine = engine_for(address_for(settings.database, OPERATOR), application="operator")
    try:
        yield engine
    finally:
        engine.dispose()


def _require_a_database(settings: Settings) -> None:
    if settings.database.url is None and settings.database.logins_folder is None:
        raise BrokenPromiseError(
            "no running system was found: start `alpaclaudia demo` or `alpaclaudia loop` in"
            " another terminal, or set DATABASE_URL"
        )


async def provision_bus() -> list[str]:
    settings = loaded_settings(os.environ).settings
    _require_a_bus(settings)
    return await provision(settings.bus, patience_seconds=5)


def migrate_database(logins_folder: Path | None) -> str:
    """As the database's owner, whom only DATABASE_URL names."""
    from libs.common.migrate import migrate_address

    settings = loaded_settings(os.environ).settings
    _require_a_database(settings)
    address = settings.database.address
    if address is None:
        raise BrokenPromiseError("DATABASE_URL is not set: migrating needs the database's owner")
    return migrate_address(address, logins_folder=logins_folder)


# --- tick ------------------------------------------------------------------------------------


async def tick_now(wait_seconds: float, *, as_json: bool) -> int:
    """Asks market for a tick, then waits until every symbol is planned and every intent is decided
    and carried out, or the time is up. Status 1 when no tick was made.
    """
    settings = loaded_settings(os.environ).settings
    async with open_bus(settings) as bus:
        now = utc_now()
        request = TickRequested(
            message_id=f"tick-request-{os.getpid()}-{now.timestamp()}",
            at=now,
            requested_by=os.environ.get("USER", "operator"),
        )
        answer = await bus.request(request, TickAnswered, timeout_seconds=REQUEST_SECONDS)
    if not answer.ok:
        sys.stderr.write(f"alpaclaudia: no tick: {answer.reason}\n")
        return 1
    with open_database(settings) as engine:
        store = OperatorStore(engine)
        plans, intents = await _outcome(store, answer.tick_id, wait_seconds)
    if as_json:
        outcome = {"tick_id": answer.tick_id, "problems": answer.reason, "intents": intents}
        sys.stdout.write(encode_line(outcome) + "\n")
        return 0
    _print_outcome(answer, plans, intents)
    return 0


async def _outcome(
    store: OperatorStore, tick_id: str, wait_seconds: float
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    deadline = asyncio.get_running_loop().time() + wait_seconds
    before: object = None
    while True:
        plans = await asyncio.to_thread(store.plans_of, tick_id)
        intents = await asyncio.to_thread(store.what_came_of, tick_id)
        waiting = {i for plan in plans for i in plan.get("intent_ids", [])}
        decided = {intent["id"] for intent in intents if intent["status"] != "pending_new"}
        settled = bool(plans) and waiting <= decided and before == (len(plans), len(intents))
        if settled or asyncio.get_running_loop().time() > deadline:
            return plans, intents
        before = (len(plans), len(intents))
        await asyncio.sleep(5 * POLL_SECONDS)


def _print_outcome(
    answer: TickAnswered, plans: list[dict[str, object]], intents: list[dict[str, object]]
) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{answer.tick_id}[/]: {len(plans)} symbols planned")
    if answer.reason:
        console.print(Text(answer.reason, style="red"))
    table = Table("order", "terms", "status", "risk", box=None, header_style="dim")
    for intent in intents:
        terms = intent["limit_price"] or intent["trail_percent"] or ""
        table.add_row(
            f"{intent['side']} {intent['qty']} {short_symbol(str(intent['symbol']))}",
            f"{intent['order_type']} {terms}",
            str(intent["status"]),
            Text(str(intent["reason"] or "")),
        )
    console.print(
        table
        if intents
        else "nothing was wanted; `alpaclaudia watch 'plans.>'` during the next tick says why"
    )


# --- status ----------------------------------------------------------------------------------


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    service: str
    state: str
    pid: int | None = None
    beat_age_seconds: float | None = None
    counters: dict[str, int] = {}


class SystemStatus(msgspec.Struct, frozen=True, kw_only=True):
    mode: str
    environment: str
    market_time: dt.datetime | None
    market_open: bool | None
    trading: Standing
    risk_config_version: str
    services: list[ServiceStatus]
    portfolio: PortfolioObserved | None

    @property
    def healthy(self) -> bool:
        return all(service.state in ("ready", "standby") for service in self.services)


async def show_status(*, as_json: bool) -> int:
    """Status 0 when every service is ready."""
    settings = loaded_settings(os.environ).settings
    async with open_bus(settings) as bus:
        system = await _system_status(bus, settings)
    if as_json:
        sys.stdout.write(encode_line(system) + "\n")
    else:
        _print_status(system)
    return 0 if system.healthy else 1


async def _system_status(bus: Bus, settings: Settings) -> SystemStatus:
    beats: dict[str, Heartbeat] = {}
    complete = asyncio.Event()

    def on_beat(subject: str, payload: bytes) -> None:
        with suppress(UndecodableError):
            beat = decode_message(subject, payload)
            if isinstance(beat, Heartbeat):
                beats[beat.service] = beat
                if beats.keys() >= set(SERVICES):
                    complete.set()

    await bus.watch(f"{FEED_PREFIX}.ops.heartbeat.*.*", on_beat)
    with suppress(TimeoutError):
        await asyncio.wait_for(complete.wait(), BEAT_WAIT_SECONDS)
    market = beats.get("market")
    return SystemStatus(
        mode=settings.bot.mode.value,
        environment=settings.alpaca.env.value,
        market_time=market.market_now if market else None,
        market_open=market.market_open if market else None,
        trading=await _trading(bus, settings),
        risk_config_version=risk_config_version(settings.risk),
        services=[_service_status(name, beats.get(name)) for name in SERVICES],
        portfolio=await bus.last("MARKET", PortfolioObserved.SUBJECT, PortfolioObserved),
    )


async def _trading(bus: Bus, settings: Settings) -> Standing:
    """As the executor sees it: both logs."""
    in_table = None
    database = settings.database
    if database.url is not None or database.logins_folder is not None:
        engine = engine_for(address_for(database, OPERATOR), application="operator")
        with suppress(DatabaseError):
            in_table = await asyncio.to_thread(TradingStore(engine).read)
        engine.dispose()
    return standing_of({"bus": await BusTradingLog(bus).read(), "database": in_table})


def _service_status(name: str, beat: Heartbeat | None) -> ServiceStatus:
    if beat is None:
        return ServiceStatus(service=name, state="silent")
    return ServiceStatus(
        service=name,
        state=beat.state,
        pid=beat.pid,
        beat_age_seconds=round((utc_now() - beat.at).total_seconds(), 1),
        counters=beat.counters,
    )


def _print_status(system: SystemStatus) -> None:
    console = Console(highlight=False)
    time = system.market_time
    when = f"{time.astimezone(NEW_YORK):%Y-%m-%d %H:%M} New York" if time else "unknown"
    is_open = {True: "open", False: "closed", None: "unknown"}[system.market_open]
    console.print(
        f"[bold]BOT_MODE={system.mode} ALPACA_ENV={system.environment}[/]  market time {when}"
        f" ({is_open})"
    )
    active = system.trading.state is TradingState.ACTIVE
    console.print(
        Text(f"trading is {system.trading.words}", style="green" if active else "bold red")
    )
    console.print(f"risk's limits: version {system.risk_config_version}")
    for service in system.services:
        style = "green" if service.state in ("ready", "standby") else "red"
        counters = "  ".join(f"{name} {count}" for name, count in sorted(service.counters.items()))
        console.print(f"  [{style}]{service.service:<9} {service.state:<8}[/] {counters}")
    book = system.portfolio
    if book is None:
        console.print("no portfolio was read yet")
        return
    account = book.account
    console.print(
        f"equity {account.equity:,.2f}  cash {account.cash:,.2f}  account {account.account_number}"
    )
    table = Table("position", "qty", "basis", "unrealised", box=None, header_style="dim")
    for position in book.positions:
        table.add_row(
            short_symbol(position.symbol),
            f"{position.qty:f}",
            f"{position.avg_entry_price:.2f}",
            "" if position.unrealized_pl is None else f"{position.unrealized_pl:+,.2f}",
        )
    console.print(table)
    for order in book.open_orders:
        console.print(
            f"  open order: {order.side.value} {order.qty:f} {short_symbol(order.symbol)}"
            f" {order.order_type} {order.limit_price or order.trail_percent or ''} {order.status}"
        )


# --- config, dump, watch, report -------------------------------------------------------------


def show_config(*, as_json: bool) -> None:
    """The settings of the environment and `.env`, or of the running stack when they name no bus."""
    loaded = loaded_settings(os.environ)
    rows = resolved_rows(loaded)
    if as_json:
        sys.stdout.write(encode_line(rows) + "\n")
    else:
        table = Table("variable", "value", "from", box=None, header_style="dim")
        for row in rows:
            table.add_row(row.variable, Text(row.value_text), Text(row.origin))
        Console(highlight=False).print(table)
    for warning in loaded.warnings:
        sys.stderr.write(f"alpaclaudia: {warning}\n")


async def dump(rows_max: int) -> None:
    loaded = loaded_settings(os.environ)
    settings = loaded.settings
    document: dict[str, object] = {
        "at": utc_now(),
        "settings": {row.variable: row.value_text for row in resolved_rows(loaded)},
    }
    async with open_bus(settings) as bus:
        document["status"] = await _system_status(bus, settings)
        document["streams"] = await bus.stream_counts([stream.name for stream in STREAMS])
    with open_database(settings) as engine:
        document["tables"] = await asyncio.to_thread(OperatorStore(engine).dump, rows_max)
    sys.stdout.write(encode_line(document) + "\n")


def make_report(session: dt.date | None, *, post: bool, as_json: bool) -> int:
    """Status 1 when there is nothing to report, or it could not be posted."""
    from services.reporter.notify import Outcome
    from services.reporter.posting import post_once
    from services.reporter.render import text
    from services.reporter.store import ReportStore
    from services.reporter.summary import summarise

    settings = loaded_settings(os.environ).settings
    with open_database(settings) as engine:
        check_schema(engine)
        store = ReportStore(engine)
        day = session or store.last_session()
        books = store.books(day) if day else None
        if day is None or books is None:
            sys.stderr.write(f"alpaclaudia: no tick was recorded{f' on {day}' if day else ''}\n")
            return 1
        summary = summarise(books)
        sys.stdout.write((encode_line(summary) if as_json else text(summary)) + "\n")
        if not post:
            return 0
        if settings.report.discord_webhook_url is None:
            sys.stderr.write("alpaclaudia: DISCORD_WEBHOOK_URL is not set, so nothing was sent\n")
            return 1
        posted = post_once(store, day, settings.report)
        if posted is None:
            sys.stderr.write(f"alpaclaudia: the report of {day} went out before\n")
            return 1
        sys.stderr.write(f"alpaclaudia: {posted.text}\n")
        return 0 if posted.outcome is Outcome.SENT else 1
