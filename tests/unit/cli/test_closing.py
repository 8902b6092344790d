"""What has to be bought and sold for the account to be flat, and that risk agrees with it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from libs.common.contracts import (
    ContractQuote,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    TradingState,
)
from libs.common.settings import RiskSettings
from libs.common.symbols import Right, parse_option_symbol
from libs.common.trading_state import Standing
from services.cli.closing import closing_intents
from tests.unit.risk.books import (
    QUOTE,
    SETTINGS,
    WALL,
    held,
    judge,
    knowing,
    occ,
    portfolio,
    resting,
)

PUT, CALL = occ(50), occ(60, Right.CALL)
LIMITS = RiskSettings(signing_key=SETTINGS.signing_key)


def quote(symbol: str, **changes: Any) -> ContractQuote:
    option = parse_option_symbol(symbol)
    assert option is not None
    fields: dict[str, Any] = {
        "symbol": symbol,
        "right": option.right,
        "strike": option.strike,
        "expiration": option.expiration,
        "bid": 0.5,
        "ask": 0.6,
    }
    return ContractQuote(**(fields | changes))


def wished(book: Any, *quotes: ContractQuote, limits: RiskSettings = LIMITS) -> list[OrderIntended]:
    found = closing_intents(
        book, {q.symbol: q for q in quotes}, limits, at=WALL, label="f-1", why="a test"
    )
    for intent in found:  # risk, while it reduces, has nothing against any of them
        decision = judge(
            knowing(book),
            intent,
            limits,
            standing=Standing(state=TradingState.REDUCING),
            sight=QUOTE,
        )
        assert decision.ok, (intent.symbol, decision.reason)
    return found


def stock(qty: int, **changes: Any) -> Any:
    return held("KO", qty, current_price=50.0, market_value=Decimal(50 * qty), **changes)


def test_shorts_are_bought_back_at_the_ask_and_free_stock_is_sold() -> None:
    book = portfolio(stock(250), held(PUT, -2), held(CALL, -1))
    found = {i.symbol: i for i in wished(book, quote(PUT), quote(CALL))}
    put = found[PUT]
    assert (put.side, put.position_intent) == (Side.BUY, PositionIntent.BUY_TO_CLOSE)
    assert (put.qty, put.limit_price, put.message_id) == (2, Decimal("0.60"), f"f-1-{PUT}")
    sale = found["KO"]
    assert (sale.side, sale.qty, sale.order_type) == (Side.SELL, 150, OrderType.MARKET)


def test_shares_behind_a_call_wait_until_it_is_bought_back() -> None:
    book = portfolio(stock(100), held(CALL, -1))
    assert [i.symbol for i in wished(book, quote(CALL))] == [CALL]
    assert [i.symbol for i in wished(portfolio(stock(100)))] == ["KO"]


def test_a_long_option_is_sold_at_the_bid() -> None:
    (sale,) = wished(portfolio(held(PUT, 3)), quote(PUT))
    assert (sale.side, sale.limit_price) == (Side.SELL, Decimal("0.50"))
    assert sale.position_intent is PositionIntent.SELL_TO_CLOSE


def test_what_is_closing_already_is_left_alone() -> None:
    closing = resting(PUT, 1, side=Side.BUY)
    assert wished(portfolio(held(PUT, -1), orders=(closing,)), quote(PUT)) == []
    guarded = portfolio(stock(100, qty_available=Decimal(0)), orders=(resting("KO", 100),))
    assert wished(guarded) == [], "the executor calls the stop back first"


def test_one_order_is_never_larger_than_risk_lets_it_be() -> None:
    (first,) = wished(portfolio(held(PUT, -25)), quote(PUT))
    assert first.qty == LIMITS.max_order_contracts
    small = msgspec.structs.replace(LIMITS, max_order_notional=Decimal(2600))
    (sale,) = wished(portfolio(stock(100)), limits=small)
    assert sale.qty == 52
    (put,) = wished(portfolio(held(PUT, -1)), quote(PUT))
    assert put.qty == 1


def test_without_a_quote_the_last_price_serves_and_without_any_it_waits() -> None:
    found = closing_intents(
        portfolio(held(PUT, -1, current_price=0.5)), {}, LIMITS, at=WALL, label="f", why="x"
    )
    assert [i.limit_price for i in found] == [Decimal("0.55")]
    assert wished(portfolio(held(PUT, -1))) == []


def test_prices_lie_on_the_grid() -> None:
    (dear,) = closing_intents(
        portfolio(held(PUT, -1)),
        {PUT: quote(PUT, bid=3.0, ask=3.12)},
        LIMITS,
        at=WALL,
        label="f",
        why="x",
    )
    assert dear.limit_price == Decimal("3.15")
    (coarse,) = closing_intents(
        portfolio(held(PUT, -1)),
        {PUT: quote(PUT, ask=0.62, penny=False)},
        LIMITS,
        at=WALL,
        label="f",
        why="x",
    )
    assert coarse.limit_price == Decimal("0.65")


def test_an_option_on_a_dotted_stock_names_the_stock() -> None:
    symbol = occ(400, stock="BRK.B")
    book = portfolio(held("BRK.B", 5, current_price=400.0), held(symbol, -1))
    found = wished(book, quote(symbol))
    assert {i.underlying for i in found} == {"BRK.B"}
