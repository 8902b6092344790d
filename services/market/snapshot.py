"""From the broker's answers to our messages. Pure: what is broken is left out, and said."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec

from libs.common import wire
from libs.common.contracts import (
    ContractQuote,
    OrderView,
    PortfolioObserved,
    PositionView,
    SnapshotTaken,
    StockQuote,
)
from services.market.coverage import concerns, positions_of
from services.market.schedule import Session

QUOTE_AGE_SECONDS_MAX = 900.0
"""Older stock quotes are reported with the snapshot; the free feed is a few seconds behind."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What all messages of one tick share."""

    tick_id: str
    at: dt.datetime
    as_of: dt.datetime
    session: Session
    synthetic: bool


class ContractFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What only the contracts endpoint tells, and only once a day."""

    open_interest: int | None
    penny: bool


def tick_id_of(as_of: dt.datetime, at: dt.datetime) -> str:
    """The broker's time for people, the wall time to tell two ticks of a standing clock apart."""
    return f"tick-{as_of:%Y%m%dT%H%M%S}-{int(at.timestamp() * 1000):x}"


def portfolio(
    tick: Pass,
    at: dt.datetime,
    account: wire.WireAccount,
    positions: Iterable[wire.WirePosition],
    orders: Iterable[wire.WireOrder],
) -> tuple[PortfolioObserved, list[str]]:
    """The message, and what had to be left out of it; `at` is when the pass ended (wall time).

    Raises WireError when the account itself cannot be read: without it nothing may be decided.
    """
    problems: list[str] = []
    position_views: list[PositionView] = []
    for position in positions:
        try:
            position_views.append(wire.position_view(position))
        except wire.WireError as error:
            problems.append(str(error))
    order_views: list[OrderView] = []
    for order in orders:
        try:
            order_views.append(wire.order_view(order))
        except wire.WireError as error:
            problems.append(str(error))
    message = PortfolioObserved(
        message_id=f"portfolio-{tick.tick_id}",
        at=at,
        tick_id=tick.tick_id,
        as_of=tick.as_of,
        session=tick.session.date,
        account=wire.account_figures(account),
        positions=position_views,
        open_orders=order_views,
    )
    return message, problems


def contract_quotes(
    chain: dict[str, wire.WireOptionSnapshot], facts: dict[str, ContractFacts]
) -> list[ContractQuote]:
    """Sorted by symbol, so that the same answers give the same message."""
    quotes: list[ContractQuote] = []
    for symbol in sorted(chain):
        known = facts.get(symbol)
        quote = wire.contract_quote(
            symbol,
            chain[symbol],
            open_interest=known.open_interest if known else None,
            penny=known.penny if known else False,
        )
        if quote is not None:
            quotes.append(quote)
    return quotes


def contract_facts(contracts: Iterable[wire.WireContract]) -> dict[str, ContractFacts]:
    """Contracts that are not tradable are left out; without a penny flag the wide grid is safe:
    its prices lie on both grids.
    """
    return {
        contract.symbol: ContractFacts(
            open_interest=contract.open_interest, penny=bool(contract.ppind)
        )
        for contract in contracts
        if contract.tradable
    }


def snapshot(
    tick: Pass,
    symbol: str,
    book: PortfolioObserved,
    quote: StockQuote,
    contracts: list[ContractQuote],
    *,
    in_universe: bool,
    problems: list[str],
) -> SnapshotTaken:
    return SnapshotTaken(
        message_id=f"snapshot-{tick.tick_id}-{symbol}",
        at=tick.at,
        tick_id=tick.tick_id,
        symbol=symbol,
        as_of=tick.as_of,
        session=tick.session.date,
        session_closes_at=tick.session.closes_at,
        in_universe=in_universe,
        account=book.account,
        quote=quote,
        contracts=contracts,
        positions=positions_of(symbol, book.positions),
        open_orders=[o for o in book.open_orders if concerns(symbol, o.symbol)],
        problems=[*problems, *quote_problems(quote, tick.as_of)],
        synthetic=tick.synthetic,
    )


def quote_problems(quote: StockQuote, as_of: dt.datetime) -> list[str]:
    if quote.spot is None:
        return ["the broker has no price for it"]
    problems: list[str] = []
    if quote.bid is not None and quote.ask is not None and quote.bid > quote.ask:
        problems.append(f"its market is crossed ({quote.bid} bid, {quote.ask} asked)")
    if quote.as_of is not None:
        age_seconds = (as_of - quote.as_of).total_seconds()
        if age_seconds > QUOTE_AGE_SECONDS_MAX:
            problems.append(f"its quote is {age_seconds / 60:.0f} minutes old")
    return problems
