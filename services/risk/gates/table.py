"""Every gate in one table: its name, what it prevents, what sets it. docs/risk.md is made from it.

Risk counts for itself from the portfolio and its own reservations and takes nothing the planner
says on trust but the wish. Every gate answers, also after the first that fails, so that a block
says all there is to say. A gate that cannot look (no portfolio, an order it cannot read) says no.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from libs.common.contracts import GateResult, PortfolioObserved, Strategy
from services.risk.gates import account, coverage, form, freshness, limits
from services.risk.gates.case import Case, CheckResult
from services.risk.reservations import unreadable


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    prevents: str
    settings: tuple[str, ...] = ()
    check: Callable[[Case], CheckResult]
    sees: bool = True
    """Whether it needs a well-formed intent and a portfolio that can be read."""


GATES: tuple[Gate, ...] = (
    Gate(
        name="trading_state",
        prevents="An order while trading is halted, an entry while it is being reduced, and any"
        " order while nobody knows.",
        check=account.check_trading_state,
        sees=False,
    ),
    Gate(
        name="known_strategy",
        prevents="An order of a strategy nobody wrote rules for.",
        check=lambda case: form.check_known_strategy(case.intent),
        sees=False,
    ),
    Gate(
        name="well_formed",
        prevents="An order of another kind than its strategy's: a wrong side, type, symbol, price"
        " grid, or quantity.",
        check=lambda case: form.check_well_formed(case.intent),
        sees=False,
    ),
    Gate(
        name="intent_age",
        prevents="A wish carried out long after it was made, as after an outage.",
        settings=("PORTFOLIO_AGE_SECONDS_MAX",),
        check=lambda case: freshness.check_intent_age(case.intent, case.settings, at=case.at),
        sees=False,
    ),
    Gate(
        name="portfolio",
        prevents="A decision on an account as it was long ago, or on figures that are no numbers.",
        settings=("PORTFOLIO_AGE_SECONDS_MAX",),
        check=lambda case: freshness.check_portfolio(case.intent, case.portfolio, case.settings),
        sees=False,
    ),
    Gate(
        name="message_rate",
        prevents="A planner that floods.",
        settings=("MAX_MESSAGES_PER_MINUTE",),
        check=limits.check_message_rate,
        sees=False,
    ),
    Gate(
        name="account",
        prevents="Orders of an account that the broker has blocked or closed.",
        check=lambda case: account.check_account(case.book.portfolio),
    ),
    Gate(
        name="options_level",
        prevents="Option orders of an account that may not trade them.",
        check=lambda case: account.check_options_level(case.intent, case.book.portfolio),
    ),
    Gate(
        name="losses",
        prevents="Going on while the day's loss or the fall from the peak is past its bound.",
        settings=(
            "REDUCE_DAILY_LOSS_PCT",
            "HALT_DAILY_LOSS_PCT",
            "REDUCE_DRAWDOWN_PCT",
            "HALT_DRAWDOWN_PCT",
        ),
        check=account.check_losses,
    ),
    Gate(
        name="restricted",
        prevents="Entries on stocks that somebody took off the list.",
        settings=("RESTRICTED_SYMBOLS",),
        check=account.check_restricted,
    ),
    Gate(
        name="session",
        prevents="Entries on days that are barred, and too near the close.",
        settings=("RESTRICTED_DATES", "ENTRY_MINUTES_BEFORE_CLOSE"),
        check=account.check_session,
    ),
    Gate(
        name="expiration",
        prevents="Opening a contract on its last days, when it can be assigned within hours.",
        settings=("EXPIRY_DAYS_MIN",),
        check=account.check_expiration,
    ),
    Gate(
        name="quote",
        prevents="A price held against a market of long ago, or against none.",
        settings=("QUOTE_AGE_SECONDS_MAX",),
        check=freshness.check_quote,
    ),
    Gate(
        name="price_collar",
        prevents="A slipped digit: selling for far less, or buying for far more, than is quoted.",
        settings=("PRICE_COLLAR_PCT",),
        check=limits.check_price_collar,
    ),
    Gate(
        name="order_size",
        prevents="One order that is too large, in contracts, shares or dollars.",
        settings=("MAX_ORDER_CONTRACTS", "MAX_ORDER_SHARES", "MAX_ORDER_NOTIONAL"),
        check=limits.check_order_size,
    ),
    Gate(
        name="capital",
        prevents="Binding more in all than the account, or its owner, allows.",
        settings=("CAPITAL_LIMIT", "MAX_TOTAL_PCT"),
        check=limits.check_capital,
    ),
    Gate(
        name="order_rate",
        prevents="More orders in a minute than a sane strategy has.",
        settings=("MAX_ORDERS_PER_MINUTE",),
        check=limits.check_order_rate,
    ),
    Gate(
        name="daily_count",
        prevents="More orders in a session than a sane strategy has.",
        settings=("MAX_ORDERS_PER_DAY",),
        check=limits.check_daily_count,
    ),
    Gate(
        name="repeats",
        prevents="The same order over and over, each one filled.",
        settings=("MAX_REPEATS_PER_DAY",),
        check=limits.check_repeats,
    ),
    Gate(
        name="replacement",
        prevents="Taking the place of an order that is not there, is not ours, is another one, has"
        " filled or ended, or is being replaced already: two would live.",
        check=limits.check_replacement,
    ),
    Gate(
        name="duplicate",
        prevents="The same wish twice while the first is still on its way.",
        check=lambda case: limits.check_duplicate(case.intent, case.book, decided=case.decided),
    ),
)
"""The gates of every order, in the order they answer."""

_PUTS = Gate(
    name="cash_secured_put",
    prevents="A put whose assignment could not be paid, too much in one stock, too many puts.",
    settings=("CASH_BUFFER", "MAX_POSITION_PCT", "MAX_SHORT_PUTS"),
    check=lambda case: coverage.check_csp(case.intent, case.book, case.settings),
)

STRATEGY_GATES: dict[str, Gate] = {
    Strategy.CASH_SECURED_PUT.value: _PUTS,
    Strategy.GUEST_PUT.value: _PUTS,
    Strategy.COVERED_CALL.value: Gate(
        name="covered_call",
        prevents="A call without a free lot behind it, or struck below what the shares cost.",
        check=lambda case: coverage.check_covered_call(case.intent, case.book),
    ),
    Strategy.TRAILING_STOP.value: Gate(
        name="trailing_stop",
        prevents="A stop over shares that are not held, or are promised elsewhere.",
        check=lambda case: coverage.check_trailing_stop(case.intent, case.book),
    ),
    Strategy.FLATTEN.value: Gate(
        name="flatten",
        prevents="Closing more than is held, so that a position turns over instead of ending.",
        check=lambda case: coverage.check_flatten(case.intent, case.book),
    ),
}
"""The last gate of an order is its own strategy's."""

