"""Trailing stops: long stock that backs nothing and rests in no sell gets one, good till cancelled.

The broker keeps the high-water mark and turns the stop into a market order when it is reached.
Whole shares only; Alpaca takes trailing stops on stock alone, never on options.
"""

from __future__ import annotations

from libs.common.contracts import (
    Candidate,
    OrderType,
    Side,
    SnapshotTaken,
    Strategy,
    TimeInForce,
)
from libs.common.settings import PlannerSettings
from libs.common.symbols import SHARES_PER_CONTRACT
from services.planner.strategies import wheel
from services.planner.strategies.holdings import Holdings
from services.planner.strategies.proposals import Proposal, Wish


def propose(snapshot: SnapshotTaken, settings: PlannerSettings, holdings: Holdings) -> Proposal:
    """At most one order, for every free whole share that is not kept for the wheel's calls."""
    if holdings.shares <= 0:
        return Proposal()
    symbol = snapshot.symbol
    free = holdings.free_shares
    kept = _kept_for_calls(snapshot, settings, free)
    qty = free - kept
    if qty == 0:
        return Proposal(candidates=(_left(symbol, holdings, free),))
    percent = settings.trail_percent_for(symbol)
    reason = f"{qty} shares back no call and rest in no sell; {kept} kept for calls"
    wish = Wish(
        strategy=Strategy.TRAILING_STOP.value,
        symbol=symbol,
        side=Side.SELL,
        qty=qty,
        order_type=OrderType.TRAILING_STOP,
        time_in_force=TimeInForce.GTC,
        trail_percent=percent,
        reason=reason,
        details={"shares": str(holdings.shares), "kept_for_calls": kept},
    )
    taken = Candidate(symbol=symbol, taken=True, reason=reason)
    return Proposal(wishes=(wish,), candidates=(taken,))


def _kept_for_calls(snapshot: SnapshotTaken, settings: PlannerSettings, free: int) -> int:
    """Shares in full lots, where the wheel may write calls and nobody said to trail them."""
    if snapshot.symbol in settings.trailing_stop.symbols or wheel.stays_out(snapshot, settings):
        return 0
    return free // SHARES_PER_CONTRACT * SHARES_PER_CONTRACT


def _left(symbol: str, holdings: Holdings, free: int) -> Candidate:
    if free:
        reason = f"{free} free shares are full lots, kept for covered calls"
    else:
        reason = (
            f"of {holdings.shares} shares none is free: {holdings.short_calls} calls, "
            f"{holdings.calls_in_orders} in orders, {holdings.shares_in_sells} shares in sells, "
            f"{holdings.shares_promised} promised in this plan, "
            f"{holdings.shares_available} available at the broker"
        )
    return Candidate(symbol=symbol, taken=False, reason=reason)
