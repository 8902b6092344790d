"""Every command of `alpaclaudia`. Each imports what it needs when it runs, and ends with a status
other than 0 and one clear line when it cannot do what it was asked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from libs.common.beat_file import BEAT_FILE
from services.cli import containers, exchange
from services.cli.options import JsonFlag, fail, report_line


def process_began_seconds() -> float:
    """When this process was made, on the monotonic clock: interpreter and imports included."""
    import psutil

    age_seconds: float = time.time() - psutil.Process().create_time()
    return time.monotonic() - age_seconds


app = typer.Typer(
    name="alpaclaudia",
    help="An options-wheel and trailing-stop trader for Alpaca.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(exchange.app)
app.command("hand-out")(containers.hand_out)


class Service(StrEnum):
    MARKET = "market"
    PLANNER = "planner"
    RISK = "risk"
    EXECUTOR = "executor"
    REPORTER = "reporter"
    EXCHANGE = "exchange"


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors whose text is meant for a person become one line and status 1 (78 for settings)."""
    from libs.common.bus import BusError
    from libs.common.database import DatabaseError
    from libs.common.nkey_files import SeedError
    from libs.common.promises import BrokenPromiseError
    from libs.common.runtime import EXIT_BROKEN_PROMISE
    from libs.common.settings_sources import SettingsError
    from libs.embedded.processes import EmbeddedServerError
    from services.cli.difference_store import NoSuchDifferenceError
    from services.cli.home import HomeError
    from services.cli.supervisor import SupervisorError
    from services.cli.trading import TradingError

    try:
        yield
    except SettingsError as error:
        raise fail(f"settings:\n{error}", EXIT_BROKEN_PROMISE) from None
    except BrokenPromiseError as error:
        raise fail(str(error), EXIT_BROKEN_PROMISE) from None
    except (
        BusError,
        DatabaseError,
        EmbeddedServerError,
        HomeError,
        SeedError,
        NoSuchDifferenceError,
        SupervisorError,
        TradingError,
    ) as error:
        raise fail(str(error)) from None


