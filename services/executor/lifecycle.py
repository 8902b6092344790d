"""The order's state machine. Rule 1: everything that moves an order's state stands in this file.

Our states wrap the broker's: `approved` (risk said yes), `submitting` (the row is committed, the
request may be under way), `unknown` (no answer; it may or may not have arrived), then the
broker's. Statuses of the broker that mean "it works on it" are `accepted` here; the broker's own
word travels beside the state. An absent pair is an error and leaves the order untouched.

The whole table is TRANSITIONS. docs/life-of-an-order.md draws it from there, and Postgres keeps to
it by a trigger whose body is made from there: after a change of the table, a new migration must
install the new body (a test compares).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum


class OrderState(StrEnum):
    APPROVED = "approved"
    DRY_RUN = "dry_run"
    ERROR = "error"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


ILLEGAL_STATE = "AC002"
"""The SQLSTATE of the trigger's refusal; nobody else's begins with AC."""


class IllegalTransitionError(ValueError):
    """A pair that is not in the table; the order is as it was."""


_S = OrderState
_BROKER_OUTCOMES = frozenset(
    {
        _S.ACCEPTED,
        _S.PARTIALLY_FILLED,
        _S.FILLED,
        _S.CANCELED,
        _S.EXPIRED,
        _S.REJECTED,
        _S.REPLACED,
    }
)

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    _S.APPROVED: frozenset({_S.SUBMITTING, _S.DRY_RUN, _S.ERROR, _S.EXPIRED}),
    _S.SUBMITTING: _BROKER_OUTCOMES | {_S.UNKNOWN, _S.EXPIRED},
    _S.UNKNOWN: _BROKER_OUTCOMES | {_S.SUBMITTING, _S.EXPIRED},
    _S.ACCEPTED: _BROKER_OUTCOMES - {_S.ACCEPTED},
    _S.PARTIALLY_FILLED: _BROKER_OUTCOMES - {_S.ACCEPTED, _S.REJECTED},
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.REPLACED: frozenset(),
    _S.DRY_RUN: frozenset(),
    _S.ERROR: frozenset(),
}

FINAL = frozenset(state for state, after in TRANSITIONS.items() if not after)
IN_DOUBT = frozenset({_S.SUBMITTING, _S.UNKNOWN})

_BROKER_STATES: dict[str, OrderState] = {
    "filled": _S.FILLED,
    "partially_filled": _S.PARTIALLY_FILLED,
    "canceled": _S.CANCELED,
    "expired": _S.EXPIRED,
    "rejected": _S.REJECTED,
    "replaced": _S.REPLACED,
    # Done for the day is final for a day order; Alpaca then reports expired or filled.
}


def advance(current: OrderState, target: OrderState) -> OrderState:
    """`target`, if the table allows it; staying in place is always allowed (facts come twice).

    Raises IllegalTransitionError.
    """
    if target is current or target in TRANSITIONS[current]:
        return target
    raise IllegalTransitionError(f"an order cannot go from {current} to {target}")


def state_of(broker_status: str, filled_qty: Decimal | None = None) -> OrderState:
    """Our state for the broker's word. Words that mean "under way" (new, accepted, pending_new,
    pending_cancel, held, suspended, …) and words we do not know are `accepted`, or
    `partially_filled` for an order of which something was filled: it exists and may still fill.
    """
    under_way = OrderState.PARTIALLY_FILLED if filled_qty else OrderState.ACCEPTED
    return _BROKER_STATES.get(broker_status, under_way)


def diagram() -> str:
    """The table as a mermaid state diagram; docs/life-of-an-order.md holds it, a test compares."""
    moves = [
        f"    {state} --> {target}"
        for state, after in TRANSITIONS.items()
        for target in OrderState
        if target in after
    ]
    ends = [f"    {state} --> [*]" for state in TRANSITIONS if state in FINAL]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {OrderState.APPROVED}", *moves, *ends])


def trigger_body() -> str:
    """The table as the body of the trigger on `orders`, PL/pgSQL, for a migration to install."""
    rows = [
        f"        ('{state}', '{target}')"
        for state, after in TRANSITIONS.items()
        for target in OrderState
        if target in after and target is not state
    ]
    pairs = ",\n".join(rows)
    return f"""
begin
    if tg_op = 'INSERT' and new.state <> '{OrderState.APPROVED}' then
        raise exception 'an order cannot begin as %', new.state using errcode = '{ILLEGAL_STATE}';
    end if;
    if tg_op = 'UPDATE' and new.state <> old.state and (old.state, new.state) not in (
{pairs}
    ) then
        raise exception 'an order cannot go from % to %', old.state, new.state
            using errcode = '{ILLEGAL_STATE}';
    end if;
    return new;
end
"""
