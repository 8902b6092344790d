"""The executor's own door: its caps, and what the trading state calls back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import IntentApproved, OrderType, TradingState, TradingVerb
from libs.common.settings import ExecutorSettings
from libs.common.trading_state import Standing
from services.executor.clearing import to_cancel
from services.executor.lifecycle import OrderState
from services.executor.submit import refusal_of_order
from tests.unit.common.test_trading_state import both, record
from tests.unit.executor.orders_kit import approved, put_intent, row, stop_intent

VERSION = "0123456789abcdef"
CAPS = ExecutorSettings(
    max_contracts=3, max_shares=60, max_notional=Decimal(12_000), price_collar_pct=50.0
)


def put(seen: str | None = "0.40", **changes: Any) -> IntentApproved:
    price = None if seen is None else Decimal(seen)
    return approved(put_intent(**changes), risk_config_version=VERSION, seen_price=price)


def stop(seen: str | None = "100", **changes: Any) -> IntentApproved:
    price = None if seen is None else Decimal(seen)
    return approved(stop_intent(**changes), risk_config_version=VERSION, seen_price=price)


@pytest.mark.parametrize(
    "approval", [put(), put(qty=2), put(limit_price=Decimal("0.60")), stop(), stop(qty=60)]
)
def test_an_order_within_every_cap_may_leave(approval: IntentApproved) -> None:
    assert refusal_of_order(approval, CAPS, {VERSION}) is None


@pytest.mark.parametrize(
    ("approval", "why"),
    [
        (put(qty=4), "quantity 4 is beyond the cap of 3"),
        (put(qty=0), "quantity 0 is beyond the cap of 3"),
        (put(qty=3), "worth 17250"),
        (put(seen=None), "risk saw no price"),
        (put(seen="-1"), "risk saw no price"),
        (put(limit_price=Decimal("0.61")), "limit 0.61 is too far from 0.40"),
        (put(limit_price=Decimal("0.19")), "limit 0.19 is too far from 0.40"),
        (put(limit_price=None), "an option order without a limit"),
        (put(order_type=OrderType.MARKET, limit_price=None), "an option order without a limit"),
        (stop(qty=61), "quantity 61 is beyond the cap of 60"),
        (stop(seen="201", qty=60), "worth 12060"),
        (stop(seen=None), "risk saw no price"),
    ],
)
def test_an_order_beyond_a_cap_is_not_sent_whoever_signed_it(
    approval: IntentApproved, why: str
) -> None:
    refusal = refusal_of_order(approval, CAPS, {VERSION})
    assert refusal is not None
    assert refusal.state is OrderState.ERROR
    assert refusal.reason.startswith("not sent: ")
    assert why in refusal.reason


def test_a_cheap_contract_has_room_for_some_steps_of_the_grid() -> None:
    assert refusal_of_order(put("0.03", limit_price=Decimal("0.13")), CAPS, {VERSION}) is None
    refusal = refusal_of_order(put("0.03", limit_price=Decimal("0.14")), CAPS, {VERSION})
    assert refusal is not None


def test_an_approval_by_limits_that_are_not_known_is_not_carried_out() -> None:
    refusal = refusal_of_order(put(), CAPS, {"fedcba9876543210"})
    assert refusal is not None
    assert VERSION in refusal.reason
    bare = msgspec.structs.replace(put(), risk_config_version="")
    refusal = refusal_of_order(bare, CAPS, {VERSION})
    assert refusal is not None
    assert "of no version" in refusal.reason


# --- what is called back ----------------------------------------------------------------------

ENTRY = row(OrderState.ACCEPTED, order_id="entry", approval=approved(put_intent()))
STOP = row(OrderState.ACCEPTED, order_id="stop", approval=approved(stop_intent()))
CLOSING = row(
    OrderState.ACCEPTED,
    order_id="closing",
    approval=approved(put_intent(strategy="flatten")),
)
ROWS = [ENTRY, STOP, CLOSING]
HALTED = both(record(1, TradingState.HALTED))
FLATTENING = both(record(1, TradingState.REDUCING, verb=TradingVerb.FLATTEN))


def called_back(standing: Standing, *, entries_on_halt: bool = True) -> list[str | None]:
    return [r.order_id for r in to_cancel(ROWS, standing, entries_on_halt=entries_on_halt)]


def test_a_halt_calls_back_what_would_open_something() -> None:
    assert called_back(HALTED) == ["entry", "closing"], "this one is only called flattening"
    assert called_back(HALTED, entries_on_halt=False) == []


def test_flattening_calls_back_all_but_what_flattens() -> None:
    assert called_back(FLATTENING) == ["entry", "stop"]
    assert called_back(FLATTENING, entries_on_halt=False) == ["entry", "stop"]


def test_what_cannot_be_known_and_what_has_ended_is_left_alone() -> None:
    unknown = msgspec.structs.replace(HALTED, problem="the bus cannot be read")
    assert called_back(unknown) == []
    told = msgspec.structs.replace(unknown, worst_known=TradingState.HALTED)
    assert called_back(told) == ["entry", "closing"], "the other log says so"
    cut_off = to_cancel(ROWS, unknown, entries_on_halt=False, cut_off=True)
    assert [r.order_id for r in cut_off] == ["entry", "closing"], "only after a while"
    assert called_back(both()) == []
    ended = [
        row(OrderState.FILLED, order_id="entry"),
        row(OrderState.UNKNOWN),
        row(OrderState.ACCEPTED, order_id="entry", broker_status="pending_cancel"),
    ]
    assert to_cancel(ended, HALTED, entries_on_halt=True) == []
