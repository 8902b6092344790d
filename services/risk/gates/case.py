"""What a gate is given, and what it answers. Pure."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import msgspec

from libs.common.contracts import OrderIntended, PortfolioObserved, Strategy
from libs.common.money import decimal_of
from libs.common.settings import RiskSettings
from libs.common.symbols import parse_option_symbol
from libs.common.trading_state import Standing, lowers_risk
from services.risk.losses import Mark
from services.risk.replacing import Target, target_of, without
from services.risk.reservations import Book, Reservation, stock_value
from services.risk.tallies import Tallies


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    reason: str


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest snapshot says of one symbol; dollars a share, absent is None.

    `as_of` and `closes_at` are the broker's clock, `at` is wall time.
    """

    at: dt.datetime
    as_of: dt.datetime
    session: dt.date
    closes_at: dt.datetime | None = None
    bid: float | None = None
    ask: float | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known when one intent is judged. `at` is wall time.

    `clock_speed` is how much faster than life the broker's clock runs: what is allowed in a
    minute is counted by that clock.
    """

    intent: OrderIntended
    portfolio: PortfolioObserved | None
    reservations: tuple[Reservation, ...]
    settings: RiskSettings
    at: dt.datetime
    decided: bool = False
    standing: Standing | None = None
    sight: Sight | None = None
    tallies: Tallies
    mark: Mark | None = None
    clock_speed: float = 1.0

    @property
    def book(self) -> Book:
        """Without the order whose place the intent takes: of the two only one can live. Only for
        gates that are asked when there is a readable portfolio.
        """
        target = self.target
        return without(self.whole_book, target) if isinstance(target, Target) else self.whole_book

    @property
    def whole_book(self) -> Book:
        assert self.portfolio is not None  # noqa: S101  # run_gates sees to it
        return Book(portfolio=self.portfolio, reservations=self.reservations)

    @property
    def target(self) -> Target | str | None:
        """The order to be replaced, or why it cannot be; None when nothing is to be replaced."""
        if self.intent.replaces is None:
            return None
        return target_of(self.intent, self.whole_book)

    @property
    def opens(self) -> bool:
        """Whether the order may add risk, so that the rules for entries hold."""
        return not lowers_risk(self.intent)

    @property
    def is_option(self) -> bool:
        return parse_option_symbol(self.intent.symbol) is not None

    @property
    def is_flatten(self) -> bool:
        return self.intent.strategy == Strategy.FLATTEN

    @property
    def quote(self) -> tuple[Decimal, Decimal] | None:
        """Bid and ask in dollars a share; None when a side is missing or they make no market."""
        sight = self.sight
        if sight is None or sight.bid is None or sight.ask is None:
            return None
        if not (0 <= sight.bid <= sight.ask < math.inf and sight.ask > 0):  # NaN is none of these
            return None
        return decimal_of(sight.bid), decimal_of(sight.ask)

    @property
    def mark_price(self) -> Decimal | None:
        """Dollars a share at which the portfolio shows the symbol, None when it does not."""
        for position in self.portfolio.positions if self.portfolio else ():
            if position.symbol == self.intent.symbol and position.qty:
                price = position.current_price
                if price is not None and math.isfinite(price):
                    return decimal_of(price)
                return None if self.is_option else abs(stock_value(position) / position.qty)
        return None


def all_of(faults: list[str], fine: str) -> CheckResult:
    return CheckResult(ok=not faults, reason="; ".join(faults) or fine)


def fine(reason: str) -> CheckResult:
    return CheckResult(ok=True, reason=reason)


def bad(reason: str) -> CheckResult:
    return CheckResult(ok=False, reason=reason)
