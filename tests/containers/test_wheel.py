"""A full turn of the wheel through the containers: put sold, assigned, call sold, called away."""

from __future__ import annotations

from tests.containers.engine import Stack, until

TURN = (
    "wheel_cycles where puts_sold > 0 and assigned_shares > 0 and calls_sold > 0"
    " and called_away_shares > 0 and closed_at is not null"
)
SECONDS = 180.0


def test_a_full_turn(stack: Stack) -> None:
    until(lambda: stack.count(TURN) > 0, "a full turn of the wheel", SECONDS)
    told = {row[0] for row in stack.sql("select distinct event from ledger")}
    assert {"assigned", "called_away"} <= told
