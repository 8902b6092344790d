"""The table's log of trading states: its second path, beside the bus. Rows are only added."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from libs.common import database as db
from libs.common.contracts import TradingState, TradingStateSet, TradingVerb
from libs.common.database import alone, database_errors

_READ = sa.select(db.trading_states).order_by(db.trading_states.c.id)


class TradingStore:
    """Blocking; raises DatabaseError when the database is gone."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._alone = alone(engine)

    def read(self) -> list[TradingStateSet]:
        """Every record, oldest first."""
        with database_errors("reading the trading state"), self._alone.connect() as connection:
            return [
                TradingStateSet(
                    message_id=row.message_id,
                    at=row.ts,
                    state=TradingState(row.state),
                    verb=TradingVerb(row.verb),
                    who=row.who,
                    why=row.why,
                    lifts=list(row.lifts_json),
                )
                for row in connection.execute(_READ)
            ]

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
