"""The gates an intent passes before it may become an order: each a pure function.

Risk counts for itself from the portfolio and its own reservations and takes nothing the planner
says on trust but the wish. Every gate answers, also after the first that fails, so that a block
says all there is to say. A gate that cannot look (no portfolio, an order it cannot read) says no.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.contracts import (
    GateResult,
    OrderIntended,
    OrderType,
    PortfolioObserved,
    PositionIntent,
    Side,
    Strategy,
    TimeInForce,
)
from libs.common.money import CENT, on_grid, plain
from libs.common.settings import RiskSettings
from libs.common.symbols import (
    SHARES_PER_CONTRACT,
    OptionSymbol,
    Right,
    is_stock_symbol,
    option_root,
    parse_option_symbol,
)
from services.risk.reservations import (
    Book,
    Reservation,
    bound_in,
    commitment_of,
    free_cash,
    free_shares,
    short_puts,
    stock_position,
    unpriced_buys,
    unreadable,
)

OPTIONS_LEVEL_MIN = 1
"""Alpaca's level 1: covered calls and cash-secured puts."""


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    reason: str


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How every order of a strategy must look; `right` None means the stock itself."""

    right: Right | None
    order_type: OrderType
    time_in_force: TimeInForce
    position_intents: tuple[PositionIntent | None, ...]


_OPTION_INTENTS = (PositionIntent.SELL_TO_OPEN,)
_STOCK_INTENTS = (None, PositionIntent.SELL_TO_CLOSE)

FORMS: dict[str, Form] = {
    Strategy.CASH_SECURED_PUT.value: Form(
        right=Right.PUT,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_intents=_OPTION_INTENTS,
    ),
    Strategy.COVERED_CALL.value: Form(
        right=Right.CALL,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_intents=_OPTION_INTENTS,
    ),
    Strategy.TRAILING_STOP.value: Form(
        right=None,
        order_type=OrderType.TRAILING_STOP,
        time_in_force=TimeInForce.GTC,
        position_intents=_STOCK_INTENTS,
    ),
}
"""The strategies risk knows. A new one needs its form here and its gate in `check_strategy`."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known when one intent is judged. `at` is wall time."""

    intent: OrderIntended
    portfolio: PortfolioObserved | None
    reservations: tuple[Reservation, ...]
    settings: RiskSettings
    at: dt.datetime
    decided: bool = False


def run_gates(case: Case) -> list[GateResult]:
    """Every gate's word on the intent, in a fixed order."""
    intent = case.intent
    formed = check_well_formed(intent)
    seen = check_portfolio(intent, case.portfolio, case.settings)
    results = {
        "known_strategy": check_known_strategy(intent),
        "well_formed": formed,
        "intent_age": check_intent_age(intent, case.settings, at=case.at),
        "portfolio": seen,
    }
    portfolio = case.portfolio
    own_gate = intent.strategy.rpartition(":")[2] if intent.strategy in FORMS else "strategy"
    if portfolio is None or unreadable(portfolio) or not formed.ok:
        blind = CheckResult(ok=False, reason=f"not checked: {_blindness(portfolio)}")
        later = ("account", "options_level", "expiration", "duplicate", own_gate)
        results |= dict.fromkeys(later, blind)
    else:
        book = Book(portfolio=portfolio, reservations=case.reservations)
        results |= {
            "account": check_account(portfolio),
            "options_level": check_options_level(intent, portfolio),
            "expiration": check_expiration(intent, portfolio),
            "duplicate": check_duplicate(intent, book, decided=case.decided),
            own_gate: check_strategy(intent, book, case.settings),
        }
    return [GateResult(gate=g, ok=r.ok, reason=r.reason) for g, r in results.items()]


def _blindness(portfolio: PortfolioObserved | None) -> str:
    if portfolio is None:
        return "no portfolio was seen"
    return "the portfolio or the intent cannot be read"


# --- gates for every intent ------------------------------------------------------------------


def check_known_strategy(intent: OrderIntended) -> CheckResult:
    if intent.strategy in FORMS:
        return CheckResult(ok=True, reason=intent.strategy)
    return CheckResult(ok=False, reason=f"unknown strategy {intent.strategy!r}")


def check_well_formed(intent: OrderIntended) -> CheckResult:
    """Whether symbol, side, type, quantity and prices are what the strategy's form demands."""
    form = FORMS.get(intent.strategy)
    if form is None:
        return CheckResult(ok=False, reason="no form is known for the strategy")
    demands = {
        "has no id": bool(intent.message_id),
        f"side is {intent.side}": intent.side is Side.SELL,
        f"quantity is {intent.qty}": intent.qty >= 1,
        f"type is {intent.order_type}": intent.order_type is form.order_type,
        f"time in force is {intent.time_in_force}": intent.time_in_force is form.time_in_force,
        f"position intent is {intent.position_intent}": (
            intent.position_intent in form.position_intents
        ),
        f"stop price is {intent.stop_price}": intent.stop_price is None,
    }
    wrong = [text for text, is_met in demands.items() if not is_met]
    wrong += _stock_faults(intent) if form.right is None else _option_faults(intent, form.right)
    return _all_of(wrong, "as the strategy demands")


