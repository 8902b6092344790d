"""What an account holds, and the rows that tell how it came to it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right, parse_option_symbol
from services.exchange.engine.orders import Side

STANDARD_DELIVERABLE = Decimal(SHARES_PER_CONTRACT)
SHARE_STEP = Decimal("0.000000001")  # the smallest part of a share that is held or traded


class Position(msgspec.Struct, kw_only=True, gc=False):
    """A holding; `qty` is negative when short, in shares or contracts.

    `deliverable` is shares per contract: other than 100 after an odd split. Premiums and strikes
    count for 100 shares all the same.
    """

    symbol: str
    qty: Decimal
    avg_entry_price: Decimal
    opened_on: dt.date
    deliverable: Decimal = STANDARD_DELIVERABLE

    @property
    def option(self) -> OptionSymbol | None:
        return parse_option_symbol(self.symbol)

    @property
    def multiplier(self) -> int:
        return SHARES_PER_CONTRACT if self.option else 1

    def is_short(self, right: Right) -> bool:
        option = self.option
        return self.qty < 0 and option is not None and option.right is right


class Activity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row of the account's activities. `known_at` is when clients may see it (UTC)."""

    id: str
    activity_type: str
    date: dt.date
    known_at: dt.datetime
    symbol: str
    qty: Decimal
    price: Decimal | None = None
    net_amount: Decimal | None = None
    per_share_amount: Decimal | None = None  # of dividends
    sub_type: str | None = None
    # of fills only
    side: Side | None = None
    order_id: str | None = None
    cum_qty: Decimal | None = None
    leaves_qty: Decimal | None = None


class Receivable(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dividend that is owed: `qty` shares were held at the close before the ex-date."""

    symbol: str
    qty: Decimal
    rate: Decimal
    payable_date: dt.date

    @property
    def amount(self) -> Decimal:
        return round(self.qty * self.rate, 2)


class Move(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A change of cash (dollars) or of a holding, kept some weeks for the equity's history."""

    at: dt.datetime
    symbol: str
    qty: Decimal = ZERO
    cash: Decimal = ZERO