UNKNOWN = Gate(
    name="strategy",
    prevents="An order of a strategy nobody wrote rules for.",
    check=lambda _case: CheckResult(ok=False, reason="no gate is known for the strategy"),
)


def run_gates(case: Case) -> list[GateResult]:
    """Every gate's word on the intent, in a fixed order."""
    own = STRATEGY_GATES.get(case.intent.strategy, UNKNOWN)
    formed = form.check_well_formed(case.intent).ok
    blindness = _blindness(case.portfolio, formed=formed)
    found = []
    for gate in (*GATES, own):
        if gate.sees and blindness:
            result = CheckResult(ok=False, reason=f"not checked: {blindness}")
        else:
            result = gate.check(case)
        found.append(GateResult(gate=gate.name, ok=result.ok, reason=result.reason))
    return found


def _blindness(portfolio: PortfolioObserved | None, *, formed: bool) -> str:
    if portfolio is None:
        return "no portfolio was seen"
    if unreadable(portfolio) or not formed:
        return "the portfolio or the intent cannot be read"
    return ""


def gate_table() -> str:
    """The table of docs/risk.md."""
    rows = ["| Gate | What it prevents | Settings |", "|---|---|---|"]
    for gate in dict.fromkeys((*GATES, *STRATEGY_GATES.values())):
        names = ", ".join(f"`{name}`" for name in gate.settings)
        rows.append(f"| `{gate.name}` | {gate.prevents} | {names} |")
    return "\n".join(rows)
