"""Corporate actions injected into the market: cash dividends and splits, and what they change.

The shipped closes have dividends and splits folded in, so none happen unless they are asked for.
An action takes effect at the open of its ex-date: from then on prices are multiplied, by
1 − rate / close before for a dividend, by old / new for a split. What was before stays as it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

import msgspec

from libs.common.money import plain
from libs.common.symbols import OptionSymbol
from services.exchange.prices.calendar import Calendar, Session

RATIO_MAX = Decimal(100)
STRIKE_STEP = Decimal("0.001")  # the OCC symbol has three decimals
SHARE_STEP = Decimal("0.000000001")


class CashDividend(msgspec.Struct, frozen=True, kw_only=True, tag="cash_dividend"):
    """`rate` in dollars a share. Special dividends are treated as ordinary ones."""

    id: str
    symbol: str
    rate: Decimal
    ex_date: dt.date
    record_date: dt.date
    payable_date: dt.date
    special: bool = False


class Split(msgspec.Struct, frozen=True, kw_only=True, tag="split"):
    """`new_rate` shares for `old_rate`: 2 for 1 is a split, 1 for 10 a reverse one."""

    id: str
    symbol: str
    new_rate: Decimal
    old_rate: Decimal
    ex_date: dt.date

    @property
    def factor(self) -> Decimal:
        """Shares after for each share before."""
        return self.new_rate / self.old_rate

    def shares(self, before: Decimal) -> Decimal:
        """What so many shares become; thirds of 300 are 100, which times `factor` they are not."""
        return before * self.new_rate / self.old_rate

    @property
    def whole(self) -> bool:
        """Whether each contract becomes a whole number of standard ones."""
        return self.factor > 1 and self.factor == self.factor.to_integral_value()


Action = CashDividend | Split
Close = Callable[[str, int], float]


class _Effect(NamedTuple):
    day: int
    action: Action
    factor: float  # of prices, from that day on


class Actions:
    """`close` gives a stock's price at a session's close before any action."""

    def __init__(self, calendar: Calendar, close: Close) -> None:
        self.all: list[Action] = []
        self._calendar = calendar
        self._close = close
        self._effects: dict[str, list[_Effect]] = {}

    def add(self, action: Action) -> None:
        """Raises ValueError for one that cannot be; when it may still be injected is the market's
        to know."""
        session = self._calendar.on(action.ex_date)
        if session is None:
            raise ValueError(f"ex_date {action.ex_date} is not a trading session")
        effects = self._effects.setdefault(action.symbol, [])
        if any(e.day >= session.index for e in effects):
            raise ValueError(
                f"{action.symbol} has an action on or after {action.ex_date}; "
                "inject them in the order of their ex-dates"
            )
        effects.append(_Effect(session.index, action, self._factor(action, session)))
        self.all.append(action)

    def _factor(self, action: Action, session: Session) -> float:
        if isinstance(action, Split):
            for name, rate in (("new_rate", action.new_rate), ("old_rate", action.old_rate)):
                if not (rate.is_finite() and 0 < rate <= 1000):
                    raise ValueError(f"{name} {rate} must be above 0, at most 1000")
            if not 1 / RATIO_MAX <= action.factor <= RATIO_MAX or action.factor == 1:
                raise ValueError(
                    f"new_rate {action.new_rate} for old_rate {action.old_rate} is no split; "
                    f"up to {RATIO_MAX} for 1 or 1 for {RATIO_MAX}"
                )
            return float(1 / action.factor)
        before = self.price(action.symbol, session.index - 1)
        if not (action.rate.is_finite() and 0 < action.rate <= Decimal(repr(before)) / 2):
            raise ValueError(f"rate {action.rate} must be above 0, at most half of {before:.2f}")
        if action.payable_date < action.ex_date:
            raise ValueError("payable_date must not be before ex_date")
        return 1 - float(action.rate) / before

    def price(self, symbol: str, day: int) -> float:
        """The close of a session as it was traded."""
        return self._close(symbol, day) * self.factor(symbol, day)

    def factor(self, symbol: str, day: int) -> float:
        """What prices of the source are multiplied by on that session."""
        return self._product(symbol, day, (CashDividend, Split))

    def split_factor(self, symbol: str, day: int) -> float:
        return self._product(symbol, day, (Split,))

    def dividend_factor(self, symbol: str, day: int) -> float:
        return self._product(symbol, day, (CashDividend,))

    def _product(self, symbol: str, day: int, kinds: tuple[type, ...]) -> float:
        effects = self._effects.get(symbol)
        if not effects:
            return 1.0
        product = 1.0
        for effect in effects:
            if effect.day <= day and isinstance(effect.action, kinds):
                product *= effect.factor
        return product

    def splits(self, symbol: str, after: int, until: int) -> list[tuple[int, Split]]:
        """Splits that went ex after session `after` and until session `until`, oldest first."""
        return [
            (effect.day, effect.action)
            for effect in self._effects.get(symbol, [])
            if after < effect.day <= until and isinstance(effect.action, Split)
        ]

    def on(self, session: Session) -> list[Action]:
        """What goes ex at the open of this session."""
        return [action for action in self.all if action.ex_date == session.date]

    def between(self, start: dt.date, end: dt.date) -> list[Action]:
        """By ex-date, both ends included."""
        found = [action for action in self.all if start <= action.ex_date <= end]
        return sorted(found, key=lambda action: (action.ex_date, action.id))

    def saved(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(action) for action in self.all]

    def restore(self, saved: list[dict[str, Any]]) -> None:
        """What `saved` gave. Raises ValueError."""
        for item in saved:
            self.add(msgspec.convert(item, CashDividend | Split))


def adjusted_contract(option: OptionSymbol, split: Split) -> tuple[OptionSymbol, Decimal]:
    """What a contract becomes: its symbol, and how many for one.

    A whole split gives more contracts at a lower strike (rounded down, so that the collateral of
    a put is never more than it was); any other leaves strike and number and changes the
    deliverable, under a root that ends in a digit (OCC By-Laws, article VI section 11A, and the
    information memos on reverse splits).
    """
    if split.whole:
        strike = (option.strike * split.old_rate / split.new_rate).quantize(
            STRIKE_STEP, ROUND_FLOOR
        )
        return msgspec.structs.replace(option, strike=plain(strike)), split.factor
    stem, digits = option.underlying, option.root[len(option.underlying) :]
    root = f"{stem}{int(digits or 0) + 1}"
    return msgspec.structs.replace(option, root=root), Decimal(1)


def deliverable_after(shares: Decimal, split: Split) -> Decimal:
    """Shares that a contract delivers after the split, from those it delivered before."""
    return shares if split.whole else split.shares(shares).quantize(SHARE_STEP, ROUND_FLOOR)
