"""Every strategy a planner runs, by name. Adding one is its file and its line here.

They run in this order, and each sees the shares that those before it have promised: the wheel's
covered calls come before trailing stops.
"""

from __future__ import annotations

from collections.abc import Callable

from libs.common.contracts import SnapshotTaken
from libs.common.settings import PlannerSettings
from services.planner.strategies import trailing_stop, wheel
from services.planner.strategies.holdings import Holdings
from services.planner.strategies.proposals import Proposal

StrategyFunction = Callable[[SnapshotTaken, PlannerSettings, Holdings], Proposal]

STRATEGIES: dict[str, StrategyFunction] = {
    "wheel": wheel.propose,
    "trailing_stop": trailing_stop.propose,
}
