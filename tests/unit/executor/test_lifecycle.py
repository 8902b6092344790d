"""The order's table: what may follow what, and what the broker's words mean."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor.lifecycle import (
    FINAL,
    IN_DOUBT,
    TRANSITIONS,
    IllegalTransitionError,
    OrderState,
    advance,
    diagram,
    state_of,
)

PAGE = Path(__file__).parents[3] / "docs" / "life-of-an-order.md"
PAIRS = list(itertools.product(OrderState, OrderState))
ABSENT = [(a, b) for a, b in PAIRS if a is not b and b not in TRANSITIONS[a]]
OURS = {OrderState.APPROVED, OrderState.SUBMITTING, OrderState.DRY_RUN, OrderState.ERROR}

# https://docs.alpaca.markets/docs/orders-at-alpaca, "Order Lifecycle", and the SDK's OrderStatus.
ALPACAS_WORDS = {
    "new": OrderState.ACCEPTED,
    "partially_filled": OrderState.PARTIALLY_FILLED,
    "filled": OrderState.FILLED,
    "done_for_day": OrderState.ACCEPTED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "replaced": OrderState.REPLACED,
    "pending_cancel": OrderState.ACCEPTED,
    "pending_replace": OrderState.ACCEPTED,
    "pending_review": OrderState.ACCEPTED,
    "accepted": OrderState.ACCEPTED,
    "pending_new": OrderState.ACCEPTED,
    "accepted_for_bidding": OrderState.ACCEPTED,
    "stopped": OrderState.ACCEPTED,
    "rejected": OrderState.REJECTED,
    "suspended": OrderState.ACCEPTED,
    "calculated": OrderState.ACCEPTED,
    "held": OrderState.ACCEPTED,
}


def reachable(start: OrderState) -> set[OrderState]:
    found, edge = {start}, {start}
    while edge:
        edge = {target for state in edge for target in TRANSITIONS[state]} - found
        found |= edge
    return found


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    assert reachable(OrderState.APPROVED) == set(OrderState)


@pytest.mark.parametrize(("current", "target"), PAIRS)
def test_a_pair_of_the_table_is_gone_and_any_other_raises(
    current: OrderState, target: OrderState
) -> None:
    if (current, target) in ABSENT:
        with pytest.raises(IllegalTransitionError, match=f"from {current} to {target}"):
            advance(current, target)
    else:
        assert advance(current, target) is target


@settings(deadline=None)
@given(st.lists(st.sampled_from(OrderState)))
def test_any_story_of_facts_ends_where_the_table_lets_it(wishes: list[OrderState]) -> None:
    """Facts come twice and out of order; one that is refused leaves the order where it was."""
    state = OrderState.APPROVED
    for wish in wishes:
        before = state
        try:
            state = advance(state, wish)
        except IllegalTransitionError:
            assert state is before
        assert before not in FINAL or state is before
        assert state is wish or state is before


@pytest.mark.parametrize("state", sorted(set(OrderState) - FINAL))
def test_what_is_not_final_can_become_so(state: OrderState) -> None:
    assert reachable(state) & FINAL


def test_what_is_final_has_no_way_out() -> None:
    assert {"filled", "canceled", "expired", "rejected", "replaced", "dry_run", "error"} == FINAL
    assert not any(TRANSITIONS[state] for state in FINAL)


def test_an_order_in_doubt_may_turn_out_to_be_anything_the_broker_says() -> None:
    """A fill may arrive before the answer to the request that caused it."""
    said_by_the_broker = set(ALPACAS_WORDS.values())
    assert all(said_by_the_broker <= TRANSITIONS[state] for state in IN_DOUBT)


def test_nothing_that_was_sent_becomes_unsent() -> None:
    sent = set(OrderState) - OURS - {OrderState.UNKNOWN}
    assert all(not TRANSITIONS[state] & OURS for state in sent)
    assert TRANSITIONS[OrderState.SUBMITTING].isdisjoint({OrderState.DRY_RUN, OrderState.ERROR})


def test_every_word_of_alpaca_has_its_state() -> None:
    from alpaca.trading.enums import OrderStatus

    assert {status.value for status in OrderStatus} <= set(ALPACAS_WORDS)
    assert {word: state_of(word) for word in ALPACAS_WORDS} == ALPACAS_WORDS


@pytest.mark.parametrize("word", ["pending_cancel", "pending_replace", "done_for_day", "stopped"])
def test_a_partly_filled_order_stays_so_whatever_is_asked_of_it(word: str) -> None:
    shown = state_of(word, Decimal(1))
    assert advance(OrderState.PARTIALLY_FILLED, shown) is OrderState.PARTIALLY_FILLED
    assert state_of(word, Decimal(0)) is OrderState.ACCEPTED
    assert state_of("canceled", Decimal(1)) is OrderState.CANCELED


@settings(deadline=None)
@given(st.text().filter(lambda word: word not in ALPACAS_WORDS))
def test_a_word_we_do_not_know_is_an_order_that_may_still_fill(word: str) -> None:
    assert state_of(word) is OrderState.ACCEPTED


def test_the_diagram_in_the_docs_is_the_tables() -> None:
    assert f"```mermaid\n{diagram()}\n```" in PAGE.read_text()


def test_the_diagram_draws_every_pair_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", diagram(), re.MULTILINE))
    assert drawn == {(a.value, b.value) for a, after in TRANSITIONS.items() for b in after}
    assert {s for s in OrderState if f"    {s} --> [*]" in diagram()} == FINAL
