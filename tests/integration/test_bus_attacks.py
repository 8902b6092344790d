"""What a service that was taken over tries on the bus, on a real server: every attack comes to
nothing, and the streams are afterwards what they were before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerInfo

from libs.common.bus import Bus, BusError
from libs.common.bus_accounts import (
    ACCOUNTS,
    API_PREFIX,
    BY_NAME,
    CONNECTIONS_MAX,
    OPERATOR,
    USERS,
    Account,
    publishes,
    subscribes,
)
from libs.common.bus_directory import meet
from libs.common.contracts import (
    AlertRaised,
    IntentApproved,
    PortfolioObserved,
    TickAnswered,
    TickRequested,
)
from libs.common.nats_configuration import ServerPlace, render
from libs.common.nkey_files import make_seeds, read_seed, seed_path
from libs.common.provisioning import provision
from libs.common.runtime import EXIT_BROKEN_PROMISE
from libs.common.settings import BusSettings
from libs.common.signing import KeyPair
from libs.common.topology import CONSUMERS, INTENT_BYTES_MAX, MAX_PAYLOAD_BYTES, STREAMS
from libs.embedded.nats import NatsServer, nats_server_binary
from libs.embedded.processes import accepts, free_port
from services.cli.supervisor import SERVICES
from tests.integration.servers import folder_of_its_own, make_nats
from tests.integration.stories import portfolio, put_intent, quoted, snapshot, wall
from tests.integration.voices import raw_client
from tests.integration.world import LEFT_OPEN, End, Process, World, base_environ, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("refused_connections"),
    pytest.mark.filterwarnings(LEFT_OPEN),
]

APPROVAL = "decisions.approved.KO"
DELETE = "$JS.API.STREAM.DELETE.DECISIONS"
PURGE = "$JS.API.STREAM.PURGE.DECISIONS"
LOOKUP = f"$JS.API.DIRECT.GET.MARKET.{PortfolioObserved.SUBJECT}"
CHANGING_CALLS = (
    "STREAM.CREATE.MINE",
    "STREAM.UPDATE.DECISIONS",
    "STREAM.DELETE.DECISIONS",
    "STREAM.PURGE.DECISIONS",
    "STREAM.MSG.DELETE.DECISIONS",
    "STREAM.SNAPSHOT.DECISIONS",
    "STREAM.RESTORE.MINE",
    "CONSUMER.CREATE.DECISIONS",
    "CONSUMER.CREATE.DECISIONS.mine",
    "CONSUMER.CREATE.DECISIONS.mine.decisions.approved.*",
    "CONSUMER.DURABLE.CREATE.DECISIONS.mine",
    "CONSUMER.DELETE.DECISIONS.executor",
    "CONSUMER.PAUSE.DECISIONS.executor",
    "CONSUMER.UNPIN.DECISIONS.executor",
    "ACCOUNT.PURGE.CORE",
)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """One for all attacks: none of them changes anything."""
    with folder_of_its_own() as folder:
        made = make_nats(folder)
        asyncio.run(_fill(made))
        yield made
        made.stop()


async def _fill(made: NatsServer) -> None:
    await provision(made.settings)
    market = await Bus.connect(made.settings, account="market")
    await market.publish(portfolio())
    await market.close()


class Intruder:
    """Plain nats-py under a service's key, and what the server had to say to it."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.client = client
        self.errors = errors

    async def settle(self) -> None:
        """Returns when the server has judged all that was sent. Twice, because nats-py's first
        ping can overtake what waits to be written.
        """
        await self.client.flush()
        await self.client.flush()

    async def is_refused_to_publish(self, subject: str) -> bool:
        self.errors.clear()
        await self.client.publish(subject, b"{}")
        await self.settle()
        return any(f'for publish to "{subject}"'.lower() in e.lower() for e in self.errors)

    async def is_refused_to_hear(self, subject: str) -> bool:
        self.errors.clear()
        subscription = await self.client.subscribe(subject)
        await self.settle()
        refused = any(f'for subscription to "{subject}"'.lower() in e.lower() for e in self.errors)
        if not refused:
            await subscription.unsubscribe()
        return refused


