"""`python -m benchmarks.waiting_planner MILLISECONDS`: the planner, with a wait in each plan.

It stands for a planner that asks somebody else (a pricing service, a model) before it decides.
"""

from __future__ import annotations

import sys
import time

from libs.common.contracts import SnapshotTaken
from services.planner import service
from services.planner.planning import PlanOutcome


def main() -> int:
    wait_seconds = float(sys.argv[1]) / 1000
    plan = service.plan

    def wait_and_plan(snapshot: SnapshotTaken, *given: object, **named: object) -> PlanOutcome:
        time.sleep(wait_seconds)
        return plan(snapshot, *given, **named)  # type: ignore[arg-type]

    service.plan = wait_and_plan
    return service.main()


if __name__ == "__main__":
    sys.exit(main())
