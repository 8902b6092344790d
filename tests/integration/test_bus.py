"""The bus: what is provisioned, stored once, set aside as poison, and what survives a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from libs.common import bus, bus_deliveries
from libs.common.bus import Batch, Bus, BusError, Delivery
from libs.common.contracts import IntentApproved, IntentBlocked, OrderIntended, PlanMade
from libs.common.nkey_files import make_seeds, read_seed, seed_path
from libs.common.runtime import EXIT_BROKEN_PROMISE
from libs.common.signing import KeyPair
from libs.common.topology import CONSUMERS, RECORDERS, RISK_INTENTS, STREAMS
from libs.embedded.nats import NatsServer
from libs.embedded.processes import free_port
from services.cli.supervisor import SERVICES
from tests.integration.broker import Broker
from tests.integration.stories import approval, portfolio, put_intent, quoted, snapshot, wall
from tests.integration.world import LEFT_OPEN, End, Process, World, base_environ, until

pytestmark = pytest.mark.integration

POISON = b"\xff{ this is no message"


async def test_provisioning_again_changes_nothing(world: World) -> None:
    await world.bus.publish(put_intent(1))
    js = world.raw.jetstream()
    streams = {info.config.name: info for info in await js.streams_info()}
    assert streams.keys() == {stream.name for stream in STREAMS}
    before = {c: await js.consumer_info(c.stream, c.name) for c in CONSUMERS}
    assert await world.bus.provision() == []
    for name, info in streams.items():
        again = await js.stream_info(name)
        assert wanted(again.config) == wanted(info.config)
        assert again.state.messages == info.state.messages
    for consumer, info in before.items():
        again = await js.consumer_info(consumer.stream, consumer.name)
        assert (wanted(again.config), again.created) == (wanted(info.config), info.created)


def wanted(config: StreamConfig | ConsumerConfig) -> dict[str, Any]:
    """Without the server's own notes of its version."""
    return {name: value for name, value in config.as_dict().items() if name != "metadata"}


async def test_a_message_published_twice_is_stored_once(world: World) -> None:
    for _ in range(2):
        await world.bus.publish(put_intent(1))
    await world.bus.publish(put_intent(2))
    assert await world.bus.stream_counts(["INTENTS"]) == {"INTENTS": 2}


async def dead_letter_of(world: World, stream: str) -> None:
    """The books hold the letter, an alert tells of it, and the consumer has nothing left."""
    await world.row_when(
        "select 1 from events where kind='dead_letter' and payload_json->>'subject' like %s",
        f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.%",
    )
    await until(lambda: world.alerts("dead_letter"), "an alert of the dead letter")


async def test_a_poisoned_intent_is_set_aside_and_the_next_is_decided(world: World) -> None:
    await world.room("executor", BOT_MODE="dry")
    await world.room("risk")
    await world.bus.publish(portfolio())
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.poison("intents.wheel_cash_secured_put.KO", POISON)
    await world.bus.publish(put_intent(1))
    decided = await until(lambda: world.of(IntentApproved), "the next intent's approval")
    assert decided[0].intent.message_id == "intent-1"
    assert "intents.wheel_cash_secured_put.KO" in world.alerts("poison")[0]
    await dead_letter_of(world, "INTENTS")


async def test_a_poisoned_approval_is_set_aside_and_the_next_is_carried_out(world: World) -> None:
    await world.room("executor", BOT_MODE="dry")
    await world.poison("decisions.approved.KO", POISON)
    await world.poison("decisions.blocked.KO", b'{"message_id": 7}')
    await world.bus.publish(approval(put_intent(1), world.keys))
    await world.row_when("select 1 from order_intents where id='intent-1' and status='dry_run'")
    await until(lambda: len(world.alerts("poison")) >= 3, "an alert for each reader of each")
    await dead_letter_of(world, "DECISIONS")


async def test_a_poisoned_snapshot_is_set_aside_and_the_next_is_planned(world: World) -> None:
    await world.room("executor", BOT_MODE="dry")
    await world.room("planner")
    await world.poison("market.snapshot.PFE", POISON)
    await world.bus.publish(snapshot("KO"))
    plans = await until(lambda: world.of(PlanMade), "the next snapshot's plan")
    assert plans[0].symbol == "KO"
    assert "market.snapshot.PFE" in world.alerts("poison")[0]
    await dead_letter_of(world, "MARKET")