@asynccontextmanager
async def taken_over(server: NatsServer, account: str) -> AsyncIterator[Intruder]:
    errors: list[str] = []

    async def on_error(error: Exception) -> None:
        errors.append(str(error))

    client = await raw_client(server, account, error_cb=on_error)
    try:
        yield Intruder(client, errors)
    finally:
        await client.close()


async def streams_of(server: NatsServer) -> dict[str, tuple[int, int, list[str]]]:
    """What must not change: each stream's first and last sequence, and its consumers."""
    client = await raw_client(server, "provision")
    js = client.jetstream()
    found = {}
    for stream in STREAMS:
        info = await js.stream_info(stream.name)
        names = sorted(c.name for c in await js.consumers_info(stream.name))
        found[stream.name] = (info.state.first_seq, info.state.last_seq, names)
    await client.close()
    return found


async def consumer_of(server: NatsServer, stream: str, name: str) -> ConsumerInfo:
    client = await raw_client(server, "provision")
    info = await client.jetstream().consumer_info(stream, name)
    await client.close()
    return info


def concrete(subject: str) -> str:
    return subject.replace("*", "KO").replace(">", "1.1.1.0.0")


def others_subjects(account: Account) -> list[str]:
    """Everything any other account may send to and this one may not."""
    own = {concrete(subject) for subject in publishes(account)}
    every = {concrete(s) for other in ACCOUNTS for s in publishes(other)}
    every -= {concrete(s) for s in every if any(meet(s, ours) for ours in publishes(account))}
    for name in SERVICES:
        every |= {f"ops.heartbeat.{name}.1", f"_INBOX.{name}.x", f"control.{name}.halt"}
    for consumer in CONSUMERS:
        at = f"{consumer.stream}.{consumer.name}"
        every |= {
            f"{prefix}.CONSUMER.{call}.{at}"
            for prefix in ("$JS.API", API_PREFIX)
            for call in ("MSG.NEXT", "INFO", "RESET")
        }
        every.add(f"$JS.ACK.{at}.1.1.1.0.0")
    every |= {f"feed.{APPROVAL}", "$SYS.REQ.SERVER.PING", "anything.else"}
    own_heartbeat = f"ops.heartbeat.{account.name}.1" if account.writes else ""
    info = {f"{API_PREFIX}.STREAM.INFO.OPS"} if account.stream_info else set()
    return sorted(every - own - info - {own_heartbeat})


# --- publishing and hearing what is not one's own ------------------------------------------------


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
async def test_nobody_publishes_what_is_anothers(server: NatsServer, account: Account) -> None:
    before = await streams_of(server)
    async with taken_over(server, account.name) as intruder:
        subjects = others_subjects(account)
        assert len(subjects) > 30
        allowed = [s for s in subjects if not await intruder.is_refused_to_publish(s)]
    assert allowed == []
    assert await streams_of(server) == before


@pytest.mark.parametrize(
    ("account", "subject"),
    [
        ("planner", APPROVAL),
        ("planner", "orders.filled.KO"),
        ("planner", "market.portfolio"),
        ("planner", "market.snapshot.KO"),
        ("planner", "ledger.assigned.KO"),
        ("planner", "ops.heartbeat.market.1"),
        ("market", "intents.wheel.KO"),
        ("executor", APPROVAL),
        ("risk", "orders.filled.KO"),
        ("reporter", APPROVAL),
        ("dashboard", "control.market.tick"),
        ("operator", APPROVAL),
        ("operator", "ops.alert.error"),
        ("market", "control.market.tick"),
    ],
)
async def test_the_attacks_one_would_try_first(
    server: NatsServer, account: str, subject: str
) -> None:
    async with taken_over(server, account) as intruder:
        assert await intruder.is_refused_to_publish(subject)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
async def test_nobody_hears_what_is_not_meant_for_it(server: NatsServer, account: Account) -> None:
    wanted = [">", "*", "_INBOX.>", "decisions.>", APPROVAL, "intents.>", "$JS.>", "$SYS.>"]
    wanted += [f"_INBOX.{other}.>" for other in (*BY_NAME, "provision") if other != account.name]
    wanted += ["control.>", "_R_.>", "core.>", "feed.>", "feed.decisions.>"]
    wanted += ["$JS.EVENT.ADVISORY.>", "market.>"]
    if ">" in account.watches:
        wanted = [subject for subject in wanted if not subject.startswith("feed.")]
    async with taken_over(server, account.name) as intruder:
        heard = [subject for subject in wanted if not await intruder.is_refused_to_hear(subject)]
        assert heard == []
        for subject in subscribes(account):
            assert not await intruder.is_refused_to_hear(subject)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
