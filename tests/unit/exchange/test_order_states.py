from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from services.exchange.engine.order_states import (
    FINAL,
    TRANSITIONS,
    IllegalTransitionError,
    OrderEvent,
    OrderStatus,
    diagram,
    next_status,
)
from services.exchange.engine.orders import Intent, Order, OrderType, Side, TimeInForce

AT = dt.datetime(2020, 2, 3, 15, tzinfo=dt.UTC)
ABSENT = [
    (status, event)
    for status, event in product(OrderStatus, OrderEvent)
    if event not in TRANSITIONS[status]
]


def an_order(status: OrderStatus) -> Order:
    return Order(
        number=1,
        id="1",
        client_order_id="mine",
        symbol="KO",
        qty=Decimal(1),
        side=Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        position_intent=Intent.BUY_TO_OPEN,
        created_at=AT,
        updated_at=AT,
        expires_at=AT,
        reference_price=Decimal(50),
        status=status,
    )


def test_every_state_has_a_row_and_leads_to_known_states() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    assert {s for row in TRANSITIONS.values() for s in row.values()} <= set(OrderStatus)


def test_final_states_are_those_that_alpaca_ends_with() -> None:
    assert {s.value for s in FINAL} == {"filled", "canceled", "expired", "rejected", "replaced"}


@pytest.mark.parametrize(("status", "event"), ABSENT)
def test_an_absent_pair_raises_and_leaves_the_order_as_it_was(
    status: OrderStatus, event: OrderEvent
) -> None:
    order = an_order(status)
    with pytest.raises(IllegalTransitionError):
        order.apply(event, AT + dt.timedelta(minutes=1))
    assert order == an_order(status)


def test_a_partly_filled_order_that_cannot_be_paid_keeps_what_it_has() -> None:
    assert next_status(OrderStatus.PARTIALLY_FILLED, OrderEvent.REJECT) is OrderStatus.CANCELED


def test_a_fill_is_stamped_with_its_time() -> None:
    order = an_order(OrderStatus.NEW)
    order.apply(OrderEvent.FILL, AT)
    assert (order.status, order.filled_at, order.working) == (OrderStatus.FILLED, AT, False)


def test_the_diagram_in_the_docs_is_the_tables() -> None:
    docs = Path(__file__).parents[3] / "docs" / "exchange.md"
    assert diagram() in docs.read_text()
