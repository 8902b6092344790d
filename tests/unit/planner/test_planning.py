"""Plans as a whole: ids, repeatability, and shares that are never promised twice."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import OrderType, Side, SnapshotTaken, TimeInForce
from libs.common.settings import PlannerSettings
from libs.common.symbols import Right
from services.planner.planning import PlanOutcome, plan
from services.planner.registry import StrategyFunction
from services.planner.strategies.holdings import Holdings
from services.planner.strategies.proposals import Proposal, Wish
from tests.unit.planner.market_day import (
    WALL,
    call,
    occ,
    open_sell,
    put,
    settings,
    short_option,
    snapshot,
    stock,
)

CHAIN = (put("95"), call("105"))


def ids(outcome: PlanOutcome) -> list[str]:
    return [outcome.plan.message_id, *(intent.message_id for intent in outcome.intents)]


def test_the_same_snapshot_gives_the_same_ids_at_any_hour() -> None:
    taken = snapshot(*CHAIN, positions=[stock("250")])
    first = plan(taken, settings(), at=WALL)
    again = plan(taken, settings(), at=WALL + dt.timedelta(hours=1))
    assert len(ids(first)) == 4
    assert ids(again) == ids(first)
    assert len(set(ids(first))) == 4
    assert all(len(text) <= 29 and text.isalnum() for text in ids(first))


def test_ids_survive_the_bus() -> None:
    taken = snapshot(*CHAIN, positions=[stock("250")])
    received = msgspec.json.decode(msgspec.json.encode(taken), type=SnapshotTaken)
    assert ids(plan(received, settings(), at=WALL)) == ids(plan(taken, settings(), at=WALL))


def test_another_tick_or_price_is_another_intent() -> None:
    base = plan(snapshot(put("95")), settings(), at=WALL)
    later = plan(snapshot(put("95"), tick_id="tick-2"), settings(), at=WALL)
    dearer = plan(snapshot(put("95", ask=1.32)), settings(), at=WALL)
    untold = plan(snapshot(put("95"), tick_id=""), settings(), at=WALL)
    found = {outcome.intents[0].message_id for outcome in (base, later, dearer, untold)}
    assert len(found) == 4


def grab_all(snapshot: SnapshotTaken, settings: PlannerSettings, holdings: Holdings) -> Proposal:
    """A careless strategy: it wants every share there is, twice."""
    wish = Wish(
        strategy="careless",
        symbol=snapshot.symbol,
        side=Side.SELL,
        qty=int(holdings.shares),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
    )
    return Proposal(wishes=(wish, wish))


def test_a_careless_strategy_cannot_promise_a_share_twice() -> None:
    careless = {"first": grab_all, "second": grab_all}
    outcome = plan(snapshot(positions=[stock("70")]), settings(), at=WALL, strategies=careless)
    assert [intent.qty for intent in outcome.intents] == [70]
    assert outcome.plan.notes == [
        "first: AAPL wants 70 shares, 0 free",
        "second: AAPL wants 70 shares, 0 free",
        "second: AAPL wants 70 shares, 0 free",
    ]


def buy_one(name: str) -> StrategyFunction:
    wish = Wish(
        strategy=name,
        symbol="AAPL",
        side=Side.BUY,
        qty=1,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
    )
    return lambda _snapshot, _settings, _holdings: Proposal(wishes=(wish,))


def test_two_strategies_may_want_the_same_order_and_are_told_apart() -> None:
    both = {name: buy_one(name) for name in ("left", "right")}
    outcome = plan(snapshot(), settings(), at=WALL, strategies=both)
    assert [intent.strategy for intent in outcome.intents] == ["left", "right"]
    assert len(set(outcome.plan.intent_ids)) == 2


resting = st.lists(
    st.one_of(
        st.builds(open_sell, st.just("AAPL"), st.integers(1, 300)),
        st.builds(open_sell, st.just(occ("105", Right.CALL)), st.integers(1, 3)),
    ),
    max_size=2,
)
held_short = st.lists(
    st.builds(short_option, st.just(occ("105", Right.CALL)), st.integers(1, 3)), max_size=2
)


@given(
    shares=st.decimals(-300, 1000, places=2, allow_nan=False),
    withheld=st.integers(0, 300),
    held_short=held_short,
    resting=resting,
    named=st.booleans(),
    in_universe=st.booleans(),
)
def test_no_share_is_ever_promised_twice(
    shares: Decimal,
    withheld: int,
    held_short: list[Any],
    resting: list[Any],
    named: bool,
    in_universe: bool,
) -> None:
    available = max(shares - withheld, Decimal(0))
    taken = snapshot(
        *CHAIN,
        positions=[stock(str(shares), available=str(available)), *held_short],
        open_orders=resting,
        in_universe=in_universe,
    )
    rules = settings(trail_symbols=frozenset({"AAPL"} if named else ()))
    outcome = plan(taken, rules, at=WALL)
    promised = sum(
        intent.qty * (1 if intent.symbol == "AAPL" else 100)
        for intent in outcome.intents
        if intent.strategy != "wheel:cash_secured_put"
    )
    bound = sum(100 * -p.qty for p in held_short)
    bound += sum(o.qty * (1 if o.symbol == "AAPL" else 100) for o in resting)
    assert promised == 0 or promised <= min(shares - bound, available)
    for intent in outcome.intents:
        assert intent.qty > 0


def test_a_planner_loads_nothing_heavy() -> None:
    """It must fit in 60 MiB: no numpy, pandas, alpaca-py or cryptography behind the imports."""
    heavy = {"numpy", "pandas", "alpaca", "cryptography", "pydantic", "requests"}
    code = "import sys, services.planner.planning; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert heavy.isdisjoint(name.partition(".")[0] for name in out.stdout.split())
