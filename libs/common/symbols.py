"""OCC option symbols: `AAPL240426C00162500` is root, expiration (yymmdd), right, strike in mills.

The layout is the Options Clearing Corporation's (OSI, 2010) without the padding, as Alpaca
writes it. Adjusted contracts carry a root that ends in a digit (`AAPL1`): their deliverable is
not 100 shares, so this bot never trades them.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

import msgspec

SHARES_PER_CONTRACT = 100

_OCC = re.compile(r"([A-Z][A-Z0-9.]{0,5}?)(\d{2})(\d{2})(\d{2})([CP])(\d{8})", re.ASCII)
_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,4}(?:[./][A-Z]{1,2})?", re.ASCII)
_MILLS = Decimal(1000)


class Right(StrEnum):
    CALL = "call"
    PUT = "put"


class OptionSymbol(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    expiration: dt.date
    right: Right
    strike: Decimal

    @property
    def adjusted(self) -> bool:
        return self.root[-1].isdigit()

    @property
    def underlying(self) -> str:
        """The root without the digit of an adjusted contract."""
        return self.root.rstrip("0123456789")

    def __str__(self) -> str:
        right = "C" if self.right is Right.CALL else "P"
        return f"{self.root}{self.expiration:%y%m%d}{right}{int(self.strike * _MILLS):08d}"


@lru_cache(maxsize=65_536)
def parse_option_symbol(text: str) -> OptionSymbol | None:
    """The parts of an OCC symbol, or None when `text` is not one (a stock, say)."""
    match = _OCC.fullmatch(text)
    if match is None:
        return None
    root, year, month, day, right, mills = match.groups()
    try:
        expiration = dt.date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None
    return OptionSymbol(
        root=root,
        expiration=expiration,
        right=Right.CALL if right == "C" else Right.PUT,
        strike=(Decimal(mills) / _MILLS).normalize() + Decimal(0),
    )


def underlying_of(symbol: str) -> str:
    """The stock behind a symbol: itself for a stock, the root's stock for an option."""
    option = parse_option_symbol(symbol)
    return option.underlying if option else symbol


def is_stock_symbol(text: str) -> bool:
    """Whether `text` has the form of a listed stock's symbol (it may still be unknown)."""
    return _STOCK.fullmatch(text) is not None


def option_root(stock: str) -> str:
    """The root of a stock's standard options: those on `BRK.B` are listed under `BRKB`."""
    return stock.replace(".", "").replace("/", "")
