"""The table's log of trading states: its second path, beside the bus. Rows are only added."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import TradingState, TradingStateSet, TradingVerb
from libs.common.database import DatabaseError, alone, database_errors

_READ = sa.select(db.trading_states).order_by(db.trading_states.c.id)


class _Row(msgspec.Struct, frozen=True):
    ts: dt.datetime
    state: TradingState
    verb: TradingVerb
    who: str
    why: str
    lifts_json: list[str]
    message_id: str


_NAMES = _Row.__struct_fields__


def records_of(rows: Iterable[object]) -> list[TradingStateSet]:
    """From rows of the table, as they are or as Postgres says them in JSON. Raises DatabaseError
    when one says nothing that is known here: then nobody knows the state.
    """
    try:
        known = msgspec.convert(list(rows), list[_Row])
    except msgspec.ValidationError as error:
        raise DatabaseError(f"the trading state does not decode: {error}") from error
    return [
        TradingStateSet(
            message_id=row.message_id,
            at=row.ts,
            state=row.state,
            verb=row.verb,
            who=row.who,
            why=row.why,
            lifts=row.lifts_json,
        )
        for row in known
    ]


class TradingStore:
    """Blocking; raises DatabaseError when the database is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._alone = alone(engine)

    def read(self) -> list[TradingStateSet]:
        """Every record, oldest first."""
        with database_errors("reading the trading state"), self._alone.connect() as connection:
            found = connection.execute(_READ).all()
        return records_of({name: getattr(row, name) for name in _NAMES} for row in found)

    def add(self, record: TradingStateSet) -> None:
        """Adds a record; one that is there already changes nothing."""
        with database_errors("writing the trading state"), self._engine.begin() as connection:
            connection.execute(
                insert(db.trading_states)
                .values(
                    ts=record.at,
                    state=record.state.value,
                    verb=record.verb.value,
                    who=record.who,
                    why=record.why,
                    lifts_json=record.lifts,
                    message_id=record.message_id,
                )
                .on_conflict_do_nothing(index_elements=["message_id"])
            )
