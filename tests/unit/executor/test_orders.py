"""An order's row: what is written over it, what was filled since, and how it is shown."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts import OrderChanged, OrderIntended, OrderType, PositionIntent, Side
from libs.common.order_ids import client_order_id
from services.executor.alpaca import order_request
from services.executor.lifecycle import FINAL, OrderState
from services.executor.orders import (
    FillPart,
    OrderChange,
    OrderRow,
    changed,
    fill_part,
    order_changed,
    shown_status,
)
from tests.unit.executor.orders_kit import MARKET, PUT, WALL, put_intent, row, stop_intent

HALF_A_MICRO = Decimal("0.0000005")  # a part's price is kept to six places


def told(qty: Decimal | int | None, price: Decimal | str | None, **more: Any) -> OrderChange:
    """The broker's word: so much is filled by now, at this price on average."""
    fields: dict[str, Any] = {
        "state": OrderState.PARTIALLY_FILLED,
        "ts": MARKET,
        "filled_qty": None if qty is None else Decimal(qty),
        "filled_avg_price": None if price is None else Decimal(price),
    }
    return OrderChange(**(fields | more))


def story(*changes: OrderChange) -> tuple[OrderRow, list[FillPart]]:
    """The row after all the broker said, and the fills that were booked."""
    current, parts = row(OrderState.ACCEPTED), []
    for change in changes:
        part = fill_part(current, change)
        current = changed(current, change)
        if part is not None:
            parts.append(part)
    return current, parts


# --- fills -------------------------------------------------------------------------------------


def test_two_fills_are_booked_at_the_prices_they_were_made() -> None:
    _, parts = story(told(30, "10.00"), told(100, "10.70"))
    assert parts == [
        FillPart(qty=Decimal(30), price=Decimal("10.000000")),
        FillPart(qty=Decimal(70), price=Decimal("11.000000")),
    ]


@pytest.mark.parametrize(
    "change",
    [told(None, None), told(0, None), told(0, "1.00"), told(5, None), told(None, "1.00")],
)
def test_a_change_without_quantity_and_price_books_nothing(change: OrderChange) -> None:
    assert fill_part(row(), change) is None


def test_a_fill_told_twice_is_booked_once() -> None:
    final, parts = story(told(30, "10.00"), told(30, "10.00"), told(30, "10.00"))
    assert len(parts) == 1
    assert (final.filled_qty, final.revision) == (30, 5)


def test_a_quantity_without_its_price_waits_for_it() -> None:
    final, parts = story(told(1, None), told(2, "0.50"))
    assert parts == [FillPart(qty=Decimal(2), price=Decimal("0.500000"))]
    assert (final.filled_qty, final.filled_avg_price) == (2, Decimal("0.50"))


def test_an_old_look_at_the_broker_takes_nothing_back() -> None:
    final, parts = story(told(5, "10.40"), told(3, "10.00"), told(10, "10.20"))
    assert [(part.qty, part.price) for part in parts] == [(5, Decimal("10.4")), (5, Decimal(10))]
    assert (final.filled_qty, final.filled_avg_price) == (10, Decimal("10.20"))


