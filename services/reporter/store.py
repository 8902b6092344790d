"""Postgres as the reporter sees it: reading a day's books, and which reports went out.

Blocking; every method raises DatabaseError when the database is gone.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import (
    AlpacaEnv,
    BotMode,
    LedgerEvent,
    PortfolioObserved,
    PositionView,
    Severity,
    Side,
    TradingState,
)
from libs.common.database import database_errors
from libs.common.money import micro, plain
from libs.common.trading_state import standing_of
from libs.common.trading_store import TradingStore
from services.reporter.summary import (
    NEW_YORK,
    DayBooks,
    EventRow,
    FillRow,
    LedgerRow,
    OrderRow,
    TickRow,
)


class ReportStore:
    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    # --- the books of a day --------------------------------------------------------------------

    def last_session(self) -> dt.date | None:
        """The newest trading day with a tick."""
        with database_errors("reading the ticks"), self._engine.connect() as connection:
            found: dt.date | None = connection.scalar(sa.select(sa.func.max(db.ticks.c.session)))
            return found

    def traded(self, session: dt.date) -> bool:
        """Whether a tick was recorded that day."""
        with database_errors("reading the ticks"), self._engine.connect() as connection:
            query = sa.select(db.ticks.c.id).where(db.ticks.c.session == session).limit(1)
            return connection.scalar(query) is not None

    def books(self, session: dt.date) -> DayBooks | None:
        """None for a day without ticks."""
        doing = f"reading the books of {session}"
        with database_errors(doing), self._engine.connect() as connection:
            ticks = connection.execute(
                sa.select(db.ticks)
                .where(db.ticks.c.session == session)
                .order_by(db.ticks.c.ts, db.ticks.c.id)
            ).all()
            if not ticks:
                return None
            mode, env = ticks[-1].mode.split("/")
            ledger, ledger_before = _ledger(connection, session)
            fills_before = _fills_before(connection, session)
            return DayBooks(
                session=session,
                mode=BotMode(mode),
                env=AlpacaEnv(env),
                ticks=[
                    TickRow(ts=row.ts, equity=plain(row.equity), cash=plain(row.cash))
                    for row in ticks
                    if row.equity is not None and row.cash is not None
                ],
                previous_equity=_previous_equity(connection, session),
                orders=_orders(connection, session),
                ledger=ledger,
                ledger_before=ledger_before,
                approved=_decided(connection, session, approved=True),
                blocked=_decided(connection, session, approved=False),
                blocks=_blocks(connection, session),
                events=_alerts(connection, session),
                positions=_positions(connection, session),
                fills_before=fills_before,
                opening_positions=_opening_positions(connection),
                trading=self._trading(),
            )

    def _trading(self) -> str:
        """As the table has it; the bus may know of a halt that is not copied yet."""
        standing = standing_of({"database": TradingStore(self._engine).read()})
        return "" if standing.state is TradingState.ACTIVE else standing.words

    # --- which reports went out ----------------------------------------------------------------

    def claim(self, session: dt.date, *, to_send: bool) -> bool:
        """True when this process may bring out the session's report now: it never went out, or
        was refused, or was only printed and is now `to_send`. The claim is committed first, and
        fixes which ledger rows the report holds.
        """
        again = ("refused", "printed") if to_send else ("refused",)
        with database_errors("claiming a report"), self._engine.begin() as connection:
            through = sa.select(sa.func.coalesce(sa.func.max(db.ledger.c.id), 0)).scalar_subquery()
            statement = insert(db.reports_sent).values(
                session=session, status="sending", ledger_through=through
            )
            claimed = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["session"],
                    set_={
                        "status": "sending",
                        "attempts": db.reports_sent.c.attempts + 1,
                        "changed_at": sa.func.now(),
                    },
                    where=db.reports_sent.c.status.in_(again),
                ).returning(db.reports_sent.c.session)
            ).first()
            return claimed is not None

    def settle(self, session: dt.date, status: str, detail: str) -> None:
        with database_errors("settling a report"), self._engine.begin() as connection:
            connection.execute(
                sa.update(db.reports_sent)
                .where(db.reports_sent.c.session == session)
                .values(status=status, detail=detail, changed_at=sa.func.now())
            )

    def status(self, session: dt.date) -> str | None:
        with database_errors("reading the reports"), self._engine.connect() as connection:
            found: str | None = connection.scalar(
                sa.select(db.reports_sent.c.status).where(db.reports_sent.c.session == session)
            )
            return found

    def abandon_unfinished(self) -> list[dt.date]:
        """After a crash between claim and answer nobody knows whether the report arrived; it is
        not sent again. Returns the sessions that are marked so now.
        """
        with database_errors("settling reports"), self._engine.begin() as connection:
            rows = connection.execute(
                sa.update(db.reports_sent)
                .where(db.reports_sent.c.status == "sending")
                .values(status="unknown", detail="the reporter ended while sending")
                .returning(db.reports_sent.c.session)
            )
            return sorted(row.session for row in rows)


def _day(column: sa.ColumnElement[Any]) -> sa.ColumnElement[dt.date]:
    """The New York date of a timestamp."""
    return sa.cast(sa.func.timezone(NEW_YORK.key, column), sa.Date)


def _previous_equity(connection: sa.Connection, session: dt.date) -> Decimal | None:
    found: Decimal | None = connection.scalar(
        sa.select(db.ticks.c.equity)
        .where(db.ticks.c.session < session, db.ticks.c.equity.is_not(None))
        .order_by(db.ticks.c.session.desc(), db.ticks.c.ts.desc())
        .limit(1)
    )
    return found


def _orders(connection: sa.Connection, session: dt.date) -> list[OrderRow]:
    """Orders with a fill today, and those that ended today; fills after today do not count. One
    that came too late to take another's place is left out: nothing went wrong, and a refusal of it
    for any other cause is an event.
    """
    today, before = _filled(connection, session)
    changed = sa.func.coalesce(db.orders.c.changed_at, db.orders.c.recorded_at)
    rows = connection.execute(
        sa.select(db.orders, changed.label("moment"))
        .where(
            sa.or_(
                db.orders.c.client_order_id.in_(list(today)),
                sa.and_(
                    _day(changed) == session,
                    db.orders.c.state.in_(_ENDED),
                    sa.or_(db.orders.c.state != "rejected", db.orders.c.replaces.is_(None)),
                ),
            )
        )
        .order_by(changed, db.orders.c.client_order_id)
    )
    made: list[OrderRow] = []
    for row in rows:
        old_qty, old_price = before.get(row.client_order_id, (Decimal(0), None))
        new_qty, new_price = today.get(row.client_order_id, (Decimal(0), None))
        made.append(
            OrderRow(
                strategy=row.strategy,
                symbol=row.symbol,
                side=Side(row.side),
                qty=row.qty,
                order_type=row.order_type,
                status=row.broker_status or row.state,
                changed_at=row.moment,
                filled_qty=old_qty + new_qty,
                filled_avg_price=_average((old_qty, old_price), (new_qty, new_price)),
                filled_qty_before=old_qty,
                filled_avg_price_before=old_price,
                note=row.note,
            )
        )
    return made


_ENDED = ("rejected", "error", "expired", "canceled", "filled", "dry_run")

_Filled = tuple[Decimal, Decimal | None]


def _filled(
    connection: sa.Connection, session: dt.date
) -> tuple[dict[str, _Filled], dict[str, _Filled]]:
    """Quantity and average price by order: of the session's fills, and of those before."""
    column = db.fills.c
    fills = (
        sa.select(
            column.client_order_id,
            column.qty,
            column.price,
            (_day(column.ts) == session).label("today"),
        )
        .where(_day(column.ts) <= session)
        .subquery()
    )
    query = sa.select(
        fills.c.client_order_id,
        fills.c.today,
        sa.func.sum(fills.c.qty).label("qty"),
        (sa.func.sum(fills.c.qty * fills.c.price) / sa.func.sum(fills.c.qty)).label("price"),
    ).group_by(fills.c.client_order_id, fills.c.today)
    today: dict[str, _Filled] = {}
    before: dict[str, _Filled] = {}
    for row in connection.execute(query):
        (today if row.today else before)[row.client_order_id] = (plain(row.qty), micro(row.price))
    return today, before


