"""Stories of reservations: what an approval holds, and when it lets go."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import IntentApproved, IntentBlocked, OrderIntended
from libs.common.symbols import Right
from services.risk.reservations import PASS_TIME_MAX, Book, free_cash, free_shares, short_puts
from services.risk.state import DECIDED_MAX, EARLY_MAX, RiskState
from tests.unit.risk.books import (
    SETTINGS,
    WALL,
    ask,
    covered_call,
    csp,
    held,
    judge,
    knowing,
    occ,
    portfolio,
    resting,
    stop,
    told,
)


def cash(state: RiskState) -> Decimal:
    return free_cash(books(state))


def books(state: RiskState) -> Book:
    assert state.portfolio is not None
    return Book(portfolio=state.portfolio, reservations=state.reservations)


def approved(state: RiskState, intent: OrderIntended) -> OrderIntended:
    message = ask(state, intent)
    assert isinstance(message, IntentApproved), message
    return intent


def test_an_approval_holds_its_collateral_and_counts_as_a_put() -> None:
    state = knowing(portfolio())
    approved(state, csp(strike=50))
    assert cash(state) == 15_000
    assert short_puts(books(state)) == 1


def test_a_hundred_intents_on_one_ticks_cash_never_overspend_it() -> None:
    state = knowing(portfolio())
    only_cash = msgspec.structs.replace(SETTINGS, max_position_pct=100.0, max_short_puts=1000)
    wishes = [
        csp(f"p{i}", 7 + i % 13, stock=f"A{chr(65 + i // 26)}{chr(65 + i % 26)}")
        for i in range(100)
    ]
    messages = [ask(state, wish, only_cash) for wish in wishes]
    spent = sum(m.collateral for m in messages if isinstance(m, IntentApproved))
    assert 19_000 - 700 < spent <= 19_000
    blocks = [m for m in messages if isinstance(m, IntentBlocked)]
    assert len(blocks) > 80
    assert all("above free cash" in block.reason for block in blocks)


def test_deciding_changes_nothing_until_the_decision_is_observed() -> None:
    state = knowing(portfolio())
    assert judge(state, csp()) == judge(state, csp())
    assert not state.decided("p1")
    assert state.reservations == ()


def test_an_intent_is_decided_once() -> None:
    state = knowing(portfolio())
    message = ask(state, csp())
    state.observe_decision(message)
    assert len(state.reservations) == 1
    assert state.decided("p1")
    assert "duplicate: this intent was decided already" in judge(state, csp()).reason


def test_a_blocked_intent_holds_nothing_and_is_remembered() -> None:
    state = knowing(portfolio(cash=Decimal(0)))
    assert isinstance(ask(state, csp()), IntentBlocked)
    assert state.decided("p1")
    assert state.reservations == ()


# --- rule (a): visible as an open order -------------------------------------------------------


def test_an_order_the_portfolio_shows_is_counted_once() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_portfolio(portfolio(orders=(resting(put),), as_of=60))
    assert cash(state) == 15_000
    assert short_puts(books(state)) == 1


def test_an_order_that_vanishes_without_a_word_is_counted_again() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_portfolio(portfolio(orders=(resting(put),), as_of=60))
    state.observe_portfolio(portfolio(as_of=120))
    assert cash(state) == 15_000


def test_an_order_partly_filled_in_the_portfolio_is_counted_from_there() -> None:
    state = knowing(portfolio(held("KO", 300)))
    call = approved(state, covered_call(qty=3))
    shown = resting(call, filled_qty=Decimal(1))
    short = held(occ(60, Right.CALL), -1)
    state.observe_portfolio(portfolio(held("KO", 300), short, orders=(shown,), as_of=60))
    assert free_shares(books(state), "KO") == 0


# --- rule (b): ended unfilled -----------------------------------------------------------------


@pytest.mark.parametrize("status", ["rejected", "canceled", "expired", "error", "dry_run"])
def test_an_order_that_ends_unfilled_frees_everything_at_once(status: str) -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, status, changed=5))
    assert cash(state) == 20_000
    assert state.reservations == ()


@pytest.mark.parametrize("status", ["submitting", "unknown", "accepted", "partially_filled"])
def test_an_order_in_doubt_or_at_work_frees_nothing(status: str) -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, status, final=False, changed=5))
    state.observe_portfolio(portfolio(as_of=60))
    assert cash(state) == 15_000


def test_a_partly_filled_order_that_is_canceled_holds_what_filled_until_visible() -> None:
    state = knowing(portfolio(held("KO", 300)))
    call = approved(state, covered_call(qty=3))
    state.observe_order(told(call, "canceled", filled=1, changed=5))
    assert free_shares(books(state), "KO") == 200
    state.observe_portfolio(portfolio(held("KO", 300), as_of=4))  # began before the end
    assert free_shares(books(state), "KO") == 200
    state.observe_portfolio(portfolio(held("KO", 300), held(occ(60, Right.CALL), -1), as_of=60))
    assert free_shares(books(state), "KO") == 200
    assert state.reservations == ()


# --- rule (c): filled ---------------------------------------------------------------------------


def test_a_fill_is_held_until_a_portfolio_that_began_after_it() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, "filled", filled=1, changed=60))
    assert cash(state) == 15_000
    state.observe_portfolio(portfolio(as_of=60))  # strictly before is what counts
    assert cash(state) == 15_000
    state.observe_portfolio(portfolio(held(occ(50), -1), as_of=61))
    assert cash(state) == 15_000
    assert state.reservations == ()


def test_news_of_a_fill_may_come_after_the_portfolio_that_shows_it() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_portfolio(portfolio(held(occ(50), -1), as_of=61))
    assert cash(state) == 10_000  # counted twice for a moment: the safe side
    state.observe_order(told(put, "filled", filled=1, changed=60))
    assert cash(state) == 15_000


def test_a_fill_without_the_brokers_time_waits_for_a_pass_that_surely_began_later() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, "filled", filled=1, wall=30))
    longest = PASS_TIME_MAX.total_seconds()
    for as_of, wall, kept in ((10, 20.0, 1), (20, 30 + longest, 1), (30, 31 + longest, 0)):
        state.observe_portfolio(portfolio(held(occ(50), -1), as_of=as_of, wall=wall))
        assert len(state.reservations) == kept


def test_an_end_in_an_unknown_word_is_treated_as_filled() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, "replaced", changed=5))
    assert cash(state) == 15_000
    state.observe_portfolio(portfolio(as_of=60))
    assert cash(state) == 20_000


def test_a_fill_stays_a_fill_whatever_is_said_later() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, "filled", filled=1, changed=60))
    state.observe_order(told(put, "accepted", final=False, changed=2))
    state.observe_order(told(put, "canceled", changed=61))
    assert cash(state) == 15_000


# --- rule (d): silence --------------------------------------------------------------------------


def test_an_approval_nobody_answered_stays_reserved_and_is_reported() -> None:
    state = knowing(portfolio())
    approved(state, csp())
    margin = dt.timedelta(seconds=30)
    assert state.overdue(WALL + dt.timedelta(seconds=89), margin=margin) == ()
    [late] = state.overdue(WALL + dt.timedelta(seconds=90), margin=margin)
    assert late.intent_id == "p1"
    assert cash(state) == 15_000
    state.observe_order(told(csp(), "submitting", final=False))
    assert state.overdue(WALL + dt.timedelta(days=1), margin=margin) == ()


# --- shares and duplicates ----------------------------------------------------------------------


def test_shares_promised_to_a_stop_cannot_back_a_call() -> None:
    state = knowing(portfolio(held("KO", 150)))
    approved(state, stop(qty=60))
    assert isinstance(ask(state, covered_call()), IntentBlocked)
    assert isinstance(ask(state, stop("s2", qty=90, stock="KO")), IntentBlocked)  # pending kin


def test_a_second_put_on_a_name_waits_until_the_first_is_seen() -> None:
    state = knowing(portfolio())
    first = approved(state, csp("p1", 50))
    assert judge(state, csp("p2", 45)).reason == "duplicate: repeats pending intent p1"
    state.observe_portfolio(portfolio(orders=(resting(first),), as_of=60))
    seen_since: dict[str, Any] = {"as_of": portfolio(as_of=60).as_of}
    assert "p1" in judge(state, csp("p2", 45)).reason  # planned before the order showed
    assert judge(state, csp("p2", 45, **seen_since)).ok
    assert "p1" in judge(state, csp("p3", 50, **seen_since)).reason  # the same contract


# --- order of news ------------------------------------------------------------------------------


def test_an_older_portfolio_changes_nothing() -> None:
    state = knowing(portfolio(as_of=60), portfolio(as_of=30, cash=Decimal(1)))
    assert cash(state) == 20_000


def test_order_news_may_be_replayed_before_the_decision_it_follows() -> None:
    live = knowing(portfolio(held("KO", 300)))
    call = covered_call(qty=3)
    decision = ask(live, call)
    news = [told(call, "accepted", final=False), told(call, "canceled", filled=2, changed=9)]
    for changed in news:
        live.observe_order(changed)

    replayed = RiskState()
    for changed in news:
        replayed.observe_order(changed)
    replayed.observe_decision(decision)
    replayed.observe_portfolio(portfolio(held("KO", 300)))
    assert replayed.reservations == live.reservations
    assert free_shares(books(replayed), "KO") == 100


def test_a_decision_replayed_after_its_order_ended_holds_nothing() -> None:
    state = knowing(portfolio())
    decision = ask(state, csp())
    state.observe_order(told(csp(), "canceled", changed=5))
    state.observe_decision(decision)
    assert state.reservations == ()


def test_news_of_what_was_let_go_is_forgotten() -> None:
    state = knowing(portfolio())
    put = approved(state, csp())
    state.observe_order(told(put, "canceled", changed=5))
    state.observe_order(told(put, "filled", filled=1, changed=6))
    assert state.reservations == ()


def test_memory_is_bounded() -> None:
    state = knowing(portfolio(cash=Decimal(0)))
    blocked = ask(state, csp())
    assert isinstance(blocked, IntentBlocked)
    for i in range(DECIDED_MAX):
        intent = csp(f"n{i}")
        state.observe_decision(
            IntentBlocked(message_id=f"no-{i}", at=WALL, intent=intent, checks=[], reason="")
        )
    assert not state.decided("p1")
    assert state.decided("n0")
    for i in range(EARLY_MAX + 1):
        state.observe_order(told(csp(f"early{i}"), "accepted", final=False))
    assert len(state._early) == EARLY_MAX


def test_news_without_the_brokers_time_may_come_after_the_portfolio_that_shows_it() -> None:
    """As in a replay, where the latest portfolio is the only one: both come to the same."""
    live, replayed = knowing(portfolio()), RiskState()
    decision = ask(live, csp())
    late = portfolio(held(occ(50), -1), as_of=900, wall=900)
    news = told(csp(), "filled", filled=1, wall=30)
    live.observe_portfolio(late)
    live.observe_order(news)
    replayed.observe_decision(decision)
    replayed.observe_order(news)
    replayed.observe_portfolio(late)
    assert live.reservations == replayed.reservations == ()
