"""A planner process stays light: few modules, little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.contracts import ContractQuote, PlanMade
from libs.common.symbols import Right
from tests.integration.stories import FRIDAY, occ, snapshot
from tests.integration.world import Process, World, until

pytestmark = pytest.mark.integration

MIB_MAX = 60
CONTRACTS = 3_000


def test_a_planner_imports_nothing_heavy() -> None:
    program = "import sys, services.planner.service; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "nats" in loaded
    assert not loaded & {"alpaca", "pandas", "numpy", "sqlalchemy", "scipy", "requests", "pydantic"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_planner_stays_small_over_a_long_chain(
    world: World, process: Callable[..., Process]
) -> None:
    planner = process("planner", world.environ)
    contracts = [
        ContractQuote(
            symbol=occ("KO", f"{strike / 100}", right),
            right=right,
            strike=Decimal(strike) / 100,
            expiration=FRIDAY,
            bid=1.2,
            ask=1.26,
            delta=-strike / 24_000,
            gamma=0.01,
            theta=-0.02,
            vega=0.03,
            implied_volatility=0.3,
            open_interest=500,
        )
        for right in Right
        for strike in range(3_000, 3_000 + CONTRACTS)[: CONTRACTS // 2]
    ]
    await world.bus.publish(snapshot("KO", contracts=contracts))
    plans = await until(lambda: world.of(PlanMade), "the plan")
    assert plans[0].intent_ids
    assert resident_mib(planner.popen.pid) < MIB_MAX


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]) / 1024
