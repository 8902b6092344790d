"""From the broker's activity rows to ledger entries. Pure.

An option event comes as two rows: what happened to the contract (OPASN, OPEXC, OPEXP) and, where
shares moved, the trade in the stock (OPTRD). The first is the event; the second is kept as
`other`, so that nothing is counted twice.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

from libs.common.contracts import LedgerEntered, LedgerEvent
from libs.common.symbols import Right, parse_option_symbol, underlying_of
from libs.common.wire import WireActivity

NEW_YORK = ZoneInfo("America/New_York")
OPTION_AND_CASH_TYPES = ("OPASN", "OPEXC", "OPEXP", "OPTRD", "DIV")

_EVENTS = {
    "OPEXC": LedgerEvent.EXERCISED,
    "OPEXP": LedgerEvent.EXPIRED,
    "DIV": LedgerEvent.DIVIDEND,
}


def entry_of(activity: WireActivity, at: dt.datetime) -> LedgerEntered | None:
    """None for fills and for rows that concern no symbol."""
    if activity.activity_type == "FILL" or activity.symbol is None:
        return None
    when = activity.transaction_time
    return LedgerEntered(
        message_id=f"ledger-{activity.id}",
        at=at,
        activity_id=activity.id,
        event=_event_of(activity),
        activity_type=activity.activity_type,
        underlying=underlying_of(activity.symbol),
        symbol=activity.symbol,
        qty=activity.qty or Decimal(0),
        price=activity.price,
        net_amount=activity.net_amount,
        date=activity.date or (when.astimezone(NEW_YORK).date() if when else None),
    )


def _event_of(activity: WireActivity) -> LedgerEvent:
    if activity.activity_type == "OPASN":
        option = parse_option_symbol(activity.symbol or "")
        called = option is not None and option.right is Right.CALL
        return LedgerEvent.CALLED_AWAY if called else LedgerEvent.ASSIGNED
    return _EVENTS.get(activity.activity_type, LedgerEvent.OTHER)