async def test_an_approval_the_database_never_takes_is_set_aside_and_the_next_goes_on(
    world: World,
) -> None:
    """A NUL is fine in JSON and in no text column: trying it again would hold up every other."""
    await world.room("executor", BOT_MODE="dry")
    strange = msgspec.structs.replace(put_intent(1), reason="nul \x00 nul")
    await world.bus.publish(approval(strange, world.keys))
    await world.bus.publish(approval(put_intent(2), world.keys))
    await world.row_when("select 1 from order_intents where id='intent-2' and status='dry_run'")
    await until(lambda: len(world.alerts("poison")) >= 2, "executor and recorder both say so")
    await dead_letter_of(world, "DECISIONS")


async def test_poison_found_when_risk_rebuilds_is_left_out(world: World) -> None:
    await world.poison("decisions.approved.KO", POISON)
    await world.poison("orders.filled.KO", POISON)
    await world.poison("market.portfolio", POISON)
    await world.room("risk")
    assert "market.portfolio" in world.alerts("portfolio")[0]
    await world.bus.publish(put_intent(1))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "a block: no portfolio was seen")
    assert "no portfolio was seen" in blocked.reason
    await world.bus.publish(portfolio())
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.poison("orders.filled.KO", POISON)
    await world.bus.publish(put_intent(2))
    await until(lambda: world.of(IntentApproved), "risk goes on after live poison too")


@pytest.mark.parametrize(
    ("error", "handled"),
    [
        (BusError("the bus is away"), ["intent-1"] * 5 + ["intent-2"]),
        (ZeroDivisionError("of its own"), ["intent-1"] * 3 + ["intent-2"]),
    ],
)
async def test_an_outage_gives_nothing_up_and_a_fault_of_a_messages_own_does(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, handled: list[str]
) -> None:
    monkeypatch.setattr(bus, "_ATTEMPTS_MAX", 3)
    monkeypatch.setattr(bus_deliveries, "RETRY_SECONDS", 0.02)
    seen: list[str] = []
    poison: list[str] = []

    async def handle(delivery: Delivery) -> None:
        message = delivery.decode()
        seen.append(message.message_id)
        if message.message_id == "intent-1" and len(seen) < 5:
            raise error
        await delivery.ack()

    async def set_aside(delivery: Delivery) -> None:
        poison.append(delivery.subject)

    for number in (1, 2):
        await world.bus.publish(put_intent(number))
    reader = await Bus.connect(world.nats.settings, account="risk")
    consuming = asyncio.create_task(reader.consume(RISK_INTENTS, handle, on_poison=set_aside))
    await until(lambda: "intent-2" in seen, "the next message")
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await reader.close()
    assert seen == handled
    assert len(poison) == (0 if isinstance(error, BusError) else 1)


async def test_what_is_wrong_with_one_message_of_a_batch_is_no_harm_to_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "_ATTEMPTS_MAX", 2)
    monkeypatch.setattr(bus_deliveries, "RETRY_SECONDS", 0.02)
    (plans,) = [consumer for consumer in RECORDERS if consumer.stream == "PLANS"]
    handled: list[str] = []
    poison: list[str] = []
    batches: list[int] = []

    async def handle(batch: Batch) -> None:
        batches.append(len(batch.deliveries))
        names = [delivery.decode().message_id for delivery in batch.deliveries]
        if "plan-2" in names:
            raise ZeroDivisionError("of its own")
        handled.extend(names)
        await batch.ack()

    async def set_aside(delivery: Delivery) -> None:
        poison.append(delivery.subject)

    for number in range(4):
        await world.bus.publish(
            PlanMade(message_id=f"plan-{number}", at=wall(), symbol="KO", as_of=wall())
        )
    await world.poison("plans.BAC", POISON)
    reader = await Bus.connect(world.nats.settings, account="executor")
    consuming = asyncio.create_task(reader.consume_batches(plans, handle, on_poison=set_aside))
    await until(lambda: len(poison) == 2, "two messages set aside")
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    assert sorted(handled) == ["plan-0", "plan-1", "plan-3"], "each of the others once"
    assert sorted(poison) == ["plans.BAC", "plans.KO"]
    assert batches[0] > 1, "they came together"
    waiting = await reader.jetstream.consumer_info(plans.stream, plans.name)
    assert (waiting.num_ack_pending, waiting.num_pending) == (0, 0), "nothing comes again"
    await reader.close()


