"""Whether what is known is fresh enough to decide on. Pure."""

from __future__ import annotations

import datetime as dt

from libs.common.contracts import OrderIntended, OrderType, PortfolioObserved
from libs.common.settings import RiskSettings
from services.risk.gates.case import Case, CheckResult, all_of, bad, fine
from services.risk.reservations import unreadable


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


def needs_quote(case: Case) -> bool:
    """A limit price is held against a quote; an order without one has nothing to hold. What
    flattens may do with the price the portfolio shows: the chain holds only what could be opened.
    """
    return case.intent.order_type is OrderType.LIMIT


def check_quote(case: Case) -> CheckResult:
    """Whether there is a two-sided quote of the intent's time, read lately by wall time."""
    if not needs_quote(case):
        return fine("sets no price")
    sight = case.sight
    if sight is None or sight.bid is None or sight.ask is None:
        if case.is_flatten and case.mark_price is not None:
            return fine(f"no quote; the portfolio shows {case.mark_price}")
        return bad(f"no quote of {case.intent.symbol} was seen")
    faults = []
    if case.quote is None:
        faults.append(f"the quote is {sight.bid} to {sight.ask}")
    age, most = int((case.at - sight.at).total_seconds()), case.settings.quote_age_seconds_max
    if age > most:
        faults.append(f"stale quote: {age} s old, at most {most}")
    apart = int((case.intent.as_of - sight.as_of).total_seconds())
    far = case.settings.portfolio_age_seconds_max
    if abs(apart) > far:
        faults.append(f"stale quote: {apart} s from the intent by the broker's clock")
    return all_of(faults, f"{sight.bid} to {sight.ask}, {age} s old")