def _average(first: _Filled, second: _Filled) -> Decimal | None:
    qty = first[0] + second[0]
    if not qty:
        return None
    spent = first[0] * (first[1] or Decimal(0)) + second[0] * (second[1] or Decimal(0))
    return micro(spent / qty)


def _fills_before(connection: sa.Connection, session: dt.date) -> list[FillRow]:
    rows = connection.execute(
        sa.select(db.fills).where(_day(db.fills.c.ts) < session).order_by(db.fills.c.id)
    )
    return [
        FillRow(symbol=row.symbol, side=Side(row.side), qty=row.qty, price=row.price, at=row.ts)
        for row in rows
    ]


def _ledger(connection: sa.Connection, session: dt.date) -> tuple[list[LedgerRow], list[LedgerRow]]:
    """The session's rows and those before. The broker shows option events on the next day, so a
    row belongs to the first report made after our books saw it: no row is in two, or in none.
    """
    sent = db.reports_sent.c

    def through(condition: sa.ColumnElement[bool], pick: sa.ColumnElement[Any]) -> int | None:
        found: int | None = connection.scalar(sa.select(pick).where(condition))
        return found

    since = through(sent.session < session, sa.func.max(sent.ledger_through)) or 0
    until = through(sent.session >= session, sa.func.min(sent.ledger_through))
    rows = connection.execute(sa.select(db.ledger).order_by(db.ledger.c.id)).all()
    return (
        [_ledger_row(row) for row in rows if since < row.id and (until is None or row.id <= until)],
        [_ledger_row(row) for row in rows if row.id <= since],
    )


