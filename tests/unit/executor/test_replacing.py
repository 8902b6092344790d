"""What must hold before an order takes another's place, and what the old one says afterwards."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts import PositionIntent, Side
from libs.common.order_ids import client_order_id
from services.executor.alpaca import replacement_request
from services.executor.lifecycle import FINAL, OrderState
from services.executor.orders import OrderRow
from services.executor.replacing import Replaced, refusal_of_target, what_became
from services.executor.submit import mismatch
from tests.unit.executor.orders_kit import ACCOUNT, approved, put_intent, row, shown

OLD = client_order_id(ACCOUNT, "intent-1")
NEW = client_order_id(ACCOUNT, "intent-2")


def old(state: OrderState = OrderState.ACCEPTED, **changes: Any) -> OrderRow:
    return row(state, **({"order_id": "o1", "broker_status": "new"} | changes))


def new(**changes: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "message_id": "intent-2",
        "replaces": OLD,
        "limit_price": Decimal("0.36"),
    }
    intent = put_intent(**(fields | changes))
    return row(client_order_id=NEW, approval=approved(intent))


def test_a_working_order_may_be_replaced() -> None:
    assert refusal_of_target(new(), old(), [new()]) is None


@pytest.mark.parametrize("state", [*sorted(FINAL), OrderState.PARTIALLY_FILLED])
def test_an_order_that_went_on_is_left_and_nobody_is_called(state: OrderState) -> None:
    found = refusal_of_target(new(), old(state, broker_status=state.value), [])
    assert found is not None
    assert (found.state, found.usual) == (OrderState.EXPIRED, True)
    assert state.value in found.reason


@pytest.mark.parametrize(
    "target",
    [
        old(OrderState.SUBMITTING, order_id=None),
        old(OrderState.UNKNOWN, order_id=None),
        old(broker_status="pending_cancel"),
        old(broker_status="pending_replace"),
    ],
)
def test_an_order_with_something_under_way_is_left(target: OrderRow) -> None:
    found = refusal_of_target(new(), target, [])
    assert found is not None
    assert found.usual


def test_an_order_that_is_not_known_is_an_error() -> None:
    found = refusal_of_target(new(), None, [])
    assert found is not None
    assert (found.state, found.usual) == (OrderState.ERROR, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": 2},
        {"symbol": "KO240315P00060000"},
        {"side": Side.BUY, "position_intent": PositionIntent.BUY_TO_CLOSE},
        {"strategy": "wheel:covered_call"},
        {"limit_price": None},
    ],
    ids=str,
)
def test_another_order_is_an_error(changes: dict[str, Any]) -> None:
    found = refusal_of_target(new(**changes), old(), [])
    assert found is not None
    assert (found.state, found.usual) == (OrderState.ERROR, False)


def test_another_accounts_order_is_an_error() -> None:
    found = refusal_of_target(new(), old(approval=approved(account_number="PA2")), [])
    assert found is not None
    assert found.state is OrderState.ERROR


def test_one_at_a_time_takes_its_place() -> None:
    rival = row(OrderState.UNKNOWN, client_order_id="acl-rival")
    found = refusal_of_target(new(), old(), [new(), rival])
    assert found is not None
    assert "already" in found.reason
    ended = row(OrderState.REJECTED, client_order_id="acl-rival")
    assert refusal_of_target(new(), old(), [new(), ended]) is None


@pytest.mark.parametrize(
    ("changes", "became"),
    [
        ({}, Replaced.NOT_YET),
        ({"status": "partially_filled"}, Replaced.NOT_YET),
        ({"status": "pending_replace"}, Replaced.UNDER_WAY),
        ({"status": "filled"}, Replaced.ENDED),
        ({"status": "canceled"}, Replaced.ENDED),
        ({"status": "expired"}, Replaced.ENDED),
        ({"status": "replaced", "replaced_by": "o9"}, Replaced.BY_ANOTHER),
        ({"status": "replaced"}, Replaced.NOT_YET),
    ],
    ids=str,
)
def test_the_old_order_tells(changes: dict[str, Any], became: Replaced) -> None:
    assert what_became(shown(**changes)) is became


def test_only_price_and_id_are_sent() -> None:
    asked = replacement_request(new().approval.intent, NEW).to_request_fields()
    assert asked == {"limit_price": 0.36, "client_order_id": NEW}


def test_it_may_be_over_the_rest_and_over_no_more() -> None:
    """What the old one filled in the last moment is not sold again."""
    two = new(qty=2)
    order = shown(client_order_id=NEW, limit_price=Decimal("0.36"))
    assert mismatch(two, order) is None
    assert mismatch(new(), shown(qty=Decimal(2), limit_price=Decimal("0.36"))) is not None
    assert mismatch(row(approval=approved(put_intent(qty=2))), shown()) is not None