def _option_faults(intent: OrderIntended, right: Right) -> list[str]:
    option = parse_option_symbol(intent.symbol)
    if option is None:
        return [f"{intent.symbol} is not an option symbol"]
    faults = []
    if option.adjusted:
        faults.append(f"{intent.symbol} is an adjusted contract")
    if option_root(option.underlying) != option_root(intent.underlying):
        faults.append(f"{intent.symbol} is not on {intent.underlying}")
    if option.right is not right:
        faults.append(f"{intent.symbol} is a {option.right}")
    if option.strike <= 0:
        faults.append("strike is zero")
    price = intent.limit_price
    if price is None or not price.is_finite() or price <= 0:
        faults.append(f"limit price is {price}")
    elif not on_grid(price, CENT):
        faults.append(f"limit price {price} is not in whole cents")
    if intent.trail_percent is not None:
        faults.append("carries a trail percent")
    return faults


def _stock_faults(intent: OrderIntended) -> list[str]:
    faults = []
    if not is_stock_symbol(intent.symbol):
        faults.append(f"{intent.symbol} is not a stock symbol")
    if intent.symbol != intent.underlying:
        faults.append(f"{intent.symbol} is not {intent.underlying}")
    if intent.limit_price is not None:
        faults.append("carries a limit price")
    percent = intent.trail_percent
    if percent is None or not percent.is_finite() or not 0 < percent < 100:
        faults.append(f"trail percent is {percent}")
    return faults


def check_intent_age(
    intent: OrderIntended, settings: RiskSettings, *, at: dt.datetime
) -> CheckResult:
    """Whether the intent was made lately, by wall time: one found after an outage is not."""
    age = int((at - intent.at).total_seconds())
    if age > settings.portfolio_age_seconds_max:
        return CheckResult(
            ok=False,
            reason=f"stale intent: {age} s old, at most {settings.portfolio_age_seconds_max}",
        )
    return CheckResult(ok=True, reason=f"{age} s old")


def check_portfolio(
    intent: OrderIntended, portfolio: PortfolioObserved | None, settings: RiskSettings
) -> CheckResult:
    """Whether there is a readable portfolio of the intent's time, by the broker's clock."""
    if portfolio is None:
        return CheckResult(ok=False, reason="no portfolio was seen")
    broken = unreadable(portfolio)
    if broken:
        return CheckResult(ok=False, reason=f"not a number: {', '.join(broken)}")
    apart = int((intent.as_of - portfolio.as_of).total_seconds())
    most = settings.portfolio_age_seconds_max
    if apart > most:
        return CheckResult(
            ok=False, reason=f"stale portfolio: {apart} s older than the intent, at most {most}"
        )
    if apart < -most:
        return CheckResult(
            ok=False, reason=f"stale intent: {-apart} s older than the portfolio, at most {most}"
        )
    return CheckResult(ok=True, reason=f"{apart} s older than the intent")


def check_account(portfolio: PortfolioObserved) -> CheckResult:
    account = portfolio.account
    if account.can_trade:
        return CheckResult(ok=True, reason=f"status {account.status}")
    return CheckResult(
        ok=False,
        reason=f"the account cannot trade: status {account.status}, trading blocked "
        f"{account.trading_blocked}, account blocked {account.account_blocked}",
    )


def check_options_level(intent: OrderIntended, portfolio: PortfolioObserved) -> CheckResult:
    if parse_option_symbol(intent.symbol) is None:
        return CheckResult(ok=True, reason="not an option")
    level = portfolio.account.options_level
    return CheckResult(
        ok=level >= OPTIONS_LEVEL_MIN,
        reason=f"options level {level}, needs {OPTIONS_LEVEL_MIN}",
    )


def check_expiration(intent: OrderIntended, portfolio: PortfolioObserved) -> CheckResult:
    """Nothing is opened on the contract's last day or after it."""
    option = parse_option_symbol(intent.symbol)
    if option is None:
        return CheckResult(ok=True, reason="not an option")
    return CheckResult(
        ok=option.expiration > portfolio.session,
        reason=f"expires {option.expiration}, session {portfolio.session}",
    )