async def test_nobody_makes_changes_or_removes_streams_and_consumers(
    server: NatsServer, account: Account
) -> None:
    before = await streams_of(server)
    async with taken_over(server, account.name) as intruder:
        for call in CHANGING_CALLS:
            for prefix in ("$JS.API", API_PREFIX):
                assert await intruder.is_refused_to_publish(f"{prefix}.{call}")
    assert await streams_of(server) == before


# --- by way of the reply -------------------------------------------------------------------------

REPLIES = (
    APPROVAL,
    DELETE,
    PURGE,
    "orders.filled.KO",
    "ledger.assigned.KO",
    "market.portfolio",
    "control.market.tick",
    f"{API_PREFIX}.STREAM.DELETE.DECISIONS",
)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
async def test_an_answer_sent_elsewhere_reaches_no_stream_of_anothers(
    server: NatsServer, account: Account
) -> None:
    """Every request an account may make, with every reply that would do harm."""
    own = {s for s in publishes(account) if not s.startswith(("$JS.", API_PREFIX))}
    theirs = {
        stream.name
        for stream in STREAMS
        if not any(meet(ours, s) for ours in own for s in stream.subjects)
        and stream.name not in ("OPS", "DEADLETTERS")
    }
    assert "DECISIONS" in theirs or account.name == "risk"
    before = await streams_of(server)
    async with taken_over(server, account.name) as intruder:
        for subject in publishes(account):
            for reply in REPLIES:
                await intruder.client.publish(concrete(subject), b"{}", reply=reply)
        await intruder.settle()
        assert intruder.errors == []
        await asyncio.sleep(0.1)
    after = await streams_of(server)
    assert {name: after[name] for name in theirs} == {name: before[name] for name in theirs}
    assert {name: after[name][2] for name in after} == {name: before[name][2] for name in after}


@pytest.mark.parametrize("reader", [a.name for a in ACCOUNTS if a.reads_last])
@pytest.mark.parametrize("reply", [DELETE, PURGE])
async def test_a_missing_key_answered_to_the_api_deletes_nothing(
    nats: NatsServer, reader: str, reply: str
) -> None:
    """The empty 404 of a direct read, sent to a call without arguments: as users of one account
    this deleted the stream. Here on a server without any portfolio.
    """
    await provision(nats.settings)
    risk = await raw_client(nats, "risk")
    await risk.jetstream().publish(APPROVAL, b"{}")
    await risk.close()
    before = await streams_of(nats)
    async with taken_over(nats, reader) as intruder:
        lookup = f"{API_PREFIX}.DIRECT.GET.MARKET.{PortfolioObserved.SUBJECT}"
        await intruder.client.publish(lookup, b"", reply=reply)
        await intruder.settle()
        assert intruder.errors == []
        answer = await intruder.client.request(lookup, b"")
        assert answer.headers is not None
        assert answer.headers["Status"] == "404"
    assert await streams_of(nats) == before


