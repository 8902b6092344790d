"""Orders that take another's place: what must hold before, and what is known after doubt. Pure.

The broker decides between the two: while the old order works it may be replaced, and afterwards it
is `replaced` and names its follower. So of a PATCH in doubt the old order always tells: either it
was replaced, by ours or another's, or it has ended, or it works on and may be asked again.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from libs.common.wire import WireOrder
from services.executor.lifecycle import FINAL, OrderState, state_of
from services.executor.orders import OrderRow
from services.executor.submit import Refusal


def refusal_of_target(
    row: OrderRow, target: OrderRow | None, rivals: Iterable[OrderRow]
) -> Refusal | None:
    """Why the row's order cannot take the place of `target` now; `rivals` are the rows of orders
    that were to take it too. None when it may be asked for.
    """
    fault = _fault_of(row, target, rivals)
    if fault or target is None:
        return Refusal(OrderState.ERROR, f"the order it replaces {fault}")
    if target.state is not OrderState.ACCEPTED or target.order_id is None:
        return _overtaken(target.broker_status or target.state.value)
    if (target.broker_status or "").startswith("pending_"):
        return _overtaken(target.broker_status or "")
    return None


def _fault_of(row: OrderRow, target: OrderRow | None, rivals: Iterable[OrderRow]) -> str:
    """What risk should have seen."""
    intent = row.approval.intent
    if target is None:
        return f"is unknown: {intent.replaces}"
    theirs = (target.approval.account_number, *_terms(target))
    if theirs != (row.approval.account_number, *_terms(row)):
        return "is another than its own"
    if intent.limit_price is None:
        return "is given no new price"
    if any(rival.client_order_id != row.client_order_id and not rival.final for rival in rivals):
        return "is being replaced already"
    return ""


def _terms(row: OrderRow) -> tuple[object, ...]:
    intent = row.approval.intent
    return (intent.strategy, intent.symbol, intent.side, intent.qty, intent.order_type)


def _overtaken(status: str) -> Refusal:
    """As happens on any good day: the market was quicker than we."""
    return Refusal(OrderState.EXPIRED, f"the order it replaces is {status}", usual=True)


class Replaced(StrEnum):
    """What the old order says of a PATCH whose answer is not known."""

    BY_ANOTHER = "by_another"
    ENDED = "ended"
    UNDER_WAY = "under_way"
    NOT_YET = "not_yet"


def what_became(old: WireOrder) -> Replaced:
    """For an order that ours did not replace, as far as can be seen. One that is `replaced` and
    does not say by which may have been replaced by ours.
    """
    if old.replaced_by is not None:
        return Replaced.BY_ANOTHER
    if state_of(old.status) in FINAL - {OrderState.REPLACED}:
        return Replaced.ENDED
    return Replaced.UNDER_WAY if old.status == "pending_replace" else Replaced.NOT_YET
