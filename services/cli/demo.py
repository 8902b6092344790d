"""`alpaclaudia demo`: the whole loop on this machine against the simulated exchange."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from services.cli.home import HomeError, StackFolder, write_private
from services.cli.stack import StackPlan
from services.exchange.config import ExchangeConfig, shipped_symbols

DEFAULT_START = dt.date(2020, 2, 12)
"""Days before the fall of February 2020, so that puts are assigned and stops are hit soon."""
FIRST_START, LAST_START = dt.date(1990, 2, 1), dt.date(2022, 12, 28)
"""What the shipped closes reach; a test holds them against the exchange."""
CASH_MAX = Decimal(1_000_000_000)
DEFAULT_SPEED = 7800.0
"""A trading day in three seconds."""
TICKS_PER_DAY = 3
DEFAULT_SYMBOLS = ("AAPL", "MSFT", "JPM", "KO", "XOM", "PFE", "WMT", "GE")
DEFAULT_CASH = Decimal(60_000)
STOCKS_AT_START = {"JNJ": Decimal(120), "HD": Decimal(45), "KO": Decimal(100)}
"""Long stock to guard with trailing stops, and one lot that calls can be written on."""
TRADING_DAY_SECONDS = 23_400


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo's history is; kept in its folder so that the next start goes on from it."""

    start: dt.date = DEFAULT_START
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    cash: Decimal = DEFAULT_CASH
    seed: int = 1


class DemoWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for; None means: as before, or the default."""

    start: dt.date | None = None
    symbols: tuple[str, ...] | None = None
    cash: Decimal | None = None
    seed: int | None = None


def trouble_with(wishes: DemoWishes) -> str | None:
    """Why these wishes cannot be met, before anything of them is kept."""
    start, symbols, cash = wishes.start, wishes.symbols, wishes.cash
    if start is not None and not FIRST_START <= start <= LAST_START:
        return f"--from {start}: prices reach from {FIRST_START} to {LAST_START}"
    if cash is not None and cash > CASH_MAX:
        return f"--cash {cash}: at most {CASH_MAX}"
    if symbols is not None:
        known = shipped_symbols()
        unknown = [symbol for symbol in symbols if symbol not in known]
        if unknown:
            return f"--symbols {','.join(unknown)}: no prices; known: {', '.join(known)}"
    return None


def plan_for(folder: StackFolder, wishes: DemoWishes) -> tuple[DemoPlan, bool]:
    """The plan to run and whether it goes on from an earlier one.

    Raises HomeError when the wishes contradict a demo whose state is kept.
    """
    path = folder.path / "demo.json"
    if not path.exists():
        plan = _merged(DemoPlan(), wishes)
        write_private(path, msgspec.json.encode(plan))
        return plan, False
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=DemoPlan)
    except ValueError as error:  # not JSON, not UTF-8, or not a plan
        raise HomeError(f"{path} is damaged ({error}); start over with --fresh") from error
    if _merged(kept, wishes) != kept:
        raise HomeError(
            f"the demo in {folder.path} began {kept.start} with {', '.join(kept.symbols)},"
            f" {kept.cash} dollars and seed {kept.seed}; other ones need --fresh, which starts over"
        )
    return kept, True


def _merged(plan: DemoPlan, wishes: DemoWishes) -> DemoPlan:
    given = {
        field: value for field, value in msgspec.structs.asdict(wishes).items() if value is not None
    }
    return msgspec.structs.replace(plan, **given)


def stack_plan(plan: DemoPlan, speed: float, ports: tuple[int, int, int]) -> StackPlan:
    """`ports` of NATS, Postgres and exchange; 0 takes any free one."""
    return StackPlan(
        environ=demo_environ(plan, speed),
        exchange=ExchangeConfig(
            seed=plan.seed,
            start_date=plan.start,
            symbols=sorted({*plan.symbols, *STOCKS_AT_START}),
            cash=plan.cash,
            stocks=STOCKS_AT_START,
            speed=speed,
            wait_for_client=True,
            key="",
            secret="",
        ),
        nats_port=ports[0],
        postgres_port=ports[1],
        exchange_port=ports[2],
    )


def demo_environ(plan: DemoPlan, speed: float) -> dict[str, str]:
    """The settings of a demo: live mode against the simulated exchange, and looser bounds on
    yield and spread than one would trade with, so that something happens every day.
    """
    tick_seconds = TRADING_DAY_SECONDS // TICKS_PER_DAY
    return {
        "BOT_MODE": "live",
        "ALPACA_ENV": "sim",
        "ALPACA_CLOCK_SPEED": f"{speed:g}",
        "TICK_SECONDS": str(tick_seconds),
        "WHEEL_UNIVERSE": ",".join(plan.symbols),
        "TARGET_DELTA": "0.30",
        "DTE_MIN": "2",
        "DTE_MAX": "10",
        "MIN_ANNUAL_YIELD": "4",
        "MIN_OPEN_INTEREST": "10",
        "MAX_SPREAD_PCT": "40",
        "MAX_SHORT_PUTS": "4",
        "MAX_POSITION_PCT": "35",
        "CASH_BUFFER": "1000",
        # The demo runs into a crash on purpose, and should go on through it.
        "REDUCE_DAILY_LOSS_PCT": "0",
        "HALT_DAILY_LOSS_PCT": "0",
        "REDUCE_DRAWDOWN_PCT": "0",
        "HALT_DRAWDOWN_PCT": "0",
        "TRAIL_PERCENT": "6",
        "ORDER_POLL_SECONDS": "60",
        "REPORT_TIME": "22:30",
    }
