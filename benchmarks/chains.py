"""A chain of 3,000 contracts in Alpaca's JSON, made up but of its shape and size: 2 MB.

Calls and puts of fifteen expirations, prices by Black-Scholes-Merton with a skew, quotes on the
penny grid with a width that grows with the distance from spot, stamps to the nanosecond. As with
Alpaca's, some contracts lack greeks, a trade, a minute's bar, a bid or the whole quote; those whose
greeks are there have all five, since alpaca-py's models refuse the chain otherwise.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from libs.common.symbols import OptionSymbol, Right
from services.exchange.prices.greeks import greeks
from services.market.snapshot import ContractFacts

UNDERLYING = "AAPL"
SPOT = 250.0
SESSION = dt.date(2025, 3, 3)
PAGE = 1_000
STRIKES = 100
RATE = 0.04
BOTH_RIGHTS_DAYS = (2, 4, 7, 9, 11, 14, 18, 25, 32, 46, 74, 109, 137, 200, 319)
WINDOW_DAYS = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14)


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Pages as the broker sends them, and what its contracts endpoint says once a day."""

    pages: list[bytes]
    facts: dict[str, ContractFacts]

    @property
    def size(self) -> int:
        return sum(map(len, self.pages))


def whole_chain() -> Chain:
    """Both rights, strikes from 50 to 150 % of spot, weeks to a year away."""
    strikes = np.arange(STRIKES) * 2.5 + SPOT * 0.5
    return _chain([(days, right) for days in BOTH_RIGHTS_DAYS for right in Right], strikes)


def puts_asked_for() -> Chain:
    """As many again of what market's own filter lets through: out-of-the-money puts, 5 to 14
    days away, where no contract can be passed over.
    """
    strikes = np.arange(3 * STRIKES) * 0.25 + SPOT * 0.7
    return _chain([(days, Right.PUT) for days in WINDOW_DAYS], strikes)


def _chain(parts: list[tuple[int, Right]], strikes: np.ndarray) -> Chain:
    rng = np.random.default_rng(11)
    snapshots: dict[str, Any] = {}
    for days, right in parts:
        snapshots |= _snapshots(rng, days, right, strikes)
    symbols = sorted(snapshots)
    starts = range(0, len(symbols), PAGE)
    pages = [
        _page({s: snapshots[s] for s in symbols[i : i + PAGE]}, i + PAGE < len(symbols))
        for i in starts
    ]
    facts = {
        symbol: ContractFacts(open_interest=int(open_interest), penny=True)
        for symbol, open_interest in zip(symbols, rng.integers(0, 4000, len(symbols)), strict=True)
    }
    return Chain(pages=pages, facts=facts)


def _page(snapshots: dict[str, Any], more: bool) -> bytes:
    page = {"next_page_token": "QUFQTA==" if more else None, "snapshots": snapshots}
    return json.dumps(page, separators=(",", ":")).encode()


def _snapshots(
    rng: np.random.Generator, days: int, right: Right, strikes: np.ndarray
) -> dict[str, Any]:
    moneyness = np.log(strikes / SPOT)
    volatility = 0.28 - 0.25 * moneyness + 0.6 * moneyness**2
    found = greeks(
        spot=SPOT,
        strike=strikes,
        years=np.full(len(strikes), days / 365),
        volatility=volatility,
        call=np.full(len(strikes), right is Right.CALL),
        rate=RATE,
    )
    worth = _worth(strikes, right, days, volatility)
    half = 0.005 + 0.02 * worth + 0.05 * np.abs(moneyness)
    bid, ask = np.round(np.maximum(worth - half, 0), 2), np.round(worth + half + 0.01, 2)
    lacking = rng.random((len(strikes), 5))
    expiration = SESSION + dt.timedelta(days=days)
    snapshots: dict[str, Any] = {}
    for i, strike in enumerate(strikes.tolist()):
        symbol = OptionSymbol(
            root=UNDERLYING, expiration=expiration, right=right, strike=Decimal(repr(strike))
        )
        view: dict[str, Any] = {"dailyBar": _bar(rng, ask[i], "2025-03-03T05:00:00Z")}
        if lacking[i, 0] > 0.06:
            view["greeks"] = {
                name: round(float(getattr(found, name)[i]), 4)
                for name in ("delta", "gamma", "rho", "theta", "vega")
            }
            view["impliedVolatility"] = round(float(volatility[i]), 4)
        if lacking[i, 1] > 0.02:
            view["latestQuote"] = {
                "ap": float(ask[i]),
                "as": int(rng.integers(1, 900)),
                "ax": "A",
                "bp": 0 if lacking[i, 2] < 0.03 else float(bid[i]),
                "bs": int(rng.integers(1, 900)),
                "bx": "X",
                "c": " ",
                "t": _stamp(rng),
            }
        if lacking[i, 3] > 0.02:
            view["latestTrade"] = {
                "c": "I",
                "p": float(ask[i]),
                "s": int(rng.integers(1, 40)),
                "t": _stamp(rng),
                "x": "C",
            }
        if lacking[i, 4] > 0.02:
            view["minuteBar"] = _bar(rng, ask[i], "2025-03-03T15:59:00Z")
        view["prevDailyBar"] = _bar(rng, ask[i], "2025-02-28T05:00:00Z")
        snapshots[str(symbol)] = view
    return snapshots


def _worth(strikes: np.ndarray, right: Right, days: int, volatility: np.ndarray) -> np.ndarray:
    """A price good enough for quotes: intrinsic value plus what is left of the time value."""
    sign = 1 if right is Right.CALL else -1
    intrinsic = np.maximum(sign * (SPOT - strikes), 0)
    width = SPOT * volatility * np.sqrt(days / 365)
    return np.maximum(intrinsic + 0.4 * width * np.exp(-(((strikes - SPOT) / width) ** 2)), 0.01)


def _bar(rng: np.random.Generator, price: float, stamp: str) -> dict[str, Any]:
    low, open_, close, high = np.round(np.sort(rng.uniform(0.9, 1.1, 4)) * price, 2).tolist()
    volume = int(rng.integers(1, 4000))
    return {
        "c": close,
        "h": high,
        "l": low,
        "n": volume // 3 + 1,
        "o": open_,
        "t": stamp,
        "v": volume,
        "vw": round((low + high) / 2 + rng.random() / 100, 6),
    }


def _stamp(rng: np.random.Generator) -> str:
    nanoseconds = int(rng.integers(0, 60_000_000_000))
    return f"2025-03-03T15:59:{nanoseconds // 10**9:02d}.{nanoseconds % 10**9:09d}Z"
