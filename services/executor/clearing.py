"""Which working orders the trading state calls back. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.contracts import Strategy, TradingState
from libs.common.trading_state import Standing, lowers_risk
from services.executor.orders import OrderRow
from services.executor.resting import UNDER_WAY


def to_cancel(
    rows: Iterable[OrderRow], standing: Standing, *, entries_on_halt: bool, cut_off: bool = False
) -> list[OrderRow]:
    """The orders at the broker to cancel. A halt calls back what would open something; flattening
    calls back everything of ours but what flattens, since a resting stop holds the shares. Not
    knowing the state stops new orders only, unless a log that can be read says halted, or until
    it has lasted: whoever is `cut_off` could not be told to stop.
    """
    if standing.problem:
        said = standing.worst_known is TradingState.HALTED and entries_on_halt
        halted, flattening = cut_off or said, False
    else:
        halted = standing.state is TradingState.HALTED and entries_on_halt
        flattening = standing.flattening
    return [
        row
        for row in rows
        if row.order_id is not None
        and not row.final
        and row.broker_status not in UNDER_WAY
        and (
            (halted and not lowers_risk(row.approval.intent))
            or (flattening and row.approval.intent.strategy != Strategy.FLATTEN)
        )
    ]