fills = st.lists(
    st.tuples(
        st.integers(1, 500).map(Decimal),
        st.decimals("0.01", "2000", places=4, allow_nan=False, allow_infinity=False),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(fills, st.data())
def test_the_parts_always_add_up_to_the_order(
    made: list[tuple[Decimal, Decimal]], data: st.DataObject
) -> None:
    """However often the broker is asked, and however old some of its answers are."""
    cumulative = _cumulative(made)
    looks = data.draw(
        st.lists(st.sampled_from(cumulative), max_size=20).map(lambda seen: [*seen, cumulative[-1]])
    )
    final, parts = story(*(told(qty, value / qty) for qty, value in looks))
    qty, value = cumulative[-1]
    assert sum(part.qty for part in parts) == final.filled_qty == qty
    booked = sum(part.qty * part.price for part in parts)
    assert abs(booked - value) <= qty * HALF_A_MICRO + Decimal("1e-9")
    assert all(part.qty > 0 for part in parts)


def _cumulative(made: list[tuple[Decimal, Decimal]]) -> list[tuple[Decimal, Decimal]]:
    """Quantity and value so far, after each fill."""
    quantities = accumulate(qty for qty, _ in made)
    values = accumulate(qty * price for qty, price in made)
    return list(zip(quantities, values, strict=True))


# --- the row -----------------------------------------------------------------------------------


def test_a_change_says_what_is_new_and_leaves_the_rest() -> None:
    before = row(
        OrderState.UNKNOWN, order_id=None, doubt_since=WALL, note="504", broker_status=None
    )
    after = changed(before, told(0, None, order_id="o1", broker_status="new", changed_at=MARKET))
    assert (after.order_id, after.broker_status, after.changed_at) == ("o1", "new", MARKET)
    assert after.doubt_since is None  # the doubt is over
    assert after.note == "504"
    assert after.revision == before.revision + 1
    assert after.approval is before.approval
    later = changed(after, OrderChange(state=OrderState.CANCELED, ts=MARKET))
    assert (later.order_id, later.broker_status) == ("o1", "new")


@pytest.mark.parametrize(
    ("state", "broker_status", "word"),
    [
        (OrderState.APPROVED, None, "pending_new"),
        (OrderState.SUBMITTING, None, "pending_new"),
        (OrderState.UNKNOWN, None, "pending_new"),
        (OrderState.UNKNOWN, "new", "pending_new"),
        (OrderState.DRY_RUN, None, "dry_run"),
        (OrderState.ERROR, None, "error"),
        (OrderState.ACCEPTED, "held", "held"),
        (OrderState.EXPIRED, None, "expired"),
        (OrderState.REJECTED, "rejected", "rejected"),
        (OrderState.FILLED, "filled", "filled"),
    ],
)
def test_the_promised_table_shows_one_word(
    state: OrderState, broker_status: str | None, word: str
) -> None:
    assert shown_status(state, broker_status) == word


@pytest.mark.parametrize("state", OrderState)
def test_what_is_published_is_what_the_row_says(state: OrderState) -> None:
    current = row(
        state,
        order_id="o1",
        filled_qty=Decimal(1),
        filled_avg_price=Decimal("0.39"),
        changed_at=MARKET,
        note="sent again",
    )
    fact = order_changed(current, WALL)
    assert fact.subject == f"orders.{state.value}.KO"
    assert fact.message_id == f"{current.client_order_id}-r2"
    assert fact.final is (state in FINAL)
    assert (fact.intent_id, fact.tick_id, fact.symbol) == ("intent-1", "tick-1", PUT)
    assert (fact.filled_qty, fact.filled_avg_price) == (1, Decimal("0.39"))
    assert (fact.changed_at, fact.note) == (MARKET, "sent again")
    assert msgspec.json.decode(msgspec.json.encode(fact), type=OrderChanged) == fact


def test_a_fact_said_again_after_a_crash_has_the_same_id_and_a_new_one_another() -> None:
    current = row(OrderState.ACCEPTED)
    again = order_changed(current, WALL + dt.timedelta(hours=1))
    assert again.message_id == order_changed(current, WALL).message_id
    moved = changed(current, told(1, "0.39", state=OrderState.FILLED))
    assert order_changed(moved, WALL).message_id != again.message_id


# --- the request -------------------------------------------------------------------------------

ID = client_order_id("PA1", "intent-1")


def sent(intent: OrderIntended) -> dict[str, Any]:
    """The fields of the POST's body, from the SDK's own request model."""
    fields: dict[str, Any] = order_request(intent, ID).to_request_fields()
    return {name: getattr(value, "value", value) for name, value in fields.items()}


def test_a_put_to_open_is_sent_with_its_limit_and_intent() -> None:
    assert sent(put_intent()) == {
        "symbol": PUT,
        "qty": 1,
        "side": "sell",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": 0.38,
        "position_intent": "sell_to_open",
        "client_order_id": ID,
    }


def test_a_trailing_stop_is_sent_with_its_percentage_and_no_price() -> None:
    assert sent(stop_intent()) == {
        "symbol": "KO",
        "qty": 45,
        "side": "sell",
        "type": "trailing_stop",
        "time_in_force": "gtc",
        "trail_percent": 6.5,
        "client_order_id": ID,
    }


@pytest.mark.parametrize("order_type", OrderType)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("position_intent", [None, *PositionIntent])
def test_the_sdk_takes_every_order_we_can_wish_for(
    order_type: OrderType, side: Side, position_intent: PositionIntent | None
) -> None:
    intent = put_intent(
        symbol="KO" if order_type is OrderType.TRAILING_STOP else PUT,
        order_type=order_type,
        side=side,
        position_intent=position_intent,
        limit_price=Decimal("1.05"),
        stop_price=Decimal("0.95"),
        trail_percent=Decimal(8),
    )
    body = sent(intent)
    assert (body["type"], body["side"]) == (order_type.value, side.value)
    assert body.get("position_intent") == (position_intent.value if position_intent else None)
    prices = {
        OrderType.MARKET: {},
        OrderType.LIMIT: {"limit_price": 1.05},
        OrderType.STOP: {"stop_price": 0.95},
        OrderType.STOP_LIMIT: {"limit_price": 1.05, "stop_price": 0.95},
        OrderType.TRAILING_STOP: {"trail_percent": 8.0},
    }
    names = {"limit_price", "stop_price", "trail_percent", "trail_price", "notional"}
    assert {n: body[n] for n in names & set(body)} == prices[order_type]


@settings(deadline=None)
@given(st.integers(1, 10_000_000).map(lambda cents: Decimal(cents) / 100))
def test_a_price_on_the_grid_is_sent_as_it_prints(price: Decimal) -> None:
    assert Decimal(repr(sent(put_intent(limit_price=price))["limit_price"])) == price


@pytest.mark.parametrize(
    "order_type", [OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP]
)
def test_an_order_without_the_price_its_type_needs_never_leaves(order_type: OrderType) -> None:
    with pytest.raises(ValueError, match="lacks a price"):
        order_request(put_intent(order_type=order_type, limit_price=None), ID)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_an_orders_id_is_a_function_of_account_and_intent(
    account: str, intent: str, other_account: str, other_intent: str
) -> None:
    made = client_order_id(account, intent)
    assert made == client_order_id(account, intent)
    assert len(made) <= 48
    assert made.isascii()
    if (account, intent) != (other_account, other_intent):
        assert made != client_order_id(other_account, other_intent)
