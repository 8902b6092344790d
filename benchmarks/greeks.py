"""Five greeks of 3,000 contracts: our one vectorised call against vollib's scalar functions."""

from __future__ import annotations

import numpy as np
from vollib.black_scholes_merton.greeks import analytical

from benchmarks.result import Result, interleaved
from services.exchange.prices.greeks import greeks

CONTRACTS = 3_000
ROUNDS = 5
OURS_PER_ROUND = 20
TARGET = 100.0
ERROR_MAX = 1e-10
NAMES = ("delta", "gamma", "theta", "vega", "rho")
RATE = 0.02


def run() -> list[Result]:
    """Raises AssertionError when any of the 15,000 greeks differs by more than ERROR_MAX."""
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
    ours_ms, theirs_ms = interleaved(ours, theirs, rounds=ROUNDS, ours_per_round=OURS_PER_ROUND)
    return [
        Result(
            name=f"five greeks of {CONTRACTS:,} contracts",
            ours_ms=ours_ms,
            theirs_ms=theirs_ms,
            ratio=theirs_ms / ours_ms,
            target=TARGET,
            notes=f"against vollib's scalar functions; largest error {error:.0e}",
        )
    ]
