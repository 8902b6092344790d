"""Everything held is closed by orders that risk signed, in the simulated exchange."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from libs.common.contracts import IntentApproved, TradingState
from libs.common.trading_log import BusTradingLog
from libs.common.trading_state import standing_of
from services.cli.flatten import flatten
from tests.integration.world import RunningExchange, World, settings_of, until

pytestmark = pytest.mark.integration


async def test_what_is_held_is_closed_and_nothing_is_opened_meanwhile(
    world: World, exchange: Callable[..., RunningExchange]
) -> None:
    """A lot that a resting stop holds: the stop is called back, then the shares are sold."""
    running = exchange(symbols=["KO"], stocks={"KO": Decimal(130)}, speed=600.0)
    settings = world.broker_at(running.url) | {
        "ALPACA_CLOCK_SPEED": "600",
        "WHEEL_ENABLED": "false",
    }
    for name in ("market", "executor", "risk", "planner"):
        await world.room(name, **settings)
    await until(
        lambda: [o for o in running.get("/v2/orders") if o["type"] == "trailing_stop"],
        "the stop to rest",
    )
    done = await flatten(settings_of(world.environ | settings), "a test", 60)
    assert done.left == []
    assert done.word.standing.state is TradingState.REDUCING
    assert running.get("/v2/positions") == []
    sold = [a.intent for a in world.of(IntentApproved) if a.intent.strategy == "flatten"]
    assert [(i.symbol, i.qty) for i in sold] == [("KO", 130)]
    stops = [o for o in running.get("/v2/orders", status="all") if o["type"] == "trailing_stop"]
    assert {o["status"] for o in stops} == {"canceled"}
    standing = standing_of({"bus": await BusTradingLog(await world.bus.of("operator")).read()})
    assert standing.flattening, "it holds until somebody resumes"