def check_duplicate(intent: OrderIntended, book: Book, *, decided: bool) -> CheckResult:
    """Whether the same wish is already on its way.

    A duplicate is: an intent already decided; a reservation of the same strategy on the same
    underlying that the planner cannot have seen (no portfolio up to the intent's own time shows
    its order); for options also an open order with the same symbol and side, whoever placed it.
    A trailing stop that rests and was seen is no duplicate of one for further shares: the shares
    it holds are not free.
    """
    if decided:
        return CheckResult(ok=False, reason="this intent was decided already")
    for reservation in book.reservations:
        if _repeats(intent, reservation, book):
            return CheckResult(ok=False, reason=f"repeats pending intent {reservation.intent_id}")
    if parse_option_symbol(intent.symbol) is not None:
        for order in book.portfolio.open_orders:
            if (order.symbol, order.side) == (intent.symbol, intent.side):
                return CheckResult(ok=False, reason=f"repeats open order {order.order_id}")
    return CheckResult(ok=True, reason="nothing like it is pending")


def _repeats(intent: OrderIntended, reservation: Reservation, book: Book) -> bool:
    kin = (reservation.strategy, reservation.underlying) == (intent.strategy, intent.underlying)
    known_to_planner = book.shows(reservation) and book.portfolio.as_of <= intent.as_of
    return kin and not known_to_planner


# --- gates of the strategies -----------------------------------------------------------------


def check_strategy(intent: OrderIntended, book: Book, settings: RiskSettings) -> CheckResult:
    """The gate of the intent's own strategy. Expects a well-formed intent."""
    match intent.strategy:
        case Strategy.CASH_SECURED_PUT:
            return check_csp(intent, book, settings)
        case Strategy.COVERED_CALL:
            return check_covered_call(intent, book)
        case Strategy.TRAILING_STOP:
            return check_trailing_stop(intent, book)
        case _:
            return CheckResult(ok=False, reason="no gate is known for the strategy")


def check_csp(intent: OrderIntended, book: Book, settings: RiskSettings) -> CheckResult:
    """Cash, concentration and number of puts. Expects a well-formed cash-secured put.

    Collateral is strike x 100 x contracts; the premium to come is not counted on.
    """
    collateral = commitment_of(intent).collateral * intent.qty
    free = free_cash(book)
    spendable = free - settings.cash_buffer
    faults = []
    if collateral > spendable:
        unpriced = unpriced_buys(book.portfolio)
        why = f"; open buys without a price: {', '.join(unpriced)}" if unpriced else ""
        faults.append(
            f"collateral {plain(collateral)} above free cash {plain(free)} less buffer "
            f"{plain(settings.cash_buffer)}{why}"
        )
    equity = book.portfolio.account.equity
    most = equity * Decimal(repr(settings.max_position_pct)) / 100
    bound = bound_in(book, intent.underlying) + collateral
    if bound > most:
        faults.append(
            f"{intent.underlying} would bind {plain(bound)}, above "
            f"{settings.max_position_pct:g} % of equity {plain(equity)}"
        )
    puts = short_puts(book) + intent.qty
    if puts > settings.max_short_puts:
        faults.append(f"would be short put {puts}, at most {settings.max_short_puts}")
    return _all_of(faults, f"collateral {plain(collateral)} of {plain(spendable)} spendable")


def check_covered_call(intent: OrderIntended, book: Book) -> CheckResult:
    """Strike and coverage. Expects a well-formed covered call."""
    option = parse_option_symbol(intent.symbol)
    position = stock_position(book.portfolio, intent.underlying)
    needed = intent.qty * SHARES_PER_CONTRACT
    free = free_shares(book, intent.underlying)
    if option is None or position is None or position.qty <= 0:
        return CheckResult(ok=False, reason=f"no long position in {intent.underlying}")
    faults = _basis_faults(option, position.avg_entry_price)
    if needed > free:
        faults.append(f"needs {needed} shares, {free} of {position.qty} are free")
    return _all_of(faults, f"{needed} of {free} free shares, basis {position.avg_entry_price}")


def check_trailing_stop(intent: OrderIntended, book: Book) -> CheckResult:
    """Whether a long position has that many shares free. Expects a well-formed trailing stop."""
    position = stock_position(book.portfolio, intent.underlying)
    if position is None or position.qty <= 0:
        return CheckResult(ok=False, reason=f"no long position in {intent.underlying}")
    free = free_shares(book, intent.underlying)
    return CheckResult(
        ok=intent.qty <= free,
        reason=f"{intent.qty} shares, {free} of {position.qty} are free",
    )


def _basis_faults(option: OptionSymbol, basis: Decimal) -> list[str]:
    if option.strike >= basis:
        return []
    return [f"strike {option.strike} below cost basis {basis}"]


def _all_of(faults: list[str], fine: str) -> CheckResult:
    return CheckResult(ok=not faults, reason="; ".join(faults) or fine)