@app.command()
def demo(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: forget the kept state.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    as_json: JsonFlag = False,
    start: Annotated[
        str | None, typer.Option("--from", help="First trading day, 1990-02-01 to 2022-12-28.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="The wheel's universe, comma-separated.")
    ] = None,
    cash: Annotated[str | None, typer.Option(help="Dollars at the start.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the intraday paths.")] = None,
    speed: Annotated[
        float, typer.Option(min=1, max=50_000, help="How much faster than life the market runs.")
    ] = 7800.0,
    nats_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port.")] = 0,
    postgres_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port.")] = 0,
    exchange_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port.")] = 0,
) -> None:
    """The whole loop on this machine: NATS, Postgres and a simulated Alpaca embedded.

    Stock prices are real daily closes; option prices are synthetic, from a model. Ctrl-C ends it;
    the state stays in .alpaclaudia (or ALPACLAUDIA_HOME) and the next start goes on from it.
    """
    from services.cli.demo import DemoWishes, plan_for, stack_plan, trouble_with
    from services.cli.home import StackFolder, home_folder
    from services.cli.show import Run, print_tally

    wishes = DemoWishes(
        start=_date(start, "--from"),
        symbols=_symbols(symbols),
        cash=_money(cash, "--cash"),
        seed=seed,
    )
    trouble = trouble_with(wishes)
    if trouble:
        raise fail(trouble, 2)
    folder = StackFolder(home_folder(os.environ), "demo")
    with clear_errors(), folder.held(fresh=fresh):
        plan, resumed = plan_for(folder, wishes)

        async def run() -> None:
            running = Run(
                stack_plan(plan, speed, (nats_port, postgres_port, exchange_port)),
                folder,
                title="alpaclaudia demo: the simulated exchange, no real money",
                synthetic=True,
                as_json=as_json,
                began_seconds=process_began_seconds(),
            )
            kept = "going on from" if resumed else "starting in"
            running.console.print(f"alpaclaudia demo, {kept} {folder.path}")
            print_tally(await running.run(seconds), as_json=as_json)

        asyncio.run(run())


@app.command()
def loop(
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """All services against your .env. NATS and Postgres are embedded unless NATS_URL and
    DATABASE_URL name yours.
    """
    from libs.common.contracts import AlpacaEnv
    from libs.common.runtime import settings_from
    from services.cli.home import StackFolder, home_folder
    from services.cli.loop import loop_plan
    from services.cli.show import Run, print_tally

    folder = StackFolder(home_folder(os.environ), "loop")
    with clear_errors():
        loaded = settings_from(os.environ)
        for warning in loaded.warnings:
            sys.stderr.write(f"alpaclaudia: {warning}\n")
        plan = loop_plan(loaded.settings, os.environ)
        with folder.held(fresh=False):

            async def run() -> None:
                settings = loaded.settings
                running = Run(
                    plan,
                    folder,
                    title=f"alpaclaudia: {settings.bot.mode.value} on {settings.alpaca.env.value}",
                    synthetic=settings.alpaca.env is AlpacaEnv.SIM,
                    as_json=as_json,
                    began_seconds=process_began_seconds(),
                )
                print_tally(await running.run(seconds), as_json=as_json)

            asyncio.run(run())


@app.command()
def serve(service: Annotated[Service, typer.Argument(help="Which room to run here.")]) -> None:
    """One service, in the foreground, from the environment and .env."""
    # This process becomes the service, so that signals reach it and its status is ours.
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service.value}"])  # noqa: S606


@app.command()
def provision(
    out: Annotated[
        Path | None,
        typer.Option(help="Write nats.conf and everybody's seeds here, and touch no server."),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="Where the server listens; with --out.")
    ] = "127.0.0.1:4222",
    store: Annotated[
        str, typer.Option(help="The server's folder for its streams; with --out.")
    ] = "jetstream",
    tls_cert: Annotated[
        str | None, typer.Option(help="The server's certificate, a path it can read; with --out.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(help="The certificate's key; with --out.")] = None,
) -> None:
    """Make or update the streams and consumers; with --out, the server's configuration and keys.

    Running it again changes nothing.
    """
    from libs.common.nats_configuration import ServerPlace
    from services.cli.bus_files import write_bus_files
    from services.cli.operate import provision_bus

    if (tls_cert is None) != (tls_key is None):
        raise fail("--tls-cert and --tls-key go together", 2)
    place = ServerPlace(
        listen=listen, store_folder=store, certificate_file=tls_cert, key_file=tls_key
    )
    with clear_errors():
        made = asyncio.run(provision_bus()) if out is None else write_bus_files(out, place)
    report_line(f"made: {', '.join(made)}" if made else "everything was there already")


@app.command()
def migrate(
    logins: Annotated[
        Path | None,
        typer.Option(help="Let each role sign in, with a password kept in a file of this folder."),
    ] = None,
) -> None:
    """Bring the database to this version's schema, and the roles to their rights."""
    from services.cli.operate import migrate_database

    with clear_errors():
        report_line(f"the database is at revision {migrate_database(logins)}")


@app.command()
def keygen() -> None:
    """A new pair of keys for risk to sign approvals with and the executor to verify them.

    `demo` and `loop` make their own; this is for services started one by one.
    """
    from libs.common.signing import generate_keypair

    keys = generate_keypair()
    typer.echo(f"RISK_SIGNING_KEY={keys.private}\nRISK_VERIFY_KEY={keys.public}")


@app.command()
def tick(
    as_json: JsonFlag = False,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for what comes of it.")] = 5,
) -> None:
    """One tick now; prints what came of it."""
    from services.cli.operate import tick_now

    with clear_errors():
        raise typer.Exit(asyncio.run(tick_now(wait_seconds, as_json=as_json)))


Why = Annotated[
    str,
    typer.Option("--why", help="The reason: kept with your name, shown with the state."),
]


def _say(verb: str, why: str, *, as_json: bool) -> None:
    from libs.common.contracts import TradingVerb
    from services.cli.operate import loaded_settings
    from services.cli.trading import say, show

    if not why.strip():
        raise fail("--why: say a reason", 2)
    with clear_errors():
        settings = loaded_settings(os.environ).settings
        word = asyncio.run(say(settings, TradingVerb(verb), why.strip()))
        raise typer.Exit(show(word, as_json=as_json))


@app.command()
def halt(why: Why, as_json: JsonFlag = False) -> None:
    """No order leaves any more, and working entries are called back. One log in reach is enough."""
    _say("halt", why, as_json=as_json)


@app.command()
def reduce(why: Why, as_json: JsonFlag = False) -> None:
    """Only orders that close something leave."""
    _say("reduce", why, as_json=as_json)


@app.command()
def resume(why: Why, as_json: JsonFlag = False) -> None:
    """Lifts every halt and reduction there is. Needs the bus and the database."""
    _say("resume", why, as_json=as_json)


@app.command()
def flatten(
    why: Why,
    as_json: JsonFlag = False,
    wait_seconds: Annotated[float, typer.Option(min=0, help="How long to go on wishing.")] = 120,
) -> None:
    """Closes what is held, by orders that risk judges like any other. Opens nothing more."""
    from services.cli.flatten import flatten as flatten_all
    from services.cli.flatten import show
    from services.cli.operate import loaded_settings

    if not why.strip():
        raise fail("--why: say a reason", 2)
    with clear_errors():
        settings = loaded_settings(os.environ).settings
        done = asyncio.run(flatten_all(settings, why.strip(), wait_seconds))
        raise typer.Exit(show(done, as_json=as_json))


@app.command()
def status(as_json: JsonFlag = False) -> None:
    """What runs, the account, and what is open."""
    from services.cli.operate import show_status

    if os.environ.get(BEAT_FILE):
        raise typer.Exit(containers.show_own(Path(os.environ[BEAT_FILE]), as_json=as_json))
    with clear_errors():
        raise typer.Exit(asyncio.run(show_status(as_json=as_json)))


@app.command()
def reconcile(
    acknowledge: Annotated[
        int | None, typer.Option(help="The id of a difference that is to stop nothing any more.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    all_of_them: Annotated[bool, typer.Option("--all", help="Past ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Where our books and the broker differ. Status 1 while that stops new entries."""
    from services.cli.reconciling import acknowledge as acknowledge_one
    from services.cli.reconciling import show_differences

    with clear_errors():
        if acknowledge is None:
            raise typer.Exit(show_differences(all_of_them=all_of_them, as_json=as_json))
        if not why.strip():
            raise fail("--why: say why, it is kept with the difference", 2)
        typer.echo(acknowledge_one(acknowledge, why.strip()))


@app.command()
def report(
    session: Annotated[
        str | None, typer.Option(help="The trading day, YYYY-MM-DD; the last one otherwise.")
    ] = None,
    post: Annotated[
        bool, typer.Option("--post", help="Send it to Discord, unless it went out already.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """The day's summary."""
    from services.cli.operate import make_report

    with clear_errors():
        raise typer.Exit(make_report(_date(session, "--session"), post=post, as_json=as_json))


@app.command("dump-state")
def dump_state(
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Newest rows per table.")] = 200,
) -> None:
    """Books and bus as one JSON document, for a bug report. Holds no secret."""
    from services.cli.operate import dump

    with clear_errors():
        asyncio.run(dump(rows))


@app.command()
def config(as_json: JsonFlag = False) -> None:
    """The settings as resolved, where each came from, secrets masked."""
    from services.cli.operate import show_config

    with clear_errors():
        show_config(as_json=as_json)


@app.command()
def watch(
    subject: Annotated[
        str, typer.Argument(help="A NATS subject, such as 'decisions.>' or 'orders.filled.*'.")
    ] = ">",
    as_json: JsonFlag = False,
    seconds: Annotated[float | None, typer.Option(help="End after so long.")] = None,
) -> None:
    """Live messages, readable: the subject, then what it says in one line."""
    from services.cli.watching import watch_subject

    with clear_errors():
        asyncio.run(watch_subject(subject, as_json=as_json, seconds=seconds))


@app.command()
def version() -> None:
    """The version."""
    from importlib.metadata import version as installed

    typer.echo(installed("alpaclaudia"))


def _date(text: str | None, option: str) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise fail(f"{option} {text}: not a date as YYYY-MM-DD", 2) from None


def _money(text: str | None, option: str) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise fail(f"{option} {text}: not an amount of dollars", 2)
    return amount


def _symbols(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    found = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not found:
        raise fail("--symbols: name at least one symbol", 2)
    return found
