"""A stranger's planner: forty lines of plain nats-py, with a key of its own and no more rights."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from libs.common.bus_accounts import API_PREFIX, BY_NAME, publishes, subscribes
from libs.common.codec import decode_message
from libs.common.contracts import IntentApproved, OrderIntended, SnapshotTaken, Strategy
from libs.common.nkey_files import seed_path
from libs.embedded.nats import NatsServer
from tests.integration.stories import put_intent, snapshot
from tests.integration.voices import raw_client
from tests.integration.world import Process, RunningExchange, World, until

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parents[2] / "examples" / "planner.py"
ROOMS = ("executor", "risk", "market")


def environ_of(server: NatsServer) -> dict[str, str]:
    """All a stranger is handed: an address and a key."""
    seed = seed_path(server.seeds_folder, "guest")
    return {"NATS_URL": server.url, "NATS_NKEY_SEED_FILE": str(seed)}


@pytest.fixture
def stranger(world: World, tmp_path: Path) -> Iterator[Process]:
    """Run from elsewhere, so that nothing of ours is found by being near."""
    copy = tmp_path / "planner.py"
    copy.write_text(PROGRAM.read_text())
    command = [sys.executable, "-P", str(copy)]
    running = Process(command, environ_of(world.nats), tmp_path / "stranger.log")
    yield running
    running.kill()


def test_it_is_forty_lines_and_imports_nothing_of_ours() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) <= 40
    modules = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules - sys.stdlib_module_names == {"nats"}


async def test_its_wish_becomes_an_order_at_the_exchange(
    world: World, stranger: Process, exchange: Callable[..., RunningExchange]
) -> None:
    running = exchange()
    for name in ROOMS:
        await world.room(name, **world.broker_at(running.url))
    row = await world.row_when(
        "select * from orders where strategy = %s and order_id is not null",
        Strategy.GUEST_PUT.value,
    )
    theirs = running.get("/v2/orders", status="all")
    (order,) = [each for each in theirs if each["id"] == row["order_id"]]
    assert (order["symbol"], order["side"], order["qty"]) == (row["symbol"], "sell", "1")
    approval = world.of(IntentApproved)[0]
    assert approval.intent.strategy == Strategy.GUEST_PUT
    assert all(check.ok for check in approval.checks)
    assert stranger.log == ""


async def test_it_takes_no_snapshot_from_our_planners(world: World, stranger: Process) -> None:
    await world.bus.publish(snapshot())
    await world.room("planner")
    ours = [Strategy.CASH_SECURED_PUT.value, Strategy.GUEST_PUT.value]
    await until(
        lambda: sorted(intent.strategy for intent in world.of(OrderIntended)) == sorted(ours),
        "a wish of ours and one of the stranger's for the same snapshot",
    )


async def test_what_it_leaves_lying_comes_again(world: World, tmp_path: Path) -> None:
    """A stranger that dies over a snapshot: its next one plans it."""
    await world.bus.publish(snapshot())
    dying = await raw_client(world.nats, "guest")
    stream = dying.jetstream(prefix=API_PREFIX)
    pulled = await stream.pull_subscribe_bind(consumer="guest", stream="MARKET")
    (taken,) = await pulled.fetch(1, timeout=5)
    assert isinstance(decode_message(taken.subject, taken.data), SnapshotTaken)
    await taken.nak()
    await dying.close()
    running = Process(
        [sys.executable, str(PROGRAM)], environ_of(world.nats), tmp_path / "stranger.log"
    )
    try:
        await until(lambda: world.of(OrderIntended), "the wish")
    finally:
        running.kill()


# --- least privilege ---------------------------------------------------------------------------


class Words:
    """A guest's connection and what the server refused it."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.client: Client

    async def on_error(self, error: Exception) -> None:
        self.refused.append(str(error))


async def refused(server: NatsServer, say: Callable[[Client], object]) -> list[str]:
    words = Words()
    client = await raw_client(server, "guest", error_cb=words.on_error)
    try:
        await say(client)  # type: ignore[misc]
        await client.flush()
        await until(lambda: words.refused, "a refusal", 5)
    finally:
        await client.close()
    return words.refused


def test_its_rights_are_these_and_no_others() -> None:
    guest = BY_NAME["guest"]
    assert set(publishes(guest)) == {
        "intents.guest_cash_secured_put.*",
        f"{API_PREFIX}.CONSUMER.MSG.NEXT.MARKET.guest",
        f"{API_PREFIX}.CONSUMER.INFO.MARKET.guest",
        "$JS.ACK.MARKET.guest.>",
    }
    assert subscribes(guest) == ["_INBOX.guest.>"]


@pytest.mark.parametrize(
    "subject",
    [
        "intents.wheel_cash_secured_put.KO",
        "intents.flatten.KO",
        "intents.guest_covered_call.KO",
        "decisions.approved.KO",
        "orders.filled.KO",
        "plans.KO",
        "market.snapshot.KO",
        "trading.state",
        "ops.heartbeat.guest.1",
        "ops.alert.error",
        "control.market.tick",
        "core.api.CONSUMER.MSG.NEXT.MARKET.planner",
        "$JS.ACK.MARKET.planner.1.1.1.0.0",
        "core.api.DIRECT.GET.DECISIONS",
    ],
)
async def test_it_cannot_say_more(provisioned: NatsServer, subject: str) -> None:
    words = await refused(provisioned, lambda client: client.publish(subject, b"{}"))
    assert "permissions violation" in words[0].lower()


@pytest.mark.parametrize("subject", [">", "feed.>", "feed.decisions.>", "_INBOX.planner.>"])
async def test_it_cannot_hear_more(provisioned: NatsServer, subject: str) -> None:
    words = await refused(provisioned, lambda client: client.subscribe(subject))
    assert "permissions violation" in words[0].lower()


async def test_it_cannot_pass_for_one_of_ours(world: World) -> None:
    """The server lets it speak under its own subject only, and there what names another strategy
    does not decode: risk sets it aside.
    """
    await world.room("risk")
    client = await raw_client(world.nats, "guest")
    stream = client.jetstream(prefix=API_PREFIX)
    forged = msgspec.json.encode(put_intent(strategy=Strategy.FLATTEN.value))
    await stream.publish("intents.guest_cash_secured_put.KO", forged)
    await client.close()
    await until(lambda: world.alerts("poison"), "the forgery to be set aside")
    assert world.of(IntentApproved) == []
