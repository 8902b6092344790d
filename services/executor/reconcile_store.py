"""What reconciliation reads of the books and writes of what it found.

Every method is one transaction and blocks; each raises DatabaseError when the database is gone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.database import database_errors
from libs.common.money import ZERO, plain
from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol
from services.executor.fence import Fence
from services.executor.lifecycle import FINAL, OrderState
from services.executor.reconcile import (
    CASH,
    BookOrder,
    Books,
    Difference,
    Entered,
    Traded,
)
from services.executor.rows import write_event

FIRST_READ = "first read"


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """What a read changed in the table of differences."""

    found: tuple[tuple[int, Difference], ...] = ()
    """With the id each was given."""
    explained: tuple[int, ...] = ()


class ReconcileStore:
    """What it writes, only the active executor may: each raises FencedError for another."""

    def __init__(self, engine: sa.Engine, fence: Fence) -> None:
        self._engine = engine
        self._fence = fence

    def books(self, account_number: str, shown: Iterable[str]) -> Books | None:
        """The books of one account; None before the first read was kept. `shown` are the
        client_order_ids of the orders the broker shows.
        """
        with database_errors("reading the books"), self._engine.connect() as connection:
            connection.execute(sa.text("set transaction isolation level repeatable read"))
            opening = _opening(connection, account_number)
            books = Books(
                open_orders=_open_orders(connection, account_number),
                ended=_ended(connection, shown),
                opening=opening,
                traded=_traded(connection, account_number),
                entered=_entered(connection),
            )
        return books if CASH in opening else None

    def bare_books(self, account_number: str) -> Books:
        """Fills and ledger without any opening balance: for the first read."""
        with database_errors("reading the books"), self._engine.connect() as connection:
            return Books(traded=_traded(connection, account_number), entered=_entered(connection))

    def open_with(self, account_number: str, opening: Mapping[str, Decimal]) -> None:
        """Keeps the first read's balances, once."""
        with database_errors("writing the opening"), self._engine.begin() as connection:
            self._fence.check(connection)
            for symbol, qty in opening.items():
                connection.execute(
                    insert(db.opening_balances)
                    .values(account_number=account_number, symbol=symbol, qty=qty, cause=FIRST_READ)
                    .on_conflict_do_nothing()
                )

    def note(self, account_number: str, found: Iterable[Difference], now: dt.datetime) -> Noted:
        """Writes what one read found: new differences, those seen again, those that are gone."""
        table = db.differences
        by_key = {difference.key: difference for difference in found}
        is_open = sa.and_(table.c.account_number == account_number, table.c.explained_at.is_(None))
        with database_errors("writing the differences"), self._engine.begin() as connection:
            self._fence.check(connection)
            known = {
                row.key: row.id
                for row in connection.execute(sa.select(table.c.key, table.c.id).where(is_open))
            }
            for key in by_key.keys() & known.keys():
                connection.execute(
                    sa.update(table)
                    .where(table.c.id == known[key])
                    .values(seen_at=now, **_said(by_key[key]))
                )
            gone = sorted(known[key] for key in known.keys() - by_key.keys())
            if gone:
                connection.execute(
                    sa.update(table).where(table.c.id.in_(gone)).values(explained_at=now)
                )
            new = [by_key[key] for key in by_key if key not in known]
            return Noted(
                found=tuple(
                    (_begin(connection, account_number, difference, now), difference)
                    for difference in new
                ),
                explained=tuple(gone),
            )


def _said(difference: Difference) -> dict[str, object]:
    return {
        "ours": difference.ours,
        "theirs": difference.theirs,
        "delta": difference.delta,
    }


def _begin(
    connection: sa.Connection, account_number: str, difference: Difference, now: dt.datetime
) -> int:
    number: int = connection.execute(
        sa.insert(db.differences)
        .values(
            account_number=account_number,
            key=difference.key,
            kind=difference.kind.value,
            subject=difference.subject,
            stops_entries=difference.stops_entries,
            found_at=now,
            seen_at=now,
            **_said(difference),
        )
        .returning(db.differences.c.id)
    ).scalar_one()
    write_event(
        connection, f"difference.{difference.kind}", now, difference, f"difference-{number}"
    )
    return number


def _opening(connection: sa.Connection, account_number: str) -> dict[str, Decimal]:
    table = db.opening_balances.c
    query = (
        sa.select(table.symbol, sa.func.sum(table.qty).label("qty"))
        .where(table.account_number == account_number)
        .group_by(table.symbol)
    )
    return {row.symbol: plain(row.qty) for row in connection.execute(query)}


def _open_orders(connection: sa.Connection, account_number: str) -> tuple[BookOrder, ...]:
    orders = db.orders.c
    query = sa.select(orders.client_order_id, orders.order_id, orders.state, orders.filled_qty)
    query = query.where(
        orders.state.not_in([state.value for state in FINAL]), _account() == account_number
    )
    return tuple(
        BookOrder(
            client_order_id=row.client_order_id,
            order_id=row.order_id,
            state=OrderState(row.state),
            filled_qty=plain(row.filled_qty),
        )
        for row in connection.execute(query)
    )


def _account() -> sa.ColumnElement[str]:
    found: sa.ColumnElement[str] = db.orders.c.approval_json["account_number"].astext
    return found


def _ended(connection: sa.Connection, shown: Iterable[str]) -> dict[str, OrderState]:
    orders = db.orders.c
    query = sa.select(orders.client_order_id, orders.state).where(
        orders.client_order_id.in_(list(shown)),
        orders.state.in_([state.value for state in FINAL]),
    )
    return {row.client_order_id: OrderState(row.state) for row in connection.execute(query)}


def _traded(connection: sa.Connection, account_number: str) -> tuple[Traded, ...]:
    fills = db.fills.c
    signed = sa.case((fills.side == "buy", fills.qty), else_=-fills.qty)
    query = (
        sa.select(
            fills.symbol,
            sa.func.sum(signed).label("qty"),
            sa.func.sum(-signed * fills.price).label("cash"),
        )
        .join(db.orders, db.orders.c.client_order_id == fills.client_order_id)
        .where(_account() == account_number)
        .group_by(fills.symbol)
    )
    return tuple(
        Traded(
            symbol=row.symbol,
            qty=plain(row.qty),
            cash=row.cash * (SHARES_PER_CONTRACT if parse_option_symbol(row.symbol) else 1),
        )
        for row in connection.execute(query)
    )


def _entered(connection: sa.Connection) -> tuple[Entered, ...]:
    ledger = db.ledger.c
    query = sa.select(
        ledger.activity_type,
        ledger.symbol,
        sa.func.sum(ledger.qty).label("qty"),
        sa.func.sum(sa.func.abs(ledger.qty)).label("contracts"),
        sa.func.sum(sa.func.coalesce(ledger.net_amount, 0)).label("cash"),
    ).group_by(ledger.activity_type, ledger.symbol)
    return tuple(
        Entered(
            activity_type=row.activity_type,
            symbol=row.symbol,
            qty=plain(row.qty),
            contracts=plain(row.contracts),
            cash=row.cash or ZERO,
        )
        for row in connection.execute(query)
    )
