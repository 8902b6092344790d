"""From the broker's answers to messages: what is broken is left out, and said."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common import wire
from libs.common.contracts import (
    AccountFigures,
    AssetClass,
    PortfolioObserved,
    SnapshotTaken,
    StockQuote,
)
from services.market.schedule import Session
from services.market.snapshot import (
    ContractFacts,
    Pass,
    contract_facts,
    contract_quotes,
    portfolio,
    quote_problems,
    snapshot,
    tick_id_of,
)

AS_OF = dt.datetime(2024, 3, 4, 15, 0, tzinfo=dt.UTC)
WALL = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.UTC)
ENDED = WALL + dt.timedelta(seconds=1)
TICK = Pass(
    tick_id="tick-1",
    at=WALL,
    as_of=AS_OF,
    session=Session(
        date=AS_OF.date(),
        opens_at=AS_OF.replace(hour=14, minute=30),
        closes_at=AS_OF.replace(hour=21),
    ),
    synthetic=True,
)
PUT = "KO240315P00057500"
GOOD_QUOTE = StockQuote(bid=58.89, ask=58.91, last=58.9, as_of=AS_OF)


def account(**changes: Any) -> wire.WireAccount:
    fields: dict[str, Any] = {
        "account_number": "PA1",
        "status": "ACTIVE",
        "equity": Decimal(60_000),
        "cash": Decimal(50_000),
        "buying_power": Decimal(50_000),
    }
    return wire.WireAccount(**(fields | changes))


def position(symbol: str = "KO", **changes: Any) -> wire.WirePosition:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "asset_class": "us_equity" if len(symbol) < 10 else "us_option",
        "qty": Decimal(100),
        "avg_entry_price": Decimal("58.25"),
    }
    return wire.WirePosition(**(fields | changes))


def order(id_: str = "o1", **changes: Any) -> wire.WireOrder:
    fields: dict[str, Any] = {
        "id": id_,
        "client_order_id": f"client-{id_}",
        "symbol": PUT,
        "side": "sell",
        "type": "limit",
        "status": "new",
        "qty": Decimal(1),
    }
    return wire.WireOrder(**(fields | changes))


def observed(
    positions: list[wire.WirePosition], orders: list[wire.WireOrder]
) -> tuple[PortfolioObserved, list[str]]:
    return portfolio(TICK, ENDED, account(), positions, orders)


# --- the portfolio -----------------------------------------------------------------------------


def test_a_portfolio_carries_the_pass_it_was_read_in() -> None:
    message, problems = observed([position(), position(PUT, qty=Decimal(-1))], [order()])
    assert problems == []
    assert (message.message_id, message.tick_id) == ("portfolio-tick-1", "tick-1")
    assert (message.as_of, message.at, message.session) == (AS_OF, ENDED, AS_OF.date())
    assert [p.asset_class for p in message.positions] == [AssetClass.STOCK, AssetClass.OPTION]
    assert [(o.order_id, o.open_qty) for o in message.open_orders] == [("o1", 1)]
    assert msgspec.json.decode(msgspec.json.encode(message), type=PortfolioObserved) == message


def test_a_position_that_cannot_be_read_is_left_out_and_said() -> None:
    coins = position("BTCUSD", asset_class="crypto")
    message, problems = observed([coins, position()], [])
    assert [p.symbol for p in message.positions] == ["KO"]
    assert problems == ["the position in BTCUSD is of class crypto"]


def test_a_position_without_a_number_crosses_the_bus_for_risk_to_stop_at() -> None:
    message, _problems = observed([position("GE", qty=Decimal("NaN"))], [])
    decoded = msgspec.json.decode(msgspec.json.encode(message), type=PortfolioObserved)
    assert decoded.positions[0].qty.is_nan()


@pytest.mark.parametrize(
    "changes",
    [{"symbol": None}, {"qty": None}, {"side": None}, {"side": "sell_short"}],
    ids=["multi-leg", "notional", "no side", "new side"],
)
def test_an_order_that_cannot_be_counted_is_left_out_and_said(changes: dict[str, Any]) -> None:
    message, problems = observed([], [order("strange", **changes), order("plain")])
    assert [o.order_id for o in message.open_orders] == ["plain"]
    assert len(problems) == 1
    assert "the order strange" in problems[0]


@pytest.mark.parametrize("figure", ["equity", "cash", "buying_power"])
@pytest.mark.parametrize("value", [None, Decimal("NaN"), Decimal("Infinity")])
def test_without_an_account_there_is_no_portfolio(figure: str, value: Decimal | None) -> None:
    with pytest.raises(wire.WireError, match=f"no {figure}"):
        portfolio(TICK, ENDED, account(**{figure: value}), [position()], [])


# --- one symbol --------------------------------------------------------------------------------


def taken(quote: StockQuote = GOOD_QUOTE, problems: list[str] | None = None) -> SnapshotTaken:
    book, _ = observed(
        [position(), position("XOM"), position(PUT, qty=Decimal(-1))],
        [order(), order("o2", symbol="XOM"), order("o3", symbol="KO")],
    )
    contracts = contract_quotes({PUT: wire.WireOptionSnapshot()}, {})
    return snapshot(TICK, "KO", book, quote, contracts, in_universe=True, problems=problems or [])


def test_a_snapshot_holds_all_that_concerns_its_symbol_and_nothing_else() -> None:
    message = taken()
    assert (message.message_id, message.subject) == ("snapshot-tick-1-KO", "market.snapshot.KO")
    assert [p.symbol for p in message.positions] == ["KO", PUT]
    assert [o.order_id for o in message.open_orders] == ["o1", "o3"]
    assert [c.symbol for c in message.contracts] == [PUT]
    assert (message.session_closes_at, message.synthetic) == (TICK.session.closes_at, True)
    assert isinstance(message.account, AccountFigures)
    assert message.problems == []


def test_problems_of_reading_come_before_those_of_the_quote() -> None:
    problems = taken(StockQuote(), ["its chain of puts could not be read: 500"]).problems
    assert problems == [
        "its chain of puts could not be read: 500",
        "the broker has no price for it",
    ]


@pytest.mark.parametrize(
    ("quote", "problem"),
    [
        (StockQuote(), "the broker has no price for it"),
        (StockQuote(bid=58.0, as_of=AS_OF), "the broker has no price for it"),
        (StockQuote(bid=59.0, ask=58.0), "its market is crossed (59.0 bid, 58.0 asked)"),
        (
            StockQuote(last=58.9, as_of=AS_OF - dt.timedelta(minutes=16)),
            "its quote is 16 minutes old",
        ),
    ],
)
def test_a_broken_quote_is_said(quote: StockQuote, problem: str) -> None:
    assert quote_problems(quote, AS_OF) == [problem]


@pytest.mark.parametrize(
    "quote",
    [
        GOOD_QUOTE,
        StockQuote(previous_close=58.4),
        StockQuote(bid=58.9, ask=58.9),
        StockQuote(last=58.9, as_of=AS_OF - dt.timedelta(minutes=15)),
        StockQuote(last=58.9, as_of=AS_OF + dt.timedelta(minutes=1)),
    ],
)
def test_a_usable_quote_is_not_complained_about(quote: StockQuote) -> None:
    assert quote_problems(quote, AS_OF) == []


def test_contracts_come_sorted_with_their_facts_and_without_strangers() -> None:
    chain = {
        symbol: wire.WireOptionSnapshot() for symbol in ("KO240322P00057500", PUT, "KO", "garbage")
    }
    quotes = contract_quotes(chain, {PUT: ContractFacts(open_interest=7, penny=True)})
    assert [quote.symbol for quote in quotes] == [PUT, "KO240322P00057500"]
    assert [(quote.open_interest, quote.penny) for quote in quotes] == [(7, True), (None, False)]


def test_contracts_that_cannot_be_traded_have_no_facts_and_unknown_grids_are_wide() -> None:
    facts = contract_facts(
        [
            wire.WireContract(symbol="A", open_interest=5, ppind=True),
            wire.WireContract(symbol="B"),
            wire.WireContract(symbol="C", tradable=False),
        ]
    )
    assert facts == {
        "A": ContractFacts(open_interest=5, penny=True),
        "B": ContractFacts(open_interest=None, penny=False),
    }


def test_two_ticks_of_a_standing_clock_have_two_ids() -> None:
    first = tick_id_of(AS_OF, WALL)
    assert first.startswith("tick-20240304T150000-")
    assert first == tick_id_of(AS_OF, WALL)
    assert first != tick_id_of(AS_OF, WALL + dt.timedelta(milliseconds=1))
