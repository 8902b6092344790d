"""A planner process: what it has imported and how much memory it holds after fifty plans.

A fresh interpreter imports the planner's own shell, with all that stands behind it, then decodes
and plans one snapshot of 3,000 contracts again and again, as its consumer would.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.chains import UNDERLYING, puts_asked_for
from benchmarks.planning import snapshot_of
from benchmarks.result import Result

TARGET_MIB = 60.0
PLANS = 50
ABSENT = ("alpaca", "pandas", "numpy")

PROGRAM = f"""
import json, sys
from pathlib import Path
import psutil
import services.planner.service
from libs.common.contracts import SnapshotTaken
from libs.common.settings import PlannerSettings
import msgspec
from services.planner.planning import plan
settings = PlannerSettings(universe=({UNDERLYING!r},))
payload = Path(sys.argv[1]).read_bytes()
me = psutil.Process()
at_rest = me.memory_info().rss
for _ in range({PLANS}):
    snapshot = msgspec.json.decode(payload, type=SnapshotTaken)
    outcome = plan(snapshot, settings, at=snapshot.at)
    assert outcome.intents
print(json.dumps({{
    "at_rest": at_rest,
    "rss": me.memory_info().rss,
    "modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
}}))
"""


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    at_rest: int
    rss: int
    modules: list[str]


def run() -> list[Result]:
    """Raises AssertionError when the planner has imported what it must not."""
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder) / "snapshot.json"
        payload.write_bytes(msgspec.json.encode(snapshot_of(puts_asked_for())))
        command = [sys.executable, "-c", PROGRAM, str(payload)]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    said = msgspec.json.decode(done.stdout, type=_Said)
    found = [name for name in ABSENT if name in said.modules]
    assert not found, f"a planner process imports {', '.join(found)}"
    return [
        Result(
            name=f"a planner process after {PLANS} plans",
            figure=said.rss / 2**20,
            target=TARGET_MIB,
            unit="MiB",
            notes=f"{said.at_rest / 2**20:.0f} MiB at rest; without {', '.join(ABSENT)}",
        )
    ]