def _ledger_row(row: sa.Row[Any]) -> LedgerRow:
    return LedgerRow(
        event=LedgerEvent(row.event),
        underlying=row.underlying,
        symbol=row.symbol,
        qty=row.qty,
        price=row.price,
        net_amount=row.net_amount,
        date=row.date,
    )


def _decided(connection: sa.Connection, session: dt.date, *, approved: bool) -> int:
    decisions = db.decisions.c
    return int(
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(db.decisions)
            .where(_day(decisions.ts) == session, decisions.approved.is_(approved))
        )
        or 0
    )


def _blocks(connection: sa.Connection, session: dt.date) -> dict[str, int]:
    """How often each gate said no: one block may fail several."""
    decisions = db.decisions.c
    rows = connection.execute(
        sa.select(decisions.checks_json).where(_day(decisions.ts) == session, ~decisions.approved)
    )
    counts: Counter[str] = Counter()
    for row in rows:
        failed = {check["gate"] for check in row.checks_json if not check["ok"]}
        counts.update(failed)
    return dict(sorted(counts.items()))


def _alerts(connection: sa.Connection, session: dt.date) -> list[EventRow]:
    events = db.events.c
    rows = connection.execute(
        sa.select(events.payload_json)
        .where(_day(events.ts) == session, events.kind.like("alert.%"))
        .order_by(events.id)
    )
    return [
        EventRow(
            kind=row.payload_json["kind"],
            severity=Severity(row.payload_json["severity"]),
            text=row.payload_json["text"],
        )
        for row in rows
    ]


def _positions(connection: sa.Connection, session: dt.date) -> list[PositionView]:
    payload = connection.scalar(
        sa.select(db.portfolios.c.payload_json).where(db.portfolios.c.session == session)
    )
    return _positions_of(payload)


def _opening_positions(connection: sa.Connection) -> list[PositionView]:
    payload = connection.scalar(
        sa.select(db.portfolios.c.first_json).order_by(db.portfolios.c.session).limit(1)
    )
    return _positions_of(payload)


def _positions_of(payload: Any) -> list[PositionView]:
    if payload is None:
        return []
    return msgspec.convert(payload, PortfolioObserved, strict=False).positions
