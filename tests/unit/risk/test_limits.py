"""How much, how dear, how often, and when not at all: each control from both sides of its bound."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.contracts import (
    IntentApproved,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    TimeInForce,
    TradingState,
    TradingVerb,
)
from libs.common.settings import RiskSettings
from libs.common.settings_table import BY_VARIABLE
from libs.common.symbols import Right
from libs.common.trading_state import Standing
from services.risk.gates.table import GATES, STRATEGY_GATES, gate_table
from services.risk.state import RiskState
from tests.unit.common.test_trading_state import both, record
from tests.unit.risk.books import (
    NOON,
    QUOTE,
    SESSION,
    SETTINGS,
    WALL,
    ask,
    covered_call,
    csp,
    held,
    judge,
    knowing,
    occ,
    portfolio,
    resting,
    stop,
    with_changes,
)

RICH = {"equity": Decimal(10**6), "last_equity": Decimal(10**6), "cash": Decimal(10**6)}
DEFAULTS = RiskSettings(signing_key=SETTINGS.signing_key, max_position_pct=100.0)


def failing(
    intent: OrderIntended,
    state: RiskState | None = None,
    known: dict[str, Any] | None = None,
    **limits: Any,
) -> dict[str, str]:
    """The gates that say no, in an account where all else is well."""
    settings = msgspec.structs.replace(DEFAULTS, **limits)
    state = state or knowing(portfolio(held("KO", 500, market_value=Decimal(25_000)), **RICH))
    decision = judge(state, intent, settings, **(known or {}))
    return {check.gate: check.reason for check in decision.checks if not check.ok}


# --- the table --------------------------------------------------------------------------------


def test_every_gate_says_what_it_prevents_and_names_settings_that_exist() -> None:
    every = tuple(dict.fromkeys((*GATES, *STRATEGY_GATES.values())))
    assert len({gate.name for gate in every}) == len(every)
    for gate in every:
        assert gate.prevents.endswith(".")
        assert set(gate.settings) <= set(BY_VARIABLE)
        assert f"| `{gate.name}` | {gate.prevents} |" in gate_table()


def test_every_limit_of_risk_belongs_to_a_gate() -> None:
    of_gates = {name for gate in (*GATES, *STRATEGY_GATES.values()) for name in gate.settings}
    others = {"RISK_SIGNING_KEY", "APPROVAL_TTL_SECONDS"}
    assert of_gates | others == {n for n, e in BY_VARIABLE.items() if e.path.startswith("risk.")}


def test_with_the_defaults_a_sane_order_passes() -> None:
    for intent in (csp(), covered_call(), stop()):
        assert failing(intent) == {}


# --- size and price ---------------------------------------------------------------------------


def test_one_order_is_bounded_in_contracts_shares_and_dollars() -> None:
    assert failing(csp(qty=3), max_order_contracts=3) == {}
    assert failing(csp(qty=3), max_order_contracts=2)["order_size"] == "3 contracts, at most 2"
    assert failing(stop(qty=51), max_order_shares=50)["order_size"] == "51 shares, at most 50"
    assert failing(csp(strike=50), max_order_notional=Decimal(5000)) == {}
    too_dear = failing(csp(strike=50), max_order_notional=Decimal(4999))
    assert too_dear["order_size"] == "worth 5000, at most 4999"
    assert "order_size" in failing(stop(qty=100), max_order_notional=Decimal(4999))


def test_stock_that_nothing_prices_is_not_sold_blindly() -> None:
    nothing = knowing(portfolio(**RICH))
    assert "no price is known" in failing(stop(), nothing)["order_size"]


@pytest.mark.parametrize(
    ("limit", "ok"),
    [("0.37", False), ("0.38", True), ("0.60", True), ("0.75", True), ("0.76", False)],
)
def test_a_limit_lies_near_the_quote(limit: str, ok: bool) -> None:
    """The quote is 0.50 to 0.60, the collar a quarter of each side."""
    found = failing(csp(limit_price=Decimal(limit)))
    assert ("price_collar" not in found) is ok
    if not ok:
        assert found["price_collar"] == f"limit {limit}, allowed 0.38 to 0.75"


@pytest.mark.parametrize(
    ("sight", "why"),
    [
        (None, "no quote of"),
        ({"bid": None}, "no quote of"),
        ({"ask": None}, "no quote of"),
        ({"bid": 0.7}, "the quote is 0.7 to 0.6"),
        ({"bid": 0.0, "ask": 0.0}, "the quote is 0.0 to 0.0"),
        ({"bid": float("nan")}, "the quote is nan to 0.6"),
        ({"at": WALL - dt.timedelta(seconds=301)}, "stale quote: 301 s old, at most 300"),
        ({"as_of": NOON - dt.timedelta(seconds=1801)}, "stale quote: 1801 s from the intent"),
        ({"as_of": NOON + dt.timedelta(seconds=1801)}, "stale quote: -1801 s from the intent"),
    ],
)
def test_a_price_is_held_against_a_fresh_quote_or_not_sent(
    sight: dict[str, Any] | None, why: str
) -> None:
    known = {"sight": None if sight is None else msgspec.structs.replace(QUOTE, **sight)}
    assert failing(csp(), known=known)["quote"].startswith(why)
    assert "quote" not in failing(stop(), known=known), "a stop sets no price"


# --- capital ----------------------------------------------------------------------------------


def test_all_that_is_bound_is_bounded_in_dollars_and_by_equity() -> None:
    """25,000 of stock, 4,500 behind a put of another name, and 5,000 asked for."""
    state = knowing(
        portfolio(
            held("KO", 500, market_value=Decimal(25_000)), held(occ(45, stock="PEP"), -1), **RICH
        )
    )
    assert failing(csp(), state, capital_limit=Decimal(34_500)) == {}
    tight = failing(csp(), state, capital_limit=Decimal(34_499))
    assert tight == {"capital": "would bind 34500 in all, above 34499"}
    assert failing(csp(), state, max_total_pct=3.45) == {}
    assert "above 3.4 % of equity" in failing(csp(), state, max_total_pct=3.4)["capital"]
    assert failing(covered_call(), state, max_total_pct=0.1) == {}, "it binds no dollars"


def test_approvals_under_way_count_as_bound() -> None:
    state = knowing(portfolio(**RICH))
    assert isinstance(ask(state, csp("p1", 50)), IntentApproved)
    found = failing(csp("p2", 50, stock="PEP"), state, capital_limit=Decimal(9_999))
    assert found["capital"] == "would bind 10000 in all, above 9999"


# --- how often --------------------------------------------------------------------------------


def after_approvals(count: int) -> RiskState:
    state = knowing(portfolio(**RICH))
    for number in range(count):
        assert isinstance(
            ask(state, csp(f"a{number}", 10, stock=f"A{chr(65 + number)}")), IntentApproved
        )
    return state


def test_orders_and_messages_in_a_minute_are_bounded() -> None:
    state = after_approvals(3)
    assert failing(csp(), state, max_orders_per_minute=4) == {}
    assert "3 approved" in failing(csp(), state, max_orders_per_minute=3)["order_rate"]
    assert "3 decided" in failing(csp(), state, max_messages_per_minute=3)["message_rate"]


def test_blocked_wishes_count_as_messages_and_not_as_orders() -> None:
    state = knowing(portfolio(cash=Decimal(0)))
    for number in range(3):
        ask(state, csp(f"p{number}"))
    found = failing(csp(), state, max_messages_per_minute=3, max_orders_per_minute=1)
    assert "message_rate" in found
    assert "order_rate" not in found


def test_a_minute_is_the_brokers() -> None:
    """At sixty times life, an order of two seconds ago is two minutes old."""
    state = after_approvals(3)
    later = with_changes(csp(), at=WALL)
    early = [
        msgspec.structs.replace(a, at=WALL - dt.timedelta(seconds=2))
        for a in (ask(knowing(portfolio(**RICH)), csp("e1", 10, stock="ZZ")),)
    ]
    aged = knowing(portfolio(**RICH))
    aged.observe_decision(early[0])
    assert "order_rate" in failing(later, aged, max_orders_per_minute=1)
    assert failing(later, aged, {"clock_speed": 60.0}, max_orders_per_minute=1) == {}
    assert "order_rate" in failing(later, state, {"clock_speed": 60.0}, max_orders_per_minute=3)


def test_orders_of_a_session_are_bounded_and_the_next_begins_anew() -> None:
    state = after_approvals(3)
    assert "3 approved this session" in failing(csp(), state, max_orders_per_day=3)["daily_count"]
    tomorrow = msgspec.structs.replace(
        portfolio(as_of=60, **RICH), session=SESSION + dt.timedelta(days=1)
    )
    state.observe_portfolio(tomorrow)
    assert failing(csp(), state, max_orders_per_day=3) == {}


def test_the_same_order_again_and_again_is_stopped() -> None:
    state = knowing(portfolio(**RICH))
    for number in range(2):
        put = csp(f"p{number}", 40 + number)
        assert isinstance(ask(state, put), IntentApproved)
        state.observe_portfolio(portfolio(orders=(), as_of=60 * number + 1, **RICH))
        state._reservations.clear()  # as if each had filled and shown
    assert "2 like it" in failing(csp(), state, max_repeats_per_day=2)["repeats"]
    assert failing(csp("q", 40, stock="PEP"), state, max_repeats_per_day=2) == {}


# --- when not at all --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "gate"),
    [
        ({"restricted_symbols": frozenset({"KO"})}, "restricted"),
        ({"restricted_dates": frozenset({SESSION})}, "session"),
        ({"entry_minutes_before_close": 240}, "session"),
        ({"expiry_days_min": 12}, "expiration"),
    ],
)
def test_rules_for_entries_bind_entries_only(limits: dict[str, Any], gate: str) -> None:
    for entry in (csp(), covered_call()):
        assert set(failing(entry, **limits)) == {gate}
    assert failing(stop(), **limits) == {}


def test_outside_of_them_entries_pass() -> None:
    limits = {
        "restricted_symbols": frozenset({"PEP"}),
        "restricted_dates": frozenset({SESSION + dt.timedelta(days=1)}),
        "entry_minutes_before_close": 239,
        "expiry_days_min": 11,
    }
    assert failing(csp(), **limits) == {}
    unknown = msgspec.structs.replace(QUOTE, closes_at=None)
    found = failing(csp(), known={"sight": unknown}, entry_minutes_before_close=1)
    assert found == {"session": "the close is not known"}


def test_a_dotted_stock_is_restricted_with_its_options() -> None:
    found = failing(csp(stock="BRK.B"), restricted_symbols=frozenset({"BRK.B"}))
    assert found["restricted"] == "BRK.B is restricted"


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED, None])
def test_the_trading_state_holds_entries_back(state: TradingState | None) -> None:
    known = {"standing": Standing(state=state) if state else None}
    assert set(failing(csp(), known=known)) == {"trading_state"}
    assert (failing(stop(), known=known) == {}) is (state is TradingState.REDUCING)


# --- flattening -------------------------------------------------------------------------------


def closing(symbol: str, qty: int, side: Side, **changes: Any) -> OrderIntended:
    is_stock = len(symbol) < 10
    fields: dict[str, Any] = {
        "message_id": f"f-{symbol}",
        "at": WALL,
        "strategy": "flatten",
        "underlying": "KO",
        "symbol": symbol,
        "side": side,
        "qty": qty,
        "order_type": OrderType.MARKET if is_stock else OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "as_of": NOON,
        "position_intent": (
            PositionIntent.BUY_TO_CLOSE if side is Side.BUY else PositionIntent.SELL_TO_CLOSE
        ),
        "limit_price": None if is_stock else Decimal("0.60"),
    }
    return OrderIntended(**(fields | changes))


PUT, CALL = occ(50), occ(60, Right.CALL)


def holding(*orders: Any) -> RiskState:
    return knowing(
        portfolio(
            held("KO", 250, market_value=Decimal(12_500)),
            held(PUT, -2),
            held(CALL, -1),
            orders=orders,
            **RICH,
        )
    )


def test_what_is_held_may_be_closed_and_no_more() -> None:
    assert failing(closing(PUT, 2, Side.BUY), holding()) == {}
    assert "flatten" in failing(closing(PUT, 3, Side.BUY), holding())
    assert "flatten" in failing(closing(PUT, 1, Side.SELL), holding())
    assert failing(closing("KO", 150, Side.SELL), holding()) == {}
    assert "flatten" in failing(closing("KO", 151, Side.SELL), holding()), "100 cover the call"
    assert "flatten" in failing(closing("KO", 1, Side.BUY), holding())


@pytest.mark.parametrize(
    "limits",
    [{"max_orders_per_day": 0}, {"max_orders_per_minute": 0}, {"max_messages_per_minute": 0}],
)
def test_however_wild_the_day_was_what_is_held_may_be_closed(limits: dict[str, int]) -> None:
    """By an operator, and not by whoever calls his strategy so."""
    flattening = both(record(1, TradingState.REDUCING, verb=TradingVerb.FLATTEN))
    wish = closing(PUT, 2, Side.BUY)
    assert failing(wish, holding(), {"standing": flattening}, **limits) == {}
    assert len(failing(wish, holding(), **limits)) == 1


def test_after_a_loss_that_halts_what_is_held_may_be_closed_and_nothing_opened() -> None:
    """The trading state decides on closing: an operator has loosened the halt to get out."""
    state = holding()
    book = state.portfolio
    assert book is not None
    poor = msgspec.structs.replace(book.account, equity=book.account.equity * Decimal("0.85"))
    later = book.as_of + dt.timedelta(seconds=1)
    state.observe_portfolio(msgspec.structs.replace(book, as_of=later, account=poor))
    assert failing(closing(PUT, 1, Side.BUY), state) == {}
    assert failing(closing("KO", 1, Side.SELL), state) == {}
    assert "daily loss 15.00 %" in failing(csp(), state)["losses"]


def test_what_is_being_closed_is_not_closed_again() -> None:
    state = holding(resting(PUT, 1, side=Side.BUY, limit_price=Decimal("0.6")))
    found = failing(closing(PUT, 2, Side.BUY), state)
    assert "1 are free to close" in found["flatten"]
    state = holding()
    assert isinstance(ask(state, closing(PUT, 1, Side.BUY), DEFAULTS), IntentApproved)
    again = closing(PUT, 2, Side.BUY, message_id="again")
    assert set(failing(again, state)) == {"duplicate", "flatten"}
    assert failing(closing(CALL, 1, Side.BUY), state) == {}, "another contract of the same stock"


@pytest.mark.parametrize(
    "changes",
    [
        {"position_intent": PositionIntent.BUY_TO_OPEN},
        {"position_intent": None},
        {"side": Side.SELL},
        {"order_type": OrderType.MARKET},
        {"time_in_force": TimeInForce.GTC},
        {"limit_price": None},
        {"limit_price": Decimal("0.605")},
        {"stop_price": Decimal(1)},
        {"trail_percent": Decimal(1)},
        {"underlying": "PEP"},
        {"qty": 0},
        {"message_id": ""},
    ],
)
def test_an_order_that_only_calls_itself_flattening_is_none(changes: dict[str, Any]) -> None:
    assert "well_formed" in failing(with_changes(closing(PUT, 1, Side.BUY), **changes), holding())


def test_a_contract_without_a_quote_is_closed_near_its_last_price() -> None:
    state = knowing(portfolio(held(PUT, -1, current_price=0.55), **RICH))
    known = {"sight": msgspec.structs.replace(QUOTE, bid=None, ask=None)}
    assert failing(closing(PUT, 1, Side.BUY), state, known) == {}
    dear = closing(PUT, 1, Side.BUY, limit_price=Decimal("0.70"))
    assert set(failing(dear, state, known)) == {"price_collar"}
    assert {"quote", "price_collar"} <= set(failing(csp(strike=45), state, known))


def test_what_flattens_is_held_against_the_side_it_takes() -> None:
    """The executor holds the limit against the price that risk saw; the middle may be far off."""
    wide = {"sight": msgspec.structs.replace(QUOTE, bid=0.05, ask=0.60)}
    flat = judge(holding(), closing(PUT, 1, Side.BUY), DEFAULTS, **wide)
    assert (flat.ok, flat.seen_price) == (True, Decimal("0.6"))
    entry = judge(knowing(portfolio(**RICH)), csp(), DEFAULTS)
    assert entry.seen_price == Decimal("0.55")
