"""Losses that stop trading by themselves, and what they are counted from."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from libs.common.contracts import PortfolioObserved, TradingState, TradingVerb
from libs.common.settings import RiskSettings
from libs.common.trading_state import Standing
from services.risk.losses import (
    Mark,
    after_portfolio,
    after_standing,
    daily_loss_pct,
    drawdown_pct,
    trip_of,
)
from tests.unit.risk.books import SESSION, csp, judge, knowing, portfolio, stop

SETTINGS = RiskSettings()


def seen(
    equity: str | int, *, as_of: float = 0, days: int = 0, last: str | int = 100_000
) -> PortfolioObserved:
    made = portfolio(as_of=as_of, equity=Decimal(equity), last_equity=Decimal(last))
    return msgspec.structs.replace(made, session=SESSION + dt.timedelta(days=days))


def mark_after(*portfolios: PortfolioObserved) -> Mark:
    mark = None
    for each in portfolios:
        mark = after_portfolio(mark, each)
    assert mark is not None
    return mark


def test_the_day_is_counted_from_the_last_close_and_the_fall_from_the_peak() -> None:
    mark = mark_after(seen(100_000), seen(104_000, as_of=60), seen(99_000, as_of=120))
    assert daily_loss_pct(mark, Decimal(99_000)) == 1
    assert drawdown_pct(mark, Decimal(78_000)) == 25
    tomorrow = mark_after(seen(104_000), seen(99_000, as_of=60, days=1, last=99_500))
    assert (tomorrow.day_base, tomorrow.peak) == (99_500, 104_000)


def test_an_older_or_unreadable_portfolio_changes_nothing() -> None:
    mark = mark_after(seen(100_000, as_of=60))
    assert after_portfolio(mark, seen(200_000, as_of=30)) == mark
    assert after_portfolio(mark, seen("NaN", as_of=90)) == mark
    assert after_portfolio(mark, seen("1", as_of=90, last="Infinity")) == mark


@pytest.mark.parametrize(
    ("equity", "verb"),
    [
        (95_001, None),
        (95_000, TradingVerb.TRIP_REDUCE),
        (90_001, TradingVerb.TRIP_REDUCE),
        (90_000, TradingVerb.TRIP_HALT),
    ],
)
def test_a_loss_of_the_day_trips_at_its_bound(equity: int, verb: TradingVerb | None) -> None:
    trip = trip_of(mark_after(seen(100_000)), Decimal(equity), SETTINGS)
    assert (trip.verb if trip else None) is verb
    if trip:
        assert "daily loss" in trip.why


@pytest.mark.parametrize(
    ("equity", "verb"),
    [(85_100, None), (85_000, TradingVerb.TRIP_REDUCE), (75_000, TradingVerb.TRIP_HALT)],
)
def test_a_fall_from_the_peak_trips_at_its_bound(equity: int, verb: TradingVerb | None) -> None:
    """The day itself is quiet: the fall came over days."""
    mark = mark_after(seen(100_000), seen(equity, as_of=60, days=3, last=equity))
    trip = trip_of(mark, Decimal(equity), SETTINGS)
    assert (trip.verb if trip else None) is verb
    if trip:
        assert "drawdown" in trip.why


def test_zero_switches_a_trip_off() -> None:
    off = RiskSettings(
        reduce_daily_loss_pct=0, halt_daily_loss_pct=0, reduce_drawdown_pct=0, halt_drawdown_pct=0
    )
    assert trip_of(mark_after(seen(100_000)), Decimal(1), off) is None


def test_a_resume_begins_the_count_anew_once() -> None:
    mark = mark_after(seen(100_000))
    fallen = seen(89_000, as_of=60)
    resumed = Standing(state=TradingState.ACTIVE, resumed_by="resume-1")
    anew = after_standing(after_portfolio(mark, fallen), resumed, fallen)
    assert anew is not None
    assert (anew.day_base, anew.peak, anew.reset_by) == (89_000, 89_000, "resume-1")
    assert trip_of(anew, Decimal(89_000), SETTINGS) is None
    lower = seen(80_000, as_of=120)
    again = after_standing(after_portfolio(anew, lower), resumed, lower)
    assert again is not None
    assert again.day_base == 89_000
    assert trip_of(again, Decimal(80_000), SETTINGS) is not None


def test_the_gate_says_no_to_entries_before_the_trip_is_on_the_bus() -> None:
    """What closes is the trading state's to refuse, which knows what an operator said since."""
    reducing = knowing(portfolio(equity=Decimal(18_900)))
    assert "daily loss 5.50 %" in judge(reducing, csp()).reason
    halted = knowing(portfolio(equity=Decimal(17_000)))
    for state in (reducing, halted):
        assert not {c.gate: c.ok for c in judge(state, csp()).checks}["losses"]
        assert {c.gate: c.ok for c in judge(state, stop()).checks}["losses"]


@given(equities=st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_the_peak_is_the_highest_equity_ever_seen(equities: list[int]) -> None:
    mark = mark_after(*(seen(e, as_of=30.0 * n, last=equities[0]) for n, e in enumerate(equities)))
    assert mark.peak == max(equities)
    assert drawdown_pct(mark, Decimal(equities[-1])) >= 0
