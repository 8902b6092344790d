"""Entries that rest unfilled are asked for less: a step from mid towards bid, as a wish of its own.

Nothing is remembered: what the snapshot shows of an order (its limit, and since when it rests) and
of its contract says what the next limit is. docs/wheel.md states the rules in words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from libs.common.contracts import (
    ContractQuote,
    OrderType,
    OrderView,
    PositionIntent,
    Side,
    SnapshotTaken,
    Strategy,
    TimeInForce,
)
from libs.common.order_ids import is_ours
from libs.common.symbols import Right, option_root, parse_option_symbol
from services.planner.pricing import walked_limit_price
from services.planner.selection import Offer, Search, examine, usable_price
from services.planner.strategies.proposals import Proposal, Wish

QUOTE_AGE_MAX = dt.timedelta(minutes=5)
"""How much older than its snapshot the stock's quote may be for the chain's to be trusted."""
REPLACEABLE = "new"
"""The one status in which an order rests at its venue and nothing else is under way with it."""

_STRATEGIES = {Right.PUT: Strategy.CASH_SECURED_PUT, Right.CALL: Strategy.COVERED_CALL}


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of ours that rests unfilled."""

    order: OrderView
    limit_price: Decimal
    right: Right
    rested: dt.timedelta


def propose(snapshot: SnapshotTaken, searches: Mapping[Right, Search]) -> Proposal:
    """A wish for every entry that has rested long enough and may be sold for less.

    `searches` holds, for each right that may be sold now, what a contract has to pass.
    """
    due = _due(snapshot, searches)
    if not due:
        return Proposal()
    wishes: list[Wish] = []
    notes: list[str] = []
    quotes = {contract.symbol: contract for contract in snapshot.contracts}
    for resting in due:
        symbol = resting.order.symbol
        found = _stale(snapshot) or _next_offer(
            resting, quotes.get(symbol), searches[resting.right]
        )
        if isinstance(found, Offer):
            wishes.append(_wish(resting, found))
        else:
            notes.append(f"re-price: {symbol} stays at {resting.limit_price}: {found}")
    return Proposal(wishes=tuple(wishes), notes=tuple(notes))


def _due(snapshot: SnapshotTaken, searches: Mapping[Right, Search]) -> list[Resting]:
    """The entries of ours on this stock that rested their time."""
    found = [_resting(order, snapshot) for order in snapshot.open_orders]
    return [
        resting
        for resting in found
        if resting is not None
        and resting.right in searches
        and (seconds := searches[resting.right].settings.reprice_seconds) > 0
        and resting.rested >= dt.timedelta(seconds=seconds)
    ]


def _resting(order: OrderView, snapshot: SnapshotTaken) -> Resting | None:
    """None for what is not ours, opens nothing, has filled in part, or has something under way."""
    option = parse_option_symbol(order.symbol)
    limit, submitted_at = order.limit_price, order.submitted_at
    if option is None or limit is None or submitted_at is None or not limit.is_finite():
        return None
    is_entry = (
        is_ours(order.client_order_id)
        and option_root(option.underlying) == option_root(snapshot.symbol)
        and (order.side, order.position_intent) == (Side.SELL, PositionIntent.SELL_TO_OPEN)
        and order.order_type == OrderType.LIMIT
    )
    if not is_entry or order.status != REPLACEABLE or order.filled_qty != 0 or order.qty % 1 != 0:
        return None
    return Resting(
        order=order,
        limit_price=limit,
        right=option.right,
        rested=snapshot.as_of - submitted_at,
    )


def _stale(snapshot: SnapshotTaken) -> str:
    quoted_at = snapshot.quote.as_of
    if quoted_at is not None and snapshot.as_of - quoted_at > QUOTE_AGE_MAX:
        return f"the stock's quote is of {quoted_at:%H:%M:%S} UTC"
    return ""


def _next_offer(resting: Resting, contract: ContractQuote | None, search: Search) -> Offer | str:
    """What it may be sold for next, or why it stays."""
    if contract is None:
        return "the chain does not show it"
    bid, ask = usable_price(contract.bid), usable_price(contract.ask)
    if bid is None or ask is None or bid > ask:
        return "no two-sided quote"
    price = walked_limit_price(resting.limit_price, bid, ask, penny=contract.penny)
    if price is None:
        return f"no lower price from bid {bid:g} to mid"
    return examine(contract, search, price)


def _wish(resting: Resting, offer: Offer) -> Wish:
    order, contract = resting.order, offer.contract
    seconds = int(resting.rested.total_seconds())
    return Wish(
        strategy=_STRATEGIES[resting.right].value,
        symbol=order.symbol,
        side=Side.SELL,
        qty=int(order.qty),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_intent=PositionIntent.SELL_TO_OPEN,
        limit_price=offer.limit_price,
        reason=f"rested {seconds} s at {resting.limit_price}",
        details={
            "resting_limit": format(resting.limit_price, "f"),
            "bid": contract.bid,
            "ask": contract.ask,
            "annual_yield_pct": round(offer.annual_yield_pct, 2),
        },
        replaces=order.client_order_id,
    )
