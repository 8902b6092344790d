"""The life of an order, as Alpaca names its states.

Rule: everything that decides whether an order may go from one state to another is in this file.
A pair that is absent from the table is an error, and the order keeps its state. Alpaca's other
states (pending_new, pending_cancel, pending_replace, done_for_day, suspended, stopped,
calculated, accepted_for_bidding) do not occur here: nothing waits on another venue.
"""

from __future__ import annotations

from enum import StrEnum


class OrderStatus(StrEnum):
    ACCEPTED = "accepted"  # waits for the next session
    HELD = "held"  # a leg that waits for its entry order
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"


class OrderEvent(StrEnum):
    """What happens to an order."""

    OPEN = "open"  # the session it waited for begins, it came during one, or its entry filled
    FILL_PART = "fill_part"
    FILL = "fill"
    CANCEL = "cancel"
    EXPIRE = "expire"  # a day order at the close
    REPLACE = "replace"  # another order takes its place
    REJECT = "reject"  # at the moment of its fill, for want of cash


class IllegalTransitionError(Exception):
    """The order's state does not allow this event; the state is unchanged."""


_S, _E = OrderStatus, OrderEvent

TRANSITIONS: dict[OrderStatus, dict[OrderEvent, OrderStatus]] = {
    _S.ACCEPTED: {
        _E.OPEN: _S.NEW,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        _E.REJECT: _S.REJECTED,
    },
    _S.HELD: {
        _E.OPEN: _S.NEW,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
    },
    _S.NEW: {
        _E.FILL_PART: _S.PARTIALLY_FILLED,
        _E.FILL: _S.FILLED,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        _E.REPLACE: _S.REPLACED,
        _E.REJECT: _S.REJECTED,
    },
    _S.PARTIALLY_FILLED: {
        _E.FILL_PART: _S.PARTIALLY_FILLED,
        _E.FILL: _S.FILLED,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        _E.REPLACE: _S.REPLACED,
        _E.REJECT: _S.CANCELED,  # what was filled stays filled
    },
    _S.FILLED: {},
    _S.CANCELED: {},
    _S.EXPIRED: {},
    _S.REPLACED: {},
    _S.REJECTED: {},
}

STARTS = (_S.ACCEPTED, _S.NEW, _S.HELD)  # out of hours, in hours, as a leg
FINAL = frozenset(status for status, moves in TRANSITIONS.items() if not moves)
# Resting at the exchange, so that Alpaca's PATCH may replace it.
REPLACEABLE = frozenset(
    status for status, moves in TRANSITIONS.items() if OrderEvent.REPLACE in moves
)


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransitionError(f"an order that is {status} cannot {event}") from None


def diagram() -> str:
    """The table as a mermaid state diagram; docs/exchange.md holds it and a test compares."""
    moves = [
        f"    {status} --> {after}: {event}"
        for status, row in TRANSITIONS.items()
        for event, after in row.items()
    ]
    starts = [f"    [*] --> {s}" for s in STARTS]
    ends = [f"    {status} --> [*]" for status in TRANSITIONS if status in FINAL]
    return "\n".join(["stateDiagram-v2", *starts, *moves, *ends])
