"""The wheel: sell a put on cash, and where shares came of it, sell calls on the shares.

docs/wheel.md states every rule in words. Both halves look at one symbol of the universe; whether
the account can afford a put is risk's to say, not the planner's.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.contracts import (
    OrderType,
    PositionIntent,
    Side,
    SnapshotTaken,
    Strategy,
    TimeInForce,
)
from libs.common.money import decimal_of
from libs.common.settings import PlannerSettings
from libs.common.symbols import SHARES_PER_CONTRACT, Right, option_root
from services.planner.selection import Choice, Offer, Search, choose, usable_price
from services.planner.strategies import walking
from services.planner.strategies.holdings import Holdings
from services.planner.strategies.proposals import Proposal, Wish

OPTIONS_LEVEL_MIN = 1
"""Alpaca's level 1: covered calls and cash-secured puts."""


def propose(snapshot: SnapshotTaken, settings: PlannerSettings, holdings: Holdings) -> Proposal:
    """At most one covered-call order (for all uncovered lots) and one put (of one contract), and
    for each entry that rests too long one that takes its place at a lower limit.
    """
    why_not = stays_out(snapshot, settings) or _short_stock(holdings)
    if why_not:
        return Proposal(notes=(f"wheel: {why_not}",))
    spot = usable_price(snapshot.quote.spot)
    if spot is None:
        return Proposal(notes=(f"wheel: {snapshot.symbol} has no quote",))
    search = Search(
        underlying=snapshot.symbol,
        root=option_root(snapshot.symbol),
        right=Right.CALL,
        session=snapshot.session,
        spot=decimal_of(spot),
        settings=settings.wheel_for(snapshot.symbol),
    )
    trailed = snapshot.symbol in settings.trailing_stop.symbols
    calls = _covered_calls(snapshot, search, holdings, trailed=trailed)
    puts = _cash_secured_put(snapshot, search, holdings)
    walks = walking.propose(snapshot, _searches(search, holdings, trailed=trailed))
    adjusted = [f"wheel: {symbol} is adjusted and left alone" for symbol in holdings.adjusted]
    return Proposal(
        wishes=walks.wishes + calls.wishes + puts.wishes,
        candidates=calls.candidates + puts.candidates,
        candidates_left_out=calls.candidates_left_out + puts.candidates_left_out,
        notes=(*walks.notes, *calls.notes, *puts.notes, *adjusted),
    )


def stays_out(snapshot: SnapshotTaken, settings: PlannerSettings) -> str:
    """Why the wheel may trade no option of this symbol; empty when it may."""
    if not snapshot.in_universe:
        return f"{snapshot.symbol} is not in the universe: no puts, no calls"
    if not settings.wheel_for(snapshot.symbol).enabled:
        return f"switched off for {snapshot.symbol}"
    level = snapshot.account.options_level
    if level < OPTIONS_LEVEL_MIN:
        return f"the account's options level is {level}, {OPTIONS_LEVEL_MIN} is needed"
    return ""


def _short_stock(holdings: Holdings) -> str:
    if holdings.shares >= 0:
        return ""
    return f"{holdings.symbol} is held short ({holdings.shares}): no puts, no calls"


def _searches(search: Search, holdings: Holdings, *, trailed: bool) -> dict[Right, Search]:
    """What a contract must pass to be sold now, by right; calls only on shares that back them."""
    searches = {Right.PUT: _for_puts(search)}
    basis = holdings.cost_basis
    if not trailed and holdings.shares >= SHARES_PER_CONTRACT and _is_price(basis):
        searches[Right.CALL] = msgspec.structs.replace(search, strike_min=basis)
    return searches


def _for_puts(search: Search) -> Search:
    least = search.settings.min_annual_yield
    return msgspec.structs.replace(search, right=Right.PUT, yield_min_pct=least)


def _is_price(basis: Decimal | None) -> bool:
    return basis is not None and basis.is_finite() and basis >= 0


def _covered_calls(
    snapshot: SnapshotTaken, search: Search, holdings: Holdings, *, trailed: bool
) -> Proposal:
    lots = holdings.uncovered_lots
    if holdings.shares < SHARES_PER_CONTRACT:
        return Proposal()
    if lots == 0:
        return Proposal(notes=("covered call: every full lot is covered or in an order",))
    if trailed:
        return Proposal(
            notes=(f"covered call: {lots} lots of {search.underlying} go to the trailing stop",)
        )
    basis = holdings.cost_basis
    if not _is_price(basis):
        return Proposal(notes=(f"covered call: cost basis {basis} is not a price",))
    choice = choose(snapshot.contracts, msgspec.structs.replace(search, strike_min=basis))
    details: dict[str, str | int | float | None] = {"cost_basis": str(basis)}
    reason = f"{lots} uncovered lots, cost basis {basis}"
    return _proposal(choice, search, Strategy.COVERED_CALL, lots, reason, details)


def _cash_secured_put(snapshot: SnapshotTaken, search: Search, holdings: Holdings) -> Proposal:
    rules = search.settings
    bound = holdings.short_puts + holdings.puts_in_orders
    if bound >= rules.max_short_puts_per_symbol:
        return Proposal(
            notes=(
                f"cash-secured put: {holdings.short_puts} short and {holdings.puts_in_orders} in "
                f"orders, at most {rules.max_short_puts_per_symbol}",
            )
        )
    search = _for_puts(search)
    choice = choose(snapshot.contracts, search)
    reason = f"{bound} of {rules.max_short_puts_per_symbol} puts sold"
    return _proposal(choice, search, Strategy.CASH_SECURED_PUT, 1, reason, {})


def _proposal(
    choice: Choice,
    search: Search,
    strategy: Strategy,
    qty: int,
    reason: str,
    details: dict[str, str | int | float | None],
) -> Proposal:
    looked_at = Proposal(
        candidates=choice.candidates, candidates_left_out=choice.candidates_left_out
    )
    if choice.taken is None:
        note = f"{strategy.value}: none of {_count(choice)} contracts qualifies ({reason})"
        return msgspec.structs.replace(looked_at, notes=(note,))
    offer = choice.taken
    wish = Wish(
        strategy=strategy.value,
        symbol=offer.contract.symbol,
        side=Side.SELL,
        qty=qty,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_intent=PositionIntent.SELL_TO_OPEN,
        limit_price=offer.limit_price,
        reason=f"{choice.candidates[0].reason}; {reason}",
        details=_details(offer, search) | details,
    )
    return msgspec.structs.replace(looked_at, wishes=(wish,))


def _count(choice: Choice) -> int:
    return len(choice.candidates) + choice.candidates_left_out


def _details(offer: Offer, search: Search) -> dict[str, str | int | float | None]:
    contract = offer.contract
    return {
        "spot": float(search.spot),
        "strike": format(contract.strike, "f"),
        "expiration": contract.expiration.isoformat(),
        "days_to_expiration": offer.days,
        "bid": contract.bid,
        "ask": contract.ask,
        "delta": offer.delta,
        "target_delta": search.settings.target_delta,
        "implied_volatility": contract.implied_volatility,
        "open_interest": contract.open_interest,
        "annual_yield_pct": round(offer.annual_yield_pct, 2),
        "spread_pct": round(offer.spread_pct, 2),
    }
