"""What may leave, from two logs of which either may be behind, empty or out of reach."""

from __future__ import annotations

import datetime as dt
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from libs.common.contracts import (
    OrderIntended,
    PositionIntent,
    Side,
    TradingState,
    TradingStateSet,
    TradingVerb,
)
from libs.common.trading_state import (
    NEXT,
    RESTRICTIVENESS,
    IllegalVerbError,
    Standing,
    beginning,
    lowers_risk,
    missing_from,
    move,
    permits,
    standing_of,
)
from tests.unit.risk.books import covered_call, csp, stop, with_changes

AT = dt.datetime(2026, 3, 4, 15, 0, tzinfo=dt.UTC)
BEGIN = beginning("tests")
A, R, H = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


def record(
    number: int, state: TradingState, *lifts: str, verb: TradingVerb | None = None
) -> TradingStateSet:
    usual = {A: TradingVerb.RESUME, R: TradingVerb.REDUCE, H: TradingVerb.HALT}
    return TradingStateSet(
        message_id=f"r{number}",
        at=AT + dt.timedelta(seconds=number),
        state=state,
        verb=verb or usual[state],
        who="ann",
        why="a test",
        lifts=list(lifts),
    )


def both(*records: TradingStateSet) -> Standing:
    log = [BEGIN, *records]
    return standing_of({"bus": log, "database": log})


def test_it_begins_active() -> None:
    assert both() == Standing(state=A)
    assert both().words == "active"


def test_a_halt_needs_one_log_and_a_resume_both() -> None:
    halt, resume = record(1, H), record(2, A, "r1")
    quiet, halted, resumed = [BEGIN], [BEGIN, halt], [BEGIN, halt, resume]
    for logs in ((halted, quiet), (quiet, halted), (halted, halted)):
        assert standing_of(dict(zip(("bus", "database"), logs, strict=True))).state is H
    for logs in ((resumed, halted), (halted, resumed), (resumed, quiet)):
        assert standing_of(dict(zip(("bus", "database"), logs, strict=True))).state is H
    assert standing_of({"bus": resumed, "database": resumed}).state is A


def test_with_one_log_away_the_other_still_says_what_it_says() -> None:
    halt, resume = record(1, H), record(2, A, "r1")
    for log, worst in (([BEGIN], A), ([BEGIN, halt], H), ([BEGIN, halt, resume], A)):
        standing = standing_of({"bus": None, "database": log})
        assert (standing.state, standing.worst_known) == (H, worst)


def test_a_resume_lifts_only_the_halts_it_saw() -> None:
    unseen = record(3, H)
    assert both(record(1, H), record(2, A, "r1"), unseen).in_force == (unseen,)


@pytest.mark.parametrize(
    ("logs", "why"),
    [
        ({"bus": None, "database": [BEGIN]}, "the bus cannot be read"),
        ({"bus": [BEGIN], "database": None}, "the database cannot be read"),
        ({"bus": [], "database": [BEGIN]}, "the bus holds no trading state"),
        ({}, "nothing was read"),
    ],
)
def test_not_knowing_lets_nothing_leave(logs: dict[str, Any], why: str) -> None:
    standing = standing_of(logs)
    assert standing.state is H
    assert why in standing.words
    assert not permits(standing, stop())


def test_who_and_why_are_told_of_what_restricts_most() -> None:
    words = both(record(1, R), record(2, H)).words
    assert words == "halted (halt by ann at 2026-03-04 15:00 UTC: a test)"


@pytest.mark.parametrize("verb", TradingVerb)
@pytest.mark.parametrize("state", TradingState)
def test_every_pair_is_in_the_table_or_refused(verb: TradingVerb, state: TradingState) -> None:
    standing = {A: both(), R: both(record(1, R)), H: both(record(1, R), record(2, H))}[state]
    if state not in NEXT[verb]:
        with pytest.raises(IllegalVerbError, match=f"{verb} is not possible while"):
            move(standing, verb)
        return
    step = move(standing, verb)
    after = both(record(1, R), record(2, H), record(3, step.state, *step.lifts, verb=verb))
    if state is H:
        assert after.state is step.state
    assert step.loosens is (RESTRICTIVENESS[step.state] < RESTRICTIVENESS[state])


