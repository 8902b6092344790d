"""The example of docs/adding-a-strategy.md is a strategy that works."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.common.contracts import StockQuote
from services.planner.planning import plan
from services.planner.registry import STRATEGIES
from tests.unit.planner.market_day import WALL, settings, snapshot, stock

GUIDE = Path(__file__).parents[3] / "docs" / "adding-a-strategy.md"


@pytest.fixture(scope="module")
def strategies() -> dict[str, Any]:
    """The example registered in front of the others, as the guide has it."""
    [code] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    room: dict[str, Any] = {"__name__": "profit_lock"}
    exec(compile(code, str(GUIDE), "exec", dont_inherit=True), room)  # noqa: S102
    return {"profit_lock": room["propose"]} | STRATEGIES


def test_the_example_locks_a_profit_before_anyone_else_takes_the_shares(
    strategies: dict[str, Any],
) -> None:
    outcome = plan(
        snapshot(positions=[stock("150", basis="75")]), settings(), at=WALL, strategies=strategies
    )
    [stop] = outcome.intents
    assert (stop.strategy, stop.qty, stop.trail_percent) == ("profit_lock", 150, Decimal(3))
    assert stop.reason == "33.3 % above cost, locks from 25 %"


@pytest.mark.parametrize(
    ("basis", "quote"),
    [("95", StockQuote(last=100.0)), ("0", StockQuote(last=100.0)), ("75", StockQuote())],
)
def test_the_example_leaves_the_shares_to_the_others(
    strategies: dict[str, Any], basis: str, quote: StockQuote
) -> None:
    taken = snapshot(positions=[stock("150", basis=basis)], quote=quote)
    outcome = plan(taken, settings(), at=WALL, strategies=strategies)
    assert [(i.strategy, i.qty) for i in outcome.intents] == [("trailing_stop", 50)]
