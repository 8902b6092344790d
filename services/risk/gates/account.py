"""What the account, the trading state, the losses and the calendar allow. Pure."""

from __future__ import annotations

import datetime as dt

from libs.common.contracts import OrderIntended, PortfolioObserved
from libs.common.sessions import days_to_expiration
from libs.common.symbols import option_root, parse_option_symbol
from libs.common.trading_state import permits
from services.risk.gates.case import Case, CheckResult, bad, fine
from services.risk.losses import daily_loss_pct, drawdown_pct, trip_of

OPTIONS_LEVEL_MIN = 1
"""Alpaca's level 1: covered calls and cash-secured puts."""


def check_trading_state(case: Case) -> CheckResult:
    """ACTIVE lets everything pass, REDUCING what lowers risk, HALTED and not knowing nothing."""
    if case.standing is None:
        return bad("the trading state is not known")
    return CheckResult(ok=permits(case.standing, case.intent), reason=case.standing.words)


def check_losses(case: Case) -> CheckResult:
    """The trip's own rule once more, for entries: what closes is the trading state's to let pass,
    or nothing could be closed after an operator loosened a halt to get out.
    """
    if case.portfolio is None or case.mark is None:
        return bad("no equity was seen")
    equity = case.portfolio.account.equity
    said = (
        f"daily loss {daily_loss_pct(case.mark, equity):.2f} %,"
        f" drawdown {drawdown_pct(case.mark, equity):.2f} %"
    )
    trip = trip_of(case.mark, equity, case.settings)
    if trip is None:
        return fine(said)
    return CheckResult(ok=not case.opens, reason=trip.why)


def check_restricted(case: Case) -> CheckResult:
    if not case.opens:
        return fine("opens nothing")
    wanted = option_root(case.intent.underlying)
    if wanted in {option_root(symbol) for symbol in case.settings.restricted_symbols}:
        return bad(f"{case.intent.underlying} is restricted")
    return fine("not restricted")


def check_session(case: Case) -> CheckResult:
    """Whether something may be opened in this session, and so near its close."""
    if not case.opens:
        return fine("opens nothing")
    if case.portfolio is None:
        return bad("no session is known")
    session, minutes = case.portfolio.session, case.settings.entry_minutes_before_close
    if session in case.settings.restricted_dates:
        return bad(f"session {session} is restricted")
    closes_at = case.sight.closes_at if case.sight else None
    if closes_at is None:
        return bad("the close is not known") if minutes else fine(f"session {session}")
    if case.intent.as_of >= closes_at - dt.timedelta(minutes=minutes):
        return bad(f"less than {minutes} minutes before the close")
    return fine(f"session {session}")


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


def check_expiration(case: Case) -> CheckResult:
    """Nothing is opened on the contract's last days; at the least not on the very last."""
    option = parse_option_symbol(case.intent.symbol)
    if option is None or not case.opens:
        return fine("not an option" if option is None else "opens nothing")
    if case.portfolio is None:
        return bad("no session is known")
    session = case.portfolio.session
    return CheckResult(
        ok=days_to_expiration(option.expiration, session) >= case.settings.expiry_days_min,
        reason=f"expires {option.expiration}, session {session}",
    )
