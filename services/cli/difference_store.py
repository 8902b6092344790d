"""Differences between books and broker as an operator sees and acknowledges them."""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.database import database_errors

ABSORBED = ("position", "cash")
"""Kinds whose acknowledgement moves the opening balance, so that books and broker agree again."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    account_number: str
    kind: str
    subject: str
    ours: str
    theirs: str
    stops_entries: bool
    found_at: dt.datetime
    explained_at: dt.datetime | None = None
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None
    why: str | None = None

    @property
    def open(self) -> bool:
        return self.explained_at is None and self.acknowledged_at is None


class NoSuchDifferenceError(RuntimeError):
    """Nothing under that id waits for an operator."""


class DifferenceStore:
    """Blocking; raises DatabaseError when the database is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, *, all_of_them: bool = False) -> list[Difference]:
        """Those the broker still shows, oldest first; with `all_of_them` past ones too."""
        table = db.differences
        query = sa.select(table).order_by(table.c.id)
        if not all_of_them:
            query = query.where(table.c.explained_at.is_(None))
        with database_errors("reading the differences"), self._engine.connect() as connection:
            return [
                Difference(**{name: row._mapping[name] for name in Difference.__struct_fields__})
                for row in connection.execute(query)
            ]

    def acknowledge(self, number: int, *, who: str, why: str, now: dt.datetime) -> None:
        """Lets entries leave in spite of it. A position or cash is taken over as the broker has
        it. Raises NoSuchDifferenceError.
        """
        table = db.differences
        doing = "acknowledging a difference"
        with database_errors(doing), self._engine.begin() as connection:
            row = connection.execute(
                sa.update(table)
                .where(
                    table.c.id == number,
                    table.c.explained_at.is_(None),
                    table.c.acknowledged_at.is_(None),
                )
                .values(
                    acknowledged_at=now,
                    acknowledged_by=who,
                    why=why,
                    # What is taken over is over: the same difference once more is another one.
                    explained_at=sa.case((table.c.kind.in_(ABSORBED), now), else_=None),
                )
                .returning(table.c.account_number, table.c.kind, table.c.subject, table.c.delta)
            ).first()
            if row is None:
                raise NoSuchDifferenceError(f"no difference {number} waits for anybody")
            if row.kind in ABSORBED and row.delta is not None:
                connection.execute(
                    insert(db.opening_balances).values(
                        account_number=row.account_number,
                        symbol=row.subject,
                        qty=row.delta,
                        cause=f"difference {number}",
                    )
                )
