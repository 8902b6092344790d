"""Five greeks of 3,000 contracts: our one vectorised call against vollib's scalar functions."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from vollib.black_scholes_merton.greeks import analytical

from services.exchange.greeks import greeks

CONTRACTS = 3_000
ROUNDS = 5
OURS_PER_ROUND = 20
TARGET = 100.0
ERROR_MAX = 1e-10
NAMES = ("delta", "gamma", "theta", "vega", "rho")
RATE = 0.02


def run() -> dict[str, Any]:
    """Medians of interleaved rounds, in milliseconds; the answers are asserted equal."""
    rng = np.random.default_rng(1)
    spot = 100.0
    strike = rng.uniform(65, 135, CONTRACTS)
    years = rng.uniform(1, 160, CONTRACTS) / 365
    volatility = rng.uniform(0.15, 0.9, CONTRACTS)
    call = rng.random(CONTRACTS) < 0.5
    columns = (np.where(call, "c", "p"), strike, years, volatility)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))

    def ours() -> list[np.ndarray]:
        found = greeks(
            spot=spot, strike=strike, years=years, volatility=volatility, call=call, rate=RATE
        )
        return [getattr(found, name) for name in NAMES]

    def theirs() -> list[list[float]]:
        functions = [getattr(analytical, name) for name in NAMES]
        return [[f(flag, spot, k, t, RATE, v, 0.0) for flag, k, t, v in rows] for f in functions]

    error = max(
        float(np.max(np.abs(mine - np.array(other))))
        for mine, other in zip(ours(), theirs(), strict=True)
    )
    assert error <= ERROR_MAX, f"greeks differ by {error}"
    ours_ms, theirs_ms = [], []
    for _ in range(ROUNDS):
        ours_ms += [_milliseconds(ours) for _ in range(OURS_PER_ROUND)]
        theirs_ms.append(_milliseconds(theirs))
    ours_median, theirs_median = statistics.median(ours_ms), statistics.median(theirs_ms)
    return {
        "name": f"greeks of {CONTRACTS:,} contracts against vollib",
        "ratio": theirs_median / ours_median,
        "ours_ms": ours_median,
        "theirs_ms": theirs_median,
        "max_error": error,
        "target": TARGET,
    }


def _milliseconds(work: Callable[[], object]) -> float:
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1000
    finally:
        gc.enable()


if __name__ == "__main__":
    print(run())