# --- beginnings that fail ------------------------------------------------------------------------


def test_services_started_before_the_streams_say_what_to_run(
    nats: NatsServer,
    database_url: str,
    keys: KeyPair,
    broker: Broker,
    process: Callable[..., Process],
) -> None:
    environ = base_environ(nats, database_url, keys)
    environ |= {"ALPACA_BASE_URL": broker.url, "ALPACA_DATA_URL": broker.url}
    started = [process(name, environ) for name in SERVICES]
    for service in started:
        assert service.status() == EXIT_BROKEN_PROMISE
        end = End(EXIT_BROKEN_PROMISE, service.log)
        assert "run `alpaclaudia provision`" in end.last_words


async def test_publishing_before_the_streams_says_what_to_run(nats: NatsServer) -> None:
    bus = await Bus.connect(nats.settings, account="market")
    with pytest.raises(BusError, match=r"no stream takes market.portfolio; run .*provision"):
        await bus.publish(portfolio(), patience_seconds=0.3)
    await bus.close()


def test_a_wrong_key_ends_the_process_with_one_line(
    nats: NatsServer,
    database_url: str,
    keys: KeyPair,
    process: Callable[..., Process],
    tmp_path: Path,
) -> None:
    make_seeds(tmp_path, ["planner"])
    environ = base_environ(nats, database_url, keys) | {"NATS_SEEDS_FOLDER": str(tmp_path)}
    planner = process("planner", environ)
    assert planner.status() == EXIT_BROKEN_PROMISE
    words = End(EXIT_BROKEN_PROMISE, planner.log).last_words
    assert words.startswith(f"NATS at {nats.url} refused planner: ")
    assert read_seed(seed_path(tmp_path, "planner")) not in planner.log


def test_without_nats_a_service_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_to_its_end: Callable[..., End]
) -> None:
    make_seeds(tmp_path, ["planner"])
    monkeypatch.setitem(Bus.connect.__func__.__kwdefaults__, "patience_seconds", 0.5)  # type: ignore[attr-defined]
    url = f"nats://127.0.0.1:{free_port()}"
    end = run_to_its_end(
        "planner", {"NATS_URL": url, "WHEEL_UNIVERSE": "KO", "NATS_SEEDS_FOLDER": str(tmp_path)}
    )
    assert end.status == 1
    assert end.last_words.startswith(f"no NATS server at {url} after ")
    assert end.last_words.endswith("start it or correct NATS_URL, and NATS_TLS_CA if it speaks TLS")


# --- a server that dies ------------------------------------------------------------------------


@pytest.mark.filterwarnings(LEFT_OPEN)
async def test_a_killed_server_loses_nothing_that_it_acknowledged(
    world: World, refused_connections: None
) -> None:
    handled: list[str] = []

    async def handle(delivery: Delivery) -> None:
        message = delivery.decode()
        assert isinstance(message, OrderIntended)
        handled.append(message.message_id)
        await delivery.ack()

    reader = await Bus.connect(world.nats.settings, account="risk")
    consuming = asyncio.create_task(reader.consume(RISK_INTENTS, handle))
    acknowledged: list[str] = []

    async def publish_on() -> None:
        for number in range(1, 61):
            await world.bus.publish(put_intent(number), patience_seconds=30)
            acknowledged.append(f"intent-{number}")

    publishing = asyncio.create_task(publish_on())
    for kills in (1, 2):
        await until(lambda n=kills: len(acknowledged) >= 15 * n, "a part to be acknowledged")
        assert world.nats.process is not None
        world.nats.process.kill()
        world.nats.process.wait()
        await asyncio.sleep(0.1)
        world.nats.start()
        world.nats.wait()
    await publishing
    await until(lambda: set(handled) == set(acknowledged), "everything to be handled")
    assert len(acknowledged) == 60
    assert (await world.bus.stream_counts(["INTENTS"]))["INTENTS"] == 60
    assert world.bus.reconnects >= 1
    consuming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consuming
    await reader.close()
