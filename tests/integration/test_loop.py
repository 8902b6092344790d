"""The whole loop against the exchange: a put is sold, and every book agrees with the account.

Played once, at a trading day in six seconds, until a put was filled, a stop rests and risk has
blocked something. Then time stands still, one more tick is made, and the books are compared.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.common.contracts import MarketTicked, OrderIntended, TickAnswered, TickRequested
from libs.common.signing import KeyPair
from libs.embedded.postgres import PostgresServer
from services.cli.demo import DemoPlan, demo_environ
from tests.integration.broker import Broker
from tests.integration.servers import folder_of_its_own, make_database, make_nats
from tests.integration.stories import wall
from tests.integration.world import (
    PASSED_ON,
    RunningExchange,
    World,
    row_counts,
    rows,
    until,
)

pytestmark = pytest.mark.integration

SPEED = 3900.0
STANDSTILL = 0.001
PLAN = DemoPlan(symbols=("AAPL", "KO"), start=dt.date(2020, 2, 12))
ROOMS = ("executor", "risk", "planner", "reporter", "market")


class Played:
    """What is left when the play is over: the books, the exchange standing still, the messages."""

    def __init__(self, url: str, exchange: RunningExchange, world: World) -> None:
        self.url = url
        self.exchange = exchange
        self.world = world

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        return rows(self.url, query, *values)


@pytest.fixture(scope="module")
def played(
    postgres: PostgresServer, keys: KeyPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    url = make_database(postgres)
    with folder_of_its_own() as folder:
        nats = make_nats(folder)
        exchange = RunningExchange(
            tmp_path_factory.mktemp("exchange"),
            symbols=["AAPL", "KO"],
            stocks={"JNJ": Decimal(40)},
            cash=PLAN.cash,
            start_date=PLAN.start,
            speed=SPEED,
        )
        try:
            world = World(nats, url, keys)
            asyncio.run(play(world, exchange))
            yield Played(url, exchange, world)
        finally:
            exchange.close()
            nats.stop()


async def play(world: World, exchange: RunningExchange) -> None:
    """The universe holds one symbol nobody knows; the cash is enough for some puts, not all."""
    await world.open()
    try:
        settings = demo_environ(PLAN, SPEED) | world.broker_at(exchange.url)
        settings |= {"WHEEL_UNIVERSE": "AAPL,KO,XYZQ", "MAX_SHORT_PUTS": "1"}
        for name in ROOMS:
            await world.room(name, **settings)
        await until(lambda: played_enough(world), "a put filled, a stop resting, a block", 90)
        exchange.go_on_at(STANDSTILL)
        await until(lambda: books_agree(world, exchange), "the books to catch up")
        last = await tick_now(world)
        await world.row_when("select 1 from ticks where tick_id = %s", last.tick_id)
        await until(lambda: all_decided(world), "every intent to be decided and carried out")
        await until(lambda: books_agree(world, exchange), "the last orders to be taken")
        await world.row_when(
            "select 1 from portfolios where message_id like %s", f"%{last.tick_id}"
        )
    finally:
        await world.close()


def played_enough(world: World) -> bool:
    found = world.rows(
        "select exists(select 1 from fills where strategy='wheel:cash_secured_put') as put,"
        " exists(select 1 from orders"
        " where order_type='trailing_stop' and state='accepted') as stop,"
        " exists(select 1 from decisions where not approved) as block"
    )[0]
    return all(found.values())


def terms(status: str, qty: Any, price: Any) -> tuple[str, Decimal, Decimal | None]:
    return status, Decimal(qty), None if price is None else Decimal(price)


def our_orders(url: str) -> dict[str, tuple[str, Decimal, Decimal | None]]:
    found = rows(url, "select * from orders where order_id is not null")
    return {
        r["client_order_id"]: terms(r["broker_status"], r["filled_qty"], r["filled_avg_price"])
        for r in found
    }


def their_orders(exchange: RunningExchange) -> dict[str, tuple[str, Decimal, Decimal | None]]:
    found = exchange.get("/v2/orders", status="all", limit="500")
    return {
        o["client_order_id"]: terms(o["status"], o["filled_qty"], o["filled_avg_price"])
        for o in found
    }


def books_agree(world: World, exchange: RunningExchange) -> bool:
    return our_orders(world.database_url) == their_orders(exchange)


def all_decided(world: World) -> bool:
    waiting = world.rows(
        "select i from (select jsonb_array_elements_text(payload_json->'intent_ids') as i"
        " from plans) p where i not in (select id from order_intents where status<>'pending_new')"
    )
    planned = world.rows(
        "select jsonb_array_elements_text(payload_json->'intent_ids') as id from plans"
    )
    said = {intent.message_id for intent in world.of(OrderIntended)}
    return not waiting and said <= {row["id"] for row in planned}  # a plan follows its intents


async def tick_now(world: World) -> MarketTicked:
    """Asked again while the broker, begun anew, is not met again."""
    for number in range(50):
        request = TickRequested(message_id=f"r-{number}", at=wall(), requested_by="a test")
        answer = await world.bus.request(request, TickAnswered, timeout_seconds=20)
        if answer.ok:
            break
        await asyncio.sleep(0.2)
    return await until(
        lambda: next((t for t in world.of(MarketTicked) if t.tick_id == answer.tick_id), None),
        "the tick",
    )


# --- what the books say --------------------------------------------------------------------------


def test_every_order_is_as_the_exchange_has_it(played: Played) -> None:
    ours = our_orders(played.url)
    assert ours == their_orders(played.exchange)
    assert [status for status, _, _ in ours.values()].count("filled") >= 1
    shown = played.rows("select * from order_intents where submitted")
    assert {row["alpaca_order_id"] for row in shown} == {
        order["id"] for order in played.exchange.get("/v2/orders", status="all", limit="500")
    }


def test_the_fills_are_the_exchanges(played: Played) -> None:
    theirs = Counter(
        (a["symbol"], a["side"].split("_")[0], Decimal(a["qty"]), Decimal(a["price"]))
        for a in played.exchange.get("/v2/account/activities/FILL")
        if a["symbol"] != "JNJ" or a["side"] != "buy"  # shares of the first day
    )
    ours = Counter(
        (row["symbol"], row["side"], row["qty"], row["price"])
        for row in played.rows("select * from fills")
    )
    assert ours == theirs
    assert ours


def test_the_last_tick_ties_to_the_account(played: Played) -> None:
    account = played.exchange.get("/v2/account")
    tick = played.rows("select * from ticks order by ts desc, id desc limit 1")[0]
    assert tick["equity"] == Decimal(account["equity"])
    assert tick["cash"] == Decimal(account["cash"])
    assert tick["mode"] == "live/sim"
    assert "XYZQ: the broker does not know it; it is skipped" in tick["note"]
    (book,) = played.rows("select payload_json from portfolios order by session desc limit 1")
    held = {p["symbol"]: Decimal(p["qty"]) for p in book["payload_json"]["positions"]}
    theirs = played.exchange.get("/v2/positions")
    assert held == {p["symbol"]: Decimal(p["qty"]) for p in theirs}


def test_every_intent_can_be_followed_from_plan_to_row(played: Played) -> None:
    planned = {
        intent_id
        for row in played.rows("select payload_json from plans")
        for intent_id in row["payload_json"].get("intent_ids", [])
    }
    assert planned
    said = {intent.message_id for intent in played.world.of(OrderIntended)}
    decided = {r["intent_id"]: r["approved"] for r in played.rows("select * from decisions")}
    status = {r["id"]: r["status"] for r in played.rows("select * from order_intents")}
    carried_out = {r["intent_id"] for r in played.rows("select * from orders")}
    assert planned == said == decided.keys() == status.keys()
    assert carried_out == {intent_id for intent_id, approved in decided.items() if approved}
    assert {i for i, s in status.items() if s == "blocked"} == decided.keys() - carried_out
    ticked = {row["tick_id"] for row in played.rows("select tick_id from ticks")}
    assert {r["tick_id"] for r in played.rows("select tick_id from plans")} <= ticked


def test_every_change_of_an_order_is_an_event(played: Played) -> None:
    for order in played.rows("select client_order_id, revision from orders"):
        ids = [
            row["message_id"]
            for row in played.rows(
                "select message_id from events where message_id like %s order by id",
                order["client_order_id"] + "-r%",
            )
        ]
        assert ids == [f"{order['client_order_id']}-r{n}" for n in range(1, order["revision"] + 1)]


def test_the_report_ties_to_the_account(played: Played) -> None:
    command = [str(Path(sys.executable).with_name("alpaclaudia")), "report", "--json"]
    environ = {"DATABASE_URL": played.url, "ALPACLAUDIA_ENV_FILE": "", **passed_on()}
    done = run(command, environ)
    summary = msgspec.json.decode(done)
    account = played.exchange.get("/v2/account")
    assert Decimal(summary["equity"]) == Decimal(account["equity"])
    assert summary["session"] in run(command[:-1], environ)
    assert row_counts(played.url)["reports_sent"] <= len(
        played.rows("select distinct session from ticks")
    )


def run(command: list[str], environ: dict[str, str]) -> str:
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=30, check=True
    ).stdout


def passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


# --- dry mode ------------------------------------------------------------------------------------


async def test_dry_mode_plans_and_decides_but_sends_nothing(
    world: World, exchange: Callable[..., RunningExchange], broker: Broker
) -> None:
    """The executor's broker is one that counts: not one request may reach it."""
    running = exchange(speed=1.0)
    settings = world.broker_at(running.url) | {"BOT_MODE": "dry", "MIN_ANNUAL_YIELD": "0"}
    settings |= {"MIN_OPEN_INTEREST": "0", "MAX_SPREAD_PCT": "100"}
    await world.room("executor", **settings | world.broker_at(broker.url))
    for name in ("risk", "planner", "market"):
        await world.room(name, **settings)
    row = await world.row_when("select * from order_intents where status = 'dry_run'")
    assert (row["strategy"], row["submitted"]) == ("wheel:cash_secured_put", False)
    assert world.rows("select distinct state from orders") == [{"state": "dry_run"}]
    tick = await world.row_when("select mode, note from ticks")
    assert tick["mode"] == "dry/sim"
    assert broker.asked() == []
    assert running.get("/v2/orders", status="all") == []
