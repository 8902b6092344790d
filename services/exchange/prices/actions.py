"""Corporate actions: dividends and splits, injected. (In the making.)"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.symbols import OptionSymbol
from services.exchange.prices.calendar import Session


class CashDividend(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    symbol: str
    rate: Decimal
    ex_date: dt.date
    record_date: dt.date
    payable_date: dt.date
    special: bool = False


class Split(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    symbol: str
    new_rate: Decimal
    old_rate: Decimal
    ex_date: dt.date


class Actions:
    def __init__(self) -> None:
        self.all: list[CashDividend | Split] = []

    def saved(self) -> list[dict[str, object]]:
        return []

    def restore(self, saved: list[dict[str, object]]) -> None:
        return None

    def on(self, session: Session) -> list[CashDividend | Split]:
        return [action for action in self.all if action.ex_date == session.date]


def adjusted_contract(
    option: OptionSymbol, split: Split
) -> tuple[OptionSymbol, Decimal, Decimal]:
    raise NotImplementedError(option, split)
