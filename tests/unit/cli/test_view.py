"""A story of messages folds into the live view, and the view fits any terminal."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from libs.common.contracts import (
    AlertRaised,
    Heartbeat,
    IntentApproved,
    IntentBlocked,
    LedgerEntered,
    LedgerEvent,
    MarketTicked,
    Message,
    OrderChanged,
    PlanMade,
    PortfolioObserved,
    Severity,
    TradingState,
    TradingStateSet,
    TradingVerb,
)
from libs.common.trading_state import beginning
from services.cli.view import ViewState, draw, short_symbol
from tests.contracts.recordings import decoded

TITLE = "alpaclaudia demo"
SIZES = [(40, 12), (60, 20), (80, 24), (100, 30), (120, 40), (200, 50), (300, 100), (20, 5)]


def recorded(message_type: type[Message], **changes: Any) -> Any:
    return msgspec.structs.replace(decoded(message_type), **changes)


def ticked(**changes: Any) -> Message:
    return recorded(MarketTicked, **changes)


def beat(service: str, state: str = "ready") -> Message:
    return recorded(Heartbeat, service=service, state=state)


STORY: list[Message] = [
    *(beat(name) for name in ("market", "planner", "risk", "executor", "reporter")),
    decoded(PortfolioObserved),
    ticked(),
    decoded(PlanMade),
    decoded(IntentApproved),
    decoded(IntentBlocked),
    recorded(OrderChanged, status="new", final=False, filled_qty=Decimal(0)),
    decoded(OrderChanged),
    decoded(LedgerEntered),
    recorded(LedgerEntered, event=LedgerEvent.OTHER),
    decoded(AlertRaised),
]


def seen(*messages: Message) -> ViewState:
    state = ViewState(title=TITLE, synthetic=True)
    for message in messages:
        state.fold(message)
    return state


def screen(state: ViewState, width: int = 200, height: int = 50) -> str:
    console = Console(file=io.StringIO(), record=True, width=width, height=height)
    console.print(draw(state, width=width, height=height))
    return console.export_text()


def test_the_view_shows_what_happened() -> None:
    shown = screen(seen(*STORY))
    for fact in (
        TITLE,
        "BOT_MODE=live  ALPACA_ENV=sim",
        "Tue 2020-02-18 10:45 NY",
        "tick 1",
        "equity 60,123.45",
        "PA3ABC",
        "positions (2)",
        "KO 28Feb 57.5 put",
        "approved 1  blocked 1  filled 1  assigned 1  errors 1",
        "sell 1 KO 28Feb 57.5 put",
        "known_strategy: unknown",
        "1 at 0.38",
        "filled: sell 1 KO 28Feb 57.5 put at 0.38",
        "assigned: 1 KO 28Feb 57.5 put",
        "executor: 403 40310000 insufficient options buying power",
        "● market  ● planner  ● risk  ● executor  ● reporter",
        "SYNTHETIC",
    ):
        assert fact in shown, fact


def test_before_the_first_tick_the_view_says_so() -> None:
    shown = screen(seen())
    assert "waiting for the first tick" in shown
    assert "tick 0" in shown


def test_only_a_simulated_market_is_called_synthetic() -> None:
    assert "SYNTHETIC" not in screen(ViewState(title=TITLE, synthetic=False))


def test_an_order_is_shown_as_it_last_was() -> None:
    state = seen(
        recorded(OrderChanged, status="new", final=False, filled_qty=Decimal(0)),
        recorded(OrderChanged, status="canceled", filled_qty=Decimal(0)),
    )
    assert len(state.orders) == 1
    assert "canceled" in screen(state)


def test_equity_is_compared_with_the_first_tick() -> None:
    first = decoded(MarketTicked)
    assert isinstance(first, MarketTicked)
    assert first.account is not None
    poorer = msgspec.structs.replace(first.account, equity=Decimal("60000.00"))
    state = seen(first, recorded(PortfolioObserved, account=poorer))
    assert "equity 60,000.00 (-123.45)" in screen(state)


def test_only_errors_count_as_errors() -> None:
    state = seen(*(recorded(AlertRaised, severity=severity) for severity in Severity))
    assert state.counts["errors"] == 1
    assert len(state.events) == len(Severity)


def test_what_no_screen_shows_changes_nothing() -> None:
    state = seen(decoded(PlanMade), recorded(LedgerEntered, event=LedgerEvent.OTHER))
    assert not state.events
    assert state.ticks == 0


def test_the_newest_of_many_stay() -> None:
    state = ViewState(title=TITLE, synthetic=True)
    for number in range(500):
        state.fold(recorded(OrderChanged, client_order_id=f"o{number}", symbol=f"S{number}"))
        state.fold(recorded(AlertRaised, text=f"alert {number}"))
        state.fold(recorded(IntentBlocked, reason=f"reason {number}"))
    shown = screen(state, width=160, height=40)
    assert len(state.orders) < 100
    assert len(state.events) < 100
    assert all(f"{what} 499" in shown for what in ("alert", "reason"))
    assert "S499" in shown
    assert "reason 400" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "[/] closed too much",
        "[red]loud",
        "[/v2/orders] 404",
        "[bold",
        "\\[x]",
        "two\nlines",
        "",
        "\n",
    ],
)
def test_what_others_say_is_text_and_never_markup(text: str) -> None:
    first_line = (text.splitlines() or [""])[0].strip()
    titled = ViewState(title=text, synthetic=True)
    noted = seen()
    noted.note(text)
    for state in (
        titled,
        noted,
        seen(recorded(AlertRaised, text=text)),
        seen(recorded(IntentBlocked, reason=text)),
        seen(recorded(OrderChanged, status="rejected", note=text)),
        seen(recorded(OrderChanged, status="new", symbol=text)),
    ):
        assert first_line in screen(state)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_view_fits_any_terminal(width: int, height: int) -> None:
    for state in (seen(), seen(*STORY), seen(*STORY * 30)):
        lines = screen(state, width, height).splitlines()
        assert all(len(line) <= width for line in lines)
        assert len(lines) <= height


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(40, 300),
    height=st.integers(12, 100),
    story=st.lists(st.sampled_from(STORY), max_size=40),
)
def test_any_story_can_be_drawn_at_any_size(width: int, height: int, story: list[Message]) -> None:
    state = seen(*story)
    assert len(screen(state, width, height).splitlines()) <= height
    assert state.counts["filled"] == sum(
        isinstance(m, OrderChanged) and m.status == "filled" for m in story
    )


def test_a_message_without_what_may_be_missing_can_be_drawn() -> None:
    state = seen(
        ticked(account=None),
        recorded(Heartbeat, market_now=None),
        recorded(OrderChanged, filled_avg_price=None, limit_price=None, trail_percent=None),
        recorded(OrderChanged, client_order_id="x", changed_at=None, filled_qty=Decimal(0)),
    )
    assert "tick 1" in screen(state)


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("AAPL200228P00075000", "AAPL 28Feb 75 put"),
        ("KO200228C00057500", "KO 28Feb 57.5 call"),
        ("AAPL1200228C00100000", "AAPL1 28Feb 100 call"),
        ("KO", "KO"),
        ("", ""),
    ],
)
def test_a_symbol_is_shown_as_a_person_reads_it(symbol: str, words: str) -> None:
    assert short_symbol(symbol) == words


def test_times_are_shown_in_new_york() -> None:
    summer = dt.datetime(2020, 7, 1, 13, 30, tzinfo=dt.UTC)
    assert "Wed 2020-07-01 09:30 NY" in screen(seen(ticked(as_of=summer)))


def test_a_halt_stands_in_the_header_until_it_is_lifted() -> None:
    state = ViewState(title=TITLE, synthetic=True)
    halt = recorded(TradingStateSet, lifts=[], who="ann", why="quotes look wrong")
    for message in (beginning("provision"), halt):
        state.fold(message)
    shown = screen(state, 200, 50)
    assert "halted (halt by ann" in shown
    assert "quotes look wrong" in shown
    lifted = recorded(
        TradingStateSet,
        message_id="later",
        state=TradingState.ACTIVE,
        verb=TradingVerb.RESUME,
        lifts=[halt.message_id],
    )
    state.fold(lifted)
    assert "halted (" not in screen(state, 200, 50)
