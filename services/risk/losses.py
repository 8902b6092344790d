"""The day's loss and the fall from the peak, and what they trip. Pure.

The day's base is the equity at the last close as the broker has it; the peak is the highest
equity seen. A resume begins both anew from the equity of that moment: whoever resumes has seen
the loss, and it would trip again at once otherwise. Deposits and withdrawals count as gains and
losses; after one, `resume` sets the base.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.contracts import EquityMarked, PortfolioObserved, TradingVerb
from libs.common.money import ZERO
from libs.common.settings import RiskSettings
from libs.common.trading_state import Standing


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    session: dt.date
    as_of: dt.datetime
    day_base: Decimal
    peak: Decimal
    reset_by: str = ""


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    verb: TradingVerb
    why: str


def mark_of(message: EquityMarked) -> Mark:
    return Mark(
        session=message.session,
        as_of=message.as_of,
        day_base=message.day_base,
        peak=message.peak,
        reset_by=message.reset_by,
    )


def after_portfolio(mark: Mark | None, portfolio: PortfolioObserved) -> Mark | None:
    """The mark with a portfolio seen; one that cannot be read or is older changes nothing."""
    account = portfolio.account
    equity, base = account.equity, account.last_equity
    if not equity.is_finite() or not base.is_finite():
        return mark
    base = base if base > 0 else equity
    if mark is None:
        return Mark(
            session=portfolio.session,
            as_of=portfolio.as_of,
            day_base=base,
            peak=max(equity, base),
        )
    if portfolio.as_of <= mark.as_of:
        return mark
    return msgspec.structs.replace(
        mark,
        session=max(mark.session, portfolio.session),
        as_of=portfolio.as_of,
        day_base=base if portfolio.session > mark.session else mark.day_base,
        peak=max(mark.peak, equity),
    )


def after_standing(
    mark: Mark | None, standing: Standing, portfolio: PortfolioObserved | None
) -> Mark | None:
    """The mark begun anew when somebody resumed since."""
    if mark is None or portfolio is None or standing.resumed_by in ("", mark.reset_by):
        return mark
    equity = portfolio.account.equity
    if not equity.is_finite():
        return mark
    return msgspec.structs.replace(mark, day_base=equity, peak=equity, reset_by=standing.resumed_by)


def daily_loss_pct(mark: Mark, equity: Decimal) -> Decimal:
    """Percent of the day's base; negative for a gain."""
    return ZERO if mark.day_base <= 0 else (mark.day_base - equity) * 100 / mark.day_base


def drawdown_pct(mark: Mark, equity: Decimal) -> Decimal:
    """Percent of the peak."""
    return ZERO if mark.peak <= 0 else (mark.peak - equity) * 100 / mark.peak


def trip_of(mark: Mark | None, equity: Decimal, settings: RiskSettings) -> Trip | None:
    """What the losses call for, the harder word first; None when they are within bounds."""
    if mark is None or not equity.is_finite():
        return None
    day, fall = daily_loss_pct(mark, equity), drawdown_pct(mark, equity)
    rules = (
        (TradingVerb.TRIP_HALT, "daily loss", day, settings.halt_daily_loss_pct),
        (TradingVerb.TRIP_HALT, "drawdown from the peak", fall, settings.halt_drawdown_pct),
        (TradingVerb.TRIP_REDUCE, "daily loss", day, settings.reduce_daily_loss_pct),
        (TradingVerb.TRIP_REDUCE, "drawdown from the peak", fall, settings.reduce_drawdown_pct),
    )
    for verb, what, found, most in rules:
        if most > 0 and found >= Decimal(repr(most)):
            return Trip(verb=verb, why=f"{what} {found:.2f} %, limit {most:g} %")
    return None
