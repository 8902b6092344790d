"""The house rules of one exchange: what may be set when it is started."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.money import ZERO


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How orders fill and what it costs, and when options end. Minutes count before the close.

    Alpaca's paper trading fills a tenth of the orders partially, without slippage or fees; its
    sources give 15:15 and 15:30 for the cut-offs of an expiration day.
    """

    partial_fill_rate: float = 0.0
    slippage_bps: float = 0.0  # hundredths of a percent of the price, never beyond a limit
    fee_per_contract: Decimal = ZERO  # dollars, on each contract bought or sold
    fee_per_share_sold: Decimal = ZERO  # dollars
    early_assignment_rate: float = 0.02  # per night and short contract that is deep in the money
    expiry_opening_cutoff_minutes: int = 45
    expiry_liquidation_minutes: int = 30

    def trouble(self) -> str | None:
        """What is wrong with these terms, in one line."""
        rates = ("partial_fill_rate", "early_assignment_rate")
        for name in rates:
            if not 0 <= getattr(self, name) <= 1:
                return f"{name} {getattr(self, name)} must be 0 to 1"
        if not 0 <= self.slippage_bps <= 1000:
            return f"slippage_bps {self.slippage_bps} must be 0 to 1000"
        for name in ("fee_per_contract", "fee_per_share_sold"):
            fee: Decimal = getattr(self, name)
            if not (fee.is_finite() and 0 <= fee <= 100):
                return f"{name} {fee} must be 0 to 100 dollars"
        for name in ("expiry_opening_cutoff_minutes", "expiry_liquidation_minutes"):
            if not 0 <= getattr(self, name) <= 210:  # half days have 210 minutes
                return f"{name} {getattr(self, name)} must be 0 to 210"
        return None
