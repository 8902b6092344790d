"""Every invariant can fail: for each, a world in which all is well, and one thing planted in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.order_ids import client_order_id
from services.executor.lifecycle import OrderState
from tests.faults.invariants import (
    CHECKS,
    BrokerOrder,
    Decided,
    Fact,
    Fill,
    Halt,
    Observation,
    Row,
    Sent,
    report,
    violations,
)

ACCOUNT = "PA-1"
NOON = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
END = NOON + dt.timedelta(seconds=45)
FILLED = client_order_id(ACCOUNT, "intent-1")
RESTING = client_order_id(ACCOUNT, "intent-2")
FOLLOWING = client_order_id(ACCOUNT, "intent-5")
PUT = "KO170512P00042000"


def row(number: int, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "client_order_id": client_order_id(ACCOUNT, f"intent-{number}"),
        "intent_id": f"intent-{number}",
        "state": OrderState.ACCEPTED,
        "symbol": PUT,
        "side": "sell",
        "qty": Decimal(2),
        "expires_at": END,
        "revision": 2,
        "published_revision": 2,
        "broker_status": "new",
        "order_id": f"order-{number}",
    }
    return Row(**(fields | changes))


def order(number: int, **changes: Any) -> BrokerOrder:
    fields: dict[str, Any] = {
        "client_order_id": client_order_id(ACCOUNT, f"intent-{number}"),
        "order_id": f"order-{number}",
        "status": "new",
        "symbol": PUT,
        "side": "sell",
        "qty": Decimal(2),
    }
    return BrokerOrder(**(fields | changes))


FULL: dict[str, Any] = {"filled_qty": Decimal(2), "filled_avg_price": Decimal("0.50")}
WELL = Observation(
    account_number=ACCOUNT,
    at=END,
    acknowledged=frozenset({"intent-1", "intent-2", "intent-3"}),
    stored=frozenset({"intent-1", "intent-2", "intent-3"}),
    decisions=(
        Decided(intent_id="intent-1", approved=True, expires_at=END),
        Decided(intent_id="intent-2", approved=True, expires_at=END),
        Decided(intent_id="intent-3", approved=False),
        Decided(intent_id="intent-forged", approved=True, genuine=False, expires_at=END),
    ),
    rows=(
        row(1, state=OrderState.FILLED, broker_status="filled", **FULL),
        row(2),
    ),
    orders=(order(1, status="filled", **FULL), order(2)),
    facts=(
        Fact(client_order_id=FILLED, revision=1, status="new", filled_qty=Decimal(0)),
        Fact(client_order_id=FILLED, revision=2, status="filled", filled_qty=Decimal(2)),
        Fact(client_order_id=RESTING, revision=2, status="new", filled_qty=Decimal(0)),
    ),
    sent=(Sent(client_order_id=FILLED, at=NOON), Sent(client_order_id=RESTING, at=NOON)),
    fills=(Fill(symbol=PUT, side="sell", qty=Decimal(2), client_order_id=FILLED),),
    broker_fills=(Fill(symbol=PUT, side="sell", qty=Decimal(2)),),
    positions={PUT: Decimal(-2)},
)


def with_(**changes: Any) -> Observation:
    return msgspec.structs.replace(WELL, **changes)


REPLACED: dict[str, Any] = {
    "state": OrderState.REPLACED,
    "broker_status": "replaced",
    "revision": 3,
    "published_revision": 3,
}
PART: dict[str, Any] = {"filled_qty": Decimal(1), "filled_avg_price": Decimal("0.50")}
GONE: dict[str, Any] = {"status": "replaced", "replaced_by": "order-5"}
FOLLOWED = order(1, status="replaced", replaced_by="order-2")
FOLLOWER = order(5, replaces="order-2")
WALKED = (WELL.orders[0], order(2, **GONE), FOLLOWER)


def walked(**changes: Any) -> Observation:
    """The same after the resting order was replaced."""
    fields: dict[str, Any] = {
        "acknowledged": WELL.acknowledged | {"intent-5"},
        "stored": WELL.stored | {"intent-5"},
        "decisions": (
            *WELL.decisions,
            Decided(intent_id="intent-5", approved=True, expires_at=END, replaces=RESTING),
        ),
        "rows": (
            WELL.rows[0],
            row(2, **REPLACED),
            row(5, replaces=RESTING),
        ),
        "orders": WALKED,
        "facts": (
            *WELL.facts,
            Fact(client_order_id=FOLLOWING, revision=2, status="new", filled_qty=Decimal(0)),
            Fact(client_order_id=RESTING, revision=3, status="replaced", filled_qty=Decimal(0)),
        ),
        "sent": (*WELL.sent, Sent(client_order_id=FOLLOWING, at=NOON)),
    }
    return msgspec.structs.replace(WELL, **(fields | changes))


def test_a_world_in_which_all_is_well_has_no_violation() -> None:
    assert violations(WELL) == []
    assert violations(walked()) == []


def test_what_the_one_before_filled_in_the_last_moment_is_not_missing() -> None:
    seen = walked(
        rows=(WELL.rows[0], row(2, **REPLACED, **PART), row(5, replaces=RESTING)),
        orders=(WALKED[0], order(2, **GONE, **PART), order(5, replaces="order-2", qty=Decimal(1))),
    )
    assert list(CHECKS["orders: database = broker"](seen)) == []


PLANTED: dict[str, tuple[str, Callable[[], Observation]]] = {
    "an order twice": (
        "at most one order per intent",
        lambda: with_(orders=(*WELL.orders, order(2))),
    ),
    "an order under another id": (
        "at most one order per intent",
        lambda: with_(orders=(*WELL.orders, order(2, client_order_id="acl-random"))),
    ),
    "an order of a forged approval": (
        "at most one order per intent",
        lambda: with_(
            orders=(
                *WELL.orders,
                order(4, client_order_id=client_order_id(ACCOUNT, "intent-forged")),
            )
        ),
    ),
    "an order that was to take a place and stands beside it": (
        "at most one order per intent",
        lambda: walked(orders=(WELL.orders[0], order(2), order(5))),
    ),
    "an order in a place it was not approved for": (
        "at most one order per intent",
        lambda: with_(orders=(FOLLOWED, order(2, replaces="order-1"))),
    ),
    "an order that lives beside the one in its place": (
        "at most one order per intent",
        lambda: walked(orders=(WELL.orders[0], order(2), FOLLOWER)),
    ),
    "two in one place": (
        "at most one order per intent",
        lambda: walked(orders=(*WALKED, order(1, client_order_id="acl-x", replaces="order-2"))),
    ),
    "a place that nobody took": (
        "at most one order per intent",
        lambda: walked(orders=WALKED[:2]),
    ),
    "more than was left of the one before": (
        "orders: database = broker",
        lambda: walked(
            rows=(WELL.rows[0], row(2, **REPLACED, **PART), row(5, replaces=RESTING)),
            orders=(WALKED[0], order(2, **GONE, **PART), FOLLOWER),
        ),
    ),
    "two verdicts": (
        "one verdict per intent",
        lambda: with_(decisions=(*WELL.decisions, Decided(intent_id="intent-2", approved=False))),
    ),
    "doubt that stays": (
        "every approval ends",
        lambda: with_(rows=(WELL.rows[0], row(2, state=OrderState.UNKNOWN))),
    ),
    "an order that rests after its close": (
        "every approval ends",
        lambda: with_(closed=frozenset({RESTING})),
    ),
    "an order we do not know": (
        "orders: database = broker",
        lambda: with_(rows=WELL.rows[:1]),
    ),
    "an order they do not know": (
        "orders: database = broker",
        lambda: with_(orders=WELL.orders[:1]),
    ),
    "another quantity": (
        "orders: database = broker",
        lambda: with_(orders=(WELL.orders[0], order(2, qty=Decimal(3)))),
    ),
    "another price": (
        "orders: database = broker",
        lambda: with_(
            orders=(
                order(1, status="filled", filled_qty=Decimal(2), filled_avg_price=Decimal("0.51")),
                WELL.orders[1],
            )
        ),
    ),
    "a fill that was lost": ("fills: database = broker", lambda: with_(fills=())),
    "a fill that was counted twice": (
        "fills: database = broker",
        lambda: with_(fills=WELL.fills * 2),
    ),
    "a position nobody explains": (
        "positions: database = broker",
        lambda: with_(positions={PUT: Decimal(-3)}),
    ),
    "an expiration that was counted twice": (
        "positions: database = broker",
        lambda: with_(positions={}, ledger=(Fill(symbol=PUT, side="buy", qty=Decimal(2)),) * 2),
    ),
    "a late order": (
        "nothing sent after expiry",
        lambda: with_(
            sent=(*WELL.sent, Sent(client_order_id=FILLED, at=END + dt.timedelta(seconds=2)))
        ),
    ),
    "an order without an approval": (
        "nothing sent after expiry",
        lambda: with_(sent=(*WELL.sent, Sent(client_order_id="acl-x", at=NOON))),
    ),
    "an order while halted": (
        "nothing sent while halted",
        lambda: with_(
            halts=(
                Halt(
                    begun_at=NOON - dt.timedelta(seconds=5),
                    ended_at=NOON + dt.timedelta(seconds=5),
                ),
            )
        ),
    ),
    "an intent that vanished": (
        "nothing acknowledged is lost",
        lambda: with_(acknowledged=WELL.acknowledged | {"intent-9"}),
    ),
    "an intent that was never decided": (
        "nothing acknowledged is lost",
        lambda: with_(stored=WELL.stored | {"intent-9"}),
    ),
    "an approval without a row": (
        "nothing acknowledged is lost",
        lambda: with_(
            stored=WELL.stored | {"intent-9"},
            decisions=(*WELL.decisions, Decided(intent_id="intent-9", approved=True)),
        ),
    ),
    "a service that gave up": (
        "nothing acknowledged is lost",
        lambda: with_(gave_up=("risk: cannot go on",)),
    ),
    "a fact that was never published": (
        "rows and facts agree",
        lambda: with_(facts=WELL.facts[:2]),
    ),
    "a row that waits to be published": (
        "rows and facts agree",
        lambda: with_(rows=(WELL.rows[0], row(2, published_revision=1))),
    ),
    "a fact that says something else": (
        "rows and facts agree",
        lambda: with_(
            facts=(
                *WELL.facts[:2],
                Fact(client_order_id=RESTING, revision=2, status="filled", filled_qty=Decimal(2)),
            )
        ),
    ),
    "facts in the wrong order": (
        "rows and facts agree",
        lambda: with_(facts=(WELL.facts[1], WELL.facts[0], WELL.facts[2])),
    ),
    "a fact that came twice": (
        "rows and facts agree",
        lambda: with_(facts=(*WELL.facts, WELL.facts[-1])),
    ),
    "a fact without a row": (
        "rows and facts agree",
        lambda: with_(
            facts=(
                *WELL.facts,
                Fact(client_order_id="acl-x", revision=1, status="new", filled_qty=Decimal(0)),
            )
        ),
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found(planted: str) -> None:
    name, make = PLANTED[planted]
    found = violations(make())
    assert name in {one.invariant for one in found}
    assert name in report(found)


def test_every_invariant_has_something_planted_against_it() -> None:
    assert {name for name, _ in PLANTED.values()} == set(CHECKS)