def test_a_trip_never_loosens() -> None:
    for verb in (TradingVerb.TRIP_REDUCE, TradingVerb.TRIP_HALT, TradingVerb.HALT):
        for before, after in NEXT[verb].items():
            assert RESTRICTIVENESS[after] >= RESTRICTIVENESS[before]


@pytest.mark.parametrize(
    ("intent", "lowers"),
    [
        (csp(), False),
        (covered_call(), False),
        (stop(), True),
        (with_changes(stop(), side=Side.BUY), False),
        (with_changes(csp(), side=Side.BUY, position_intent=PositionIntent.BUY_TO_CLOSE), True),
        (with_changes(csp(), side=Side.BUY, position_intent=PositionIntent.BUY_TO_OPEN), False),
        (with_changes(csp(), side=Side.BUY, position_intent=None), False),
        (with_changes(csp(), position_intent=PositionIntent.SELL_TO_CLOSE), True),
        (with_changes(csp(), position_intent=None), False),
    ],
)
def test_reducing_lets_pass_what_can_only_close(intent: OrderIntended, lowers: bool) -> None:
    assert lowers_risk(intent) is lowers
    assert permits(Standing(state=R), intent) is lowers
    assert permits(Standing(state=A), intent)
    assert not permits(Standing(state=H), intent)


def test_while_it_is_flattened_only_what_flattens_leaves() -> None:
    flattening = both(record(1, R, verb=TradingVerb.FLATTEN))
    assert flattening.flattening
    assert not permits(flattening, stop())
    assert permits(flattening, with_changes(stop(), strategy="flatten"))


# --- whatever was said, in whatever order it arrived -------------------------------------------

NUMBERS = st.integers(1, 8)
RECORDS = st.builds(
    lambda number, state, lifted: record(number, state, *(f"r{n}" for n in lifted if n != number)),
    NUMBERS,
    st.sampled_from(TradingState),
    st.lists(NUMBERS, max_size=3),
)
# One id is one record: whatever is in both logs is the same in both.
SAID = st.lists(RECORDS, max_size=8, unique_by=lambda r: r.message_id)


@given(said=SAID, data=st.data())
def test_the_standing_is_the_same_in_any_order_and_with_repeats(
    said: list[TradingStateSet], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations([BEGIN, *said, *said]))
    log = [BEGIN, *said]
    assert standing_of({"bus": shuffled, "database": log}) == standing_of(
        {"bus": log, "database": log}
    )


@given(said=SAID, on_bus=st.sets(NUMBERS), in_table=st.sets(NUMBERS))
def test_losing_part_of_a_log_never_loosens_what_both_knew(
    said: list[TradingStateSet], on_bus: set[int], in_table: set[int]
) -> None:
    """Either log may miss records, as long as none is missing from both."""
    bus = [BEGIN, *(r for r in said if int(r.message_id[1:]) in on_bus)]
    table = [BEGIN, *(r for r in said if int(r.message_id[1:]) in in_table or r not in bus)]
    torn = standing_of({"bus": bus, "database": table})
    whole = standing_of({"bus": [BEGIN, *said], "database": [BEGIN, *said]})
    assert RESTRICTIVENESS[torn.state] >= RESTRICTIVENESS[whole.state]


@given(said=SAID, on_bus=st.sets(NUMBERS), in_table=st.sets(NUMBERS))
def test_mirroring_what_restricts_changes_no_standing(
    said: list[TradingStateSet], on_bus: set[int], in_table: set[int]
) -> None:
    bus = [BEGIN, *(r for r in said if int(r.message_id[1:]) in on_bus)]
    table = [BEGIN, *(r for r in said if int(r.message_id[1:]) in in_table)]
    before = standing_of({"bus": bus, "database": table})
    bus += missing_from(bus, before)
    table += missing_from(table, before)
    assert standing_of({"bus": bus, "database": table}) == before
    assert not missing_from(bus, before)
    assert not missing_from(table, before)