@pytest.fixture
def with_a_reader_in_core(tmp_path: Path) -> Iterator[BusSettings]:
    """A server whose CORE has a second user, with no more than one read."""
    port = free_port()
    keys = make_seeds(tmp_path / "seeds", (*USERS, "reader"))
    place = ServerPlace(listen=f"127.0.0.1:{port}", store_folder=str(tmp_path / "store"))
    reader = f'{{nkey: {keys["reader"]}, permissions: {{publish: ["{LOOKUP}"]}}}}'
    text = render(place, keys)
    assert text.count("    }}]") == len(USERS), "the ends of the lists of users, CORE's first"
    path = tmp_path / "nats.conf"
    path.write_text(text.replace("    }}]", f"    }}}}, {reader}]", 1))
    server = subprocess.Popen([nats_server_binary(), "-c", path, "-l", tmp_path / "log"])
    deadline = time.monotonic() + 20
    while not accepts(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield BusSettings(url=f"nats://127.0.0.1:{port}", seeds_folder=str(tmp_path / "seeds"))
    server.kill()
    server.wait()


async def test_inside_one_account_the_same_request_deletes_the_stream(
    with_a_reader_in_core: BusSettings,
) -> None:
    """Why there are accounts. Should a newer server refuse this, so much the better, and this
    test has done its work.
    """
    settings = with_a_reader_in_core
    await provision(settings)
    seed = read_seed(seed_path(Path(settings.seeds_folder or ""), "reader"))
    client = await nats.connect(settings.url or "", nkeys_seed_str=seed)
    await client.publish(LOOKUP, b"", reply=DELETE)
    await client.flush()
    await client.flush()
    await client.close()
    operator = await Bus.connect(settings, account=OPERATOR)
    assert (await operator.stream_counts(["ORDERS"])) == {"ORDERS": 0}
    with pytest.raises(BusError, match="NotFound"):
        await operator.stream_counts(["DECISIONS"])
    await operator.close()


async def test_the_one_answer_to_a_tick_goes_to_who_asked(server: NatsServer) -> None:
    """Market may answer what it was asked, once; it cannot choose whom."""
    request = TickRequested(message_id="t", at=wall(), requested_by="a test")
    market = await Bus.connect(server.settings, account="market")

    async def answer(asked: TickRequested) -> TickAnswered:
        return TickAnswered(message_id="a", at=wall(), ok=True, tick_id=asked.message_id)

    await market.answer(TickRequested, answer)
    operator = await Bus.connect(server.settings, account=OPERATOR)
    answered = await operator.request(request, TickAnswered, timeout_seconds=5)
    assert answered.tick_id == "t"
    before = await streams_of(server)
    async with taken_over(server, OPERATOR) as intruder:
        await intruder.client.publish(request.subject, json.dumps({}).encode(), reply=DELETE)
        await intruder.client.publish(request.subject, b"", reply=APPROVAL)
        await intruder.settle()
    assert await streams_of(server) == before
    await market.close()
    await operator.close()


async def test_a_pull_answered_elsewhere_gives_nobody_anothers_messages(
    server: NatsServer,
) -> None:
    """A planner that sends its snapshots to risk's inbox sends them nowhere."""
    async with taken_over(server, "risk") as risk, taken_over(server, "planner") as planner:
        heard = await risk.client.subscribe("_INBOX.risk.>")
        await risk.settle()
        pull = f"{API_PREFIX}.CONSUMER.MSG.NEXT.MARKET.planner"
        body = json.dumps({"batch": 1, "no_wait": True}).encode()
        await planner.client.publish(pull, body, reply="_INBOX.risk.x")
        await planner.settle()
        with pytest.raises(nats.errors.TimeoutError):
            await heard.next_msg(timeout=0.3)


async def test_nobody_acknowledges_for_another(server: NatsServer) -> None:
    before = await consumer_of(server, "MARKET", "recorder")
    async with taken_over(server, "planner") as planner:
        assert await planner.is_refused_to_publish("$JS.ACK.MARKET.recorder.1.1.1.0.0")
        call = f"{API_PREFIX}.CONSUMER.INFO.MARKET.planner"
        await planner.client.publish(call, b"", reply="$JS.ACK.MARKET.recorder.1.1.1.0.0")
        await planner.settle()
        assert "violation for publish with reply of" in planner.errors[-1]
    after = await consumer_of(server, "MARKET", "recorder")
    assert (after.ack_floor, after.delivered) == (before.ack_floor, before.delivered)


# --- without the right key -----------------------------------------------------------------------


def _keys_that_do_not_fit(server: NatsServer, folder: Path) -> Iterator[dict[str, Any]]:
    make_seeds(folder, ["stranger"])
    yield {"nkeys_seed_str": read_seed(seed_path(folder, "stranger"))}
    yield {"user": "market", "password": "market"}
    yield {"token": "market"}
    yield {}


async def test_strangers_are_not_let_in(server: NatsServer, tmp_path: Path) -> None:
    async def ignore(_error: Exception) -> None: ...

    for given in _keys_that_do_not_fit(server, tmp_path):
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
            await nats.connect(
                server.url, allow_reconnect=False, connect_timeout=2, error_cb=ignore, **given
            )


def test_a_service_with_anothers_key_ends_with_one_line(
    server: NatsServer, database_url: str, keys: KeyPair, process: Callable[..., Process]
) -> None:
    """A violation shows in no return value: it must end the process."""
    environ = base_environ(server, database_url, keys)
    del environ["NATS_SEEDS_FOLDER"]
    environ["NATS_NKEY_SEED_FILE"] = str(seed_path(server.seeds_folder, "reporter"))
    planner = process("planner", environ)
    assert planner.status() == EXIT_BROKEN_PROMISE
    words = End(EXIT_BROKEN_PROMISE, planner.log).last_words
    assert words.startswith("NATS refused planner: ")
    assert "permissions violation" in words


async def test_connections_of_one_account_are_not_endless(server: NatsServer) -> None:
    clients = [await raw_client(server, "reporter") for _ in range(CONNECTIONS_MAX)]
    with pytest.raises(nats.errors.Error, match="maximum account active connections"):
        await raw_client(server, "reporter", allow_reconnect=False)
    market = await Bus.connect(server.settings, account="market")
    await market.check_provisioned()
    await market.close()
    for client in clients:
        await client.close()


# --- too much, too large, too deep ---------------------------------------------------------------


async def test_a_planner_that_floods_holds_up_neither_market_nor_the_operator(
    world: World,
) -> None:
    await world.room("risk")
    await world.bus.publish(portfolio())
    async with taken_over(world.nats, "planner") as planner:
        flooding = asyncio.create_task(_flood(planner.client))
        for number in range(20):
            seen = snapshot("KO", message_id=f"snapshot-{number}", contracts=[quoted()])
            await world.bus.publish(seen)
        counts = await world.bus.stream_counts(["INTENTS", "MARKET"])
        await flooding
    assert counts["MARKET"] == 2, "the newest snapshot and the portfolio"
    await world.bus.publish(put_intent(1))
    decided = await until(lambda: world.of(IntentApproved), "the intent behind the flood")
    assert decided[0].intent.message_id == "intent-1"


async def _flood(client: Client) -> None:
    for number in range(150):
        await client.publish("intents.wheel.KO", b"[" * 50_000)
        await client.publish("plans.KO", b"{}")
        if number % 50 == 0:
            await client.flush()
    await client.flush()


async def test_a_message_larger_than_the_server_takes_costs_only_its_sender(
    world: World,
) -> None:
    await world.room("risk")
    await world.bus.publish(portfolio())
    async with taken_over(world.nats, "planner") as planner:
        planner.client._max_payload = 10 * MAX_PAYLOAD_BYTES  # the client would refuse by itself
        await planner.client.publish("intents.wheel.KO", b"x" * (MAX_PAYLOAD_BYTES + 1))
        await until(lambda: not planner.client.is_connected, "the sender to be cut off")
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.bus.publish(put_intent(1))
    await until(lambda: world.of(IntentApproved), "the others' messages to go on")


async def test_an_intent_too_large_to_be_decided_on_is_not_stored(world: World) -> None:
    """A decision repeats its intent: it could not be published, and the intent would come again
    and again.
    """
    planner = await world.bus.of("planner")
    large = put_intent(1, reason="x" * INTENT_BYTES_MAX)
    with pytest.raises(BusError, match="is too large"):
        await planner.publish(large)
    assert await world.bus.stream_counts(["INTENTS"]) == {"INTENTS": 0}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"message_id": "x", "unknown": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"details": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b"[" * 60_000,
        b'{"message_id": "' + b"\\u0000" * 9_000 + b'"}',
        b'{"qty": 1' + b"0" * 60_000 + b"}",
    ],
    ids=["nested", "nested details", "never closed", "NULs", "a long number"],
)
async def test_a_message_that_would_break_a_reader_is_set_aside(
    world: World, payload: bytes
) -> None:
    await world.room("executor", BOT_MODE="dry")
    await world.room("risk")
    await world.bus.publish(portfolio())
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.poison("intents.wheel.KO", payload)
    await world.bus.publish(put_intent(1))
    decided = await until(lambda: world.of(IntentApproved), "the next intent's approval")
    assert decided[0].intent.message_id == "intent-1"
    await until(lambda: "dead_letter" in {a.kind for a in world.of(AlertRaised)}, "the dead letter")
