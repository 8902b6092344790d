"""One snapshot in, one plan and its intents out. Pure: the same snapshot gives the same ids."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping

import msgspec

from libs.common.contracts import OrderIntended, PlanMade, SnapshotTaken
from libs.common.settings import PlannerSettings
from services.planner.registry import STRATEGIES, StrategyFunction
from services.planner.selection import usable_price
from services.planner.strategies.holdings import Holdings, read_holdings, unreadable
from services.planner.strategies.proposals import Proposal, Wish

_ID_BYTES = 16  # 26 characters of base32


class PlanOutcome(msgspec.Struct, frozen=True, kw_only=True):
    plan: PlanMade
    intents: list[OrderIntended]


def plan(
    snapshot: SnapshotTaken,
    settings: PlannerSettings,
    *,
    at: dt.datetime,
    strategies: Mapping[str, StrategyFunction] = STRATEGIES,
) -> PlanOutcome:
    """What every strategy wants of one symbol, and why.

    `at` (wall time) only fills the messages' `at`. Ids are pure functions of tick, strategy and
    order. Never raises for bad market data: what cannot be read is left and noted.
    """
    why_not = _nothing_to_plan(snapshot)
    proposal = Proposal(notes=why_not) if why_not else _proposals(snapshot, settings, strategies)
    intents = [_intent(wish, snapshot, at) for wish in proposal.wishes]
    made = PlanMade(
        message_id=_short_id("plan", _tick(snapshot), snapshot.symbol),
        at=at,
        tick_id=snapshot.tick_id,
        symbol=snapshot.symbol,
        as_of=snapshot.as_of,
        spot=usable_price(snapshot.quote.spot),
        candidates=list(proposal.candidates),
        candidates_left_out=proposal.candidates_left_out,
        notes=[*(f"market: {problem}" for problem in snapshot.problems), *proposal.notes],
        intent_ids=[intent.message_id for intent in intents],
    )
    return PlanOutcome(plan=made, intents=intents)


def _proposals(
    snapshot: SnapshotTaken,
    settings: PlannerSettings,
    strategies: Mapping[str, StrategyFunction],
) -> Proposal:
    """What all strategies propose, each seeing what those before it promised."""
    holdings = read_holdings(snapshot)
    all_of_them = Proposal()
    for name, propose in strategies.items():
        proposal = propose(snapshot, settings, holdings)
        kept, refused = _within_free_shares(name, proposal, holdings)
        holdings = holdings.promising(sum(wish.shares_bound for wish in kept))
        all_of_them = Proposal(
            wishes=(*all_of_them.wishes, *kept),
            candidates=all_of_them.candidates + proposal.candidates,
            candidates_left_out=all_of_them.candidates_left_out + proposal.candidates_left_out,
            notes=(*all_of_them.notes, *proposal.notes, *refused),
        )
    return all_of_them


def _nothing_to_plan(snapshot: SnapshotTaken) -> tuple[str, ...]:
    """Why no strategy is asked at all: the account, or quantities that are no numbers."""
    account = snapshot.account
    if account.can_trade:
        return unreadable(snapshot)
    words = [f"status {account.status}"]
    if account.trading_blocked:
        words.append("trading blocked")
    if account.account_blocked:
        words.append("account blocked")
    return (f"the account cannot trade: {', '.join(words)}",)


def _within_free_shares(
    name: str, proposal: Proposal, holdings: Holdings
) -> tuple[list[Wish], list[str]]:
    """The wishes that promise free shares only: no share is promised twice within one plan."""
    free = holdings.free_shares
    kept: list[Wish] = []
    refused: list[str] = []
    for wish in proposal.wishes:
        if wish.shares_bound > free:
            refused.append(f"{name}: {wish.symbol} wants {wish.shares_bound} shares, {free} free")
            continue
        free -= wish.shares_bound
        kept.append(wish)
    return kept, refused


def _intent(wish: Wish, snapshot: SnapshotTaken, at: dt.datetime) -> OrderIntended:
    return OrderIntended(
        message_id=_short_id(
            "intent",
            _tick(snapshot),
            wish.strategy,
            wish.symbol,
            wish.side.value,
            wish.order_type.value,
            wish.time_in_force.value,
            str(wish.qty),
            *(str(price) for price in (wish.limit_price, wish.stop_price, wish.trail_percent)),
            *(() if wish.replaces is None else (wish.replaces,)),
        ),
        at=at,
        tick_id=snapshot.tick_id,
        strategy=wish.strategy,
        underlying=snapshot.symbol,
        symbol=wish.symbol,
        side=wish.side,
        qty=wish.qty,
        order_type=wish.order_type,
        time_in_force=wish.time_in_force,
        as_of=snapshot.as_of,
        position_intent=wish.position_intent,
        limit_price=wish.limit_price,
        stop_price=wish.stop_price,
        trail_percent=wish.trail_percent,
        reason=wish.reason,
        details=wish.details,
        replaces=wish.replaces,
    )


def _tick(snapshot: SnapshotTaken) -> str:
    return snapshot.tick_id or snapshot.as_of.isoformat()


def _short_id(*parts: str) -> str:
    """26 characters of lower-case base32 over the parts; the separator is in none of them."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return base64.b32encode(digest[:_ID_BYTES]).decode().rstrip("=").lower()
