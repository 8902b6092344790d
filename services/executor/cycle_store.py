"""Wheel cycles in Postgres: one open row per underlying, moved in the transaction of its cause."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from libs.common import database as db
from libs.common.contracts import LedgerEntered, Side
from libs.common.symbols import parse_option_symbol
from services.executor.cycles import Cycle, after_event, after_fill, after_stock_sale

_CYCLES_LOCK = 7_305_003


def note_fill(
    connection: sa.Connection, symbol: str, side: Side, qty: Decimal, price: Decimal,
    ts: dt.datetime,
) -> None:  # fmt: skip
    """A fill moves its underlying's cycle. Stock bought or sold outside a cycle moves none."""
    option = parse_option_symbol(symbol)
    if option is not None:
        _keep(
            connection,
            after_fill(_open(connection, option.underlying), option, side, qty, price, ts),
        )
        return
    cycle = _open(connection, symbol)
    if cycle is not None and side is Side.SELL:
        _keep(connection, after_stock_sale(cycle, qty, price, ts))


def note_event(connection: sa.Connection, entry: LedgerEntered, ts: dt.datetime) -> None:
    option = parse_option_symbol(entry.symbol)
    cycle = _open(connection, option.underlying) if option else None
    if option is not None and cycle is not None:
        _keep(connection, after_event(cycle, option, entry.event, entry.qty, ts))


def _open(connection: sa.Connection, underlying: str) -> Cycle | None:
    cycles = db.wheel_cycles.c
    # A row that is not there cannot be locked: two first fills would open two.
    connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(_CYCLES_LOCK, sa.func.hashtext(underlying)))
    )
    row = connection.execute(
        sa.select(db.wheel_cycles)
        .where(cycles.underlying == underlying, cycles.closed_at.is_(None))
        .with_for_update()
    ).first()
    if row is None:
        return None
    return Cycle(**{name: row._mapping[name] for name in Cycle.__struct_fields__})


def _keep(connection: sa.Connection, cycle: Cycle | None) -> None:
    if cycle is None:
        return
    values = {k: v for k, v in msgspec.structs.asdict(cycle).items() if k != "id"}
    values["phase"] = cycle.phase.value
    if cycle.id is None:
        connection.execute(sa.insert(db.wheel_cycles).values(**values))
    else:
        connection.execute(
            sa.update(db.wheel_cycles).where(db.wheel_cycles.c.id == cycle.id).values(**values)
        )
